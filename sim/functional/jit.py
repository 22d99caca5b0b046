"""Compilation of this room: cached on disk under a folder named after the content of all its compiled files.

Numba watches only the file of the cached function and would run yesterday's arithmetic from today's loop; the
timing core solves it the same way (sim/core/__init__.py) for its own folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from sim.core import COMPILE_CACHE

ROOM = Path(__file__).parent
CONSTANTS = (ROOM / "unit.py", ROOM.parent / "isa" / "commands.py", ROOM.parent / "sparsity" / "formats.py")
SOURCES = (ROOM / "arithmetic.py", ROOM / "counts.py", *sorted(ROOM.glob("kernel*.py")), *CONSTANTS)
"""The files with compiled code, and those whose constants it holds."""

SOURCE_KEY = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]

FOLDER = COMPILE_CACHE.parent / f"functional-{SOURCE_KEY}"


def is_compiled() -> bool:
    """True when this very source has been compiled and cached before (or compilation is switched off)."""
    settings: Any = numba.config
    return bool(settings.DISABLE_JIT) or any(FOLDER.rglob("*.nbc"))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` with numba, cached beside the timing core's code."""
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(FOLDER)
    try:
        return numba.njit(cache=True)(function)
    finally:
        settings.CACHE_DIR = before
