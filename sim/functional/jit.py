"""Compilation of this room: cached on disk under a folder named after the content of all its compiled files.

Numba watches only the file of the cached function and would run old arithmetic from a new loop; the timing core solves
it the same way for its own folder (sim/core/__init__.py), whose way of compiling units this room shares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from sim.core import COMPILE_CACHE, jit

ROOM = Path(__file__).parent
CONSTANTS = (
    ROOM / "unit.py",
    *sorted((ROOM.parent / "isa").glob("*.py")),
    ROOM.parent / "sparsity" / "masks" / "formats.py",
)
SOURCES = (*sorted((ROOM / "kernels").glob("*.py")), *CONSTANTS)
"""The files with compiled code, and those whose constants it holds."""

SOURCE_KEY = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]

FOLDER = COMPILE_CACHE.parent / f"functional-{SOURCE_KEY}"

njit = jit.njit
"""Compile a function that compiled code calls."""


def is_compiled() -> bool:
    """True when this very source has been compiled and cached before (or compilation is switched off)."""
    settings: Any = numba.config
    return bool(settings.DISABLE_JIT) or any(FOLDER.rglob("*.nbc"))


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that Python calls; its code is kept on disk beside that of the timing core."""
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(FOLDER)
    try:
        make: Callable[..., Callable[..., Any]] = jit.entry
        return make(function)
    finally:
        settings.CACHE_DIR = before
