"""How busy the array was in each of its operators: equal operators of all layers are one bar."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from reports import style
from sim.analysis.diff import without_layer

SHOWN = 14
"""Operators with the most cycles that are drawn; the table of the page has all."""


def utilization(axes: Axes, runs: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw the utilization of each operator on ``axes``, a bar per run, and return them.

    ``runs``: name -> operators with columns op, engine, cycles, utilization. Behind the name: share of the first run's
    cycles.
    """
    tables = {name: by_name(ops.loc[ops["engine"] == "array"]) for name, ops in runs.items()}
    first = next(iter(tables.values()))
    whole = next(iter(runs.values()))["cycles"].sum()
    cycles = pd.concat([table["cycles"] for table in tables.values()], axis=1).fillna(0).max(axis=1)
    names = list(cycles.sort_values(ascending=False).index[:SHOWN])
    thickness = 0.8 / len(runs)
    for number, (run, table) in enumerate(tables.items()):
        places = [place - 0.4 + (number + 0.5) * thickness for place in range(len(names))]
        lengths = [float(table["utilization"].get(name, 0.0)) for name in names]
        axes.barh(places, lengths, thickness * 0.9, color=style.RUN_COLORS[number % len(style.RUN_COLORS)], label=run)
    shares = first["cycles"] / whole
    axes.set_yticks(range(len(names)), [f"{name}  {shares.get(name, 0.0):.1%}" for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("utilization of the array (behind the name: share of the cycles)")
    if len(runs) > 1:
        style.above(axes, 2)
    return axes


def by_name(ops: pd.DataFrame) -> pd.DataFrame:
    """Return cycles (sum) and utilization (weighted by cycles) by operator name without its layer ("L3.FF1" -> FF1)."""
    names = ops["op"].map(without_layer)
    weighted = (ops["utilization"] * ops["cycles"]).groupby(names, sort=False).sum()
    cycles = ops["cycles"].groupby(names, sort=False).sum()
    return pd.DataFrame({"cycles": cycles, "utilization": weighted / cycles})
