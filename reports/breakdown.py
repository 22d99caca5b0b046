"""Where the cycles went: stacked bars by operator kind and by cause, one bar per run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from reports import style

LABELLED_SHARE = 0.035
"""Segments lower than this share of the tallest bar carry no label; it would not fit."""

LONGEST_LEVEL_NAME = 14
"""Run names longer than this are slanted, so that neighbours do not run into each other."""


def breakdown(
    axes: Axes, runs: Mapping[str, pd.DataFrame], by: Literal["kind", "cause"] = "kind", shares: bool = False
) -> Axes:
    """Draw one stacked bar per run on ``axes`` and return them.

    ``runs``: name -> frame of operators with columns op_kind, cycles and <cause>_cycles. Heights are cycles,
    so bars compare, or with ``shares`` shares of each run, so that a short run beside a long one can be read;
    labels are shares of their own bar, the figure on top is the run's cycles.
    """
    parts = {name: _by_kind(frame) if by == "kind" else _by_cause(frame) for name, frame in runs.items()}
    table = pd.DataFrame(parts).fillna(0.0)
    table = table.loc[table.sum(axis=1) > 0]
    if by == "kind":
        table = table.loc[table.sum(axis=1).sort_values(ascending=False).index]
    places = range(len(table.columns))
    bottom = pd.Series(0.0, index=table.columns)
    cycles_of_run = table.sum()
    if shares:
        table = table / cycles_of_run
    totals = table.sum()
    for part, cycles in table.iterrows():
        color = style.kind_color(str(part)) if by == "kind" else style.CAUSE_COLORS[str(part)]
        axes.bar(places, cycles, 0.62, bottom, color=color, edgecolor=style.EDGE, lw=0.5, label=_words(str(part)))
        for place, name in enumerate(table.columns):
            if cycles[name] >= LABELLED_SHARE * totals.max():
                middle = bottom[name] + cycles[name] / 2
                ink = style.text_color(color)
                axes.text(
                    place,
                    middle,
                    f"{cycles[name] / totals[name]:.0%}",
                    ha="center",
                    va="center",
                    color=ink,
                    fontsize=7.5,
                )
        bottom = bottom + cycles
    for place, name in enumerate(table.columns):
        axes.annotate(
            EngFormatter(places=2)(cycles_of_run[name]),
            (place, totals[name]),
            (0, 2),
            textcoords="offset points",
            ha="center",
        )
    names = [str(name) for name in table.columns]
    slanted = len(names) > 1 and max(map(len, names)) > LONGEST_LEVEL_NAME
    axes.set_xticks(list(places), names, rotation=25 if slanted else 0, ha="right" if slanted else "center")
    axes.set_xlim(-0.6, len(places) - 0.4)
    axes.set_ylim(0, totals.max() * 1.08)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0) if shares else EngFormatter())
    axes.set_ylabel("share of the cycles" if shares else "cycles")
    axes.set_title(f"by {'operator' if by == 'kind' else 'cause'}")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def _by_kind(frame: pd.DataFrame) -> pd.Series:
    return frame.groupby("op_kind")["cycles"].sum()


def _by_cause(frame: pd.DataFrame) -> pd.Series:
    return pd.Series({cause: frame[f"{cause}_cycles"].sum() for cause in style.CAUSE_COLORS})


def _words(name: str) -> str:
    return name.replace("_", " ")
