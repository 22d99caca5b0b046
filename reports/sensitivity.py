"""How a result depends on one setting: a line per combination of the others, workload and size by workload and size.

`carat sweep WORKLOAD --grid memory.latency_cycles=20,40,80 ... -o sweep.csv; carat plot sensitivity sweep.csv`
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from reports import fit, knobs, style
from sim.base.errors import InputError, did_you_mean
from sim.run.columns import COLUMNS

MAX_LINES = 14
"""Largest number of lines drawn, by choice: with more, lines cross too often to be followed."""
LOG_RATIO = 8.0
"""An axis is logarithmic when its largest value is this many times its smallest."""
MARKERS = "os^Dv"
"""With a colour a line has a marker: lines beyond the colours differ by it."""


def sensitivity(axes: Axes, sweep: pd.DataFrame, x: str = "", y: str = "cycles") -> Axes:
    """Draw ``y`` against the setting ``x`` on ``axes``, a line per combination of all else that the sweep varied.

    Without ``x`` the only setting with several numbers is drawn. Raises InputError: no such setting or several, a
    column without numbers, more than `MAX_LINES` lines.
    """
    points = knobs.finished(sweep, (y,))
    setting = x or _only_setting(points)
    knobs.require(points, [setting])
    for name in (setting, y):
        if not pd.api.types.is_numeric_dtype(points[name]):
            raise InputError(
                f"plot sensitivity: column {name!r} holds no numbers{did_you_mean(name, _settings(points))}"
            )
    lines = list(_lines(points, setting))
    if len(lines) > MAX_LINES:
        raise InputError(
            f"plot sensitivity: {len(lines)} combinations of the other settings, a line each; at most {MAX_LINES} "
            "lines are drawn: sweep fewer values, or one workload"
        )
    for number, (name, line) in enumerate(lines):
        marker = MARKERS[number // len(style.LINE_COLORS) % len(MARKERS)]
        color = style.LINE_COLORS[number % len(style.LINE_COLORS)]
        axes.plot(line[setting], line[y], label=name, color=color, marker=marker, ms=4, lw=1.2)
    values = sorted(points[setting].unique())
    if values[0] > 0 and values[-1] / values[0] >= LOG_RATIO:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(values if len(values) <= 10 else values[:: len(values) // 8]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: knobs.number(value))
    if points[y].min() > 0 and points[y].max() / points[y].min() >= LOG_RATIO:
        axes.set_yscale("log")
        fit.log_ticks(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    unit = COLUMNS[y].unit if y in COLUMNS else ""
    axes.set_xlabel(setting)
    axes.set_ylabel(f"{y} ({unit})" if unit and unit not in y else y)
    if len(lines) > 1:
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def _settings(points: pd.DataFrame) -> list[str]:
    """Return the varied settings that are numbers."""
    return [name for name in knobs.varied(points) if pd.api.types.is_numeric_dtype(points[name]) and name != "seed"]


def _only_setting(points: pd.DataFrame) -> str:
    found = _settings(points)
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError("plot sensitivity: the sweep varied no setting that is a number; it needs one")
    raise InputError(f"plot sensitivity: the sweep varied {', '.join(found)}; choose one with --x")


def _lines(points: pd.DataFrame, setting: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the points of each combination of the other settings by rising setting, named by what differs.

    Settings that change with ``setting`` (keys joined in the grid) are no other settings.
    """
    others = [name for name in knobs.varied(points) if name != setting and not _tied(points, name, setting)]
    if not others:
        yield str(points["workload"].iloc[0]), points.sort_values(setting)
        return
    for values, line in points.groupby(others, sort=False, dropna=False):
        words = [
            str(value) if name in ("workload", "hardware") else f"{knobs.short(name, others)} {knobs.number(value)}"
            for name, value in zip(others, values, strict=True)
            if value == value and value is not None
        ]
        yield ", ".join(words) or "dense", line.sort_values(setting)


def _tied(points: pd.DataFrame, name: str, setting: str) -> bool:
    """Return whether each value of a machine key goes with one value of the setting."""
    pairs = points[[name, setting]].astype(str).drop_duplicates()
    return "." in name and "." in setting and len(pairs) == points[setting].nunique() == points[name].nunique()
