"""The clocks agree on machines behind a DRAM, whatever it is, with pages, and from one program to the next."""

from __future__ import annotations

from random import Random

import pytest
from helpers.clocks import WORKS, outcome
from helpers.memories import behind, pages
from helpers.strategies import SEEDS, cases
from hypothesis import given

from sim.hardware import Hardware, load
from sim.hardware.dram import devices
from sim.isa.commands import Program
from sim.lower import lower
from sim.timing.contents import L2Contents
from sim.timing.timer import run
from sim.timing.timing import Timing


@given(cases(), SEEDS)
def test_random_programs_on_random_machines_behind_random_drams(case: tuple[Hardware, Program, int], seed: int) -> None:
    hw = behind(case[0], seed)
    _agree(case[1], hw, case[2])


@given(cases(), SEEDS)
def test_random_programs_on_random_machines_with_pages(case: tuple[Hardware, Program, int], seed: int) -> None:
    random = Random(seed)
    hw = case[0].with_(pages(random))
    _agree(case[1], behind(hw, seed) if random.random() < 0.3 else hw, case[2])


def _agree(program: Program, hw: Hardware, phase: int) -> None:
    leap, visited = outcome(program, hw, "leap", phase)
    reference, every = outcome(program, hw, "reference", phase)
    assert leap == reference
    assert visited <= every


@pytest.mark.parametrize("seed", range(12))
def test_a_program_finds_the_rows_that_the_one_before_left_open(seed: int) -> None:
    """Three operators in a row, each from what the one before left: both clocks agree on each of them."""
    hw = behind(load("gemmini_l2" if seed % 3 == 0 else "gemmini_default"), seed)
    hw = hw.with_(pages(Random(seed))) if seed % 2 else hw
    runs: dict[str, list[Timing]] = {"leap": [], "reference": []}
    for clock, timings in runs.items():
        contents: L2Contents | None = L2Contents.empty(hw)
        for name in ("matmul", "resadd", "one_row"):
            timing = run(lower(WORKS[name], hw), hw, clock=clock, l2=contents)  # type: ignore[arg-type]
            contents = timing.l2
            timings.append(timing)
    for leap, reference in zip(runs["leap"], runs["reference"], strict=True):
        assert (leap.cycles, leap.causes, leap.l2) == (reference.cycles, reference.causes, reference.l2)
        counted = [{name: n for name, n in t.counters.items() if name != "VISITED_CYCLES"} for t in (leap, reference)]
        assert counted[0] == counted[1]
    assert runs["leap"][0].counters["DRAM_READ_BURSTS"] > 0


@pytest.mark.parametrize("device", devices())
def test_each_byte_of_a_product_is_brought_by_a_burst(device: str) -> None:
    """Bursts are whole lines: at least the bytes requested, and as many commands as hits, misses and conflicts."""
    hw = load("gemmini_default", {"memory.dram": device, "memory.dram.controller.posted_writes": False})
    timing = run(lower(WORKS["matmul"], hw), hw)
    count, line = timing.counters, hw.memory.dram.line_bytes  # type: ignore[union-attr]
    assert count["DRAM_READ_BURSTS"] * line >= count["DRAM_READ_BYTES"]
    judged = count["DRAM_ROW_HITS"] + count["DRAM_ROW_MISSES"] + count["DRAM_ROW_CONFLICTS"]
    assert judged == count["DRAM_READ_BURSTS"] + count["DRAM_WRITE_BURSTS"]
    assert count["DRAM_OPEN_CLOCKS"] <= count["DRAM_CLOCKS"]


def test_the_periodic_clock_says_why_it_does_not_repeat() -> None:
    hw = load("gemmini_default", {"memory.dram": "ddr4_2400"})
    timing = run(lower(WORKS["matmul"], hw), hw, clock="periodic")
    assert timing.clock == "leap"
    assert "whole address" in timing.refusal


def test_more_channels_carry_a_stream_that_one_cannot() -> None:
    """LPDDR5's 12.8 GB/s a channel feed a residual add of a machine at 1 GHz and 16 B a cycle more slowly than four."""
    cycles = [
        run(lower(WORKS["resadd"], hw), hw).cycles
        for n in (1, 2, 4)
        for hw in [load("gemmini_default", {"memory.dram": "lpddr5_6400", "memory.dram.channels": n})]
    ]
    assert cycles[0] > cycles[1] >= cycles[2]
