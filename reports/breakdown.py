"""Cycles of runs: one stacked bar per run, by kind of operator or by cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from reports import fit, style

By = Literal["kind", "cause"]

LETTERS_OF_A_SHARE = 5
"""Room that a label such as "42%" needs inside its part, in letters."""
LABEL_POINTS = 7.5
AXES_SHARE = 0.72
"""Part of the figure's width that the bars have: the rest is names and the cycles behind them."""


def breakdown(axes: Axes, runs: Mapping[str, pd.DataFrame], by: By = "kind", shares: bool = False) -> Axes:
    """Draw one horizontal stacked bar per run on ``axes`` and return them.

    ``runs``: name -> operators with columns op_kind, cycles and <cause>_cycles. Bars are as long as their cycles, so
    that runs compare, or with ``shares`` all of one length, so that a short run beside a long one can be read. Labels
    are shares of their own bar; the figure behind a bar is the run's cycles.
    """
    parts = {name: _by_kind(frame) if by == "kind" else _by_cause(frame) for name, frame in runs.items()}
    table = pd.DataFrame(parts).fillna(0.0)
    table = table.loc[table.sum(axis=1) > 0]
    if by == "kind":
        table = table.loc[table.sum(axis=1).sort_values(ascending=False).index]
    cycles = table.sum()
    shown = table / cycles if shares else table
    colors = style.distinct(map(str, table.index), style.CAUSE_COLORS if by == "cause" else style.kind_colors())
    lengths = {str(part): [float(length) for length in row] for part, row in shown.iterrows()}
    style.stack(axes, lengths, [str(name) for name in table.columns], colors)
    longest = float(shown.sum().max())
    room = LETTERS_OF_A_SHARE * fit.LETTER_INCHES * LABEL_POINTS / (AXES_SHARE * fit.width_inches(axes)) * longest
    for place, name in enumerate(table.columns):
        left = 0.0
        for part, bars in lengths.items():
            if bars[place] >= room:
                ink, share = style.text_color(colors[part]), bars[place] / float(shown[name].sum())
                look: dict[str, Any] = {"ha": "center", "va": "center", "color": ink, "fontsize": LABEL_POINTS}
                axes.text(left + bars[place] / 2, place, f"{share:.0%}", **look)
            left += bars[place]
        total = EngFormatter(places=2)(cycles[name])
        axes.annotate(total, (left, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, longest * 1.16)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0) if shares else EngFormatter())
    what = "share of the cycles" if shares else "cycles"
    fit.x_label(axes, f"{what} by {'kind of operator' if by == 'kind' else 'cause'}; behind the bar: cycles")
    return axes


def height_inches(runs: int) -> float:
    """Return the height in inches of one breakdown of ``runs`` runs."""
    return 1.5 + 0.42 * runs


def _by_kind(frame: pd.DataFrame) -> pd.Series:
    return frame.groupby("op_kind")["cycles"].sum()


def _by_cause(frame: pd.DataFrame) -> pd.Series:
    return pd.Series({cause: frame[f"{cause}_cycles"].sum() for cause in style.CAUSE_COLORS})
