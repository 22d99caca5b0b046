"""Operators beside each other on several cores: a pipeline over layers, operators placed by hand."""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.hardware import hand, load
from sim.run.cores.side_by_side import divided
from sim.run.cores.turns import stages
from sim.run.result import Result
from sim.trace import chrome
from sim.trace.events import CORES
from sim.trace.of_cores import WAITS

SMALL = {"seq": 32, "layers": 2}
NOT_COMPARED = {"VISITED_CYCLES", "RESERVATION_STATION_FULL_CYCLES"}
"""The second: a core has an operator's invocations as one program; the next one's first command waits a cycle more."""


@cache
def result(count: int, split: str, *entries: str, machine: str = "gemmini_ibert", batch: int = 1) -> Result:
    """Two encoder layers on some cores."""
    own: dict[str, Any] = {"cores.count": count, "cores.shared": "memory", "cores.split": split}
    own |= {"cores.hand": list(entries)} if entries else {}
    return sim.simulate("bert-tiny", machine, overrides=own, cache=False, batch=batch, **SMALL)


@cache
def alone(machine: str = "gemmini_ibert", batch: int = 1) -> Result:
    """The same on one core."""
    return sim.simulate("bert-tiny", machine, cache=False, batch=batch, **SMALL)


@pytest.mark.parametrize("machine", ("gemmini_ibert", "gemmini_default"))
@pytest.mark.parametrize("split, entries", [("pipeline", ()), ("hand", ("L0.* 0", "L1.* 1"))])
def test_cores_that_work_in_turn_take_to_the_cycle_what_one_takes_and_the_barriers(
    machine: str, split: str, entries: tuple[str, ...]
) -> None:
    """One item in a pipeline, or a layer each by hand: no two cores work at the same time, but for independent ones."""
    run, one = result(2, split, *entries, machine=machine), alone(machine)
    assert run.cycles == one.cycles + run.hardware.barrier_cycles * len(run.rows)
    for row, same in zip(run.rows, one.rows, strict=True):
        assert row["cycles"] == same["cycles"] + run.hardware.barrier_cycles
        counted = {name: n for name, n in same["counters"].items() if name not in NOT_COMPARED}
        assert {name: row["counters"][name] for name in counted} == counted


@pytest.mark.parametrize("machine", ("gemmini_ibert", "gemmini_default"))
@pytest.mark.parametrize("split, entries, batch", [
    ("pipeline", (), 3), ("hand", ("*.FF* rows 1", "*_K 1", "*_Q 0"), 1),
])  # fmt: skip
def test_work_and_bytes_and_time_are_accounted_for(
    machine: str, split: str, entries: tuple[str, ...], batch: int
) -> None:
    run, one = result(2, split, *entries, machine=machine, batch=batch), alone(machine, batch)
    assert run.totals["macs"] == one.totals["macs"] == sum(row["core_macs"] for row in run.core_rows)
    assert sum(row["cycles"] for row in run.rows) == run.cycles == sum(run.causes.values())
    assert all(sum(row[f"{cause}_cycles"] for cause in run.causes) == row["cycles"] for row in run.rows)
    host_bytes = [sum(row[name] for row in run.rows if row["engine"] == "host") for name in ("dram_read_bytes",)]
    assert sum(row["core_read_bytes"] for row in run.core_rows) + host_bytes[0] == run.totals["dram_read_bytes"]
    restarts = len(run.rows) * batch  # of the array before each operator: in no core's time
    for row in run.core_rows:
        assert run.cycles - restarts <= row["busy_cycles"] + row["barrier_cycles"] <= run.cycles


def test_a_pipeline_overlaps_batch_items_and_loads_the_weights_for_each() -> None:
    run, one = result(2, "pipeline", batch=3), alone(batch=3)
    assert one.cycles / 2 < run.cycles < one.cycles
    assert run.totals["dram_read_bytes"] > one.totals["dram_read_bytes"]


def test_independent_operators_on_cores_of_their_own_run_beside_each_other() -> None:
    beside = result(3, "hand", "*_Q 0", "*_K 1", "*_V 2")
    behind = result(3, "hand", "*_Q 0", "*_K 0", "*_V 2", "*.FF1 0,1")
    of_q = [next(row["cycles"] for row in run.rows if row["op"] == "L0.matmul_Q") for run in (beside, behind)]
    assert of_q[0] < of_q[1] / 2  # a third of a turn that three share, against a turn alone
    assert next(row["invocations"] for row in beside.rows if row["op"] == "L0.FF1") == 3


@pytest.mark.parametrize("split, batch", [("tensor", 1), ("data", 3), ("pipeline", 3)])
def test_a_trace_has_a_track_a_core_that_adds_up_to_the_run(split: str, batch: int) -> None:
    run = result(2, split, batch=batch)
    events = [event for event in chrome.trace(run)["traceEvents"] if event["pid"] == CORES and event["ph"] == "X"]
    names = {step.name for step in run.steps}
    for core, row in enumerate(run.core_rows):
        mine = [event for event in events if event["tid"] == core]
        assert [event["ts"] for event in mine] == [0, *(event["ts"] + event["dur"] for event in mine[:-1])]
        assert sum(event["dur"] for event in mine) == run.cycles
        assert sum(event["dur"] for event in mine if event["name"] != WAITS) == row["busy_cycles"]
        assert {event["name"] for event in mine} <= {*names, WAITS}
        assert len({event["name"] for event in mine}) > 5


def test_the_clocks_agree_on_a_pipeline() -> None:
    own = {"cores.count": 2, "cores.shared": "memory", "cores.split": "pipeline"}
    small = {"seq": 4, "batch": 2, "overrides": own, "cache": False}
    leap, every = (
        sim.simulate("bert-tiny", "gemmini_ibert", layers=2, clock=c, **small) for c in ("leap", "reference")
    )
    assert (leap.cycles, leap.causes, leap.core_rows) == (every.cycles, every.causes, every.core_rows)


@pytest.mark.parametrize("count, split, entries, said", [
    (3, "pipeline", (), "bert-tiny has 2: 1 cores would be without work; nearest legal value cores.count = 2"),
    (2, "hand", (), "needs entries"),
    (2, "hand", ("*.FF9 1",), "no operator is named"),
    (2, "hand", ("* 0",), "leaves core 1 without work"),
    (2, "hand", ("* 5",), r'2 cores have numbers 0 to 1; nearest legal value: \["\* tensor"\]'),
    (2, "hand", ("*.FF1 columns 0",), "tensor.*rows"),
    (2, "tensor", ("* 0",), "cores.split = hand"),
])  # fmt: skip
def test_a_split_that_is_none_is_refused(count: int, split: str, entries: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        result(count, split, *entries)


def test_the_nearest_entries_are_accepted() -> None:
    own = {"cores.count": 2, "cores.shared": "memory", "cores.split": "hand"}
    assert load("gemmini_ibert", {**own, "cores.hand": [hand.nearest("* 5", 2), hand.nearest("", 2)]})


def test_a_run_on_several_cores_is_saved_without_activity_over_time(tmp_path: Path) -> None:
    sim.save(result(2, "pipeline"), tmp_path / "run")
    saved = sim.load(tmp_path / "run")
    assert saved.totals["cycles"] == result(2, "pipeline").cycles
    assert len(saved.record["profile"]["edges"]) == 1 and saved.record["profile"]["operands"] == []


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.data())
def test_stages_are_runs_of_layers_whose_heaviest_is_as_light_as_can_be(weights: list[int], data: Any) -> None:
    """Oracle: all ways to cut, one by one."""
    count = data.draw(st.integers(1, len(weights)))

    def heaviest(begins: tuple[int, ...]) -> int:
        return max(sum(weights[begin:end]) for begin, end in pairwise((*begins, len(weights))))

    found = tuple(stages(weights, count))
    assert found[0] == 0 and len(set(found)) == count and list(found) == sorted(found)
    ways = [(0, *cuts) for cuts in combinations(range(1, len(weights)), count - 1)]
    assert heaviest(found) == min(map(heaviest, ways))


@given(st.integers(0, 10**6), st.lists(st.integers(0, 1000), min_size=1, max_size=9))
def test_parts_add_up_to_the_whole(number: int, weights: list[int]) -> None:
    found = divided(number, weights)
    assert sum(found) == number and len(found) == len(weights) and min(found) >= 0
