"""A predictor's bytes and the array's come through one port: together never more than it moves, none for nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.hardware import load
from sim.lower import lower
from sim.plan.planner import plan
from sim.run.session import RESTART_CYCLES
from sim.side_units.port import Ahead, port_bytes
from sim.side_units.work import SideWork
from sim.sparsity.edits.dynamic import Dynamic
from sim.sparsity.rules import Rules
from sim.timing import timer
from workloads import encoder_layer

HEADS, SEQ, SIZE = 4, 64, 32
GRAPH = encoder_layer(seq=SEQ, hidden=HEADS * SIZE, heads=HEADS, ffn=64)
RULES = Rules((), Dynamic("topk", k=8))
PARTS = ("predict", "mask", "scores", "context")


def machine(bandwidth: float, predictor: int = 256, ranking: int = 10**6) -> Any:
    return load(
        "gemmini_sparse",
        {
            "memory.read_bytes_per_cycle": bandwidth,
            "memory.write_bytes_per_cycle": bandwidth,
            "sparsity.predictor_macs_per_cycle": predictor,
            "sparsity.top_k_per_cycle": ranking,
        },
    )


def parts(hw: Any, **more: Any) -> dict[str, dict[str, Any]]:
    result = sim.simulate(GRAPH, hw, sparsity=RULES, **more)
    assert sum(result.causes.values()) == result.cycles
    return {row["op"].split(".")[-1]: row for row in result.rows if row["op"].split(".")[-1] in PARTS}


@lru_cache
def alone(hw: Any) -> int:
    """Cycles of scores and context with the memory to themselves."""
    steps = [step for step in plan(RULES.edit(GRAPH), hw, sparsity=RULES) if step.name in ("L0.scores", "L0.context")]
    phase, cycles = 0, 0
    for work in (work for step in steps for work in step.equivalent):
        timed = timer.run(lower(work, hw), hw, phase=phase)
        cycles, phase = cycles + timed.cycles + RESTART_CYCLES, timed.phase
    return cycles


@pytest.mark.parametrize("bandwidth", [1, 2, 4, 16])
@pytest.mark.parametrize("predictor", [64, 512, 10**6])
def test_all_bytes_fit_through_the_port(bandwidth: float, predictor: int) -> None:
    # Law of conservation: bytes of the unit and of the array, in each direction, take their time at the port.
    hw = machine(bandwidth, predictor)
    rows = parts(hw)
    cycles = sum(row["cycles"] for row in rows.values())
    for way in ("read", "write"):
        moved = {name: row[f"dram_{way}_bytes"] for name, row in rows.items()}
        assert sum(moved.values()) <= cycles * port_bytes(hw, way)
        later = (moved["predict"] + moved["mask"]) * (HEADS - 1) / HEADS
        together = rows["scores"]["cycles"] + rows["context"]["cycles"]
        assert moved["scores"] + moved["context"] + later <= together * port_bytes(hw, way)


@pytest.mark.parametrize("bandwidth", [2, 4, 8, 16])
@pytest.mark.parametrize("predictor", [64, 512, 10**6])
def test_competition_costs_no_more_than_taking_turns(bandwidth: float, predictor: int) -> None:
    # Bounds: never faster than the array with the memory to itself and the unit's first head before it; never slower
    # than one after the other.
    hw = machine(bandwidth, predictor)
    rows = parts(hw)
    first = rows["predict"]["cycles"] + rows["mask"]["cycles"]
    later = (rows["predict"]["cycles"] + rows["mask"]["cycles"]) * (HEADS - 1)
    array = rows["scores"]["cycles"] + rows["context"]["cycles"]
    assert alone(hw) - 2 <= array <= alone(hw) + later + HEADS
    assert array + first >= max(alone(hw), rows["predict"]["cycles"] * HEADS)


def test_a_slow_memory_shows_the_competition_and_a_fast_one_hides_it() -> None:
    slow, fast = machine(2, 512), machine(16, 16)
    shown = [parts(hw) for hw in (slow, fast)]
    array = [rows["scores"]["cycles"] + rows["context"]["cycles"] for rows in shown]
    waited = [rows["scores"]["load_wait_cycles"] for rows in shown]
    assert array[0] > 1.1 * alone(slow)
    assert array[1] - shown[1]["context"]["normalize_cycles"] <= 1.1 * alone(fast)
    assert waited[0] > waited[1]


@pytest.mark.parametrize("name", ["L0.scores", "L0.context"])
def test_the_straight_line_errs_to_the_long_side(name: str) -> None:
    # Bound: an item's time bends upwards over the time of a beat (1, 2, 3 cycles), but for edges of a hundredth.
    (step,) = [step for step in plan(RULES.edit(GRAPH), machine(16), sparsity=RULES) if step.name == name]
    program = lower(step.equivalent[0], machine(16))
    one, two, three = (timer.run(program, machine(16 / beat)).cycles for beat in (1, 2, 3))
    assert three - one >= 2 * (two - one) - 0.01 * one


def test_all_clocks_agree() -> None:
    hw = machine(4, 512)
    runs = [parts(hw, clock=clock, cache=False) for clock in ("reference", "leap", "periodic")]
    for row in (row for one in runs for row in one.values()):
        row.pop("visited_cycles"), row.pop("counters")
    assert runs[0] == runs[1] == runs[2]


@settings(max_examples=60, deadline=None)
@given(
    heads=st.integers(1, 12),
    cycles=st.integers(1, 10**5),
    read=st.integers(0, 10**6),
    items=st.lists(st.tuples(st.integers(1, 10**4), st.integers(0, 10**4)), max_size=8),
)
def test_no_byte_is_lost_and_none_moves_twice(heads: int, cycles: int, read: int, items: list[tuple[int, int]]) -> None:
    # Law: what the unit has moved is its rate times the cycles that it worked; it ends with nothing left.
    hw = machine(8)
    work = SideWork(max(cycles, -(-read // 8)), read_bytes=read, heads=heads)
    ahead = Ahead()
    first = ahead.begin(work)
    assert first * heads >= work.cycles and ahead.cycles == work.cycles - first
    for alone_cycles, longer in items:
        before, taken = ahead.cycles, ahead.rates().get("read", 0.0)
        array_bytes = min(alone_cycles, longer) * 4
        extra = ahead.overlap(
            alone_cycles, alone_cycles + longer, {"DRAM_READ_BYTES": array_bytes, "DRAM_WRITE_BYTES": 0}, hw
        )
        assert 0 <= extra <= longer and 0 <= ahead.cycles <= before
        moved = (before - ahead.cycles) * taken
        assert moved + array_bytes <= 8 * (alone_cycles + extra) * (1 + 1e-9) or before == ahead.cycles
        assert extra <= (before - ahead.cycles) * taken / 8 + 2, "no longer than taking turns"
    assert ahead.rest() >= 0 and ahead.cycles == 0 and ahead.read_bytes == pytest.approx(0)
    assert ahead.rates() == {}
