"""The law that the leaping clock stands on: the same result as the cycle-by-cycle clock.

A wake that comes too late changes a result and shows here; one that comes too early only costs time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import cases

from sim.errors import Hang
from sim.hardware import Hardware, load
from sim.isa import Program
from sim.lower import Conv, Matmul, Norm, Operand, ResidualAdd, Work, lower
from sim.timing import Clock, run


def outcome(program: Program, hw: Hardware, clock: Clock, phase: int = 0) -> tuple[dict[str, Any], int]:
    """All that a run tells (a hang: its message) except the visited cycles, and these."""
    try:
        timing = run(program, hw, clock=clock, timeline=True, phase=phase)
    except Hang as hang:
        return {"hang": str(hang)}, 0
    assert timing.timeline is not None
    counters = {name: n for name, n in timing.counters.items() if name != "VISITED_CYCLES"}
    told = {
        "cycles": timing.cycles, "sections": timing.sections, "phase": timing.phase,
        "causes": timing.causes, "counters": counters, "timeline": timing.timeline.tolist(),
    }  # fmt: skip
    return told, timing.visited_cycles


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
