"""From an entry to the shared object that linked.py loads: numba's optimised code, turned into machine code once more.

numba would emit code for its own loader. Here position-independent code is emitted, without the wrappers for Python but
with the few functions of numba's memory manager that it may call (`MEMORY`), and linked by the system's linker. Without
a linker, or if an entry calls anything else, numba runs the entry.
"""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import types

from sim.core import linked, passes
from sim.core.linked import RETURN_BYTES, SYMBOL, Unlinkable

MEMORY = """
declare ptr @malloc(i64)
declare void @free(ptr)
declare double @frexp(double, ptr)
declare double @ldexp(double, i32)

define double @numba_frexp(double %x, ptr %exponent) {
  %fraction = call double @frexp(double %x, ptr %exponent)
  ret double %fraction
}

define double @numba_ldexp(double %x, i32 %exponent) {
  %y = call double @ldexp(double %x, i32 %exponent)
  ret double %y
}

define ptr @NRT_Allocate(i64 %bytes) {
  %at = call ptr @malloc(i64 %bytes)
  ret ptr %at
}

define void @NRT_Free(ptr %at) {
  call void @free(ptr %at)
  ret void
}

define void @NRT_MemInfo_call_dtor(ptr %owner) {
  call void @free(ptr %owner)
  ret void
}

define ptr @NRT_MemInfo_alloc_aligned(i64 %bytes, i32 %align) {
  %wide = zext i32 %align to i64
  %head = add i64 %wide, 48
  %whole = add i64 %bytes, %head
  %owner = call ptr @malloc(i64 %whole)
  %failed = icmp eq ptr %owner, null
  br i1 %failed, label %end, label %filled
filled:
  %number = ptrtoint ptr %owner to i64
  %least = add i64 %number, %head
  %past = urem i64 %least, %wide
  %data = sub i64 %least, %past
  %dtor = getelementptr i64, ptr %owner, i64 1
  %info = getelementptr i64, ptr %owner, i64 2
  %place = getelementptr i64, ptr %owner, i64 3
  %size = getelementptr i64, ptr %owner, i64 4
  %allocator = getelementptr i64, ptr %owner, i64 5
  store i64 1, ptr %owner
  store i64 0, ptr %dtor
  store i64 0, ptr %info
  store i64 %data, ptr %place
  store i64 %bytes, ptr %size
  store i64 0, ptr %allocator
  br label %end
end:
  ret ptr %owner
}

define ptr @NRT_MemInfo_alloc_safe_aligned(i64 %bytes, i32 %align) {
  %owner = call ptr @NRT_MemInfo_alloc_aligned(i64 %bytes, i32 %align)
  ret ptr %owner
}
"""
"""numba's memory manager (numba/core/runtime/nrt.cpp) as far as compiled entries use it: an array's memory behind the
record of its owner (references; destructor, its argument; address, bytes; allocator), all of it freed with the last.
And its names for two functions of the C library (numba/_helperlib.c)."""

OUTSIDE = {
    *("malloc", "free", "memcpy", "memmove", "memset"),
    *("exp", "log", "sqrt", "pow", "floor", "ceil", "rint", "frexp", "ldexp"),
}
"""Functions of the C library that an object may import from the process that loads it."""


def make(function: Callable[..., Any], way: str, arguments: tuple[Any, ...], path: Path) -> None:
    """Compile a function for arguments of these types and write its object. Raises Unlinkable."""
    dispatcher = numba.njit(**passes.OBJECTS[way])(function)
    dispatcher.compile(tuple(numba.typeof(one) for one in arguments))
    [compiled] = dispatcher.overloads.values()
    try:
        returns = _returns(compiled.signature.return_type)
        code = _machine_code(compiled.library.final_module, compiled.fndesc.mangled_name, compiled.library.codegen)
        linked.write(path, _shared(code) + returns.ljust(RETURN_BYTES).encode())
    except Unlinkable:
        linked.write(path, b"")
        raise


def _shared(code: bytes) -> bytes:
    """Return the shared object that the system's linker makes of an object file."""
    with tempfile.TemporaryDirectory(prefix="carat-") as folder:
        relocatable, shared = Path(folder) / "code.o", Path(folder) / "code.so"
        relocatable.write_bytes(code)
        command = [linked.linker(), "-shared", "-s", "-z", "noexecstack", "-o", str(shared), str(relocatable)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise Unlinkable(done.stderr.decode(errors="replace"))
        return shared.read_bytes()


def _returns(kind: types.Type) -> str:
    """Return the types of a result in the characters of `linked.RETURNS`; several numbers must have 8 bytes each."""
    numbers = {types.int64: "q", types.float64: "d"}
    if kind is types.none:
        return ""
    if kind is types.boolean:
        return "?"
    parts = list(kind.types) if isinstance(kind, types.BaseTuple) else [kind]
    if len(parts) < RETURN_BYTES and all(part in numbers for part in parts):
        return "".join(numbers[part] for part in parts)
    raise Unlinkable(f"returns {kind}")


def _machine_code(module: llvm.ModuleRef, name: str, codegen: Any) -> bytes:
    """Return the object code of one function of an optimised module, with all functions that it calls."""
    module.link_in(llvm.parse_assembly(f'target triple = "{module.triple}"\n{MEMORY}'))
    module.get_function(name).name = SYMBOL
    for one in [*module.functions, *module.global_variables]:
        if not one.is_declaration:
            one.linkage = "external" if one.name == SYMBOL else "internal"
    target = llvm.Target.from_triple(module.triple)
    cpu, features = codegen._get_host_cpu_name(), codegen._get_host_cpu_features()
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small")
    clean = llvm.create_new_module_pass_manager()
    clean.add_global_dead_code_eliminate_pass()
    clean.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    missing = {one.name for one in module.functions if one.is_declaration} - OUTSIDE
    if missing := {one for one in missing if not one.startswith("llvm.")}:
        raise Unlinkable(f"calls {', '.join(sorted(missing))}")
    code: bytes = machine.emit_object(module)
    return code
