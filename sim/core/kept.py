"""numba's cache on disk, for entries without a shared object; a damaged file is not read.

numba does not check its files: a flipped bit would be an error at every start, or wrong code. So each file has a
digest, and a file whose digest does not match is compiled anew. Rights of the folder: folder.py.

A function's files lie in a folder named after its module, within one named after the content of all its sources
(sim/core/__init__.py). The path of the sources does not matter: all checkouts and installations of the same sources
share one compilation. numba by itself would key on the path, and compile once per checkout.

A wheel contains none of these files, only shared objects (linked.py).
"""

import hashlib
import io
import pickle
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from numba.core.caching import IndexDataCacheFile, _CacheLocator

from sim.base import notice
from sim.core import PART
from sim.core.folder import OWN_FILE, is_ours, make

DIGEST_BYTES = hashlib.sha256().digest_size


def checked(dispatcher, folder):
    """Make a function compiled with `cache=True` store its code with a digest, and load only matching code.

    The folder's name stands for the content of the sources.
    """
    kept = getattr(dispatcher, "_cache", None)
    files = getattr(kept, "_cache_file", None)
    if files is not None:  # None: compilation is switched off
        place = _Placed(folder, dispatcher.py_func)
        kept._impl._locator, kept._cache_path = place, place.get_cache_path()
        name = files._index_name.removesuffix(".nbi")
        kept._cache_file = _Kept(kept._cache_path, name, place.get_source_stamp())
    return dispatcher


def is_kept(dispatcher, types) -> bool:
    """True when the code of a function for these types of arguments, and for this CPU, can be loaded."""
    kept = dispatcher._cache
    key = kept._index_key(tuple(types), dispatcher.targetctx.codegen())
    return kept._cache_file.has(key)


class _Placed(_CacheLocator):
    """Location of numba's cache of a function.

    A folder that depends on the content of the sources, not on their path.
    """

    def __init__(self, folder: Path, function):
        self._stamp, self._line = folder.name, function.__code__.co_firstlineno
        self._path = str(folder / function.__module__)

    def get_cache_path(self):
        return self._path

    def ensure_cache_path(self):
        make(Path(self._path))
        super().ensure_cache_path()

    def get_source_stamp(self):
        return self._stamp

    def get_disambiguator(self):
        return str(self._line)


class _Kept(IndexDataCacheFile):
    """numba's files of one function, each preceded by the digest of its content; a missing file is announced."""

    def __init__(self, path, name, stamp):
        super().__init__(path, name, stamp)
        self._part = stamp.rpartition("-")[0] or PART

    @contextmanager
    def _open_for_write(self, filepath):
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(_seal(content.getvalue()) + content.getvalue())
        Path(filepath).chmod(OWN_FILE)

    def _content(self, path):
        """Return the file without its digest. Raises OSError, which numba treats as a missing file, if it was altered.

        Also if another user made it or may write to it.
        """
        kept = Path(path).read_bytes()
        content = kept[DIGEST_BYTES:]
        if not is_ours(Path(path)) or kept[:DIGEST_BYTES] != _seal(content):
            raise OSError(f"{path}: not what was written")
        return content

    def _load_index(self):
        try:
            stamp, overloads = _index(self._content(self._index_path), self._version)
        except OSError:
            return {}
        return dict(overloads) if stamp == self._source_stamp else {}

    def _load_data(self, name):
        return pickle.loads(self._content(self._data_path(name)))

    def has(self, key):
        """True if there is a file for this key."""
        name = self._load_index().get(key)
        return name is not None and Path(self._data_path(name)).exists()

    def load(self, key):
        """Return the compiled function; None, after announcing a compilation, if no intact file has it."""
        found = super().load(key)
        if found is None:
            notice.compiling(self._part)
        return found


@lru_cache(maxsize=64)  # read twice, by `has` and by `load`: half of the time of a load
def _index(content, version):
    """The stamp and the entries of an index; none of another release of numba, whose entries may not be readable."""
    stream = io.BytesIO(content)
    return pickle.load(stream) if pickle.load(stream) == version else ("", {})


def _seal(content):
    return hashlib.sha256(content).digest()
