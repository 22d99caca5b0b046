"""The result's faces: files, notebook, explanation, timeline."""

from __future__ import annotations

import io
import json
import pickle
import re
from pathlib import Path

import pandas as pd
import pytest

import sim
from sim.analysis.explain import REMEDIES, Remedy, bottleneck, explain, speedup
from sim.base.errors import InputError
from sim.base.files import write_whole
from sim.run import columns

TINY = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 64}


@pytest.fixture(scope="module")
def result() -> sim.Result:
    return sim.simulate("encoder-layer", "gemmini_ibert", **TINY)


def test_csv_holds_the_operator_table(result: sim.Result, tmp_path: Path) -> None:
    result.to_csv(tmp_path / "ops.csv")
    back = pd.read_csv(tmp_path / "ops.csv")
    assert list(back.columns) == list(columns.table("ops"))
    assert (back["cycles"] == result.ops["cycles"]).all() and (back["op"] == result.ops["op"]).all()


def test_json_holds_totals_operators_and_machine(result: sim.Result, tmp_path: Path) -> None:
    text = result.to_json(tmp_path / "run.json")
    assert (tmp_path / "run.json").read_text() == text
    data = json.loads(text)
    assert set(data) == {"totals", "ops", "hardware"}
    assert data["totals"]["cycles"] == sum(op["cycles"] for op in data["ops"])
    assert sim.simulate("encoder-layer", data["hardware"], **TINY).cycles == result.cycles


def test_failed_write_leaves_the_older_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "ops.csv"
    target.mkdir()
    with pytest.raises(InputError, match=r"ops\.csv: cannot be written"):
        write_whole(target, "new")
    assert list(tmp_path.iterdir()) == [target]


def test_notebook_shows_the_kinds(result: sim.Result) -> None:
    (table,) = pd.read_html(io.StringIO(result._repr_html_())) if _has_lxml() else (None,)
    assert "gemmini_ibert" in result._repr_html_()
    assert table is None or list(table.columns) == list(columns.table("kinds"))


def _has_lxml() -> bool:
    from importlib.util import find_spec

    return find_spec("lxml") is not None


def test_kinds_share_out_all_cycles(result: sim.Result) -> None:
    assert result.kinds["share"].sum() == pytest.approx(1.0)
    assert result.kinds["cycles"].sum() == result.cycles


def test_result_travels_between_processes(result: sim.Result) -> None:
    assert pickle.loads(pickle.dumps(result)).totals == result.totals


def test_explanation_names_the_largest_cause_and_measures_its_remedy(result: sim.Result) -> None:
    cause, share = bottleneck(result)
    assert share == max(result.causes.values()) / result.cycles
    sentence = result.explain()
    assert sentence.startswith(f"{cause} takes {share:.1%} of {result.cycles:,} cycles")
    assert sentence.count(". ") == 0 and sentence.endswith(".")
    gains = [speedup(result, remedy) for remedy in REMEDIES.get(cause, ())]
    if any(gains):
        best = max(gain for gain in gains if gain)
        assert f"gives {best:.2f}x (measured" in sentence


def test_unmeasured_explanation_states_no_gain(result: sim.Result) -> None:
    """One question, one answer: the gain of a remedy is stated where it was measured, and nowhere else."""
    cause, share = bottleneck(result)
    reported = explain(result, measure=False)
    if cause in REMEDIES:
        assert "--explain measures the gain" in reported and "x (" not in reported
    else:
        assert f"at most {1 / (1 - share):.2f}x (a bound" in reported and reported == explain(result)


def test_host_bound_run_is_relieved_by_units_on_the_array() -> None:
    baseline = sim.simulate("encoder-layer", "kim2023_baseline", **TINY)
    remedy, unit = REMEDIES["host"]
    assert unit.overrides(baseline.hardware) == {}  # a vector unit is proposed where the array has its own
    gain = speedup(baseline, remedy)
    assert bottleneck(baseline)[0] == "host" and gain is not None and gain > 2
    assert re.search(r"host takes .* units on the array gives .*x \(measured", baseline.explain())


def test_remedy_that_gives_no_legal_machine_is_left_out(result: sim.Result) -> None:
    assert speedup(result, Remedy("nonsense", lambda _: {"scratchpad.banks": 3})) is None


def test_timeline_of_one_invocation_agrees_with_its_cycles(result: sim.Result) -> None:
    timeline = result.timeline("L0.matmul_Q")
    assert len(timeline) and (timeline["t_alloc"] <= timeline["t_issue"]).all()
    completed = timeline["t_complete"] >= 0  # -1: completes as it issues
    assert (timeline["t_issue"] <= timeline["t_complete"])[completed].all()
    cycles = result.ops.set_index("op").loc["L0.matmul_Q", "cycles"]
    assert timeline["t_complete"].max() <= cycles


@pytest.mark.parametrize(
    ("op", "invocation", "message"),
    [("L0.matmul_R", 0, "did you mean 'L0.matmul_"), ("L0.scores", 2, "no invocation 2; legal: 0 to 1")],
)
def test_timeline_of_nothing_is_refused(result: sim.Result, op: str, invocation: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        result.timeline(op, invocation)


def test_a_remedy_that_makes_the_run_slower_is_not_reported_as_a_gain(
    result: sim.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause, _ = bottleneck(result)
    slower = Remedy("a slower memory", lambda hw: {"memory.latency_cycles": 4 * hw.memory.latency_cycles})
    monkeypatch.setitem(REMEDIES, cause, (slower,))
    reported = explain(result)
    assert "a slower memory does not help (0." in reported and "gives" not in reported
