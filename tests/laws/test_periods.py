"""The law of the periodic clock: it tells what the leaping clock tells, whatever repeats, and repeats what does.

Stretches are made short here, so that the machine is taken apart and put together again at every turn: what the
canonical form forgets although some unit would still look at it shows as another result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.clocks import WORKS, lowered, outcome
from helpers.strategies import cases
from hypothesis import given
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.core.repeat import periodic
from sim.hardware import Hardware, load, presets
from sim.isa.commands import Funct, Program
from sim.lower import BlockSparseMatmul, Matmul, Operand, lower
from sim.timing.timer import run
from sim.timing.timing import Clock

A, B, D, C = (Operand(0x2001_0000 + 0x20_0000 * place, 320) for place in range(4))
MATMUL = Matmul(160, 320, 64, A, B, C, tile=(1, 4, 2))
"""Fifty loops; 320-byte rows begin in a page at 64 different places."""


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "EXECUTE_ROWS", 64)
    monkeypatch.setattr(periodic, "LOOP_PARTS", 1 << 16)
    monkeypatch.setattr(periodic, "MIN_COMMANDS", 1)
    monkeypatch.setattr(periodic, "WORTH_CYCLES", 0)


def moved(program: Program, onward: int) -> Program:
    """The same program, every DRAM address moved up."""
    again = program.copy()
    for operand, functs in (("rs1", (1, 2, 3, 14, 10, 11, 20, 21)), ("rs2", (10, 11, 20, 21))):
        which = np.isin(again["funct"], functs) & (again[operand] != 0)
        again[operand][which] += onward
    return again


def assert_periodic_agrees(program: Program, hw: Hardware, phase: int = 0) -> float:
    """Every time and every counter; returns the share of the leaping clock's visits that were needed."""
    clocks: tuple[Clock, ...] = ("periodic", "leap")
    (message, visited), (leap, most) = (outcome(program, hw, clock, phase) for clock in clocks)
    assert message.keys() == leap.keys(), (message.get("hang"), leap.get("hang"))
    for name, value in leap.items():
        assert message[name] == value, name
    assert visited <= 1.05 * most + 8  # a stop cuts a run of rows in two
    return visited / most if most else 0.0


@given(cases(most=8), st.lists(st.sampled_from([0, 64, 4096, 4100, 320]), min_size=2, max_size=6), st.integers(0, 999))
def test_random_programs_that_repeat_and_break_off(
    case: tuple[Hardware, Program, int], onward: list[int], broken: int
) -> None:
    """A program again and again at other addresses; somewhere one command is left out."""
    hw, program, phase = case
    parts, at = [], 0
    for distance in onward:
        parts.append(moved(program, at))
        at += distance
    whole = np.concatenate(parts)
    place = broken % len(whole)
    if broken % 3 and whole[place]["funct"] in (Funct.MVIN, Funct.MVIN2, Funct.MVOUT, Funct.FENCE):
        whole = np.delete(whole, place)
    assert_periodic_agrees(whole, hw, phase)


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("preset", presets())
def test_whole_operators_four_times_over(preset: str, work: str) -> None:
    program, hw = lowered(preset, work)
    assert_periodic_agrees(np.concatenate([moved(program, 4096 * n) for n in range(4)]), hw)


@pytest.mark.parametrize("phase", (0, 1))
@pytest.mark.parametrize("latency, pace", [(1, 16.0), (200, 16.0), (40, 3.7)])
def test_memories_at_the_ends_of_the_range(latency: int, pace: float, phase: int) -> None:
    memory = {"latency_cycles": latency, "read_bytes_per_cycle": pace, "write_bytes_per_cycle": pace}
    hw = load("gemmini_default", {f"memory.{key}": value for key, value in memory.items()})
    visited = assert_periodic_agrees(lower(MATMUL, hw), hw, phase)
    assert visited < 0.8 or pace == 3.7  # a beat every 160/37 cycles: only every 37th can meet the same phase


@pytest.mark.parametrize("order", ("ijk", "jik"))
def test_what_repeats_is_not_done_again(order: str) -> None:
    """Tiles of one product: the period reaches over several tiles (addresses, loop slots); most cycles are saved."""
    hw = load("gemmini_default")
    work = Matmul(512, 256, 64, *(Operand(x.address, 256) for x in (A, B, C)), tile=(1, 4, 2), loop_order=order)
    assert assert_periodic_agrees(lower(work, hw), hw) < 0.3


def test_tiles_that_begin_elsewhere_in_a_request_share_what_only_computes() -> None:
    """Operands begin 40 bytes on from tile to tile, at eight places of a request: only loads differ by that."""
    hw = load("gemmini_8x8")
    work = Matmul(64, 128, 800, *(Operand(x.address, 800) for x in (A, B, C)), tile=(8, 16, 5))
    assert assert_periodic_agrees(lower(work, hw), hw) < 0.5


@pytest.mark.parametrize("left_out", range(0, 100, 9))
def test_loops_that_go_on_with_the_addresses_of_the_loop_before(left_out: int) -> None:
    """By hand: a loop without one of its two address commands uses what its slot held, however old."""
    hw = load("gemmini_default")
    program = lower(MATMUL, hw)
    given = np.flatnonzero(np.isin(program["funct"], (Funct.LOOP_WS_CONFIG_ADDRS_AB, Funct.LOOP_WS_CONFIG_ADDRS_DC)))
    assert_periodic_agrees(np.delete(program, given[left_out]), hw)


@pytest.mark.parametrize("density", (0.2, 0.6))
@pytest.mark.parametrize("preset", ("gemmini_default", "gemmini_chip"))
def test_block_sparse_weights(preset: str, density: float) -> None:
    """Irregular tiles; the second half of the columns repeats the first half's pattern at other addresses."""
    hw = load(preset)
    half = np.random.default_rng(7).random((8, 12)) < density
    mask = tuple(tuple(bool(block) for block in row) for row in np.concatenate([half, half], axis=1))
    dense = Matmul(64, 24 * hw.dim, 8 * hw.dim, *(Operand(x.address, 24 * hw.dim) for x in (A, B, C)))
    assert_periodic_agrees(lower(BlockSparseMatmul(dense, mask, D.address), hw, repeat=2), hw)


def assert_untimed_agrees(program: Program, hw: Hardware, phase: int = 0) -> float:
    """Results without a timeline (periods inside a loop are repeated only then), and the share of visits."""
    message, leap = (run(program, hw, clock=clock, phase=phase) for clock in ("periodic", "leap"))
    for name in ("cycles", "sections", "causes", "phase"):
        assert getattr(message, name) == getattr(leap, name), name
    for name, count in leap.counters.items():
        assert message.counters[name] == count or name == "VISITED_CYCLES", name
    return message.visited_cycles / leap.visited_cycles


@given(
    st.tuples(st.integers(1, 130), st.integers(1, 200), st.integers(100, 1500)),
    st.sampled_from(["gemmini_8x8", "gemmini_ibert", "gemmini_chip", "gemmini_4x4", "gemmini_bf16_8x8"]),
    st.sampled_from([32, 64, 256]),
    st.sampled_from([2.0, 5.0, 16.0]),
    st.sampled_from(["none", "row", "full"]),
    st.booleans(),
    st.integers(0, 1),
)
def test_inside_large_loops(
    sizes: tuple[int, int, int], preset: str, kib: int, pace: float, bias: Any, transpose_a: bool, phase: int
) -> None:
    """Products of long K in scratchpads of many sizes: A and B cross banks at other places, loads end early or late."""
    memory = {"memory.read_bytes_per_cycle": pace, "memory.write_bytes_per_cycle": pace}
    try:
        hw = load(preset, {"scratchpad.capacity": f"{kib}KiB", "accumulator.capacity": "16KiB", **memory})
        work = Matmul(
            *sizes, *(Operand(x.address, 1500) for x in (A, B, C)), d=None if bias == "none" else D, bias=bias
        )
        program = lower(replace(work, transpose_a=transpose_a), hw)
    except InputError:
        return
    assert_untimed_agrees(program, hw, phase)


def test_inside_one_loop() -> None:
    """One loop of 60 steps of k: loads are done early, then every step is like the one before it."""
    hw = load("gemmini_8x8")
    work = Matmul(64, 128, 480, *(Operand(x.address, 512) for x in (A, B, C)), tile=(8, 16, 60))
    assert assert_untimed_agrees(lower(work, hw), hw) < 0.3


@given(
    st.tuples(st.integers(1, 8), st.integers(1, 10), st.integers(60, 160)),
    st.tuples(*(st.sampled_from([0, 0, 1, 5]) for _ in range(3))),
    st.sampled_from([8, 16, 32]),
    st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.sampled_from([10, 200])),
    st.tuples(st.sampled_from([1, 8, 64]), st.sampled_from([0, 8, 4032])),
    st.sampled_from([1, 2]),
    st.integers(0, 1),
)
def test_loops_that_wait_for_their_loads(
    blocks: tuple[int, int, int], short: tuple[int, int, int], dim: int, slow: tuple[float, int],
    lies: tuple[int, int], tiles: int, phase: int,
) -> None:  # fmt: skip
    """A slow memory: steps of k with the loads that they wait for, rows at many places of a request and of a page."""
    (pace, latency), (aligned, place) = slow, lies
    m, n, k = (size * dim - less for size, less in zip(blocks, short, strict=True))
    memory = {"memory.read_bytes_per_cycle": pace, "memory.write_bytes_per_cycle": pace}
    array = {"array.mesh_rows": dim, "array.mesh_columns": dim, "memory.latency_cycles": latency}
    strides = (-(-size // aligned) * aligned for size in (k, n, n))
    operands = (
        Operand(x.address + 4 * (x.address - A.address) + place, s) for x, s in zip((A, B, C), strides, strict=True)
    )
    try:
        hw = load("gemmini_ibert", {**memory, **array, "scratchpad.capacity": "256KiB"})
        program = lower(Matmul(m * tiles, n, k, *operands, tile=blocks), hw)
    except InputError:
        return
    assert_untimed_agrees(program, hw, phase)


def test_inside_one_loop_that_waits_for_its_loads() -> None:
    """A 16x16 array on 2 bytes a cycle: of 96 steps of k, in whole requests, most are like the ones before."""
    hw = load("gemmini_ibert", {"memory.read_bytes_per_cycle": 2.0, "scratchpad.capacity": "512KiB"})
    work = Matmul(64, 64, 1536, *(Operand(x.address, 1536) for x in (A, B, C)), tile=(4, 4, 96))
    assert assert_untimed_agrees(lower(work, hw), hw) < 0.35


def test_a_program_without_periods_is_simulated_whole() -> None:
    """Every tile has another row count: nothing repeats, and nothing is claimed to."""
    hw = load("gemmini_default")
    works = [Matmul(16 + n, 64, 64, A, B, C) for n in range(12)]
    program = np.concatenate([lower(work, hw) for work in works])
    visited = assert_periodic_agrees(program, hw)
    assert visited > 0.9


def test_marks_stay_out_of_what_is_reported() -> None:
    """Addresses carry their command's number inside the machine; a timeline shows them plain."""
    hw = load("gemmini_default")
    timed: Any = run(lower(MATMUL, hw), hw, clock="periodic", timeline=True)
    assert timed.timeline["rs1"][timed.timeline["funct"] == Funct.MVOUT].max() < 1 << 32
