"""Utilisation of the array by operator: equal operators of all layers are one bar."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from reports import fit, style
from sim.analysis.diff import without_layer

SHOWN = 14
SHOWN_OF_MANY = 8
"""Operators with the most cycles that are drawn for one or two runs, and for more; the table of the page has all."""


def utilization(axes: Axes, runs: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw the utilization of each operator on ``axes``, a bar per run, and return them.

    ``runs``: name -> operators with columns op, engine, cycles, utilization. Behind each bar: the operator's share of
    the cycles of that run.
    """
    tables = {name: by_name(ops.loc[ops["engine"] == "array"]) for name, ops in runs.items()}
    whole = {name: float(ops["cycles"].sum()) for name, ops in runs.items()}
    known = {name: set(ops["op"].map(without_layer)) for name, ops in runs.items()}
    cycles = pd.concat([table["cycles"] / whole[run] for run, table in tables.items()], axis=1).fillna(0).max(axis=1)
    names = [str(name) for name in cycles.sort_values(ascending=False).index[: shown(len(runs))]]
    thickness = 0.8 / len(runs)
    for number, (run, table) in enumerate(tables.items()):
        places = [place - 0.4 + (number + 0.5) * thickness for place in range(len(names))]
        lengths = [float(table["utilization"].get(name, 0.0)) for name in names]
        axes.barh(places, lengths, thickness * 0.9, color=style.RUN_COLORS[number % len(style.RUN_COLORS)], label=run)
        for name, place, length in zip(names, places, lengths, strict=True):
            absent = "not on the array" if name in known[run] else "not in this run"
            share = f"{float(table['cycles'][name]) / whole[run]:.1%}" if name in table.index else absent
            axes.annotate(share, (length, place), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(range(len(names)), fit.fitting(axes, names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0])
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    fit.x_label(axes, "utilization of the array; behind the bar: share of the run's cycles")
    if len(runs) > 1:
        fit.above(axes, 2)
    return axes


def shown(runs: int) -> int:
    """Return the number of operators that are drawn for ``runs`` runs."""
    return SHOWN if runs <= 2 else SHOWN_OF_MANY


def height_inches(runs: int) -> float:
    """Return the height of the picture of ``runs`` runs: each bar as high as the share behind it."""
    return 1.1 + 0.2 * ((runs + 1) // 2) + shown(runs) * (0.06 + 0.13 * runs)


def by_name(ops: pd.DataFrame) -> pd.DataFrame:
    """Return cycles (sum) and utilization (weighted by cycles) by operator name without its layer ("L3.FF1" -> FF1)."""
    names = ops["op"].map(without_layer)
    weighted = (ops["utilization"] * ops["cycles"]).groupby(names, sort=False).sum()
    cycles = ops["cycles"].groupby(names, sort=False).sum()
    return pd.DataFrame({"cycles": cycles, "utilization": weighted / cycles})
