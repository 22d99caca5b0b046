"""Timings on disk: found again by content only, bounded, safe beside other writers and damaged files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sim
from sim import hardware
from sim.base import workers
from sim.base.errors import InputError
from sim.isa.commands import Program
from sim.lower import build, lower
from sim.run import session
from sim.timing import cores, disk, timer
from sim.timing.disk import Timings, default_timings
from sim.timing.memo import Memo
from sim.timing.timing import Timing

HW = hardware.load("gemmini_default")
TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}
MIB = 1 << 20


def program(m: int = 16) -> Program:
    return lower(build.matmul(m, 16, 16), HW)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def not_the_core(*_: object, **__: object) -> Any:
    pytest.fail("simulated again")


def test_timing_comes_back_whole_without_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Timings(tmp_path).run(program(), HW)
    assert first == timer.run(program(), HW)
    monkeypatch.setattr(timer, "run", not_the_core)
    again = Timings(tmp_path)
    found = again.run(program(), HW)
    assert found == first and list(found.counters) == list(first.counters)
    assert again.hits == 1


def test_timings_of_several_cores_come_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal but for the memory's contents, which no other run takes; another neighbour is another entry."""
    pair = [cores.Core(HW, program()), cores.Core(HW, None)]
    other = [cores.Core(HW, program()), cores.Core(HW, program(32), phase=1)]
    first = [Timings(tmp_path).run_cores(given, "leap") for given in (pair, other)]
    assert len(files(tmp_path)) == 2
    assert [replace(one, contents=None) for one in first] == [
        replace(cores.run(given, clock="leap"), contents=None) for given in (pair, other)
    ]
    monkeypatch.setattr(cores, "run", not_the_core)
    again = Timings(tmp_path)
    for given, before in zip((pair, other), first, strict=True):
        assert replace(again.run_cores(given, "leap"), contents=None) == replace(before, contents=None)
    assert again.hits == 2


def test_a_run_on_several_cores_is_the_same_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"cores.count": 2, "cores.shared": "memory"}
    memos = [Memo(Timings(tmp_path)) for _ in range(2)]
    first = sim.simulate("encoder-layer", HW, overrides=own, memo=memos[0], **TINY)
    monkeypatch.setattr(cores, "run", not_the_core)
    again = sim.simulate("encoder-layer", HW, overrides=own, memo=memos[1], **TINY)
    assert again.rows == first.rows and again.core_rows == first.core_rows and again.spans == first.spans


def test_whatever_decides_a_timing_is_in_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Timings(tmp_path)
    cache.run(program(), HW)
    slower = program()
    slower["gap"][0] += 1
    cache.run(slower, HW)
    cache.run(program(32), HW)
    cache.run(program(), HW, phase=1)
    cache.run(program(), HW, clock="reference")
    cache.run(program(), HW.with_({"memory.latency_cycles": HW.memory.latency_cycles + 1}))
    monkeypatch.setattr(disk, "_core_version", lambda: "another")
    cache.run(program(), HW)
    assert cache.hits == 0 and len(files(tmp_path)) == 7


def test_what_the_core_does_not_see_is_not_in_the_key(tmp_path: Path) -> None:
    """Clock rate and energy table price a timing, they do not make it."""
    cache = Timings(tmp_path)
    cache.run(program(), HW)
    cache.run(program(), HW.with_({"energy_table": "7nm"}))
    assert cache.hits == 1


@pytest.mark.parametrize("damage", [b"", b"x" * 20, b"x" * 700, None])
def test_damaged_entry_counts_as_absent_and_is_written_anew(damage: bytes | None, tmp_path: Path) -> None:
    timed = Timings(tmp_path).run(program(), HW)
    (entry,) = files(tmp_path)
    whole = entry.read_bytes()
    flipped = bytes([whole[-1] ^ 1])
    entry.write_bytes(whole[:-1] + flipped if damage is None else damage)
    cache = Timings(tmp_path)
    assert cache.run(program(), HW) == timed
    assert cache.hits == 0 and entry.read_bytes() == whole


def test_cache_is_bounded_and_drops_what_was_not_used_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All on one shelf of four: the entry that is used all the time stays, the total never passes the bound."""
    cache = Timings(tmp_path, 4 * disk.SHELVES * disk.ENTRY_BYTES)
    monkeypatch.setattr(cache, "_path", lambda program, hw, clock, phase: tmp_path / "00" / str(program["gap"][0]))
    clock_ns = 0

    def at_next_second(path: Path) -> None:
        nonlocal clock_ns
        clock_ns += 10**9
        os.utime(path, ns=(clock_ns, clock_ns))

    for gap in range(1, 12):
        changed = program()
        changed["gap"][0] = gap
        cache.run(changed, HW)
        at_next_second(tmp_path / "00" / str(gap))
        assert len(files(tmp_path)) <= 4
        assert (tmp_path / "00" / "1").exists()
        at_next_second(tmp_path / "00" / "1")


def test_smallest_cache_holds_one_entry_a_shelf(tmp_path: Path) -> None:
    cache = Timings(tmp_path, 0)
    for gap in range(1, 40):
        changed = program()
        changed["gap"][0] = gap
        cache.run(changed, HW)
    kept = files(tmp_path)
    assert len({path.parent for path in kept}) == len(kept) > 1
    assert max(path.stat().st_size for path in kept) <= disk.ENTRY_BYTES


def _hammer(folder: Path) -> list[int]:
    """Runs in a worker: ask for the same eight programs over and over, on shelves that are always full."""
    cache = Timings(folder, 0)
    programs = [program(16 * size) for size in range(1, 9)]
    return [cache.run(commands, HW).cycles for _ in range(20) for commands in programs]


def test_concurrent_writers_do_no_harm(tmp_path: Path) -> None:
    with workers.pool(2) as pool:
        answers = [future.result() for future in [pool.submit(_hammer, tmp_path) for _ in range(2)]]
    right = [timer.run(program(16 * size), HW).cycles for size in range(1, 9)]
    assert len(set(right)) == len(right)
    assert answers == [right * 20, right * 20]
    assert all(disk._read(path) is not None for path in files(tmp_path)), "nothing half-written is left"


def test_folder_that_cannot_be_written_costs_the_cache_only(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    cache = Timings(in_the_way)
    assert cache.run(program(), HW) == cache.run(program(), HW)
    assert cache.hits == 0 and in_the_way.read_text() == ""


def test_cache_is_switched_off_and_sized_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(disk.LIMIT_VARIABLE, "0")
    assert default_timings() is None
    monkeypatch.setenv(disk.LIMIT_VARIABLE, "64")
    sized = default_timings()
    assert sized is not None and sized.shelf_entries * disk.SHELVES * disk.ENTRY_BYTES == 64 * MIB
    monkeypatch.setenv(disk.LIMIT_VARIABLE, "lots")
    with pytest.raises(InputError, match="CARAT_CACHE_MIB=lots: must be a whole number"):
        default_timings()


def test_rows_are_the_same_with_and_without_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sim.simulate("encoder-layer", "gemmini_ibert", cache=False, **TINY)
    kept = Timings(tmp_path)
    monkeypatch.setattr("sim.run.pipeline.default_timings", lambda: kept)
    filling = sim.simulate("encoder-layer", "gemmini_ibert", **TINY)
    monkeypatch.setattr(timer, "run", not_the_core)
    found = sim.simulate("encoder-layer", "gemmini_ibert", **TINY)
    assert plain.rows == filling.rows == found.rows
    assert kept.hits == found.totals["distinct"] == len(files(tmp_path))


@pytest.mark.parametrize("slots", [session.LOOP_SLOTS, 1, 3])
def test_threads_change_nothing_even_when_the_start_is_predicted_wrongly(
    slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``slots`` 1 and 3 predict wrong starts, 3 even impossible ones."""
    alone = sim.simulate("encoder-layer", "gemmini_ibert", layers=3, threads=1, **TINY)
    monkeypatch.setattr(session, "LOOP_SLOTS", slots)
    together = sim.simulate("encoder-layer", "gemmini_ibert", layers=3, threads=3, **TINY)
    assert alone.rows == together.rows
    assert dict(alone.starts) == dict(together.starts)


def test_start_is_predicted_for_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program runs once: none was begun in vain, but the other order of work of sparse weights."""
    real, starts = timer.run, []

    def counted(commands: Program, hw: hardware.Hardware, **how: Any) -> Timing:
        starts.append((commands.tobytes(), how["phase"]))
        return real(commands, hw, **how)

    monkeypatch.setattr(timer, "run", counted)
    for sparsity in (None, "block16:0.5"):
        starts.clear()
        done = sim.simulate("encoder-layer", "gemmini_ibert", layers=2, sparsity=sparsity, threads=2, **TINY)
        assert len(set(starts)) == len(starts)
        if sparsity is None:
            assert len(starts) == done.totals["distinct"]


def test_refused_and_hanging_operators_are_named_from_a_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise InputError("too much")

    monkeypatch.setattr(timer, "run", refuses)
    for threads in (1, 2):
        with pytest.raises(InputError, match=r"^operator L0\.matmul_Q on gemmini_ibert: too much$"):
            sim.simulate("encoder-layer", "gemmini_ibert", threads=threads, **TINY)
    with pytest.raises(InputError, match="threads: 0"):
        sim.simulate("encoder-layer", "gemmini_ibert", threads=0, **TINY)


def test_memo_forgets_the_oldest_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.timing.memo.MAX_TIMINGS", 2)
    memo, requested = Memo(), []
    item = build.matmul(16, 16, 16)

    timed = timer.run(program(), HW)

    def answer(phase: int) -> None:
        def run() -> Timing:
            requested.append(phase)
            return timed

        assert memo.timing(item, HW, phase, "leap", run) == timed

    for phase in (0, 1, 0, 2, 0, 1):
        answer(phase)
    assert requested == [0, 1, 2, 1], "0 was used in between, 1 was not"
    assert memo.known(item, HW, 2, "leap") is None
