"""Compiled code kept on disk, read back only where it is certain to be our own and whole.

numba unpickles what it finds in its cache, so a file of another user's making would run here. The folder is therefore
our own (owner, mode 0700, no parent that others may write to), or a fresh one that ends with the process. And numba
reads what it finds as it is; a flipped bit would be an error at every start, or wrong code. Each file is therefore kept
with a digest, and one that does not match is compiled anew.

A function's files lie in a folder named after its module, within one named after the content of all sources it is made
of (sim/core/__init__.py). Where those sources lie does not matter: every checkout and every installation of the same
sources shares one compilation. numba by itself would key on the path, and compile once a checkout.
"""

import atexit
import hashlib
import io
import os
import pickle
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numba
from numba.core.caching import IndexDataCacheFile, _CacheLocator

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
DIGEST_BYTES = hashlib.sha256().digest_size


VARIABLE = "CARAT_CACHE_DIR"


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


def _not_replaceable(state: os.stat_result) -> bool:
    """True when no other user but root can rename what is ours in this folder."""
    owned = state.st_uid in (0, os.geteuid())
    return owned and (not state.st_mode & OTHERS_WRITE or bool(state.st_mode & stat.S_ISVTX))


def checked(dispatcher):
    """Let a function compiled with `cache=True` keep its code with a digest, and read it only with the right one.

    The folder is that which numba is configured with now; its name stands for the content of the sources.
    """
    kept = getattr(dispatcher, "_cache", None)
    files = getattr(kept, "_cache_file", None)
    if files is not None:  # None: compilation is switched off
        place = _Placed(Path(numba.config.CACHE_DIR), dispatcher.py_func)
        kept._impl._locator, kept._cache_path = place, place.get_cache_path()
        name = files._index_name.removesuffix(".nbi")
        kept._cache_file = _Sealed(kept._cache_path, name, place.get_source_stamp())
    return dispatcher


class _Placed(_CacheLocator):
    """Where numba keeps a function: in a folder that depends on the content of the sources, not on their path."""

    def __init__(self, folder: Path, function):
        self._stamp, self._line = folder.name, function.__code__.co_firstlineno
        self._path = str(folder / function.__module__)

    def get_cache_path(self):
        return self._path

    def get_source_stamp(self):
        return self._stamp

    def get_disambiguator(self):
        return str(self._line)


class _Sealed(IndexDataCacheFile):
    """numba's files of one function, each with the digest of its content in front of it."""

    @contextmanager
    def _open_for_write(self, filepath):
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(_seal(content.getvalue()) + content.getvalue())

    def _content(self, path):
        """The file without its digest. Raises OSError, which numba takes for a missing file, when it was altered."""
        kept = Path(path).read_bytes()
        content = kept[DIGEST_BYTES:]
        if kept[:DIGEST_BYTES] != _seal(content):
            raise OSError(f"{path}: not what was written")
        return content

    def _load_index(self):
        try:
            content = io.BytesIO(self._content(self._index_path))
        except OSError:
            return {}
        if pickle.load(content) != self._version:
            return {}
        stamp, overloads = pickle.load(content)
        return overloads if stamp == self._source_stamp else {}

    def _load_data(self, name):
        return pickle.loads(self._content(self._data_path(name)))


def _seal(content):
    return hashlib.sha256(content).digest()
