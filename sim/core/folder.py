"""The folder for compiled code and timings: this user's alone, or one that ends with the process.

numba unpickles what it finds in its cache, so a file of another user's making would run here. The folder is therefore
our own (owner, mode 0700, no parent that others may write to), or a fresh one.
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
"""Environment variable: where the folder is made."""


@cache
def cache_folder() -> Path:
    """Return the folder for compiled code and timings: the user's own, else one of this process, removed at its end."""
    home = os.environ.get(VARIABLE) or os.environ.get("XDG_CACHE_HOME")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    with suppress(OSError, RuntimeError):  # not writable; no home folder
        return _own(Path(home) if home else Path.home() / ".cache")
    with suppress(OSError):
        return _own(Path(tempfile.gettempdir()) / f"carat-{user}")
    fresh = tempfile.mkdtemp(prefix="carat-")
    atexit.register(shutil.rmtree, fresh, ignore_errors=True)
    os.environ[VARIABLE] = fresh  # for the processes that this one starts
    return _own(Path(fresh))


def _own(home: Path) -> Path:
    """Return the folder `carat` in ``home``, made if need be. Raises OSError where it is not ours alone."""
    home.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    folder = home.resolve() / "carat"
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    if not _secured(folder) or not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder}: not a folder of this user alone")
    return folder


def _secured(folder: Path) -> bool:
    """Make the folder ours alone; False when another user owns it, could write to it, or could replace it."""
    if not hasattr(os, "geteuid"):
        return True
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & OTHERS_WRITE:
        return False  # where others could write, something of theirs may lie in it already
    if stat.S_IMODE(state.st_mode) != stat.S_IRWXU:
        folder.chmod(stat.S_IRWXU)
    return all(_not_replaceable(parent.lstat()) for parent in folder.parents)


def make(folder: Path) -> None:
    """Make a folder of compiled code, in one named after sources, so that `is_ours` holds whatever the umask is."""
    for one in (folder.parent, folder):
        one.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)


def is_ours(path: Path) -> bool:
    """True when a file of the folder and the two folders around it are this user's or root's and no others may write.

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
    """True when no other user but root can rename what is ours in this folder."""
    owned = state.st_uid in (0, os.geteuid())
    return owned and (not state.st_mode & OTHERS_WRITE or bool(state.st_mode & stat.S_ISVTX))
