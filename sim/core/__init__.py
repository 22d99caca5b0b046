"""The timing core: the machine in compiled code. It imports numpy, numba (when it first runs) and the command set.

Compiled code is cached on disk under a folder named after the content of *all* files of this room and of the command
set: numba itself watches only the file of the cached function, and would run old units from a new loop.
"""

import hashlib
from pathlib import Path

from sim.core.folder import cache_folder

_CORE = Path(__file__).parent
COMMAND_SET = tuple(_CORE.parent / "isa" / f"{name}.py" for name in ("codes", "commands", "fields", "layouts"))
SOURCES = sorted([*_CORE.rglob("*.py"), *COMMAND_SET])
SOURCE_KEY = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]
"""Digest of the source of this room and of the command set: names the compile cache, part of every result's key."""

COMPILE_CACHE = cache_folder() / SOURCE_KEY
PART = "core"
"""Name of this room in a notice of compilation; its folder is named by the digest alone."""
