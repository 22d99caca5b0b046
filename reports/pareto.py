"""The points of a sweep as a scatter, with the Pareto front of each workload and size."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, Formatter, FuncFormatter

from reports import fit, knobs, style
from sim.base.errors import InputError, did_you_mean
from sim.base.pareto import pareto as dominant
from sim.run.columns import COLUMNS

LOG_RATIO = 8
"""An axis is logarithmic when its largest value is this many times its smallest."""

CROWDED_PIXELS = 22
"""Front points closer than this share one number."""

LISTED = 18
"""At most this many lines are listed under the axes; more do not fit."""
LIST_POINTS = 7.5
"""Size of their letters."""

DASHES = ("-", "--", "-.", ":")
"""Lines of the fronts where colours say something else."""

BELOW_AXIS = -0.16
"""Start of the list, in heights of the axes: under the axis label."""


def front(*columns: npt.ArrayLike, groups: Sequence[Hashable] | None = None) -> npt.NDArray[np.intp]:
    """Return the indices of the Pareto front (smaller is better in every column), by rising first column; of equal
    points the first.

    ``groups``: one per point; only points of equal groups are compared, so each group has a front of its own.
    """
    of = list(groups) if groups is not None else [None] * len(np.asarray(columns[0]))
    values = [tuple(float(part) for part in row) for row in zip(*map(np.asarray, columns), strict=True)]
    first = {(group, row): index for index, (group, row) in reversed(list(enumerate(zip(of, values, strict=True))))}
    marked = enumerate(dominant(values, of))
    best = [index for index, chosen in marked if chosen and first[of[index], values[index]] == index]
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
    """Draw the finished points of ``sweep`` on ``axes`` with a Pareto front per workload and size, and return them.

    Front points are numbered; the list under the axes names the settings of each (the columns that the sweep varied).
    ``color``: column whose values get colours of their own; without it each workload and size has one. ``also``:
    further columns; points on the front of ``x``, ``y`` and these together get a ring.
    """
    points = knobs.finished(sweep, (x, y, *also))
    knobs.require(points, [color] if color else [])
    for name in (x, y):
        if not pd.api.types.is_numeric_dtype(points[name]):
            numbers = [str(column) for column in points.columns if pd.api.types.is_numeric_dtype(points[column])]
            raise InputError(f"column {name!r} holds no numbers{did_you_mean(name, numbers)}")
    group_of = knobs.questions(points, x, y, *also)
    _points(axes, points, x, y, color, group_of)
    chosen = front(points[x], points[y], groups=list(group_of))
    fronts = {group: [index for index in chosen if group_of[index] == group] for group in dict.fromkeys(group_of)}
    for number, (group, members) in enumerate(fronts.items()):
        alone = len(fronts) == 1
        steps: dict[str, Any] = {"color": style.DARK_TEXT if alone or color else _color(number), "lw": 1.1}
        label = "Pareto front" if alone else f"front: {group}" if color else None
        dashes = DASHES[number % len(DASHES)] if color else "-"
        axes.plot(points[x][members], points[y][members], dashes, drawstyle="steps-post", label=label, **steps)
    if also:
        ringed = front(*(points[name] for name in (x, y, *also)), groups=list(group_of))
        ring: dict[str, Any] = {"s": 70, "facecolors": "none", "edgecolors": style.DARK_TEXT, "lw": 1.0, "zorder": 4}
        label = f"front with {', '.join(plain(name) for name in also)}"
        axes.scatter(points[x][ringed], points[y][ringed], label=label, **ring)
    for axis, name, scale in ((axes.xaxis, x, axes.set_xscale), (axes.yaxis, y, axes.set_yscale)):
        if points[name].min() > 0 and points[name].max() / points[name].min() >= LOG_RATIO:
            scale("log")
            fit.log_ticks(axis)
        axis.set_major_formatter(_ticks(name))
    axes.margins(0.09)
    fit.x_label(axes, _axis_label(x))
    axes.set_ylabel(_axis_label(y))
    fit.above(axes, 3)
    if listing:
        _list(axes, points, fronts)
    _number(axes, points, x, y, fronts)
    return axes


def _points(axes: Axes, points: pd.DataFrame, x: str, y: str, color: str, group_of: pd.Series) -> None:
    """Draw the points, coloured by the values of ``color``, else by workload and size."""
    by = points[color] if color else group_of
    for number, value in enumerate(sorted(by.unique())):
        some = points.loc[by == value]
        label = f"{color} = {value}" if color else str(value) if len(set(by)) > 1 else None
        marker = style.MARKERS[number % len(style.MARKERS)]
        place = number if color else list(dict.fromkeys(group_of)).index(value)
        axes.scatter(some[x], some[y], s=26, marker=marker, color=_color(place), label=label, linewidths=0, zorder=3)


def _color(number: int) -> str:
    return style.LINE_COLORS[number % len(style.LINE_COLORS)]


def _list(axes: Axes, points: pd.DataFrame, fronts: Mapping[str, Sequence[int]]) -> None:
    """List the settings of the front points under the axes, in lines as wide as the figure."""
    varied = knobs.settings(points)
    varied = varied.drop(columns=[name for name in ("workload",) if name in varied])
    letters = int(0.9 * fit.width_inches(axes) / (fit.LETTER_INCHES * LIST_POINTS))
    lines, number = [], 0
    for group, members in fronts.items():
        lines.append(f"on the front{f' of {group}' if len(fronts) > 1 else ''}:")
        for index in members:
            number += 1
            point = ", ".join(f"{name} {knobs.number(varied[name][index])}" for name in varied)
            lines += textwrap.wrap(f"{number}  {point}", letters, subsequent_indent="    ")
    if len(lines) > LISTED:
        lines = [*lines[:LISTED], f"... and {len(lines) - LISTED} more lines; `carat report` lists all"]
    axes.text(0.0, BELOW_AXIS, "\n".join(lines), transform=axes.transAxes, fontsize=LIST_POINTS, va="top")


def _number(axes: Axes, points: pd.DataFrame, x: str, y: str, fronts: Mapping[str, Sequence[int]]) -> None:
    """Number the front points; neighbours of a front too close to tell apart share one label ("4-6")."""
    named, before = [], 0
    for members in fronts.values():
        xs, ys = points[x].to_numpy()[list(members)], points[y].to_numpy()[list(members)]
        spots = axes.transData.transform(np.column_stack([xs, ys]))
        start = 0
        for end in range(1, len(spots) + 1):
            if end < len(spots) and np.hypot(*(spots[end] - spots[start])) < CROWDED_PIXELS:
                continue
            first, last = before + start + 1, before + end
            named.append((float(xs[start]), float(ys[start]), f"{first}" if first == last else f"{first}-{last}"))
            start = end
        before += len(members)
    fit.name_points(axes, named, 8.0, list(zip(points[x], points[y], strict=True)))


def plain(column: str) -> str:
    """Return the name of a column without its unit ("energy_pj" -> "energy")."""
    unit = _unit(column)
    return column.removesuffix(f"_{unit.lower().replace(' ', '')}") if unit not in ("", "1", column) else column


def _ticks(name: str) -> Formatter:
    """Return tick labels with a metric prefix; pJ are written in joules."""
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
    return plain(name) if unit in ("", "1", "pJ", name) else f"{plain(name)} ({unit})"
