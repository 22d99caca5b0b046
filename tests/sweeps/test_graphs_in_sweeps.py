"""Sweeps over Graph objects: rows as of the same workload by name, stores keyed by contents; lines of one setting."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure

import sim
import workloads
from reports.kinds import plot
from reports.sensitivity import sensitivity
from sim.base.errors import InputError
from sim.base.store import Store
from sim.run import pipeline

matplotlib.use("Agg")

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 64}
LAYER = workloads.build("encoder-layer", **TINY)
LATENCIES = {"memory.latency_cycles": [20, 80]}
SAME = ["cycles", "energy_pj", "dram_read_bytes", "memory.latency_cycles"]


def test_a_graph_gives_the_rows_of_its_name(tmp_path: Path) -> None:
    named = sim.sweep("gemmini_ibert", workloads="encoder-layer", grid=LATENCIES, sizes=TINY, jobs=1)
    path = tmp_path / "layer.json"
    path.write_text(json.dumps(LAYER.to_dict()))
    for given in (LAYER, path):
        rows = sim.sweep("gemmini_ibert", workloads=[given], grid=LATENCIES, jobs=1)
        pd.testing.assert_frame_equal(rows[SAME], named[SAME])
    assert set(rows["workload"]) == {str(path)}


def test_a_sweep_of_graphs_resumes_by_their_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "kept.sqlite"
    first = sim.sweep("gemmini_ibert", workloads=[LAYER], grid=LATENCIES, jobs=1, store=store)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("simulated again")

    wider = replace(workloads.build("encoder-layer", **{**TINY, "ffn": 96}), name=LAYER.name)
    with monkeypatch.context() as patched:
        patched.setattr("sim.sweeps.execution.run_case", refuse)
        again = sim.sweep("gemmini_ibert", workloads=[LAYER], grid=LATENCIES, jobs=1, store=store)
    pd.testing.assert_frame_equal(first, again)
    other = sim.sweep("gemmini_ibert", workloads=[wider], grid=LATENCIES, jobs=1, store=store)
    assert (other["cycles"] > first["cycles"]).all()
    with Store(store) as kept:
        assert len(kept.sweeps()) == 2  # one name, other contents: another sweep


def test_unlike_graphs_of_one_name_are_refused() -> None:
    wider = replace(workloads.build("encoder-layer", **{**TINY, "ffn": 96}), name=LAYER.name)
    with pytest.raises(InputError, match=r"2 different workloads are called .* dataclasses.replace\(graph, name="):
        sim.sweep("gemmini_ibert", workloads=[LAYER, wider], jobs=1)
    renamed = replace(wider, name="wider")
    rows = sim.sweep("gemmini_ibert", workloads=[LAYER, renamed], jobs=1)
    assert list(rows["workload"]) == [LAYER.name, "wider"]
    assert list(rows["cycles"]) == [pipeline.simulate(g, "gemmini_ibert").cycles for g in (LAYER, wider)]


def test_sizes_with_a_graph_are_an_error_of_the_row() -> None:
    rows = sim.sweep("gemmini_ibert", workloads=[LAYER], sizes={"seq": 32}, jobs=1)
    assert "need a workload name" in rows["error"][0]


def table() -> pd.DataFrame:
    rows = [
        {"hardware": "h", "workload": w, "seq": seq, "memory.latency_cycles": latency, "sparsity": None,
         "seed": 0, "cycles": seq * (10 + latency), "energy_pj": 1.0, "error": None}
        for w in ("one", "other") for seq in (32, 64) for latency in (20, 40, 160)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_line_for_each_workload_and_size() -> None:
    axes = sensitivity(Figure().subplots(), table(), x="memory.latency_cycles")
    lines = {str(line.get_label()): line for line in axes.lines}
    assert sorted(lines) == ["one, seq 32", "one, seq 64", "other, seq 32", "other, seq 64"]
    assert list(lines["one, seq 64"].get_xdata()) == [20, 40, 160]
    assert list(lines["one, seq 64"].get_ydata()) == [64 * 30, 64 * 50, 64 * 170]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"varied seq, memory\.latency_cycles; choose one with --x"):
        sensitivity(Figure().subplots(), table())
    with pytest.raises(InputError, match="'workload' holds no numbers"):
        sensitivity(Figure().subplots(), table(), x="workload")
    one = table().query("seq == 32 and `memory.latency_cycles` == 20")
    with pytest.raises(InputError, match="varied no setting that is a number"):
        sensitivity(Figure().subplots(), one)
    table().to_csv(tmp_path / "t.csv", index=False)
    plot("sensitivity", [tmp_path / "t.csv"], tmp_path / "t.png", x="seq")
    assert (tmp_path / "t.png").stat().st_size > 10_000
