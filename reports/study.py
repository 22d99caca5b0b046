"""An exhibit of a published study: each published value and the simulated ones, a row of dots each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import fit, style

WIDTH, ROW_INCHES, FRAME_INCHES = 7.2, 0.22, 1.3
LOG_SPAN = 20.0
"""Largest value over least one beyond which the axis is logarithmic."""


def draw(exhibit: dict[str, Any], folder: Path) -> Path | None:
    """Write the picture of one exhibit of `carat reproduce`; None where it has no simulated value."""
    if not any(value is not None for row in exhibit["rows"] for value in row["simulated"]):
        return None
    with style.sheet():
        height = FRAME_INCHES + ROW_INCHES * len(exhibit["rows"])
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes(figure.subplots(), exhibit)
        path = folder / (re.sub(r"\W+", "_", exhibit["name"]).strip("_").lower() + ".png")
        style.save(figure, path)
    return path


def axes(ax: Axes, exhibit: dict[str, Any]) -> Axes:
    """Draw the values of an exhibit on ``ax``: published as diamonds, each simulated column in its colour."""
    rows = exhibit["rows"]
    places = range(len(rows))
    published = [_number(row["published"]) for row in rows]
    shown = [(place, value) for place, value in zip(places, published, strict=True) if value is not None]
    if shown:
        x, y = [value for _, value in shown], [place for place, _ in shown]
        ax.scatter(x, y, marker="D", color=style.DARK_TEXT, s=26, label="published")
    for number, column in enumerate(exhibit["columns"]):
        dots = [(place, row["simulated"][number]) for place, row in zip(places, rows, strict=True)]
        dots = [(place, value) for place, value in dots if value is not None]
        label = f"{column} (fitted)" if column in exhibit["fitted"] else column
        color = style.RUN_COLORS[number]
        ax.scatter([v for _, v in dots], [p for p, _ in dots], marker="o", color=color, s=22, label=label)
    values = [v for v in published if v is not None] + [v for r in rows for v in r["simulated"] if v is not None]
    if min(values) > 0 and max(values) / min(values) > LOG_SPAN:
        ax.set_xscale("log")
        fit.log_ticks(ax.xaxis)
    else:
        ax.set_xlim(left=min(0.0, min(values)))
    ax.set_yticks(list(places), [row["row"] for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="y", lw=0.4)
    ax.set_title(f"{exhibit['name']}: {exhibit['title']}", loc="left", wrap=True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _number(printed: str) -> float | None:
    """Return a printed value as a number, None for a phrase."""
    found = re.fullmatch(r"[+-]?[\d,]+(\.\d+)?x?", printed)
    return float(printed.replace(",", "").rstrip("x")) if found else None
