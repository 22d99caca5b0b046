"""A sweep as parallel coordinates: one line per point through its knobs and results, the Pareto fronts in colour."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from reports import fit, knobs, style
from reports.pareto import front, plain

RESULTS = ("cycles", "energy_pj", "area_mm2")
OTHERS = "#888888"
"""Colour of points that are on no front."""
MAX_LABELS = 8
"""Values of a knob that are labelled; of more, as many evenly chosen ones."""


def parallel(axes: Axes, sweep: pd.DataFrame, results: Sequence[str] = RESULTS) -> Axes:
    """Draw the finished points of ``sweep`` on ``axes`` and return them.

    Knobs (tied ones as one axis) are spaced by their order, results from least to largest value. Points on the Pareto
    front of all ``results`` are in colour, one colour per workload and size; the others are grey. Raises InputError
    without a finished point.
    """
    points = knobs.finished(sweep, results)
    varied = knobs.settings(points).drop(columns=list(results), errors="ignore")
    scales = {name: _ordered(varied[name]) for name in varied}
    scales |= {plain(name): _scaled(points[name], name) for name in results}
    group_of = list(knobs.questions(points, *results))
    groups = list(dict.fromkeys(group_of))
    best = set(front(*(points[name] for name in results), groups=group_of).tolist())
    for index in sorted(range(len(points)), key=lambda index: index in best):
        heights = [heights[index] for heights, _ in scales.values()]
        color = style.LINE_COLORS[groups.index(group_of[index]) % len(style.LINE_COLORS)] if index in best else OTHERS
        wide = 1.6 if index in best else 0.7
        axes.plot(range(len(scales)), heights, color=color, lw=wide)
    for group in groups if len(groups) > 1 else ():
        color = style.LINE_COLORS[groups.index(group) % len(style.LINE_COLORS)]
        axes.plot([], [], color=color, label=f"front: {group}")
    ground = {"boxstyle": "square,pad=0.1", "facecolor": style.GROUND, "edgecolor": "none", "alpha": 0.85}
    letters = int(0.8 * fit.width_inches(axes) / len(scales) / (fit.LETTER_INCHES * 7))
    for place, (_, labels) in enumerate(scales.values()):
        axes.axvline(place, color=style.DARK_TEXT, lw=0.8)
        for height, label in labels:
            axes.annotate(
                fit.shorten(label, letters), (place, height), (4, 0), textcoords="offset points", fontsize=7,
                va="center", bbox=ground, zorder=5,
            )  # fmt: skip
    axes.set_xticks(range(len(scales)), [fit.shorten(str(name), 28) for name in scales], rotation=25, ha="right")
    axes.set_xlim(-0.15, len(scales) - 0.3)
    axes.set_ylim(-0.05, 1.05)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    fit.above(axes, 2)
    return axes


Scale = tuple[list[float], list[tuple[float, str]]]
"""Height of each point, 0 to 1, and (height, label) of the ticks."""


def _ordered(values: pd.Series) -> Scale:
    """Return the values of a knob evenly spaced: numbers by size, text in the order of the sweep."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    known = sorted(values.dropna().unique()) if numeric else list(dict.fromkeys(values.astype(str)))
    known += ["-"] if numeric and values.isna().any() else []
    place = {value: index / max(1, len(known) - 1) for index, value in enumerate(known)}
    shown = values.astype(object).where(values.notna(), "-") if numeric else values.astype(str)
    every = max(1, -(-len(known) // MAX_LABELS))
    labels = [(place[value], knobs.number(value)) for value in known]
    return [place[value] for value in shown], [*labels[:-1:every], labels[-1]] if len(labels) > 1 else labels


def _scaled(values: pd.Series, name: str) -> Scale:
    """Return the values of a result between its least and its largest, which are the ticks."""
    numbers = values.astype(float)
    low, high = float(numbers.min()), float(numbers.max())
    if high == low:
        return [0.5] * len(numbers), [(0.5, knobs.quantity(name, low))]
    heights = ((numbers - low) / (high - low)).tolist()
    return heights, [(0.0, knobs.quantity(name, low)), (1.0, knobs.quantity(name, high))]
