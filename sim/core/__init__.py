"""The timing core: the machine in compiled code. It imports numpy, numba and the command set, nothing else of ours.

Compiled code is cached on disk under a folder named after the content of *all* files of this room and of the command
set: numba itself watches only the file of the cached function, and would run yesterday's units from today's loop.
"""

import hashlib
from pathlib import Path

import numba

from sim.core.kept import cache_folder

_CORE = Path(__file__).parent
COMMAND_SET = tuple(_CORE.parent / "isa" / f"{name}.py" for name in ("codes", "commands", "fields"))
SOURCES = sorted([*_CORE.rglob("*.py"), *COMMAND_SET])
SOURCE_KEY = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]
"""Digest of the source of this room and of the command set: names the compile cache, part of every result's key."""

COMPILE_CACHE = cache_folder() / SOURCE_KEY
numba.config.CACHE_DIR = str(COMPILE_CACHE)


def is_compiled() -> bool:
    """True when this very source has been compiled and cached before (or compilation is switched off)."""
    parts = ("sim.core.engine/engine.run-*.nbc", "sim.core.repeat.periodic/periodic.save_state-*.nbc")
    return bool(numba.config.DISABLE_JIT) or all(any(COMPILE_CACHE.glob(part)) for part in parts)
