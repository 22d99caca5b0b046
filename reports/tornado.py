"""What each knob is worth around one machine: cycles with the knob halved and doubled, the largest effect on top."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from reports import style
from sim.errors import InputError

SHOWN = 16
LESS, MORE = "#E69F00", "#0072B2"


def read(path: Path) -> pd.DataFrame:
    """Return the table of `carat whatif -o`. Raises InputError for another file."""
    return style.read(path, ["knob", "direction", "from", "to", "cycles", "cycles_change"])


def tornado(axes: Axes, effects: pd.DataFrame, metric: str = "cycles") -> Axes:
    """Draw one bar per knob and direction on ``axes`` and return them.

    ``effects``: the table of `carat whatif`, columns knob, direction ("less", "more"), from, to, <metric>_change (share
    of the base). Raises InputError when no knob was tried.
    """
    column = f"{metric}_change"
    done = effects.loc[effects[column].notna()]
    if done.empty:
        raise InputError("no knob gave another legal machine, nothing to draw")
    reach = done[column].abs().groupby(done["knob"]).max().sort_values(ascending=False, kind="stable")
    knobs = list(reach.index[:SHOWN])
    for direction, color in (("less", LESS), ("more", MORE)):
        rows = done.loc[done["direction"] == direction].set_index("knob")
        for place, knob in enumerate(knobs):
            if knob not in rows.index:
                continue
            change = float(rows.loc[knob, column])
            axes.barh(place, change, 0.7, color=color, alpha=0.9)
            label = f"{style.number(rows.loc[knob, 'to'])}"
            side = "left" if change >= 0 else "right"
            axes.annotate(
                label, (change, place), (3 if change >= 0 else -3, 0), textcoords="offset points",
                ha=side, va="center", fontsize=7,
            )  # fmt: skip
    axes.set_yticks(range(len(knobs)), knobs)
    axes.set_ylim(len(knobs) - 0.4, -0.6)
    axes.axvline(0, color=style.DARK_TEXT, lw=0.8)
    axes.margins(x=0.18)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"change of {metric}; at the bar's end: the knob's value")
    axes.bar([0], [0], color=LESS, label="knob lowered")
    axes.bar([0], [0], color=MORE, label="knob raised")
    style.above(axes, 2)
    return axes
