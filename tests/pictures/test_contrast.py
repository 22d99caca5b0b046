"""Every mark of every picture can be seen on white paper: its ground, or its outline, 3 to 1 (WCAG 2.1, 1.4.11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.colors
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import (
    activity,
    breakdown,
    energy,
    layers,
    parallel,
    pareto,
    roofline,
    style,
    traffic,
    utilization,
)
from sim.analysis import saved

Runs = dict[str, saved.SavedRun]


def seen(color: Any) -> float:
    """Return the contrast of a colour with white paper, which shows through it where it is transparent."""
    red, green, blue, alpha = matplotlib.colors.to_rgba(color)
    mixed = [alpha * part + 1 - alpha for part in (red, green, blue)]
    return style.contrast(matplotlib.colors.to_hex(mixed), style.LIGHT_PAPER)


def marks(axes: Axes) -> Iterator[tuple[str, float]]:
    """Yield each mark of ``axes`` and of its legend with the highest contrast of its parts."""
    legend = axes.get_legend()
    patches = [*axes.patches, *(legend.get_patches() if legend else ())]
    for patch in patches:
        edge = seen(patch.get_edgecolor()) if patch.get_linewidth() > 0 else 1.0
        yield f"patch {patch.get_label()}", max(seen(patch.get_facecolor()), edge)
    for line in [*axes.get_lines(), *(legend.get_lines() if legend else ())]:
        yield f"line {line.get_label()}", seen(matplotlib.colors.to_rgba(line.get_color(), line.get_alpha()))
    for points in axes.collections:
        both = [*points.get_facecolor(), *points.get_edgecolor()]  # type: ignore[misc]
        yield f"points {points.get_label()}", max((seen(color) for color in both), default=21.0)


def tables(runs: Runs) -> dict[str, pd.DataFrame]:
    return {name: run.ops for name, run in runs.items()}


def sweep(fast: saved.SavedRun) -> pd.DataFrame:
    rows = [fast.totals | {"cycles": 100 * n, "energy_pj": 10 / n} for n in (1, 2, 3, 4, 5)]
    table = pd.DataFrame(rows)
    table["memory.latency_cycles"], table["workload"] = [1, 2, 3, 4, 5], [*"aabbc"]
    return table


DRAWN: dict[str, Callable[[Axes, Runs], Any]] = {
    "occupancy": lambda axes, runs: activity.activity(axes, runs["fast"], "occupancy"),
    "throughput": lambda axes, runs: activity.activity(axes, runs["fast"], "throughput"),
    "breakdown": lambda axes, runs: breakdown.breakdown(axes, tables(runs)),
    "breakdown by cause": lambda axes, runs: breakdown.breakdown(axes, tables(runs), by="cause"),
    "energy": energy.energy,
    "area": energy.area,
    "layers": lambda axes, runs: layers.layers(axes, runs["fast"].ops),
    "roofline": roofline.roofline,
    "traffic": traffic.traffic,
    "utilization": lambda axes, runs: utilization.utilization(axes, tables(runs)),
    "pareto": lambda axes, runs: pareto.pareto(axes, sweep(runs["fast"]), x="cycles", y="energy_pj"),
    "parallel": lambda axes, runs: parallel.parallel(axes, sweep(runs["fast"]), ("cycles", "energy_pj")),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_mark_can_be_seen_on_white_paper(runs: Runs, name: str) -> None:
    axes = Figure(figsize=(7, 5)).subplots()
    DRAWN[name](axes, runs)
    found = list(marks(axes))
    assert found
    assert [(mark, round(ratio, 2)) for mark, ratio in found if ratio < style.MARK_CONTRAST] == []
