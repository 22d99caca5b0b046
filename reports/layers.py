"""Cycles of each layer: one bar per layer, stacked by cause."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from reports import style
from sim.run.columns import CAUSES

OUTSIDE = "none"
"""Operators that belong to no layer (embedding, head)."""


def layers(axes: Axes, ops: pd.DataFrame) -> Axes:
    """Draw one horizontal bar per layer on ``axes``, stacked by cause, and return them.

    ``ops``: a run's operators with columns layer and <cause>_cycles.
    """
    names = [OUTSIDE if pd.isna(layer) else str(int(layer)) for layer in ops["layer"]]
    order = list(dict.fromkeys(names))
    sums = ops.groupby(pd.Series(names, index=ops.index), sort=False)[[f"{cause}_cycles" for cause in CAUSES]].sum()
    parts = {cause: [float(cycles) for cycles in sums[f"{cause}_cycles"].reindex(order)] for cause in CAUSES}
    style.stack(axes, parts, order, style.CAUSE_COLORS)
    axes.set_ylabel("layer")
    axes.set_xlabel("cycles")
    axes.xaxis.set_major_formatter(EngFormatter())
    return axes
