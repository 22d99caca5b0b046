"""Persistent timing cache, keyed by program, machine and core source.

An entry is a small file named after a SHA-256 of everything that determines a timing: the program, the machine as far
as the program can observe it (`sim.timing.machines`), clock, start phase and the source of the core. An entry never
becomes invalid, only unused. Files are written to a temporary name and renamed, so writers need no lock and readers
never see a partial file; each begins with the digest of its content, so a damaged file counts as absent and is written
anew. The folder is bounded: a full shelf (one of 256 sub-folders) drops its least recently used entries. A full or
read-only disk disables the cache, but never fails a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim import core, hardware, lower
from sim.base.errors import InputError
from sim.isa import commands
from sim.timing import cores, parameters, recurrence, timer, timing
from sim.timing.contents import L2Contents
from sim.timing.cores import Core, CoreTiming, Together
from sim.timing.machines import local_rows, narrowed
from sim.timing.timing import Timing

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.isa.commands import Program
    from sim.lower.work import Work
    from sim.timing.machines import Rows
    from sim.timing.timing import Clock

LIMIT_VARIABLE = "CARAT_CACHE_MIB"
"""Environment variable: largest size on disk in MiB; 0 switches the cache off."""
DEFAULT_MIB = 256
ENTRY_BYTES = 4096
"""Largest entry in bytes, a block of common file systems; larger ones (very many fences) are not kept."""
SHELVES = 256
DIGEST_BYTES = 32
DROPPED_SHARE = 4
"""A full shelf drops one entry in this number, the least recently used ones, so that it is not full again at once."""


@cache
def _core_version() -> str:
    """Digest of the source that turns a program into a `Timing`."""
    door = b"\0".join(
        Path(str(module.__file__)).read_bytes() for module in (timer, parameters, timing, cores, recurrence)
    )
    return core.SOURCE_KEY + hashlib.sha256(door).hexdigest()


@cache
def _lowering_version() -> str:
    """Digest of the source that lowers an item for a machine and adds counters that no command shows."""
    rooms = (Path(str(room.__file__)).parent for room in (hardware, lower))
    sources = sorted(file for room in rooms for file in room.rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sources)).hexdigest()


def limit_bytes() -> int:
    """Return the largest size of the timings on disk in bytes, which is also that of calibrations; 0: none is kept.

    Raises InputError when `LIMIT_VARIABLE` is no whole number of MiB.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_MIB))
    if not text.isdecimal():
        raise InputError(
            f"{LIMIT_VARIABLE}={text}: must be a whole number of MiB, 0 = no cache; nearest: {DEFAULT_MIB}"
        )
    return int(text) << 20


def default_timings() -> Timings | None:
    """Return the user's cache (beside the compiled core), or None if `LIMIT_VARIABLE` switches it off.

    Raises InputError as `limit_bytes`.
    """
    limit = limit_bytes()
    return Timings(core.COMPILE_CACHE.parent / "timings", limit) if limit else None


class Timings:
    """The cache in ``folder``, of at most ``limit_bytes`` (at least one entry a shelf, 1 MiB in all).

    ``hits``: timings found on disk so far.
    """

    def __init__(self, folder: Path, limit_bytes: int = DEFAULT_MIB << 20):
        self.folder = folder
        self.shelf_entries = max(1, limit_bytes // (SHELVES * ENTRY_BYTES))
        self.hits = 0
        self._lock = threading.Lock()

    def run(self, program: Program, hw: Hardware, *, clock: Clock = "periodic", phase: int = 0) -> Timing:
        """Return `sim.timing.timer.run` of a program: from disk, or run and kept. Raises as `timer.run`.

        With an L2 nothing is kept: the L2's contents are part of the timing, and are large.
        """
        if hw.remembers:
            return timer.run(program, hw, clock=clock, phase=phase)
        path = self._path(program, hw, clock, phase)
        if (kept := self._known(path)) is not None:
            return _timing(kept)
        found = timer.run(program, hw, clock=clock, phase=phase)
        self._write(path, _content(found))
        return found

    def run_cores(self, given: Sequence[Core], clock: Clock) -> Together:
        """Return `sim.timing.cores.run` of cores without an L2, DRAM or pages: from disk, or run and kept.

        The memory's contents are not kept: such a memory has no state between two runs.
        """
        key = hashlib.sha256(f"cores {_core_version()} {clock}".encode())
        for one in given:
            program = np.zeros(0, commands.COMMAND) if one.program is None else one.program
            key.update(hashlib.sha256(np.ascontiguousarray(program, dtype=commands.COMMAND).tobytes()).digest())
            numbers = [*cores.parameters(one.hw, len(given)), one.start, one.phase, one.written_rows]
            key.update(json.dumps([one.program is None, *numbers]).encode())
        name = key.hexdigest()
        path = self.folder / name[:2] / name[2:]
        if (kept := self._known(path)) is not None:
            return _together(kept)
        found = cores.run(given, clock=clock)
        self._write(path, {**vars(found), "contents": None, "cores": [one and asdict(one) for one in found.cores]})
        return found

    def of_item(self, item: Work, hw: Hardware, clock: str, phase: int) -> Timing | None:
        """Return the timing of an item that `keep_item` wrote, None if there is none.

        The key is the item (mask, product, addresses) and the machine, so that a hit needs no lowering.
        """
        kept = self._known(self._item_path(item, hw, clock, phase))
        return None if kept is None else _timing(kept)

    def keep_item(self, item: Work, hw: Hardware, clock: str, phase: int, timed: Timing) -> None:
        """Write the timing of an item whose lowering takes long, such as a sparse product's."""
        self._write(self._item_path(item, hw, clock, phase), _content(timed))

    def _item_path(self, item: Work, hw: Hardware, clock: str, phase: int) -> Path:
        key = f"item {_core_version()} {_lowering_version()} {clock} {phase} {hw.key} {item!r}"
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / name[2:]

    def _path(self, program: Program, hw: Hardware, clock: str, phase: int) -> Path:
        digest, rows = _looked_at(np.ascontiguousarray(program, dtype=commands.COMMAND).tobytes(), hw.dim)
        machine = np.fromiter(narrowed(rows, parameters.parameters(hw)).values(), np.int64).tobytes()
        start = f"{_core_version()} {clock} {phase} ".encode()
        name = hashlib.sha256(start + machine + digest).hexdigest()
        return self.folder / name[:2] / name[2:]

    def _known(self, path: Path) -> dict[str, Any] | None:
        """Return the timing in a file, and count a hit."""
        kept = _read(path)
        if kept is not None:
            with self._lock:
                self.hits += 1
        return kept

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        entry = _packed(content)
        if len(entry) > ENTRY_BYTES:
            return
        aside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(path.parent)
            aside.write_bytes(entry)
            aside.replace(path)
        except OSError:
            with suppress(OSError):
                aside.unlink()

    def _make_room(self, shelf: Path) -> None:
        """Drop the oldest entries of a full shelf; another process may be doing the same."""
        entries = list(shelf.iterdir())
        if len(entries) < self.shelf_entries:
            return
        used = []
        for entry in entries:
            with suppress(OSError):
                used.append((entry.stat().st_mtime_ns, entry))
        surplus = len(entries) - self.shelf_entries + 1 + self.shelf_entries // DROPPED_SHARE
        for _, entry in sorted(used)[:surplus]:
            with suppress(OSError):
                entry.unlink()


@lru_cache(maxsize=32)  # the operators of a run or two
def _looked_at(program: bytes, dim: int) -> tuple[bytes, Rows | None]:
    """Return a program's digest and its use of local memory."""
    return hashlib.sha256(program).digest(), local_rows(np.frombuffer(program, commands.COMMAND), dim)


def _content(timed: Timing) -> dict[str, Any]:
    return {field.name: getattr(timed, field.name) for field in fields(timed) if field.name not in ("timeline", "l2")}


def _timing(content: Mapping[str, Any]) -> Timing:
    return Timing(**{**content, "sections": tuple(content["sections"])}, timeline=None)


def _together(content: Mapping[str, Any]) -> Together:
    parts = [one and CoreTiming(**{**one, "sections": tuple(one["sections"])}) for one in content["cores"]]
    return Together(**{**content, "contents": L2Contents(b""), "cores": tuple(parts)})


def _packed(content: Mapping[str, Any]) -> bytes:
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode())
    return hashlib.sha256(packed).digest() + packed


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a file and mark it as used; None if it is missing or damaged."""
    try:
        entry = path.read_bytes()
    except OSError:
        return None
    packed = entry[DIGEST_BYTES:]
    if hashlib.sha256(packed).digest() != entry[:DIGEST_BYTES]:
        return None
    with suppress(OSError):
        os.utime(path)
    content: dict[str, Any] = json.loads(zlib.decompress(packed))
    return content
