"""Compilation of the room: `njit` for the units, `entry` for the few functions that Python calls.

numba gives every function a library of its own: optimised, wrapped for Python, turned into machine code, and then
optimised once more inside each caller. A unit is called by compiled code only, so its unoptimised LLVM code is passed
to its callers and optimised there, together with the units that it calls. With internal linkage a unit used once
becomes part of its caller (passes.py). Less is compiled, and the code is faster (docs/CLOCKS.md).

numba itself is imported when the first compiled function is called: a run whose timings are all on disk saves 0.25 s of
CPU.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, update_wrapper
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from sim.base import notice
from sim.core import COMPILE_CACHE, PART, linked

_MAKING, _LINKING = Lock(), Lock()


class Compiled:
    """A function that numba compiles when it is first called, from Python or from another compiled function."""

    def __init__(self, function: Callable[..., Any], way: str) -> None:
        """Take a function and the way to compile it (`passes.WAYS`)."""
        self.py_func, self._way, self._made = function, way, None
        update_wrapper(self, function)

    @property
    def dispatcher(self):
        """numba's dispatcher; the plain function if compilation is switched off."""
        if self._made is None:
            with _MAKING:
                self._made = self._made or self._make()
        return self._made

    def _make(self):
        import numba  # the heavy library itself

        from sim.core.passes import WAYS  # numba

        return numba.njit(**WAYS[self._way])(self.py_func)

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function."""
        return (self._made or self.dispatcher)(*arguments)

    @property
    def _numba_type_(self):
        """The numba type of the function, for compiled code that names it."""
        return self.dispatcher._numba_type_

    @property
    def targetoptions(self):
        """Options of the compilation; numba reads from them whether to inline a call."""
        return self.dispatcher.targetoptions


class Entry(Compiled):
    """A function that Python calls.

    Its code is cached in a folder, as a shared object (linked.py) or in numba's format.

    ``unit``: the function as other compiled code calls it.
    """

    def __init__(self, function: Callable[..., Any], way: str, folder: Path) -> None:
        """Take a function, the way to compile it and the folder of its code."""
        super().__init__(function, way)
        self.unit = Compiled(function, "plain" if way == "plain" else "unit")
        self._linked: dict[str, linked.Linked | None] = {}
        self._folder = folder

    def _make(self):
        import numba  # the heavy library itself

        from sim.core.kept import checked  # numba
        from sim.core.passes import WAYS  # numba

        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(self._folder)
        try:
            return checked(numba.njit(cache=True, nogil=True, **WAYS[self._way])(self.py_func), self._folder)
        finally:
            numba.config.CACHE_DIR = before

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function."""
        return self.prepared(*arguments)(*arguments)

    def bound(self, *arguments: Any) -> Callable[[], Any]:
        """Return a call with these arguments, which is faster if repeated."""
        found = self.prepared(*arguments)
        return found.bound(*arguments) if isinstance(found, linked.Linked) else lambda: found(*arguments)

    def prepared(self, *arguments: Any) -> Callable[..., Any]:
        """Return the callable for arguments of these types: loaded, else compiled and cached."""
        if not linked.usable():
            return self._made or self.dispatcher
        try:
            kind = linked.kinds(arguments)
        except linked.Unlinkable:
            return self._made or self.dispatcher
        if kind not in self._linked:
            with _LINKING:
                if kind not in self._linked:
                    self._linked[kind] = self._link(kind, arguments)
        return self._linked[kind] or self._made or self.dispatcher

    def _link(self, kind: str, arguments: tuple[Any, ...]) -> linked.Linked | None:
        """Return the function of a shared object, made if missing; None if none can be made."""
        try:
            found = linked.found(self._folder, self.py_func, kind, arguments)
            if found or linked.linker() is None:
                return found
            from sim.core import linking, passes  # numba

            if not passes.OBJECTS:
                return None
            notice.compiling(self._folder.name.rpartition("-")[0] or PART)
            path = linked.path_in(self._folder, self.py_func, kind)
            linking.make(self.py_func, self._way, arguments, path)
            return linked.Linked(path, arguments)
        except (linked.Unlinkable, OSError):
            return None

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of arguments for which it was called or prepared (linked.kinds)."""
        return list(self._linked)

    def is_kept(self, *arguments: Any) -> bool:
        """True if the code for arguments of these types can be loaded on this CPU."""
        with suppress(linked.Unlinkable):
            if linked.usable():
                kind = linked.kinds(arguments)
                found = self._linked.get(kind) or linked.found(self._folder, self.py_func, kind, arguments)
                if found:
                    self._linked[kind] = found
                    return True
                if linked.linker() is not None:
                    from sim.core import passes  # numba

                    if passes.OBJECTS:
                        return False
        import numba  # the heavy library itself

        from sim.core.kept import is_kept  # numba

        return is_kept(self.dispatcher, tuple(map(numba.typeof, arguments)))

    def compile(self, *arguments: Any) -> None:
        """Compile for arguments of these types, or load the cached code."""
        made = self.prepared(*arguments)
        if not isinstance(made, linked.Linked) and not switched_off():
            import numba  # the heavy library itself

            made.compile(tuple(map(numba.typeof, arguments)))

    @property
    def _numba_type_(self):
        return self.unit._numba_type_

    @property
    def targetoptions(self):
        """As for any compiled function."""
        return self.unit.targetoptions


def njit(unit: Callable[..., Any]) -> Compiled:
    """Compile a function that compiled code calls."""
    return Compiled(unit, "unit")


def inlined(part: Callable[..., Any]) -> Compiled:
    """Inline a function into its compiled callers: for parts that receive arrays."""
    return Compiled(part, "inlined")


def entry(function: Callable[..., Any]) -> Entry:
    """Compile a function that Python calls, and keep its code on disk."""
    return Entry(function, "entry", COMPILE_CACHE)


class Room:
    """Another room with compiled code, cached in a folder named after the content of ``sources``.

    These are the files with compiled code, and those whose constants it contains: numba watches only the file of an
    entry and would run old units from a new loop. ``arrays``: its units receive arrays, not records alone. numba then
    has to optimise each unit by itself to remove the counting of references (a third of the time of `fill`).
    """

    def __init__(self, name: str, sources: Iterable[Path], arrays: bool) -> None:
        key = hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:16]
        self.folder = COMPILE_CACHE.parent / f"{name}-{key}"
        self._arrays = arrays

    def entry(self, function: Callable[..., Any]) -> Entry:
        """Compile a function that Python calls, and keep its code on disk."""
        return Entry(function, "plain" if self._arrays else "entry", self.folder)

    def njit(self, unit: Callable[..., Any]) -> Compiled:
        """Compile a function that compiled code of the room calls."""
        return Compiled(unit, "plain" if self._arrays else "unit")


@cache
def _plain(dtype: np.dtype) -> np.dtype:
    return np.dtype((np.void, dtype)) if dtype.names else dtype


@cache
def switched_off() -> bool:
    """True when compilation is switched off (NUMBA_DISABLE_JIT)."""
    if not os.environ.get("NUMBA_DISABLE_JIT"):
        return False
    import numba  # the heavy library itself

    return bool(numba.config.DISABLE_JIT)


def passed(array: np.ndarray) -> np.ndarray:
    """Return a view of an array in the form that is fastest to pass to an entry.

    numba works out the type of a record array anew at every call (35 us for a machine); the type of a plain array is
    found by its type object. Run as plain Python, the room needs record arrays.
    """
    return array if switched_off() else array.view(_plain(array.dtype), np.ndarray)
