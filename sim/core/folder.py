"""The folder for compiled code and timings: private to this user, or temporary for this process.

numba unpickles the files of its cache, so a file made by another user would be executed. The folder therefore belongs
to the user (owner, mode 0700, no parent that others may write to), or is a fresh one.
"""

import atexit
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OWN_FILE = stat.S_IRUSR | stat.S_IWUSR
"""Mode of a file of compiled code."""

VARIABLE = "CARAT_CACHE_DIR"
"""Environment variable: parent of the folder."""


@cache
def cache_folder() -> Path:
    """Return the folder for compiled code and timings.

    The user's own, else a temporary one, removed when the process ends.
    """
    home = os.environ.get(VARIABLE) or os.environ.get("XDG_CACHE_HOME")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    with suppress(OSError, RuntimeError):  # not writable; no home folder
        return _own(Path(home) if home else Path.home() / ".cache")
    with suppress(OSError):
        return _own(Path(tempfile.gettempdir()) / f"carat-{user}")
    fresh = tempfile.mkdtemp(prefix="carat-")
    atexit.register(shutil.rmtree, fresh, ignore_errors=True)
    os.environ[VARIABLE] = fresh  # for processes started by this one
    return _own(Path(fresh))


def _own(home: Path) -> Path:
    """Return the folder `carat` in ``home``, created if missing. Raises OSError if others can write to it."""
    home.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    folder = home.resolve() / "carat"
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    if not _secured(folder) or not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder}: not a folder of this user alone")
    return folder


def _secured(folder: Path) -> bool:
    """Make the folder private; False if another user owns it, could have written to it, or could replace it."""
    if not hasattr(os, "geteuid"):
        return True
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & OTHERS_WRITE:
        return False  # if others could write to it, it may contain their files already
    if stat.S_IMODE(state.st_mode) != stat.S_IRWXU:
        folder.chmod(stat.S_IRWXU)
    return all(_not_replaceable(parent.lstat()) for parent in folder.parents)


def make(folder: Path) -> None:
    """Make a folder of compiled code in one named after the sources; `is_ours` accepts it under any umask."""
    for one in (folder.parent, folder):
        one.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)


def is_ours(path: Path) -> bool:
    """True if a file of the folder and its two parent folders belong to this user or root and no others may write.

    The folder may have been open to others in the past, or may hold a copy of another user's. Raises OSError.
    """
    if not hasattr(os, "geteuid"):
        return True
    states = [path.lstat(), *(parent.lstat() for parent in path.parents[:2])]
    kinds = [stat.S_ISREG, stat.S_ISDIR, stat.S_ISDIR]
    return all(
        kind(state.st_mode) and state.st_uid in (0, os.geteuid()) and not state.st_mode & OTHERS_WRITE
        for kind, state in zip(kinds, states, strict=True)
    )


def _not_replaceable(state: os.stat_result) -> bool:
    """True if no other user but root can rename the user's files in this folder."""
    owned = state.st_uid in (0, os.geteuid())
    return owned and (not state.st_mode & OTHERS_WRITE or bool(state.st_mode & stat.S_ISVTX))
