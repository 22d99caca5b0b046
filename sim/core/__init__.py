"""The hot room: the machine in compiled code. It imports numpy, numba and the command door, nothing else of ours.

Compiled code is cached on disk under a folder named after the content of *all* files of this room and of `sim.isa`:
numba itself watches only the file of the cached function, and would run yesterday's units from today's loop.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import numba

_CORE = Path(__file__).parent
SOURCES = sorted([*_CORE.rglob("*.py"), *_CORE.parent.glob("isa/**/*.py")])
SOURCE_KEY = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]
"""Digest of the source of this room and of `sim.isa`: names the compile cache, and is part of every result's key."""


def _cache_folder() -> Path:
    """The user's cache folder, or a temporary one where that cannot be written."""
    home = os.environ.get("CARAT_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    folder = Path(home) if home else Path.home() / ".cache"
    try:
        (folder / "carat" / SOURCE_KEY).mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir())
        (folder / "carat" / SOURCE_KEY).mkdir(parents=True, exist_ok=True)
    return folder / "carat" / SOURCE_KEY


COMPILE_CACHE = _cache_folder()
numba.config.CACHE_DIR = str(COMPILE_CACHE)


def is_compiled() -> bool:
    """True when this very source has been compiled and cached before (or compilation is switched off)."""
    parts = ("engine.run-*.nbc", "periodic.leave-*.nbc")
    return bool(numba.config.DISABLE_JIT) or all(any(COMPILE_CACHE.rglob(part)) for part in parts)
