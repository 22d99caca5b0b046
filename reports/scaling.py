"""Scaling over cores: speedup over the fewest cores of a sweep, and the share of the memory's rate in use.

`carat sweep WORKLOAD --grid cores.count=1,2,4,8,16 ... -o cores.csv; carat plot scaling cores.csv -o scaling.png`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from reports import knobs, style
from sim.base.errors import InputError

COUNT = "cores.count"
NEEDED = (COUNT, "cycles", "dram_read_bytes", "dram_write_bytes", "workload", "hardware")


def page(figure: Figure, sweep: pd.DataFrame) -> None:
    """Draw speedup (left) and bytes a cycle at the memory (right) against the number of cores, a line per other knob.

    ``sweep``: a table of `carat sweep` with cores.count. Raises InputError without two numbers of cores.
    """
    points = knobs.finished(sweep, NEEDED)
    if points[COUNT].nunique() < 2:
        raise InputError("plot scaling: the sweep has one number of cores (cores.count); it needs at least two")
    left, right = figure.subplots(1, 2)
    for number, (name, line) in enumerate(_lines(points)):
        how: dict[str, Any] = {"color": style.LINE_COLORS[number % len(style.LINE_COLORS)], "marker": "o", "ms": 4}
        first = line.iloc[0]
        speed = first["cycles"] / line["cycles"] * first[COUNT]
        left.plot(line[COUNT], speed, label=name, **how)
        moved = line["dram_read_bytes"] + line["dram_write_bytes"]
        right.plot(line[COUNT], moved / line["cycles"], **how)
    counts = sorted(points[COUNT].unique())
    left.plot(counts, counts, color=style.DARK_TEXT, lw=0.8, ls="--", label="ideal")
    left.set_ylabel("speedup")
    right.set_ylabel("bytes a cycle, to and from memory")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        _count_axis(axes, counts)
    left.set_yscale("log", base=2)
    left.yaxis.set_major_formatter(ScalarFormatter())
    left.legend(fontsize=7, frameon=False, loc="upper left")


def _lines(points: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the points of each combination of the other knobs, by number of cores, under a name of what differs."""
    others = [name for name in knobs.varied(points) if name != COUNT]
    others += [name for name in ("sizes",) if name in points.columns and len(set(points[name])) > 1]
    if not others:
        yield str(points["workload"].iloc[0]), points.sort_values(COUNT)
        return
    for values, line in points.groupby(others, sort=False, dropna=False):
        settings = [f"{knobs.short(name, others)} {value}" for name, value in zip(others, values, strict=True)]
        yield ", ".join(settings), line.sort_values(COUNT)


def _count_axis(axes: Axes, counts: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("cores")
