"""Compiled code without the compiler: an entry as a function of a shared object of its own, called through ctypes.

Reading numba in takes longer than most runs, so that what it compiled is kept as shared objects (linking.py makes
them), in folders named after the content of the sources as kept.py has it, and with a digest behind the code: a file
that is not what was written is made anew. An object holds for one kind of CPU, as /proc/cpuinfo describes it, or, in a
wheel (`SHIPPED`), for any of its architecture. Where no objects can be made or read, numba runs the entries itself.

A function of an object takes its arguments as numba passes them: an array as seven numbers and more (two pointers to
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
"""Room for the types of what a function returns, behind the code: characters of `RETURNS`, filled up with spaces."""
DIGEST_BYTES = hashlib.sha256().digest_size

TYPES = {float: ctypes.c_double, np.float64: ctypes.c_double, np.float32: ctypes.c_float}
RETURNS = {"q": ctypes.c_int64, "d": ctypes.c_double, "?": ctypes.c_bool}

CPU_KEYS = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU implementer", "CPU part")
CPU_TEXT = Path("/proc/cpuinfo")
CPU_TEXT_BYTES = 1 << 14
"""What is read of it: more than the text of one processor."""


LINKERS = ("ld", "ld.bfd", "ld.lld")


class Unlinkable(Exception):
    """An entry that no shared object can be made of, or arguments that it could not be handed."""


class Linked:
    """A function of a shared object.

    Raises OSError where the file is missing or altered, Unlinkable where it says that there is no object.
    """

    def __init__(self, path: Path, arguments: tuple[Any, ...]) -> None:
        """Load it, to be called with arguments like these."""
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
    """Return what decides the code of a function for these arguments. Raises Unlinkable for others than it takes."""
    return "".join(map(_kind, arguments))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        flags = value.flags
        layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        return f"[{_dtype(value.dtype)}{value.ndim}{layout}{flags.aligned:d}{flags.writeable:d}]"
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
def _dtype(dtype: np.dtype) -> str:
    """Records by size and names: no two kinds of record that one entry takes agree in both."""
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
    """Return a name for the code that runs on this CPU, None where it is not known.

    numba's variable for another CPU gives its name instead: `generic` stands for any.
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
    """True when entries may run from shared objects: no option of numba changes how code is compiled."""
    other = ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_DEBUGINFO")
    return sys.platform == "linux" and cpu() is not None and not any(map(os.environ.get, other))


@cache
def linker() -> str | None:
    """Return the system's linker, None where there is none."""
    return next((path for name in LINKERS if (path := shutil.which(name))), None)


def write(path: Path, content: bytes) -> None:
    """Write an object with its digest, whole or not at all. Without content: none can be made."""
    folders.make(path.parent)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(content + hashlib.sha256(content).digest())
    part.chmod(folders.OWN_FILE)
    part.replace(path)


def path_in(folder: Path, function: Callable[..., Any], kind: str, of: str | None = None) -> Path:
    """Return where the object of a function for arguments of a kind lies; ``of``: the name of a CPU, else this one."""
    name = f"{function.__qualname__}-{hashlib.sha256(kind.encode()).hexdigest()[:12]}-{of or cpu()}.so"
    return folder / function.__module__ / name


def found(folder: Path, function: Callable[..., Any], kind: str, arguments: tuple[Any, ...]) -> Linked | None:
    """Return the function, from the user's folder or from what was shipped; None where neither has it.

    A file that another user made or may write to is none (folder.py), unless it was shipped with the source.

    Raises Unlinkable where it was found before that there can be none.
    """
    shipped = path_in(SHIPPED / folder.name, function, kind, f"{platform.machine()}-generic")
    for path in (path_in(folder, function, kind), shipped):
        try:
            if path == shipped or folders.is_ours(path):
                return Linked(path, arguments)
        except OSError:
            continue
    return None
