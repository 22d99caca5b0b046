"""Each figure runs on a tiny table, draws what the table holds, and refuses what it cannot draw."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from reports import breakdown, density, kinds, pareto, style, validation
from sim.base.errors import InputError
from sim.run.columns import CAUSES


def run_frame(scale: int = 1) -> pd.DataFrame:
    rows = []
    for kind, compute, wait in (("matmul", 700, 300), ("layernorm", 0, 200), ("matmul", 100, 100)):
        causes = {f"{cause}_cycles": 0 for cause in CAUSES}
        causes |= {"compute_cycles": compute * scale, "load_wait_cycles": wait * scale}
        rows.append({"op_kind": kind, "cycles": (compute + wait) * scale, **causes})
    return pd.DataFrame(rows)


def sweep_frame() -> pd.DataFrame:
    rows = [
        {"hardware": "a", "workload": "w", "sparsity": None, "seed": 0, "cycles": 1000.0, "energy_pj": 5e6},
        {
            "hardware": "a",
            "workload": "w",
            "sparsity": "block16:0.5",
            "seed": 0,
            "cycles": 600.0,
            "energy_pj": 4e6,
        },
        {
            "hardware": "a",
            "workload": "w",
            "sparsity": "block16:0.5",
            "seed": 1,
            "cycles": 640.0,
            "energy_pj": 9e6,
        },
        {
            "hardware": "a",
            "workload": "w",
            "sparsity": "block16:0.1",
            "seed": 0,
            "cycles": None,
            "energy_pj": None,
        },
    ]
    return pd.DataFrame(rows)


def test_every_cause_has_a_colour_of_its_own() -> None:
    assert list(style.CAUSE_COLORS) == list(CAUSES)
    assert len(set(style.CAUSE_COLORS.values())) == len(CAUSES)


def test_no_two_parts_of_a_picture_share_a_colour() -> None:
    """Kinds without a fixed colour drew one by their name: matmul+silu had matmul's, silu+multiply matmul+gelu's."""
    kinds = [*style.kind_colors(), "matmul+silu", "silu+multiply", "matmul+relu", "matmul+layernorm", "conv+relu"]
    for pair in combinations(kinds, 2):
        chosen = style.distinct(pair, style.kind_colors())
        assert len(set(chosen.values())) == 2, pair
    many = style.distinct(kinds[-12:], {})
    assert len(set(many.values())) == len(many)


@pytest.mark.parametrize("by", ["kind", "cause"])
def test_bars_are_as_long_as_the_cycles(by: str) -> None:
    axes = Figure().subplots()
    breakdown.breakdown(axes, {"short": run_frame(), "long": run_frame(2)}, by)
    ends: dict[float, float] = {}
    for bar in axes.patches:
        ends[round(bar.get_y(), 3)] = max(ends.get(round(bar.get_y(), 3), 0), bar.get_x() + bar.get_width())
    assert sorted(ends.values()) == [1400, 2800]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_breakdown_writes_a_picture(tmp_path: Path, ending: str) -> None:
    picture = tmp_path / f"b.{ending}"
    figure = Figure()
    breakdown.breakdown(figure.subplots(), {"one": run_frame(), "two": run_frame(3)})
    style.save(figure, picture)
    assert picture.stat().st_size > 1000


def test_density_draws_means_and_the_ideal_line() -> None:
    axes = Figure().subplots()
    density.density(axes, sweep_frame())
    curve, ideal = axes.lines[0], next(line for line in axes.lines if line.get_linestyle() == "--")
    assert list(curve.get_xdata()) == [0.5, 1.0]
    assert list(curve.get_ydata()) == [620.0, 1000.0]
    assert list(ideal.get_ydata()) == [500.0, 1000.0]
    assert axes.get_ylim()[0] == 0, "an axis of a share must not be cut"


def test_the_front_holds_exactly_the_points_that_none_dominates() -> None:
    points = np.random.default_rng(3).integers(0, 12, size=(60, 2))
    chosen = set(pareto.front(points[:, 0], points[:, 1]).tolist())
    for index, (x, y) in enumerate(points):
        beaten = any((a <= x and b <= y) and (a < x or b < y) for a, b in points)
        twin_chosen = any((points[other] == (x, y)).all() for other in chosen)
        assert twin_chosen is not beaten, f"point {index}"


def test_validation_counts_what_it_leaves_out(tmp_path: Path) -> None:
    rows = [
        {"kind": "matmul", "cycles_measured": 300, "cycles_simulated": 300},
        {"kind": "mvin", "cycles_measured": 77, "cycles_simulated": 80},
        {"kind": "chain", "cycles_measured": -1, "cycles_simulated": -1},
        {"kind": "conv", "cycles_measured": 99, "cycles_simulated": None},
    ]
    (tmp_path / "v.json").write_text(json.dumps({"rows": rows}))
    axes = Figure().subplots()
    validation.validation(axes, validation.read_rows(tmp_path / "v.json"))
    assert axes.get_title() == "2 rows, 50.00% exact to the cycle; 2 that have no cycles left out"
    assert axes.get_xscale() == axes.get_yscale() == "log"
    validation.main([str(tmp_path / "v.json"), "-o", str(tmp_path / "v.png")])
    assert (tmp_path / "v.png").stat().st_size > 1000


def test_bad_input_is_refused_by_name(tmp_path: Path) -> None:
    axes = Figure().subplots()
    with pytest.raises(InputError, match=r"columns missing in the sweep: cycles .*did you mean 'cycels'"):
        density.density(axes, sweep_frame().rename(columns={"cycles": "cycels"}))
    (tmp_path / "not.json").write_text("[]")
    with pytest.raises(InputError, match="carat validate --json"):
        validation.main([str(tmp_path / "not.json")])
    with pytest.raises(InputError, match="holds no numbers"):
        pareto.pareto(axes, sweep_frame(), x="hardware")


def test_as_a_program_bad_input_ends_with_2_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["validation", str(tmp_path / "none.json")])
    with pytest.raises(SystemExit) as end:
        style.run(validation.main)
    assert end.value.code == 2
    assert "none.json" in capsys.readouterr().err


def test_crowded_front_points_share_a_number() -> None:
    axes = Figure(figsize=(5, 4), dpi=100).subplots()
    points = pd.DataFrame({"cycles": [1.0, 1.001, 9.0], "energy_pj": [9.0, 8.99, 1.0], "knob": [1, 2, 3]})
    pareto.pareto(axes, points)
    assert sorted(text.get_text() for text in axes.texts if len(text.get_text()) < 6) == ["1-2", "3"]


def test_shares_make_bars_of_one_length() -> None:
    axes = Figure().subplots()
    breakdown.breakdown(axes, {"short": run_frame(), "long": run_frame(50)}, "cause", shares=True)
    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) == pytest.approx(1.0)
    assert "1.40 k" in [text.get_text() for text in axes.texts], "the run's cycles stay behind its bar"


def test_a_dense_point_may_be_called_dense_or_nothing() -> None:
    by_name = sweep_frame().fillna({"sparsity": "dense"})
    for sweep in (sweep_frame(), by_name):
        axes = Figure().subplots()
        density.density(axes, sweep)
        assert list(axes.lines[0].get_xdata()) == [0.5, 1.0]


def test_each_operand_has_its_ideal_and_its_look() -> None:
    # By hand: attention leaves 90 of 100 at half density, weights 52. N:M points stand alone, others are hollow.
    def point(sparsity: str, cycles: float, left: float) -> dict[str, object]:
        counts = {"macs": left, "macs_skipped": 100 - left}
        return {"hardware": "a", "workload": "w", "sparsity": sparsity, "seed": 0, "cycles": cycles, **counts}

    rows = [point("dense", 1000.0, 100), point("block16:0.5", 600.0, 52), point("attention=topk:0.5/pack", 950.0, 90)]
    rows += [point("2:4", 580.0, 52), point("activations=2:4", 570.0, 50), point("4:8", 590.0, 52)]
    axes = Figure().subplots()
    density.density(axes, pd.DataFrame(rows))
    curves = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    ideals = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in ideals] == [[520.0, 1000.0], [900.0, 1000.0]]
    assert list(curves["attention=topk/pack"].get_xdata()) == [0.5, 1.0]
    assert all(curves[name].get_linestyle() == "None" for name in ("2:4", "4:8", "activations=2:4"))
    assert curves["2:4"].get_marker() == curves["activations=2:4"].get_marker() != curves["4:8"].get_marker()
    assert [n for n, line in curves.items() if line.get_markerfacecolor() == "white"] == [
        "attention=topk/pack",
        "activations=2:4",
    ]
    assert axes.get_xlabel().endswith("weights, scores, activations")


def test_a_specification_is_a_point_at_the_work_that_is_left() -> None:
    # By hand: pruned to 40 of 100 it has skipped nothing. Its file need not be here; the dense run stays the reference.
    knobs = {"hardware": "a", "workload": "w", "seed": 0, "macs_skipped": 0}
    rows = [{**knobs, "sparsity": None, "cycles": 1000.0, "macs": 100}]
    rows += [{**knobs, "sparsity": "gone/spec.toml", "cycles": 500.0, "macs": 40}]
    axes = Figure().subplots()
    density.density(axes, pd.DataFrame(rows))
    (point,) = axes.containers
    assert (point.get_label(), *point.lines[0].get_xydata()[0]) == ("gone/spec.toml", 0.4, 500.0)
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [1000.0]
    assert axes.get_ylim() == (0, 1050.0)


def test_the_density_page_shows_what_a_pattern_loses(tmp_path: Path) -> None:
    # By hand: 100 multipliers; the sparse run holds zeros for 200 of its cycles and waits for 60, of 1000 dense ones.
    def point(sparsity: str | None, cycles: float, macs: float, metadata: float) -> dict[str, object]:
        left = {"macs": macs, "macs_skipped": 90_000 - macs, "mac_slots": macs + 100 * (200 if sparsity else 0)}
        traffic = {"dram_read_bytes": 700.0, "dram_write_bytes": 300.0, "metadata_bytes": metadata}
        waits = {"load_wait_cycles": 50.0, "bank_conflict_cycles": 10.0, "utilization": macs / (cycles * 100)}
        knobs = {"hardware": "a", "workload": "w", "sparsity": sparsity, "seed": 0}
        return {**knobs, "cycles": cycles, "energy_pj": cycles, **left, **traffic, **waits}

    sweep = pd.DataFrame([point(None, 1000.0, 90_000, 0.0), point("unstructured:0.3/pack", 600.0, 27_000, 80.0)])
    assert set(density.PAGE_COLUMNS) <= set(sweep.columns)
    figure = Figure(figsize=(12, 7), layout="constrained")
    density.page(figure, sweep)
    heights = [axes.lines[0].get_ydata()[0] for axes in figure.axes]
    assert heights[0] == 600.0 and heights[2] == 1000.0
    assert heights[3:] == pytest.approx([0.2, 0.06, 0.08])
    sweep.to_csv(tmp_path / "sweep.csv", index=False)
    kinds.plot("density", [tmp_path / "sweep.csv"], tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="no finished dense point"):
        density.page(Figure(layout="constrained"), sweep.iloc[1:])
