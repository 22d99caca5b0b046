"""Sensitivity of one machine: the change of cycles with each knob halved and doubled, the largest effect on top."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from reports import fit, knobs, style
from sim.base.errors import InputError

SHOWN = 14
MIN_CHANGE = 0.0005
"""Knobs that move less than this share in both directions are counted, not drawn."""
LINEAR_CHANGE = 0.01
UNLIKE = 20
"""With effects further apart than this factor the axis is logarithmic beyond `LINEAR_CHANGE`."""
LESS, MORE = "#D55E00", "#0072B2"


def read(path: Path) -> pd.DataFrame:
    """Return the table of `carat whatif -o`. Raises InputError for another file."""
    return style.read(path, ["knob", "direction", "from", "to", "cycles", "cycles_change"])


def tornado(axes: Axes, effects: pd.DataFrame, metric: str = "cycles") -> Axes:
    """Draw one bar per knob and direction on ``axes`` and return them.

    ``effects``: the table of `carat whatif`, columns knob, direction ("less", "more"), from, to, <metric>_change (share
    of the base). Raises InputError when no knob moved the metric.
    """
    column = f"{metric}_change"
    if column not in effects.columns:
        raise InputError(f"no column {column} among the effects; `carat whatif -o` writes it")
    changes = pd.to_numeric(effects[column], errors="coerce")
    wrong = changes.isna() & effects[column].notna()
    if wrong.any():
        raise InputError(f"{column}: {str(effects.loc[wrong, column].iloc[0])[:40]!r} is no number; a share is needed")
    effects = effects.assign(**{column: changes})
    done = effects.loc[effects[column].notna()]
    reach = done[column].abs().groupby(done["knob"]).max().sort_values(ascending=False, kind="stable")
    moving = reach.loc[reach >= MIN_CHANGE]
    if moving.empty:
        raise InputError(f"no knob moved {metric}, nothing to draw")
    shown = [str(knob) for knob in moving.index[:SHOWN]]
    for place, knob in enumerate(shown):
        _bars(axes, place, done.loc[done["knob"] == knob], column)
    axes.set_yticks(range(len(shown)), fit.fitting(axes, shown))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.axvline(0, color=style.DARK_TEXT, lw=0.8)
    logarithmic = moving.iloc[0] > UNLIKE * moving.iloc[min(len(shown), 6) - 1]
    if logarithmic:
        axes.set_xscale("symlog", linthresh=LINEAR_CHANGE)
    axes.margins(x=0.28)
    axes.set_xlim(left=max(axes.get_xlim()[0], -1.3))
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    still = len(reach) - len(shown)
    fit.x_label(
        axes, f"change of {metric.split('_')[0]}{' (log beyond 1%)' if logarithmic else ''}; {still} knobs not shown"
    )
    for label, color in (("knob lowered", LESS), ("knob raised", MORE)):
        axes.bar([0], [0], color=color, label=label)
    fit.above(axes, 2)
    return axes


def _bars(axes: Axes, place: int, steps: pd.DataFrame, column: str) -> None:
    """Draw a knob's steps, longest first, and write its values at their ends, together when on one side."""
    ends: dict[bool, list[tuple[float, str]]] = {}
    for step in sorted(steps.to_dict("records"), key=lambda step: -abs(step[column])):
        change = float(step[column])
        axes.barh(place, change, 0.7, color=LESS if step["direction"] == "less" else MORE)
        if abs(change) >= MIN_CHANGE:
            ends.setdefault(change > 0, []).append((change, knobs.number(step["to"])))
    for upwards, values in ends.items():
        text = ", ".join(label for _, label in values)
        axes.annotate(
            text, (values[0][0], place), (3 if upwards else -3, 0), textcoords="offset points",
            ha="left" if upwards else "right", va="center", fontsize=7,
        )  # fmt: skip
