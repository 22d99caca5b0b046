"""Several cores on one memory: the clocks agree, a core alone is one core, and the port carries no more than it can."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from helpers.clocks import WORKS
from helpers.memories import behind, pages
from helpers.strategies import SEEDS, machine, programs
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import Hang, InputError
from sim.core.engine import PAUSE_VISITS
from sim.hardware import Hardware, load
from sim.isa.commands import Program
from sim.lower import build, lower
from sim.timing import cores, timer
from sim.timing.contents import L2Contents
from sim.timing.cores import Core, CoreTiming

NOT_COMPARED = {"VISITED_CYCLES"}


@st.composite
def together(draw: Any) -> tuple[Hardware, list[Core]]:
    """One to four cores of one machine with programs of their own; some idle, some late; any memory."""
    seed = draw(SEEDS)
    random = Random(seed)
    hw = machine(seed)
    hw = hw.with_({"memory.latency_cycles": max(3, hw.memory.latency_cycles), "dma.max_in_flight_requests": 16})
    if random.random() < 0.3:
        hw = behind(hw, seed).with_({"memory.latency_cycles": 5})
    if random.random() < 0.2:
        hw = hw.with_(pages(random))
    count = random.choice((1, 2, 2, 3, 4))
    drawn = [draw(programs(hw, 8)) for _ in range(count)]
    some = [None if place and random.random() < 0.2 else program for place, program in enumerate(drawn)]
    return hw, [Core(hw, program, random.choice((0, 0, 3, 300)), random.choice((0, 1))) for program in some]


def message(given: Sequence[Core], clock: timer.Clock) -> tuple[Any, int]:
    """All that a run tells but the visited cycles, and these; a hang: that it hangs."""
    try:
        run = cores.run(given, clock=clock, timeline=True)
    except Hang:
        return "hang", 0
    parts = [part and _comparable(part) for part in run.cores]
    memory = {name: n for name, n in run.memory.items() if name not in NOT_COMPARED}
    return (run.cycles, parts, memory, run.contents.lines, run.contents.channels), run.visited_cycles


def _comparable(part: CoreTiming) -> dict[str, Any]:
    counters = {name: n for name, n in part.counters.items() if name not in NOT_COMPARED}
    times = part.timeline.tolist() if part.timeline is not None else None
    return {**vars(part), "counters": counters, "timeline": times}


@settings(max_examples=60)
@given(together())
def test_the_clocks_agree_on_random_programs_of_one_to_four_cores(case: tuple[Hardware, list[Core]]) -> None:
    leap, visited = message(case[1], "leap")
    reference, every = message(case[1], "reference")
    assert leap == reference
    assert visited <= every
    if leap != "hang":
        for part in leap[1]:
            assert part is None or sum(part["causes"].values()) == part["cycles"]


def test_the_periodic_clock_says_that_it_does_not_repeat() -> None:
    program = lower(WORKS["matmul"], HW)
    run = cores.run([Core(HW, program)] * 2)
    assert run.clock == "leap" and "several cores share a memory" in run.refusal
    assert cores.run([Core(HW, program)] * 2, clock="reference").refusal == ""


HW = load("gemmini_default")


@pytest.mark.parametrize("work", sorted(WORKS))
@pytest.mark.parametrize("count, place", [(1, 0), (2, 1), (4, 2)])
@pytest.mark.parametrize("preset", ("gemmini_default", "gemmini_ibert"))
def test_a_core_alone_takes_what_one_core_takes(preset: str, count: int, place: int, work: str) -> None:
    """To the cycle, and in every counter of its own; the others are there and idle."""
    hw = load(preset)
    try:
        program = lower(WORKS[work], hw)
    except InputError as refused:
        pytest.skip(str(refused))
    alone = timer.run(program, hw, clock="leap")
    run = cores.run([Core(hw, program if core == place else None) for core in range(count)])
    mine = run.cores[place]
    assert mine is not None and run.cycles == mine.cycles == alone.cycles
    assert mine.sections == alone.sections and mine.causes == alone.causes and mine.wait_cycles == 0
    assert {**mine.counters, "VISITED_CYCLES": 0} == {**alone.counters, "VISITED_CYCLES": 0}


@pytest.mark.parametrize("work", ("matmul", "one_row", "resadd", "conv"))
@pytest.mark.parametrize("latency, pace", [(40, 16.0), (5, 16.0), (100, 4.0)])
def test_a_core_alone_behind_an_l2_takes_what_one_core_of_an_soc_takes(latency: int, pace: float, work: str) -> None:
    """With a CPU in front, the tile's buffer lies before the L2 of one core, too; a second pass finds its lines."""
    paces = {"memory.read_bytes_per_cycle": pace, "memory.write_bytes_per_cycle": pace}
    hw = load("gemmini_l2", {"cpu.prices": "rocket", "memory.latency_cycles": latency, **paces})
    program = lower(WORKS[work], hw)
    contents, shared = L2Contents.empty(hw), None
    for _ in range(2):
        alone = timer.run(program, hw, clock="leap", l2=contents)
        full = timer.run(program, hw, clock="reference", l2=contents)
        assert (alone.cycles, alone.causes, alone.l2) == (full.cycles, full.causes, full.l2)
        run = cores.run([Core(hw, program)], contents=shared)
        assert run.cores[0] is not None and run.cycles == alone.cycles
        assert run.cores[0].sections == alone.sections
        assert run.memory["L2_HITS"] == alone.counters["L2_HITS"]
        assert alone.l2 is not None
        contents, shared = alone.l2, run.contents


WIDE = {
    "array.mesh_rows": 32, "array.mesh_columns": 32,
    "scratchpad.capacity": "64KiB", "accumulator.capacity": "64KiB",
    "dma.bus_bytes": 32, "dma.max_in_flight_requests": 2, "dma.max_request_bytes": 64,
    "memory.latency_cycles": 200, "memory.l2_bytes": 1 << 17, "cpu.prices": "rocket",
}  # fmt: skip
"""Puts of two beats and two ids: the second beat waits for the Put before, and the L2 acknowledges by the first."""


def layer(hw: Hardware) -> list[Program]:
    """The programs of a small encoder layer, in order."""
    run = sim.simulate("encoder-layer", hw, cache=False, threads=1, seq=64, hidden=64, heads=2, ffn=64)
    return [lower(work, step.machine or hw) for step in run.steps for work in step.works]


def row_of_runs(hw: Hardware, behind: list[Program], count: int, clock: timer.Clock) -> list[cores.Together]:
    """Programs one behind another, each on all cores at the same addresses."""
    runs: list[cores.Together] = []
    phases = [0] * count
    for program in behind:
        contents = runs[-1].contents if runs else None
        runs.append(cores.run([Core(hw, program, phase=p) for p in phases], clock=clock, contents=contents))
        phases = [part.phase for part in runs[-1].cores if part is not None]
    return runs


@pytest.mark.parametrize("count", (2, 3))
def test_a_put_whose_first_beat_was_acknowledged_reaches_the_l2_whole(count: int) -> None:
    """From every core, whatever ends first: a lost beat leaves the L2 inside a Put, and a core without an answer."""
    hw = load("gemmini_default", WIDE)
    programs = layer(hw)
    written = [timer.run(program, hw.with_({"memory.l2_bytes": 0})).counters for program in programs]
    leap, reference = (row_of_runs(hw, programs, count, clock) for clock in ("leap", "reference"))
    for one, other, alone in zip(leap, reference, written, strict=True):
        assert one.cycles == other.cycles and one.contents.lines == other.contents.lines
        for part, same in zip(one.cores, other.cores, strict=True):
            assert part is not None and same is not None and part.cycles == same.cycles
            for name in ("DRAM_WRITE_BYTES", "DRAM_WRITE_BYTES_UNMASKED", "BUS_WRITE_BEATS"):
                assert part.counters[name] == same.counters[name] == alone[name]


@pytest.mark.parametrize("changes", ({}, {"tlb.pages": "4KiB"}))
def test_a_core_alone_passes_on_to_its_next_program_what_one_core_passes_on(changes: dict[str, Any]) -> None:
    """Beats under way, lines of the L2, and where there are pages the TLB."""
    hw = load("gemmini_default", {**WIDE, **changes})
    contents, phase = L2Contents.empty(hw), 0
    programs = layer(hw)
    for program, run in zip(programs, row_of_runs(hw, programs, 1, "leap"), strict=True):
        alone = timer.run(program, hw, clock="leap", l2=contents, phase=phase)
        assert alone.l2 is not None
        contents, phase = alone.l2, alone.phase
        assert run.cycles == alone.cycles
        assert run.memory["L2_HITS"] == alone.counters["L2_HITS"]


def test_a_program_behind_one_that_paused_begins_in_its_first_cycle() -> None:
    """The loop pauses after some four million cycles; the next program counts from its own first one."""
    hw = load("gemmini_l2", {"cpu.prices": "rocket"})
    late = lower(build.matmul(16, 16, 16), hw).copy()
    late["gap"][-2] = 2 * PAUSE_VISITS  # the last command in front of the fence
    first, again = row_of_runs(hw, [late, lower(build.matmul(16, 16, 16), hw)], 1, "reference")
    assert first.cycles > PAUSE_VISITS and again.cycles < first.cycles - PAUSE_VISITS


@settings(max_examples=40)
@given(SEEDS, st.data())
def test_random_programs_alone_take_what_one_core_takes(seed: int, data: st.DataObject) -> None:
    hw = machine(seed)
    latency = max(3, hw.memory.latency_cycles)
    hw = hw.with_({"memory.latency_cycles": latency, "memory.l2_bytes": 0, "memory.one_port": False})
    program = data.draw(programs(hw, 12))
    try:
        alone = timer.run(program, hw, clock="leap")
    except Hang:
        return
    run = cores.run([Core(hw, None), Core(hw, program)]) if hw.dma.max_in_flight_requests <= 128 else None
    if run is not None and run.cores[1] is not None:
        assert run.cores[1].cycles == alone.cycles


@pytest.mark.parametrize("pace", (16.0, 5.3, 4.0))
@pytest.mark.parametrize("count", (2, 4, 8, 16))
def test_cores_on_disjoint_data_move_no_more_than_the_port_allows(count: int, pace: float) -> None:
    """Read beats and acknowledges share the way back and take a cycle each, beats at the memory's pace."""
    hw = load("gemmini_default", {"memory.read_bytes_per_cycle": pace, "memory.write_bytes_per_cycle": pace})
    work = build.matmul(64, 64, 64)
    apart = [work.moved({a: a + (core << 24) for a in work.addresses()}) for core in range(count)]
    run = cores.run([Core(hw, lower(part, hw)) for part in apart])
    read = run.memory["BUS_READ_BEATS"]
    assert read * hw.dma.bus_bytes <= run.cycles * pace
    assert read + run.memory["DRAM_WRITE_REQUESTS"] <= run.cycles
    ports = [part.counters for part in run.cores if part is not None]
    for name in ("BUS_READ_BEATS", "BUS_WRITE_BEATS", "DRAM_READ_BYTES", "DRAM_WRITE_BYTES"):
        assert sum(counters[name] for counters in ports) == run.memory[name]
    alone = timer.run(lower(work, hw), hw).cycles
    assert all(part is not None and part.cycles >= alone for part in run.cores)


def test_the_order_of_the_arbiter_counts_down() -> None:
    """Cores that all ask in one cycle go n-1, n-2, .., 0; so the last one is over first (TLArbiter.roundRobin)."""
    program: Program = lower(build.matmul(64, 64, 64), HW)
    run = cores.run([Core(HW, program)] * 4)
    cycles = [part.cycles for part in run.cores if part is not None]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]


def test_what_the_memory_of_a_run_keeps_is_found_by_the_next() -> None:
    hw = load("gemmini_l2")
    program: Program = lower(build.matmul(64, 64, 64), hw)
    cold = cores.run([Core(hw, program)] * 2)
    warm = cores.run([Core(hw, program)] * 2, contents=cold.contents)
    assert warm.cycles < cold.cycles
    assert warm.memory["L2_MISSES"] == 0 < cold.memory["L2_MISSES"]


@pytest.mark.parametrize("changes, count, said", [
    ({"dma.max_in_flight_requests": 64}, 8, "nearest legal value 32"),
    ({"memory.latency_cycles": 2}, 2, "nearest legal value 3"),
])  # fmt: skip
def test_beyond_what_the_memory_side_holds(changes: dict[str, Any], count: int, said: str) -> None:
    hw = load("gemmini_default", changes)
    with pytest.raises(InputError, match=said):
        cores.run([Core(hw, lower(WORKS["one_row"], hw))] * count)
    with pytest.raises(InputError, match="1 to 16"):
        cores.run([Core(HW, None)] * 17)
    with pytest.raises(InputError, match="no core has a program"):
        cores.run([Core(HW, None)] * 2)
