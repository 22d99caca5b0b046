"""A sweep as a scatter with its Pareto front: no other point is at least as good on both axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, Formatter, FuncFormatter, NullFormatter

from reports import style
from sim.base.errors import InputError, did_you_mean
from sim.base.pareto import pareto as unbeaten_of
from sim.run.columns import COLUMNS

LOG_RATIO = 8
"""An axis is logarithmic when its largest value is this many times its smallest."""

CROWDED_PIXELS = 22
"""Front points closer than this share one number."""

LISTED = 18
"""At most this many front points are listed under the axes; more do not fit."""

BELOW_AXIS = -0.16
"""Where the list begins, in heights of the axes: under the axis label."""


def front(*columns: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Return the indices of the points that no other beats (at least as good in every column, smaller is better), by
    rising first column; of equal points the first."""
    values = [tuple(float(part) for part in row) for row in zip(*map(np.asarray, columns), strict=True)]
    first = {row: index for index, row in reversed(list(enumerate(values)))}
    best = [index for index, unbeaten in enumerate(unbeaten_of(values)) if unbeaten and first[values[index]] == index]
    return np.array(sorted(best, key=lambda index: values[index]), dtype=np.intp)


def pareto(
    axes: Axes,
    sweep: pd.DataFrame,
    x: str = "cycles",
    y: str = "energy_pj",
    color: str = "",
    also: Sequence[str] = (),
    listing: bool = True,
) -> Axes:
    """Draw the finished points of ``sweep`` on ``axes`` with their front, and return them.

    Front points are numbered; the list under the axes says what sets each apart (the columns that the sweep
    varied). ``color``: column whose values get colours of their own. ``also``: further columns; points that no
    other beats in ``x``, ``y`` and these together get a ring.
    """
    points = style.finished(sweep, (x, y, *also))
    style.require(points, [color] if color else [])
    for name in (x, y):
        if not pd.api.types.is_numeric_dtype(points[name]):
            numbers = [str(column) for column in points.columns if pd.api.types.is_numeric_dtype(points[column])]
            raise InputError(f"column {name!r} holds no numbers{did_you_mean(name, numbers)}")
    values = sorted(points[color].unique()) if color else [None]
    for number, value in enumerate(values):
        group = points.loc[points[color] == value] if color else points
        marker = style.MARKERS[number % len(style.MARKERS)]
        fill = style.PALETTE[number % len(style.PALETTE)]
        label = f"{color} = {value}" if color else None
        axes.scatter(group[x], group[y], s=26, marker=marker, color=fill, label=label, alpha=0.85, zorder=3)
    chosen = front(points[x], points[y])
    steps: dict[str, Any] = {"color": style.DARK_TEXT, "lw": 1.1, "drawstyle": "steps-post"}
    axes.plot(points[x][chosen], points[y][chosen], label="Pareto front", **steps)
    if also:
        ringed = front(*(points[name] for name in (x, y, *also)))
        ring: dict[str, Any] = {"s": 70, "facecolors": "none", "edgecolors": style.DARK_TEXT, "lw": 1.0, "zorder": 4}
        axes.scatter(points[x][ringed], points[y][ringed], label=f"front with {', '.join(also)}", **ring)
    for axis, name, scale in ((axes.xaxis, x, axes.set_xscale), (axes.yaxis, y, axes.set_yscale)):
        if points[name].min() > 0 and points[name].max() / points[name].min() >= LOG_RATIO:
            scale("log")
        axis.set_major_formatter(_ticks(name))
        axis.set_minor_formatter(NullFormatter())
    axes.margins(0.09)
    axes.set_xlabel(_axis_label(x))
    axes.set_ylabel(_axis_label(y))
    _number(axes, points[x].to_numpy()[chosen], points[y].to_numpy()[chosen])
    axes.legend(loc="best")
    if not listing:
        return axes
    knobs = [name for name in style.varied(points) if name not in (x, y)]
    lines = [
        f"{number}  " + ", ".join(f"{style.short(knob, knobs)} {points[knob][index]}" for knob in knobs)
        for number, index in enumerate(chosen[:LISTED], start=1)
    ]
    more = [f"... and {len(chosen) - LISTED} more"] if len(chosen) > LISTED else []
    text = "\n".join(["on the front:", *lines, *more])
    axes.text(0.0, BELOW_AXIS, text, transform=axes.transAxes, fontsize=7.5, va="top")
    return axes


def _number(axes: Axes, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> None:
    """Number the front points; neighbours too close to tell apart share one label ("4-6")."""
    spots = axes.transData.transform(np.column_stack([xs, ys]))
    start = 0
    for end in range(1, len(spots) + 1):
        if end < len(spots) and np.hypot(*(spots[end] - spots[start])) < CROWDED_PIXELS:
            continue
        label = f"{start + 1}" if end == start + 1 else f"{start + 1}-{end}"
        spot = (xs[start], ys[start])
        axes.annotate(label, spot, (-5, -5), textcoords="offset points", ha="right", va="top", fontsize=8)
        start = end


def _ticks(name: str) -> Formatter:
    """Return tick labels with a metric prefix; energies are read in joules, not in millions of picojoules."""
    if _unit(name) == "mm2":
        return FuncFormatter(lambda area, _: f"{area:.3g}")
    if _unit(name) != "pJ":
        return EngFormatter()
    joules = EngFormatter(unit="J")
    return FuncFormatter(lambda picojoules, _: joules(picojoules * 1e-12))


def _unit(name: str) -> str:
    return COLUMNS[name].unit if name in COLUMNS else ""


def _axis_label(name: str) -> str:
    """Return the column's name with its unit in brackets, unless the ticks carry it."""
    unit = _unit(name)
    short = name.removesuffix(f"_{unit.lower()}")
    return short if unit in ("", "1", "pJ", name) else f"{short} ({unit})"
