"""The law that the leaping clock stands on: the same result as the cycle-by-cycle clock.

A wake that comes too late changes a result and shows here; one that comes too early only costs time.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers.clocks import MATMUL, WORKS, C, W, X, lowered, outcome
from helpers.strategies import cases
from hypothesis import given

from sim.hardware import Hardware, load, presets
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, Funct, Program
from sim.lower import Matmul, build, lower
from sim.lower.encode import Stream


def assert_clocks_agree(program: Program, hw: Hardware, phase: int = 0) -> None:
    """Both clocks tell the same; the reference visits every cycle, the leap no more than that."""
    leap, visited = outcome(program, hw, "leap", phase)
    reference, every = outcome(program, hw, "reference", phase)
    assert leap.keys() == reference.keys(), (leap.get("hang"), reference.get("hang"))
    for name, value in reference.items():
        assert leap[name] == value, name
    if "cycles" in reference:
        assert visited <= every
        assert sum(reference["causes"].values()) == reference["cycles"]


@given(cases())
def test_random_programs_on_random_machines(case: tuple[Hardware, Program, int]) -> None:
    assert_clocks_agree(case[1], case[0], case[2])


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("preset", presets())
def test_whole_operators_on_every_preset(preset: str, work: str) -> None:
    assert_clocks_agree(*lowered(preset, work))


@pytest.mark.parametrize("phase", (0, 1))
@pytest.mark.parametrize("latency, pace", [(1, 16.0), (200, 16.0), (40, 3.7)])
def test_memories_at_the_ends_of_the_range(latency: int, pace: float, phase: int) -> None:
    memory = {"latency_cycles": latency, "read_bytes_per_cycle": pace, "write_bytes_per_cycle": pace}
    hw = load("gemmini_default", {f"memory.{key}": value for key, value in memory.items()})
    assert_clocks_agree(lower(MATMUL, hw, repeat=2), hw, phase)


@pytest.mark.parametrize("dim, pace, requests", [(8, 8.0, 4), (8, 2.0, 16), (4, 4.0, 16), (4, 1.0, 4)])
def test_beats_of_several_rows(dim: int, pace: float, requests: int) -> None:
    """A memory as slow as rows leave the merger, or slower: at (8, 8.0, 4) acknowledges hold a beat up."""
    memory = {"read_bytes_per_cycle": pace, "write_bytes_per_cycle": 4, "latency_cycles": 200}
    hw = load("gemmini_ibert", {
        "array.mesh_rows": dim, "array.mesh_columns": dim, "dma.max_in_flight_requests": requests,
        **{f"memory.{name}": value for name, value in memory.items()},
    })  # fmt: skip
    assert_clocks_agree(lower(build.matmul(7, 96, 17), hw), hw)
    assert_clocks_agree(lower(MATMUL, hw), hw)


def test_a_hang_is_the_same_hang() -> None:
    """B transposed output-stationary flushes for ever; reference and leap give up in the same state."""
    hw = load("gemmini_default")
    program = lower(Matmul(16, 16, 16, X, W, C), hw)
    ex = program[program["funct"] == Funct.CONFIG][0]
    ex["rs1"] = (int(ex["rs1"]) & ~(1 << 2)) | 1 << 9  # OS, B transposed, A not
    message, _ = outcome(np.array([ex, *program[1:]], dtype=program.dtype), hw, "leap")
    assert "transposer" in message["hang"]
    assert_clocks_agree(np.array([ex, *program[1:]], dtype=program.dtype), hw)


def test_a_refused_accumulating_row_wakes_itself() -> None:
    """60 + 4 bytes add to one row: the second piece is refused while the first is in the write pipeline."""
    hw = load("gemmini_default")
    stream = Stream(hw)
    stream.config_ld(64)
    stream.mvin(0x2001_0004, ACCUMULATOR_BIT | ACCUMULATE_BIT, 16, 1)
    stream.fence()
    assert_clocks_agree(stream.program(), hw)


def test_rows_of_no_bytes_are_not_waited_for_for_ever() -> None:
    """64 columns in a field cut to 32 (requests of 32 bytes) are none: a row still costs a beat, after its command."""
    hw = load("gemmini_default", {"dma.max_request_bytes": "32B"})
    stream = Stream(hw)
    stream.config_ld(64)
    for i in range(4):
        stream.mvin(0x2000_0000 + 1024 * i, 64 * i, 64, 16)
    stream.fence()
    program = stream.program()
    message, _ = outcome(program, hw, "leap")
    assert "hang" not in message
    assert_clocks_agree(program, hw)


@pytest.mark.parametrize("latency", (1, 5, 40, 200))
@pytest.mark.parametrize("offset", (0, 4, 16, 48))
def test_what_goes_beat_by_beat_behind_a_burst(offset: int, latency: int) -> None:
    """A request that ends in useless bytes loses the merger a cycle; accumulator rows meet what that holds up."""
    hw = load("gemmini_default", {"memory.latency_cycles": latency})
    stream = Stream(hw)
    stream.config_ld(768)
    stream.config_st(64)
    for i in range(6):
        stream.mvin(0x2000_0000 + offset + 0x4000 * i, 64 * i, 64 - 16 * (i % 2), 16)
        stream.mvin(0x3000_0000 + offset * i, ACCUMULATOR_BIT + 16 * i, 16, 5 + i)
        stream.mvout(0x4000_0000 + 1024 * i, 64 * i, 16, 7)
    stream.fence()
    assert_clocks_agree(stream.program(), hw)


@pytest.mark.parametrize("pace", (1, 4, 16))
def test_a_fence_waits_for_useless_beats(pace: int) -> None:
    """48 bytes in a request of 64: on a slow memory the last row is there before the last beat, which no row needs."""
    hw = load("gemmini_default", {"memory.read_bytes_per_cycle": pace})
    stream = Stream(hw)
    stream.config_ld(64)
    stream.mvin(0x2000_0000, 0, 48, 3)
    stream.fence()
    program = stream.program()
    message, _ = outcome(program, hw, "leap")
    assert "hang" not in message
    assert_clocks_agree(program, hw)
