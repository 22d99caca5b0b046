"""A run with a limit of cycles: the same result where the program keeps within it, and no result where it does not."""

from __future__ import annotations

import pickle

import pytest
from helpers.clocks import WORKS, outcome
from helpers.strategies import cases
from hypothesis import given
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.hardware import Hardware, load
from sim.isa.commands import Program
from sim.lower import build, lower
from sim.timing.timer import Overrun, run
from sim.timing.timing import Clock

CLOCKS: tuple[Clock, ...] = ("periodic", "leap", "reference")
SQUARE = build.matmul(128, 128, 128)


@pytest.mark.parametrize("clock", CLOCKS)
@given(cases(), st.integers(1, 400))
def test_a_limit_changes_no_result_and_a_shorter_one_gives_none(
    clock: Clock, case: tuple[Hardware, Program, int], short: int
) -> None:
    hw, program, phase = case
    whole, _ = outcome(program, hw, clock, phase)
    if "hang" in whole:
        return
    limited = run(program, hw, clock=clock, phase=phase, limit_cycles=whole["cycles"])
    assert (limited.cycles, limited.causes) == (whole["cycles"], whole["causes"])
    assert limited.phase == whole["phase"]
    with pytest.raises(Overrun):
        run(program, hw, clock=clock, phase=phase, limit_cycles=max(0, whole["cycles"] - short))


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("name", WORKS)
def test_the_last_cycle_of_whole_operators(name: str, clock: Clock) -> None:
    hw = load("gemmini_ibert", {"features.max_pool": True})
    program = lower(WORKS[name], hw)
    cycles = run(program, hw, clock=clock).cycles
    assert run(program, hw, clock=clock, limit_cycles=cycles).cycles == cycles
    with pytest.raises(Overrun) as left:
        run(program, hw, clock=clock, limit_cycles=cycles - 1)
    assert pickle.loads(pickle.dumps(left.value)).limit_cycles == cycles - 1  # as a worker process sends it


def test_an_abandoned_run_leaves_no_trace_in_the_next() -> None:
    """The periodic clock keeps states between runs of a thread; those of an abandoned run are as good as any."""
    hw = load("gemmini_default")
    program = lower(SQUARE, hw, repeat=4)
    cycles = run(program, hw, clock="reference").cycles
    for limit in (cycles // 3, cycles // 2, cycles - 1):
        with pytest.raises(Overrun):
            run(program, hw, limit_cycles=limit)
    assert run(program, hw).cycles == cycles


def test_an_abandoned_run_visits_no_more_than_its_share() -> None:
    """A limit of a tenth ends the leaping clock before a fifth of the visits (of the work) is done."""
    hw = load("gemmini_default")
    program = lower(SQUARE, hw, repeat=8)
    whole = run(program, hw, clock="leap")
    first = run(program[: len(program) // 4], hw, clock="leap")
    with pytest.raises(Overrun):
        run(program, hw, clock="leap", limit_cycles=whole.cycles // 10)
    assert first.cycles > whole.cycles // 10


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(InputError, match="nearest legal: 0"):
        run(lower(SQUARE, load("gemmini_default")), load("gemmini_default"), limit_cycles=-1)
