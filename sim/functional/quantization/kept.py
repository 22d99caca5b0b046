"""Cache of calibration results: in memory, and on disk next to the timings (`sim.timing.disk`).

An entry is named after a SHA-256 of everything that determines it, so it never becomes invalid, only unused. A file is
written to a temporary name and renamed, and begins with the digest of its content: a damaged one counts as absent and
is written anew. It holds numbers, no objects. A full or read-only disk loses the entry, but never fails a run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim import core, graph, lower
from sim.timing import disk

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

DIGEST_BYTES = 32
LENGTH_BYTES = 8
MAX_KEPT_IN_MEMORY = 256
"""Entries in memory: the matrices and neuron groups of a model of 24 layers."""

_memory: OrderedDict[str, Arrays] = OrderedDict()


@cache
def version() -> str:
    """Return the digest of the source that determines the results of calibration."""
    rooms = [Path(str(room.__file__)).parent for room in (graph, lower)] + [Path(__file__).parents[1]]
    rooms.append(Path(__file__).parents[3] / "workloads" / "checkpoint")
    digest = hashlib.sha256()
    for file in sorted(file for room in rooms for file in room.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def name_of(*parts: object) -> str:
    """Return the name of an entry: a digest of its parts, arrays by their content."""
    digest = hashlib.sha256(version().encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(repr((part.shape, part.dtype.str)).encode())
            digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def recalled(name: str, make: Callable[[], Arrays], *, on_disk: bool) -> Arrays:
    """Return the arrays of an entry: cached, or computed by ``make`` and then cached."""
    if name in _memory:
        _memory.move_to_end(name)
        return _memory[name]
    found = _read(_folder() / name) if on_disk else None
    if found is None:
        found = make()
        if on_disk:
            _write(_folder() / name, found)
    _memory[name] = found
    while len(_memory) > MAX_KEPT_IN_MEMORY:
        _memory.popitem(last=False)
    return found


def forget() -> None:
    """Clear the cache in memory."""
    _memory.clear()


def _folder() -> Path:
    return core.COMPILE_CACHE.parent / "calibrations"


def _packed(arrays: Mapping[str, Array]) -> bytes:
    header = json.dumps({name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}).encode()
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    whole = len(header).to_bytes(LENGTH_BYTES, "little") + header + content
    return hashlib.sha256(whole).digest() + whole


def _read(path: Path) -> Arrays | None:
    """Return the arrays of a file and mark it as used; None if it is missing or damaged."""
    try:
        entry = path.read_bytes()
    except OSError:
        return None
    whole = memoryview(entry)[DIGEST_BYTES:]
    if hashlib.sha256(whole).digest() != entry[:DIGEST_BYTES]:
        return None
    with suppress(OSError):
        os.utime(path)
    first = LENGTH_BYTES + int.from_bytes(whole[:LENGTH_BYTES], "little")
    found: Arrays = {}
    for name, (kind, shape) in json.loads(bytes(whole[LENGTH_BYTES:first])).items():
        dtype, count = np.dtype(kind), int(np.prod(shape, dtype=np.int64))
        found[name] = np.frombuffer(whole, dtype, count, first).reshape(shape)
        first += count * dtype.itemsize
    return found


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    limit, entry = disk.limit_bytes(), _packed(arrays)
    if len(entry) > limit:
        return
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent.iterdir(), limit - len(entry))
        aside.write_bytes(entry)
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink()


def _make_room(entries: Iterable[Path], limit: int) -> None:
    """Drop the least recently used entries until ``limit`` bytes are left; other processes may do the same."""
    used = []
    for entry in entries:
        with suppress(OSError):
            state = entry.stat()
            used.append((state.st_mtime_ns, state.st_size, entry))
    total = sum(size for _, size, _ in used)
    for _, size, entry in sorted(used):
        if total <= limit:
            return
        with suppress(OSError):
            entry.unlink()
        total -= size
