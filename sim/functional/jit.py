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
SOURCES = (ROOM / "arithmetic.py", ROOM / "counts.py", *sorted(ROOM.glob("kernel*.py")))
"""The files with compiled code."""

SOURCE_KEY = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` with numba, cached beside the timing core's code."""
    folder = COMPILE_CACHE.parent / f"functional-{SOURCE_KEY}"
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(folder)
    try:
        return numba.njit(cache=True)(function)
    finally:
        settings.CACHE_DIR = before
