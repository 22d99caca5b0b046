"""Only points of one workload, size and energy table are compared, and differences across tables are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import sim
import workloads
from reports import knobs, page, pareto
from reports.page.runs import runs_page
from sim.analysis import saved
from sim.analysis.diff import energy_note
from sim.base.errors import InputError
from sim.base.pareto import pareto as dominant
from sim.cli import main

Runs = dict[str, saved.SavedRun]


def table(**columns: list[object]) -> pd.DataFrame:
    """Return a made-up sweep of as many points as the columns are long."""
    length = len(next(iter(columns.values())))
    base = {"hardware": "m", "workload": "w", "sizes": "seq=32", "area_mm2": 1.0, "energy_table": "45nm", "node_nm": 45}
    return pd.DataFrame({**{name: [value] * length for name, value in base.items()}, **columns, "error": None})


MIXED = {
    "workload": ["tiny", "tiny", "mini", "mini"],
    "memory.latency_cycles": [40, 80, 40, 80],
    "cycles": [10.0, 20.0, 100.0, 200.0],
    "energy_pj": [5.0, 6.0, 50.0, 40.0],
}


def test_a_larger_workload_has_a_front_of_its_own() -> None:
    """By hand: (10, 5) dominates all points; within "mini" neither point dominates the other."""
    points = table(**MIXED)  # type: ignore[arg-type]
    groups = list(knobs.questions(points, "cycles", "energy_pj"))
    assert groups == ["tiny", "tiny", "mini", "mini"]
    assert sorted(pareto.front(points["cycles"], points["energy_pj"], groups=groups)) == [0, 2, 3]
    assert sorted(pareto.front(points["cycles"], points["energy_pj"])) == [0]


def test_sizes_of_one_workload_are_not_compared() -> None:
    points = table(sizes=["seq=128,batch=1", "seq=512,batch=1"], cycles=[1.0, 9.0], energy_pj=[1.0, 9.0])
    groups = list(knobs.questions(points, "cycles"))
    assert groups == ["seq=128,batch=1", "seq=512,batch=1"]
    assert len(pareto.front(points["cycles"], points["energy_pj"], groups=groups)) == 2


def test_energies_of_two_tables_are_not_on_one_front_but_their_cycles_are() -> None:
    points = table(energy_table=["45nm", "7nm"], node_nm=[45, 7], cycles=[9.0, 5.0], energy_pj=[9.0, 1.0])
    assert len(set(knobs.questions(points, "cycles", "energy_pj"))) == 2
    assert len(set(knobs.questions(points, "cycles", "area_mm2"))) == 1


def test_a_front_of_groups_is_the_fronts_of_the_groups() -> None:
    """Against the definition: marking all groups at once equals marking each alone, on random points with ties."""
    draw = np.random.default_rng(3)
    scores = [tuple(map(float, row)) for row in draw.integers(0, 6, (120, 2))]
    groups = draw.integers(0, 4, 120).tolist()
    together = dominant(scores, groups)
    for group in range(4):
        members = [index for index in range(120) if groups[index] == group]
        assert [together[index] for index in members] == dominant([scores[index] for index in members])


def test_the_picture_and_the_page_have_a_front_per_workload(tmp_path: Path) -> None:
    points = table(**MIXED)  # type: ignore[arg-type]
    axes = pareto.pareto(Figure(figsize=(6, 6)).subplots(), points)
    message = axes.texts[0].get_text()
    assert "on the front of tiny:" in message and "on the front of mini:" in message
    assert "workload" not in message, "the workload is in the heading, no setting to choose"
    points.to_csv(tmp_path / "sweep.csv", index=False)
    text = page.of([tmp_path / "sweep.csv"])
    assert "tiny: Fewest cycles: 10 with latency_cycles 40" in text
    assert "mini: Fewest cycles: 100" in text and "3 on 2 Pareto fronts" in text


def test_every_workload_states_its_sizes() -> None:
    for name, build in workloads.WORKLOADS.items():
        assert "batch=2" in build(batch=2).size_text, name
    small, large = workloads.bert_tiny(seq=16), workloads.bert_tiny(seq=32)
    assert (small.size_text, large.size_text) == ("seq=16,batch=1", "seq=32,batch=1")
    again = workloads.graph_file.from_dict(json.loads(json.dumps(small.to_dict())))
    assert again.size_text == small.size_text and again.key == small.key


def at_another_node(run: saved.SavedRun) -> saved.SavedRun:
    """Return the run with the energy table of another node and half the energy."""
    totals = {**run.totals, "energy_table": "7nm", "node_nm": 7, "energy_pj": run.totals["energy_pj"] / 2}
    return replace(run, name="other", totals=totals)


def test_a_difference_of_energy_across_tables_is_greyed_and_said(runs: Runs) -> None:
    text = runs_page([runs["fast"], at_another_node(runs["fast"])])
    row = next(line for line in text.splitlines() if '<th scope="row">energy, mJ</th>' in line)
    assert 'class="soft"' in row and "better" not in row and "-50.0% *" in row
    assert "fast by 45nm (45 nm), other by 7nm (7 nm)" in text and "differences of the technology too" in text
    assert energy_note([runs["fast"], runs["slow"]]) is None


def test_diff_names_both_tables_and_gives_no_difference_across_them(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = sim.simulate(
        "encoder-layer", "gemmini_ibert", overrides={"energy_table": "7nm"}, seq=32, hidden=64, heads=2, ffn=64
    )
    result.save(tmp_path / "seven")
    said = []
    for other in (tmp_path / "seven", folders[1]):
        with pytest.raises(SystemExit) as ended:
            main(["diff", str(folders[0]), str(other)])
        assert ended.value.code == 0
        said.append(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("energy:")))
    assert "(table 7nm, 7 nm)" in said[0] and "(table 45nm, 45 nm)" in said[0] and "no difference is given" in said[0]
    assert said[1].count("table 45nm") == 2 and said[1].endswith("%")


def test_sentences_of_differences_are_read_without_thinking(fast: sim.Result, on_host: sim.Result) -> None:
    from sim.analysis.diff import diff

    ratio = on_host.cycles / fast.cycles
    less = diff(on_host.ops, fast.ops, ("host", "fast"))
    more = diff(fast.ops, on_host.ops, ("fast", "host"))
    assert f"fast takes {ratio:.3g} times fewer cycles than host" in less.sentence()
    assert f"host takes {ratio:.3g} times the cycles of fast" in more.sentence()
    assert more.table()["host cycles"].sum() == on_host.cycles, "a run may be called like a cause"
    with pytest.raises(InputError, match="two names"):
        diff(fast.ops, on_host.ops, ("one", "one"))


def test_no_table_of_a_page_has_two_columns_of_one_name(runs: Runs) -> None:
    """A run called like the preset that settings are compared with."""
    import re

    named = [replace(runs["fast"], name=saved.BASE), runs["host"]]
    for head in re.findall(r"<thead>(.*?)</thead>", runs_page(named), flags=re.S):
        labels = re.findall(r"(?:<button[^>]*>|<th[^>]*>)([^<]+)<", head)
        shown = [label for label in labels if label != "change"]
        assert len(set(shown)) == len(shown), shown
