"""State between programs is held in one place, and all rooms that run programs agree on it."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim import hardware
from sim.base import workers
from sim.hardware.machine import Words
from sim.lower import build
from sim.run.session import RESTART_CYCLES, Session, Start
from sim.trace.profile import invocations

LAYER = {"seq": 64, "hidden": 128, "heads": 2, "ffn": 128}


@pytest.fixture(scope="module", params=["gemmini_ibert", "gemmini_l2"])
def result(request: pytest.FixtureRequest) -> sim.Result:
    return sim.simulate("encoder-layer", request.param, threads=1, cache=False, **LAYER)


def test_timeline_holds_the_times_that_the_run_had(result: sim.Result) -> None:
    """Oracle: every program of the run in order, as a chip runs them; their cycles are the run's, operator by operator.

    Behind an L2 a program's times depend on all programs before it.
    """
    session = Session(result.hardware)
    for step, row in zip(result.steps, result.rows, strict=True):
        cycles = session.begin(step.name, step.machine)
        for number, work in enumerate(step.works):
            cycles += session.restart_cycles
            timed = session.advance(work, timeline=True)
            cycles += timed.cycles
            assert timed.timeline is not None
            assert (result.timeline(step.name, number) == timed.timeline).all(), step.name
        assert cycles == (row["cycles"] if step.works else 0)


def test_trace_places_each_invocation_where_the_run_had_it(result: sim.Result) -> None:
    rows = {row["op"]: row for row in result.rows}
    ends = {placed.step.name: placed.start_cycle + placed.cycles for placed in invocations(result, lambda _: None)}
    assert ends == {op: row["end_cycle"] for op, row in rows.items() if row["invocations"]}


def test_word_mode_costs_a_command_when_it_changes_only() -> None:
    hw = hardware.load("gemmini_ibert")
    session = Session(hw)
    assert session.begin("first") == 0 == session.begin("second")
    narrow = Words(4, 4, 4, 4, 1, 1, "int4", "int4", "int32")
    behind = Session(hw, start=Start(words=narrow))
    assert [behind.begin("first"), behind.begin("second")] == [hw.cpu.command_cycles, 0]


def test_first_program_waits_for_no_fence() -> None:
    session = Session(hardware.load("gemmini_default"))
    assert session.restart_cycles == 0
    session.advance(build.matmul(16, 16, 16))
    assert session.restart_cycles == RESTART_CYCLES


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"self": "0::/docker/a\n", "docker/a/cpu.max": "150000 100000\n"}, 2),
        ({"self": "0::/docker/a\n", "docker/cpu.max": "50000 100000\n", "docker/a/cpu.max": "max 100000\n"}, 1),
        ({"self": "0::/\n", "cpu.max": "100000 100000\n"}, 1),
        (
            {
                "self": "3:cpu,cpuacct:/pod\n0::/\n",
                "cpu,cpuacct/pod/cpu.cfs_quota_us": "300000\n",
                "cpu,cpuacct/pod/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        ({"self": "1:cpu:/\n", "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"self": "", "cpu.max": "100000 100000\n"}, 64),
    ],
)
def test_cores_respect_the_quota_of_a_container(
    files: dict[str, str], most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(workers, "CGROUPS", tmp_path)
    monkeypatch.setattr(workers, "OWN_CGROUPS", tmp_path / "self")
    assert workers.cores.__wrapped__() == most


def test_a_put_whose_first_beat_was_acknowledged_reaches_the_l2_whole() -> None:
    """The L2 acknowledges a Put by its first beat; with two ids the next may wait for that when the program has ended.

    A beat that is lost leaves the L2 in the middle of the Put, and the next read without an answer.
    """
    keys = {
        "array.mesh_rows": 32, "array.mesh_columns": 32,
        "scratchpad.capacity": "64KiB", "accumulator.capacity": "64KiB",
        "dma.bus_bytes": 32, "dma.max_in_flight_requests": 2, "dma.max_request_bytes": 64,
        "memory.latency_cycles": 200, "memory.l2_bytes": 1 << 17,
    }  # fmt: skip
    sizes = {"seq": 64, "hidden": 64, "heads": 2, "ffn": 64}
    runs = [
        sim.simulate("encoder-layer", "gemmini_default", overrides=keys, clock=clock, threads=1, cache=False, **sizes)
        for clock in ("reference", "leap", "periodic")
    ]
    assert len({run.cycles for run in runs}) == 1
