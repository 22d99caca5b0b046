"""Programs of sparse and output-stationary products are those of the first, plain lowering, bit for bit."""

from __future__ import annotations

import json

import pytest
from sparsity.streams import KEPT, SMALL, cases, digest

import workloads
from sim import hardware
from sim.lower import lower
from sim.lower.pace import HAND, Pace
from sim.plan.planner import plan
from sim.sparsity.spec import parse

EXPECTED = json.loads(KEPT.read_text())


@pytest.mark.parametrize("case", cases())
def test_programs_are_those_of_the_plain_lowering(case: str) -> None:
    """Digests were written at commit 8cbc1c8, when the lowering was a Python loop per command."""
    assert digest(case) == EXPECTED[case]


@pytest.mark.parametrize("line", ["block16:0.3", "2:4", "activations=2:4"])
def test_commands_of_sparse_products_come_at_the_pace_of_the_cpu(line: str) -> None:
    """Every command behind the configuration is one of a hand-written stream: its price, or a scheduler's one cycle."""
    graph = workloads.build("encoder-layer", **SMALL)
    for prices, scheduled in (("none", False), ("rocket", False), ("none", True)):
        requested = f"{line}/scheduler" if scheduled else line
        if scheduled and not line.startswith("block"):
            continue
        hw = hardware.load("gemmini_sparse", {"cpu.prices": prices, "cpu.command_cycles": 3, "cpu.loop_cycles": 3})
        rules = parse(requested)
        steps = [step for step in plan(rules.edit(graph), hw, sparsity=rules) if step.name == "L0.FF1"]
        program = lower(steps[0].equivalent[0], hw)
        gaps = set(program["gap"][30:-1].tolist())
        assert gaps == {1 if scheduled else Pace(hw).gap(HAND)}
