"""Compilation of this room: cached on disk in a folder named after the content of its files, as `sim.core` does it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from sim.core import COMPILE_CACHE
from sim.core.kept import checked

ROOM = Path(__file__).parent
ISA = ROOM.parents[2] / "isa"
SOURCES = (*sorted(ROOM.glob("*.py")), *sorted(ISA.glob("*.py")))
"""The files with compiled code, and those whose constants it holds."""

SOURCE_KEY = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]

FOLDER = COMPILE_CACHE.parent / f"lower-{SOURCE_KEY}"


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that Python calls, without the interpreter lock; its code is kept on disk."""
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(FOLDER)
    try:
        return checked(numba.njit(cache=True, nogil=True)(function))
    finally:
        settings.CACHE_DIR = before


def njit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that compiled code of this room calls."""
    return numba.njit(inline="never")(function)
