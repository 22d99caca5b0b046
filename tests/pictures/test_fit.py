"""Labels fit: log axes have ticks, names do not collide, long names squeeze no picture, dark pages show all marks."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from reports import breakdown, fit, kinds, parallel, pareto, roofline, style, traffic, utilization
from reports.page import vector
from sim.analysis import saved

Runs = dict[str, saved.SavedRun]
LONG = "bert_base_with_a_slow_memory_and_many_banks_and_a_name_that_does_not_end"


def four(runs: Runs) -> Runs:
    """Return four runs, three of them of long names."""
    some = [*runs.values(), runs["fast"]]
    names = ["fast", f"{LONG}_1", f"{LONG}_2", f"{LONG}_of_another_machine"]
    return {name: replace(run, name=name) for name, run in zip(names, some, strict=True)}


def texts_of(figure: Figure) -> list[tuple[str, float, float, float, float]]:
    """Return (text, left, bottom, right, top) in pixels of every text that is shown, after layout."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = []
    for axes in figure.axes:
        shown = [*axes.texts, *axes.get_xticklabels(), axes.xaxis.label]
        shown += [*axes.get_yticklabels(), axes.yaxis.label] if axes.yaxis.get_visible() else []
        shown += axes.get_legend().get_texts() if axes.get_legend() else []
        for text in shown:
            if text.get_text() and text.get_visible() and text.get_rotation() in (0, 90):
                box = text.get_window_extent(canvas.get_renderer())
                found.append((text.get_text(), box.x0, box.y0, box.x1, box.y1))
    return found


def collisions(figure: Figure) -> list[tuple[str, str]]:
    """Return pairs of texts of the figure that cover each other by more than a pixel."""
    found = texts_of(figure)
    return [
        (a[0], b[0])
        for a, b in itertools.combinations(found, 2)
        if min(a[3], b[3]) - max(a[1], b[1]) > 1 and min(a[4], b[4]) - max(a[2], b[2]) > 1
    ]


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(
    "name", ["breakdown", "causes", "kinds", "utilization", "traffic", "energy", "area", "roofline"]
)
def test_texts_of_one_two_and_four_runs_do_not_collide(runs: Runs, name: str, count: int) -> None:
    some = dict(itertools.islice(four(runs).items(), count))
    kind = kinds.KINDS[name]
    with style.sheet():
        figure = Figure(figsize=(kind.width, kind.height(count)))
        kind.draw(figure if kind.whole else figure.subplots(), some)
        assert collisions(figure) == []
        for axes in figure.axes:
            assert axes.get_window_extent().width > 0.4 * figure.bbox.width, "long names leave room for the figure"


@pytest.mark.parametrize(("low", "high"), [(3.0, 4.0), (1e5, 1.3e5), (90.0, 900.0), (1.0, 1e7), (2.1e-3, 2.2e-3)])
def test_a_log_axis_has_three_ticks(low: float, high: float) -> None:
    axes = Figure().subplots()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    fit.log_ticks(axes.xaxis)
    inside = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 3 <= len(inside) <= 12
    assert [label.get_text() for label in axes.get_xticklabels(minor=True)] == []


def test_shortened_names_stay_different() -> None:
    axes = Figure(figsize=(4, 3)).subplots()
    names = [f"{LONG}_{number}_{LONG}" for number in range(4)]
    cut = fit.fitting(axes, names)
    assert len(set(cut)) == 4 and max(map(len, cut)) < 40


def sweep_of(workloads: dict[str, float], knobs: int = 3) -> pd.DataFrame:
    """Return a made-up sweep: ``workloads``: name -> factor of its cycles; array sides tied, values spread."""
    draw = np.random.default_rng(1)
    rows = []
    for workload, factor in workloads.items():
        for side, capacity in itertools.product((8, 16, 32, 64), ("64KiB", "128KiB", "256KiB")):
            tied = {"array.mesh_rows": side, "array.mesh_columns": side, "scratchpad.capacity": capacity}
            rows.append({
                "hardware": "gemmini_ibert", "workload": workload, "sizes": "seq=32,batch=1", **tied,
                "cycles": int(factor * 1e6 / side * draw.uniform(1, 1.4)), "energy_pj": factor * draw.uniform(1e8, 2e9),
                "area_mm2": side**1.5, "energy_table": "45nm", "node_nm": 45, "error": None,
            })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("workloads", [{"bert-tiny": 1.0}, {"bert-tiny": 1.0, "bert-mini": 4.0, "encoder-layer": 9.0}])
def test_texts_of_a_sweep_do_not_collide(workloads: dict[str, float]) -> None:
    for draw in (pareto.pareto, parallel.parallel):
        with style.sheet():
            figure = Figure(figsize=(6.4, 6.0))
            draw(figure.subplots(), sweep_of(workloads))
            assert collisions(figure) == [], draw.__name__


def test_tied_knobs_are_one_axis() -> None:
    axes: Axes = parallel.parallel(Figure().subplots(), sweep_of({"bert-tiny": 1.0}))
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["mesh_rows+mesh_columns", "capacity", "cycles", "energy", "area"]


def test_the_largest_points_of_every_run_are_named(runs: Runs) -> None:
    axes = roofline.roofline(Figure(figsize=(7, 5)).subplots(), runs)
    named = "\n".join(text.get_text() for text in axes.texts)
    for run in runs.values():
        assert str(roofline.points(run)["share"].idxmax()) in named


def test_every_mark_and_text_of_a_dark_page_can_be_seen() -> None:
    """WCAG 2.1: marks against the paper 3 to 1, text 4.5 to 1; light letters on lightened marks too."""
    css = Path(vector.__file__).with_name("page.css").read_text(encoding="utf-8")
    dark = css[css.index("prefers-color-scheme: dark") :]
    inks = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", dark[: dark.index("} }")]))
    assert inks["paper"] == style.DARK_PAPER
    for name in ("ink", "soft", "worse", "better", "link"):
        assert style.contrast(inks[name], inks["paper"]) >= 4.5, name
        assert style.contrast(inks[name], inks["panel"]) >= 4.5, name
    lightened = style.dark_page_colors()
    groups = (style.kind_colors(), style.ENERGY_COLORS, style.AREA_COLORS, style.OPERAND_COLORS, style.CAUSE_COLORS)
    for color in [*(color for group in groups for color in group.values()), *style.LINE_COLORS]:
        shown = lightened.get(color, color)
        assert style.contrast(shown, style.DARK_PAPER) >= 3, color
        assert style.contrast(style.text_color(color), shown) >= 3, f"letters on {color}"
    assert lightened["#3C3C3C"] and lightened["#6B3A1B"], "issue and host were too dark"


def test_every_part_of_a_bar_can_be_seen_on_white_paper() -> None:
    """A colour too light for white paper (yellow, light green) ends in an outline that is not; so do keys of a page."""
    css = Path(vector.__file__).with_name("page.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css[: css.index("prefers-color-scheme: dark")]))
    assert light["paper"] == style.LIGHT_PAPER and light["edge"] == style.EDGE
    assert "border: 1px solid var(--edge)" in css
    assert style.contrast(style.EDGE, style.LIGHT_PAPER) >= style.MARK_CONTRAST
    for name in ("ink", "soft", "worse", "better", "link"):
        assert style.contrast(light[name], light["panel"]) >= 4.5, name
    axes = style.stack(Figure().subplots(), {"store_wait": [1.0]}, ["one"], style.CAUSE_COLORS)
    assert all(to_hex(bar.get_edgecolor()) == style.EDGE for bar in axes.patches)


def test_a_page_has_no_fixed_colour_that_is_too_dark(runs: Runs) -> None:
    svg = vector.inline(lambda axes: breakdown.breakdown(axes, {"one": runs["host"].ops}, "cause"), "causes")
    assert "var(--mark-6b3a1b)" in svg and "#6b3a1b" not in svg.lower().replace("--mark-6b3a1b", "")
    assert "--mark-6b3a1b: #6b3a1b" in vector.variables(dark=False).lower()


def test_heights_grow_with_the_runs() -> None:
    assert utilization.height_inches(1) < utilization.height_inches(2) and breakdown.height_inches(4) > 2


def test_traffic_names_run_and_level(runs: Runs) -> None:
    with style.sheet():
        axes = traffic.traffic(Figure(figsize=(9, 4)).subplots(), runs)
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["fast, DRAM", "slow, DRAM"]
