"""Compiled code without the compiler: each entry is a function of a shared object, called through ctypes.

Importing numba takes longer than most runs, so compiled code is kept as shared objects (made by linking.py), in folders
named after the content of the sources as in kept.py, and with a digest after the code: an altered file is made anew. An
object is valid for one kind of CPU, as /proc/cpuinfo describes it, or, in a wheel (`SHIPPED`), for any of its
architecture. If no objects can be made or read, numba runs the entries.

A function of an object takes its arguments in numba's convention: an array as seven numbers or more (two pointers to
its owner, here none; elements, bytes of one, address; lengths; steps), a tuple as its items, a record as its address.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sim.core import folder as folders

SHIPPED = Path(__file__).parents[1] / "compiled"
"""Compiled code of a wheel; a checkout has none."""

SYMBOL = "carat_entry"
RETURN_BYTES = 16
"""Bytes after the code for the types that a function returns: characters of `RETURNS`, padded with spaces."""
DIGEST_BYTES = hashlib.sha256().digest_size

TYPES = {float: ctypes.c_double, np.float64: ctypes.c_double, np.float32: ctypes.c_float}
RETURNS = {"q": ctypes.c_int64, "d": ctypes.c_double, "?": ctypes.c_bool}

CPU_KEYS = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU implementer", "CPU part")
CPU_TEXT = Path("/proc/cpuinfo")
CPU_TEXT_BYTES = 1 << 14
"""Bytes read of /proc/cpuinfo: more than the text of one processor."""


C_CONTIGUOUS, F_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x2, 0x100, 0x400
"""Bits of an array's ``flags.num`` (numpy/ndarraytypes.h, NPY_ARRAY_...)."""

LINKERS = ("ld", "ld.bfd", "ld.lld")


class Unlinkable(Exception):
    """An entry of which no shared object can be made, or arguments that it cannot take."""


class Linked:
    """A function of a shared object.

    Raises OSError if the file is missing or altered, Unlinkable if it records that no object can be made.
    """

    def __init__(self, path: Path, arguments: tuple[Any, ...]) -> None:
        """Load it for arguments of these types."""
        code = path.read_bytes()
        if hashlib.sha256(code[:-DIGEST_BYTES]).digest() != code[-DIGEST_BYTES:]:
            raise OSError(f"{path}: not what was written")
        if len(code) == DIGEST_BYTES:
            raise Unlinkable(f"{path}: no object can be made of this entry")
        returns = code[-DIGEST_BYTES - RETURN_BYTES : -DIGEST_BYTES].decode().split()
        self._object = ctypes.CDLL(str(path))
        self._function = self._object[SYMBOL]
        self._function.restype = ctypes.c_int32
        self._returns = [RETURNS[one] for one in (returns[0] if returns else "")]
        self._types = [TYPES.get(type(one), ctypes.c_int64) for one in _flat(arguments)]
        self._function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *self._types]

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self.call(*_flat(arguments))

    def bound(self, *arguments: Any) -> Callable[[], Any]:
        """Return a call with these arguments."""
        numbers = [kind(one) for kind, one in zip(self._types, _flat(arguments), strict=True)]
        return lambda kept=arguments: self.call(*numbers)  # kept: the numbers are addresses of arrays

    def call(self, *numbers: Any) -> Any:
        """Call the function with its arguments as numbers. Raises RuntimeError where the code raised an error."""
        returned = (ctypes.c_int64 * max(1, len(self._returns)))()
        raised = ctypes.c_void_p()
        status = self._function(ctypes.addressof(returned), ctypes.addressof(raised), *numbers)
        if status != 0:
            raise RuntimeError(f"compiled code ended with status {status}")
        found = tuple(kind.from_buffer(returned, 8 * n).value for n, kind in enumerate(self._returns))
        return found[0] if len(found) == 1 else found or None


def kinds(arguments: tuple[Any, ...]) -> str:
    """Return the key of a function's code for these arguments. Raises Unlinkable for types that it cannot take."""
    return "".join(map(_kind, arguments))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return _array(value.dtype, value.ndim, value.flags.num)
    if isinstance(value, bool | np.bool_):
        return "?"
    if isinstance(value, int) or type(value) is np.int64:
        return "q"
    if isinstance(value, float):
        return "d"
    if isinstance(value, np.float32):
        return "f"
    if isinstance(value, tuple):
        return f"({type(value).__name__}{''.join(map(_kind, value))})"
    if isinstance(value, np.void):
        return f"<{_dtype(value.dtype)}>"
    raise Unlinkable(f"a {type(value).__name__} as argument")


@cache
def _array(dtype: np.dtype, dimensions: int, flags: int) -> str:
    """Arrays by element type, dimensions, layout, and whether they are aligned and may be written to."""
    layout = "C" if flags & C_CONTIGUOUS else "F" if flags & F_CONTIGUOUS else "A"
    return f"[{_dtype(dtype)}{dimensions}{layout}{bool(flags & ALIGNED):d}{bool(flags & WRITEABLE):d}]"


@cache
def _dtype(dtype: np.dtype) -> str:
    """Return the key of a record type: size and names, which differ for all records that one entry takes."""
    if not dtype.names:
        return dtype.str
    return f"V{dtype.itemsize}{hashlib.sha256(' '.join(dtype.names).encode()).hexdigest()[:8]}"


def _flat(arguments: tuple[Any, ...]) -> Iterator[int | float]:
    for value in arguments:
        if isinstance(value, np.ndarray):
            yield from (0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
        elif isinstance(value, tuple):
            yield from _flat(value)
        elif isinstance(value, np.void):
            yield np.frombuffer(value, np.uint8).ctypes.data
        else:
            yield value if isinstance(value, float | np.float32) else int(value)


@cache
def cpu() -> str | None:
    """Return a name for the kind of this CPU, None if it is not known.

    numba's variable for another CPU overrides it: `generic` stands for any.
    """
    if name := os.environ.get("NUMBA_CPU_NAME"):
        return f"{platform.machine()}-{name}"
    try:
        with CPU_TEXT.open("rb") as file:
            text = file.read(CPU_TEXT_BYTES).decode(errors="replace")
    except OSError:
        return None
    lines = [line.split(":", 1) for line in text.partition("\n\n")[0].splitlines() if ":" in line]
    described = {key.strip(): value for key, value in lines if key.strip() in CPU_KEYS}
    return f"{platform.machine()}-{hashlib.sha256(repr(sorted(described.items())).encode()).hexdigest()[:12]}"


def usable() -> bool:
    """True if entries may run from shared objects: no option of numba changes the compilation."""
    other = ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_DEBUGINFO")
    return sys.platform == "linux" and cpu() is not None and not any(map(os.environ.get, other))


@cache
def linker() -> str | None:
    """Return the system's linker, None if there is none."""
    return next((path for name in LINKERS if (path := shutil.which(name))), None)


def write(path: Path, content: bytes) -> None:
    """Write an object with its digest, whole or not at all; empty content records that none can be made."""
    folders.make(path.parent)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(content + hashlib.sha256(content).digest())
    part.chmod(folders.OWN_FILE)
    part.replace(path)


def path_in(folder: Path, function: Callable[..., Any], kind: str, of: str | None = None) -> Path:
    """Return the path of a function's object for arguments of a kind; ``of``: the name of a CPU, default this one."""
    name = f"{function.__qualname__}-{hashlib.sha256(kind.encode()).hexdigest()[:12]}-{of or cpu()}.so"
    return folder / function.__module__ / name


def found(folder: Path, function: Callable[..., Any], kind: str, arguments: tuple[Any, ...]) -> Linked | None:
    """Return the function, from the user's folder or from the wheel; None if neither has it.

    A file that another user made or may write to is ignored (folder.py), unless it was shipped with the source.

    Raises Unlinkable if it is recorded that none can be made.
    """
    shipped = path_in(SHIPPED / folder.name, function, kind, f"{platform.machine()}-generic")
    for path in (path_in(folder, function, kind), shipped):
        try:
            if path == shipped or folders.is_ours(path):
                return Linked(path, arguments)
        except OSError:
            continue
    return None
