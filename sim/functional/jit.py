"""Compilation of this room: cached on disk under a folder named after the content of all its files.

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

SOURCE_KEY = hashlib.sha256(
    b"\0".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()[:16]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` with numba, cached beside the timing core's code."""
    folder = COMPILE_CACHE.parent / f"functional-{SOURCE_KEY}"
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        return numba.njit(cache=True)(function)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before
