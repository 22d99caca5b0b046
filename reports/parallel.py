"""A sweep as parallel coordinates: one line per point through its knobs and results, the Pareto front in colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports import style
from reports.pareto import front

RESULTS = ("cycles", "energy_pj", "area_mm2")


def parallel(axes: Axes, sweep: pd.DataFrame, results: Sequence[str] = RESULTS) -> Axes:
    """Draw the finished points of ``sweep`` on ``axes`` and return them.

    Axes stand side by side, each from its least to its largest value (text: in order); points that no other beats in
    all ``results`` at once are drawn in colour, the others grey. Raises InputError without a finished point.
    """
    points = style.finished(sweep, results)
    knobs = [name for name in style.varied(points) if name not in results]
    names = [*knobs, *results]
    columns = {name: _scaled(points[name], name) for name in names}
    best = set(front(*(points[name] for name in results)).tolist())
    order = sorted(range(len(points)), key=lambda index: index in best)
    for index in order:
        heights = [columns[name][0][index] for name in names]
        chosen = index in best
        color = style.PALETTE[sorted(best).index(index) % len(style.PALETTE)] if chosen else "#888888"
        axes.plot(range(len(names)), heights, color=color, lw=1.6 if chosen else 0.7, alpha=1.0 if chosen else 0.5)
    for place, name in enumerate(names):
        axes.axvline(place, color=style.DARK_TEXT, lw=0.8)
        for height, label in columns[name][1]:
            axes.annotate(label, (place, height), (3, 0), textcoords="offset points", fontsize=7, va="center")
    words = [style.short(name, names).replace("_pj", "").replace("_mm2", "") for name in names]
    axes.set_xticks(range(len(names)), words, rotation=25, ha="right")
    axes.set_xlim(-0.15, len(names) - 0.3)
    axes.set_ylim(-0.05, 1.05)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    return axes


def _scaled(values: pd.Series, name: str) -> tuple[list[float], list[tuple[float, str]]]:
    """Return heights in 0..1 and the (height, label) of ticks: all values when few, else the ends."""
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.astype(float).fillna(0.0)
        low, high = float(numbers.min()), float(numbers.max())
        heights = ((numbers - low) / (high - low)).tolist() if high > low else [0.5] * len(numbers)
        few = sorted(set(numbers)) if numbers.nunique() <= 6 else [low, high]
        return heights, [((v - low) / (high - low) if high > low else 0.5, style.quantity(name, v)) for v in few]
    words = [str(value) for value in values]
    known = sorted(set(words), key=words.index)
    place = {word: float(height) for word, height in zip(known, np.linspace(0, 1, max(2, len(known))), strict=False)}
    return [place[word] for word in words], [(height, word) for word, height in place.items()]
