"""A sweep's order, rows, failures and memory of finished points."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import sim
from sim.base.errors import InputError
from sim.base.store import Store
from sim.sweeps import execution
from sim.sweeps.points import PointTask

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}
LATENCIES = [20, 40, 80]


def small_sweep(**more: Any) -> Any:
    arguments = {"workloads": "encoder-layer", "sizes": TINY, "grid": {"memory.latency_cycles": LATENCIES}, "jobs": 1}
    return sim.sweep(more.pop("hardware", "gemmini_ibert"), **{**arguments, **more})


def test_rows_come_in_the_order_of_the_arguments() -> None:
    machines, densities = ["gemmini_ibert", "gemmini_default"], ["dense", "block16:0.5"]
    frame = small_sweep(hardware=machines, sparsity=densities)
    order = list(zip(frame["hardware"], frame["memory.latency_cycles"], frame["sparsity"], strict=True))
    assert order == list(itertools.product(machines, LATENCIES, densities))


def test_each_row_equals_the_simulation_of_its_point() -> None:
    for row in small_sweep().to_dict("records"):
        overrides = {"memory.latency_cycles": row["memory.latency_cycles"]}
        totals = sim.simulate("encoder-layer", "gemmini_ibert", overrides=overrides, **TINY).totals
        assert {name: row[name] for name in totals} == totals


def test_joined_keys_change_together() -> None:
    grid = {
        "array.mesh_rows+array.mesh_columns": [8, 16],
        "scratchpad.capacity+accumulator.capacity": [("64KiB", "128KiB")],
    }
    frame = small_sweep(grid=grid)
    assert list(frame["array.mesh_rows"]) == list(frame["array.mesh_columns"]) == [8, 16]
    assert set(frame["scratchpad.capacity"]) == {"64KiB"} and set(frame["accumulator.capacity"]) == {"128KiB"}
    assert frame["error"].isna().all()


def test_failing_point_is_a_row_with_its_error_and_costs_no_other() -> None:
    frame = small_sweep(grid={"scratchpad.capacity": ["64KiB", "100KiB", "256KiB"]})
    assert list(frame["error"].isna()) == [True, False, True]
    assert "scratchpad.capacity" in frame["error"][1] and "nearest" in frame["error"][1]
    assert str(frame["cycles"].dtype) == "Int64" and frame["cycles"].isna().tolist() == [False, True, False]


def test_unexpected_failure_is_a_row_too_and_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = execution.simulate_task

    def breaks(task: PointTask, cache: bool, threads: int | None) -> dict[str, Any]:
        if dict(task.case.request.overrides)["memory.latency_cycles"] == LATENCIES[1]:
            raise ZeroDivisionError("a bug")
        return real(task, cache, threads)

    monkeypatch.setattr(execution, "simulate_task", breaks)
    frame = small_sweep(store=tmp_path / "store.sqlite")
    assert frame["error"].tolist()[1] == "ZeroDivisionError: a bug"
    monkeypatch.setattr(execution, "simulate_task", real)
    assert small_sweep(store=tmp_path / "store.sqlite")["error"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": 0}, "jobs"),
        ({"workloads": []}, "no points"),
        ({"grid": {"memory.latency_cycles": 40}}, "must be a list"),
        ({"grid": {"array.mesh_rows+array.mesh_columns": [(8, 8, 8)]}}, "joins 2 keys"),
    ],
)
def test_request_that_is_wrong_as_a_whole_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_sweep(**arguments)


def test_progress_counts_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    small_sweep(progress=lambda done, total, label: calls.append((done, total)))
    assert calls == [(done, 3) for done in range(4)]


def test_finished_points_are_not_simulated_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    first = small_sweep(store=store)
    monkeypatch.setattr(execution, "simulate_task", lambda *_: pytest.fail("simulated again"))
    assert small_sweep(store=store).equals(first)


def test_changed_options_are_another_point(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    small_sweep(store=store)
    small_sweep(store=store, seed=1)
    with Store(store) as kept:
        assert len(kept) == 2 * len(LATENCIES)


@pytest.mark.parametrize("jobs", [2, None])  # processes; threads, as the points are few
def test_workers_change_no_bit(jobs: int | None, tmp_path: Path) -> None:
    grid = {"memory.latency_cycles": LATENCIES, "scratchpad.capacity": ["64KiB", "100KiB"]}
    alone, together = small_sweep(grid=grid), small_sweep(grid=grid, jobs=jobs, store=tmp_path / "s.sqlite")
    assert alone.equals(together) and (alone.dtypes == together.dtypes).all()
    assert alone.to_csv() == together.to_csv()


def _kill_the_worker(task: PointTask, cache: bool) -> execution.Outcome:
    if dict(task.case.request.overrides)["memory.latency_cycles"] == LATENCIES[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"cycles": dict(task.case.request.overrides)["memory.latency_cycles"], "error": None}, None


def test_dying_worker_costs_its_own_point_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "outcome", _kill_the_worker)
    frame = small_sweep(jobs=2)
    assert frame["error"].str.startswith("WorkerDied").tolist() == [None, True, None]
    assert frame["cycles"].tolist()[::2] == [20, 80]
