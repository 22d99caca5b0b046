"""Ticks, legends and labels that fit: their places and lengths follow from the size of the figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, Locator, MaxNLocator, NullFormatter, NullLocator

LETTER_INCHES = 0.0078
"""Mean width of a letter per point of its size (DejaVu Sans), for labels that must fit before they are drawn."""

MIN_TICKS = 3
"""A logarithmic axis with fewer ticks cannot be read."""

POINT_GAP = 6.0
"""Distance of a name from its point, in points."""

MARK_POINTS = 5.0
"""Size of a mark that names keep clear of, in points."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""

SIDES = ((0, -1), (0, 1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""Positions tried for a name near its point, as (right, up), the first free place first."""


class LogTicks(Locator):
    """Ticks of a logarithmic axis: powers of ten, else 1-2-5, else every digit, else evenly; at least three of them."""

    def __call__(self) -> list[float]:
        """Return the ticks of the visible part of the axis."""
        assert isinstance(self.axis, Axis)
        low, high = sorted(self.axis.get_view_interval())
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks from ``vmin`` to ``vmax``, both above 0."""
        decades = range(math.floor(math.log10(vmin)), math.ceil(math.log10(vmax)) + 1)
        for digits in ((1,), (1, 2, 5), range(1, 10)):
            ticks = [digit * 10.0**decade for decade in decades for digit in digits]
            ticks = [tick for tick in ticks if vmin <= tick <= vmax]
            if len(ticks) >= MIN_TICKS:
                return ticks
        return [float(tick) for tick in MaxNLocator(5).tick_values(vmin, vmax) if vmin <= tick <= vmax]


def log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis at three places or more, with metric prefixes."""
    axis.set_major_locator(LogTicks())
    axis.set_major_formatter(EngFormatter())
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def width_inches(axes: Axes) -> float:
    """Return the width of the column of the figure in which ``axes`` stands."""
    figure, grid = axes.get_figure(root=True), axes.get_gridspec()
    assert figure is not None
    return float(figure.get_figwidth()) / (grid.ncols if grid is not None else 1)


def shorten(text: str, most: int) -> str:
    """Return ``text`` in at most ``most`` letters (never fewer than 5), the middle left out where it is longer."""
    most = max(5, most)
    head = (most - 1) // 2
    return text if len(text) <= most else f"{text[:head]}\u2026{text[head + 1 - most :]}"


def fitting(axes: Axes, names: Sequence[str], share: float = 0.33) -> list[str]:
    """Return ``names`` shortened to take, as tick labels, at most ``share`` of the width; different ones stay so."""
    most = int(share * width_inches(axes) / (LETTER_INCHES * _points("ytick.labelsize")))
    cut = [shorten(name, most) for name in names]
    numbered = [f"{number}: {shorten(name, most - 3)}" for number, name in enumerate(names, 1)]
    return [
        long if cut.count(short) > names.count(name) else short
        for short, long, name in zip(cut, numbered, names, strict=True)
    ]


def above(axes: Axes, columns: int = 4, handles: Sequence[Artist] | None = None) -> None:
    """Put the legend over the axes, where it covers no data, in as many columns (at most ``columns``) as fit."""
    handles = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    if not handles:
        return
    most = int(width_inches(axes) / (LETTER_INCHES * _points("legend.fontsize")))
    labels = [shorten(str(handle.get_label()), most - 6) for handle in handles]
    fit = max(1, most // (max(map(len, labels)) + 6))
    axes.legend(
        handles,
        labels,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=min(columns, fit, len(labels)),
        columnspacing=1.0,
        handlelength=1.2,
    )


def x_label(axes: Axes, text: str) -> None:
    """Write the label of the x axis in as many lines as the width needs."""
    letters = int(0.75 * width_inches(axes) / (LETTER_INCHES * _points("axes.labelsize")))
    axes.set_xlabel(textwrap.fill(text, max(20, letters)))


def name_points(
    axes: Axes, points: Sequence[tuple[float, float, str]], size: float = 7.0, marks: Sequence[tuple[float, float]] = ()
) -> list[Annotation]:
    """Write a name beside each point (x, y, name) where it covers no other name, and return the names written.

    ``marks``: points (x, y) to keep clear where that is possible. Call it when all else is drawn and the limits of
    ``axes`` are set. A name without a free place is left out.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout decides where the axes are
    pixels = figure.dpi / 72
    taken: list[Box] = []
    half = MARK_POINTS / 2 * pixels
    spots = [axes.transData.transform(mark) for mark in marks]
    drawn = [(at_x - half, at_y - half, at_x + half, at_y + half) for at_x, at_y in spots]
    written = []
    for x, y, name in points:
        at_x, at_y = axes.transData.transform((x, y))
        lines = name.split("\n")
        wide = max(map(len, lines)) * LETTER_INCHES * size * figure.dpi
        high = 1.25 * len(lines) * size * pixels
        for (right, up), in_the_way in [(side, [*taken, *drawn]) for side in SIDES] + [(side, taken) for side in SIDES]:
            left = at_x + right * POINT_GAP * pixels - wide * (1 - right) / 2
            bottom = at_y + up * POINT_GAP * pixels - high * (1 - up) / 2
            box = (left, bottom, left + wide, bottom + high)
            inside = axes.bbox.x0 <= left and box[2] <= axes.bbox.x1
            if inside and not any(_overlap(box, other) for other in in_the_way):
                taken.append(box)
                offset = (right * POINT_GAP, up * POINT_GAP)
                sides = {"ha": ("center", "left", "right")[right], "va": ("center", "bottom", "top")[up]}
                look = {"textcoords": "offset points", "fontsize": size, "zorder": 6}
                written.append(axes.annotate(name, (x, y), offset, **look, **sides))  # type: ignore[arg-type]
                break
    return written


def _overlap(one: Box, other: Box) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _points(setting: str) -> float:
    """Return a font size of the style sheet in points ("medium" is the size of the font)."""
    return FontProperties(size=matplotlib.rcParams[setting]).get_size_in_points()  # type: ignore[index]
