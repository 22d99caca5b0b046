"""Simulated against measured cycles, log-log, and the error of every row beneath.

python -m reports.validation VALIDATION.json -o validation.png   (written by `carat validate --json`)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports import style
from sim.base.errors import InputError
from sim.base.reading import read_json

GROUPS: dict[str, tuple[str, ...]] = {
    "matmul": ("matmul",),
    "encoder operators": ("encoder",),
    "convolution": ("conv",),
    "residual add": ("resadd",),
    "normalisation": ("norm", "normmv"),
    "block-sparse": ("blocksparse",),
    "hardware loops": ("loopws",),
    "compute chains": ("chain", "conf", "mcm"),
    "moves in and out": ("mvin", "mvout"),
    "configuration": ("config",),
}
"""Colour groups of the figure and the kinds of rows in each."""

LINEAR_ERROR = 1e-4
"""The error axis is linear below this size and logarithmic beyond."""


def validation(axes: Axes, rows: pd.DataFrame) -> Axes:
    """Draw simulated against measured cycles on ``axes``, both logarithmic, one colour per group.

    ``rows``: columns kind, cycles_measured, cycles_simulated. Rows without a simulation or that never end are
    left out and counted in the title. Returns the axes.
    """
    shown = _finished(rows)
    for name, group, look in _groups(shown):
        axes.scatter(group["cycles_measured"], group["cycles_simulated"], label=f"{name} ({len(group)})", **look)
    ends = [shown["cycles_measured"].min() * 0.8, shown["cycles_measured"].max() * 1.25]
    axes.plot(ends, ends, color=style.DARK_TEXT, lw=0.8, zorder=1, label="simulated = measured")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("measured cycles (Gemmini RTL)")
    axes.set_ylabel("simulated cycles")
    exact = (shown["cycles_measured"] == shown["cycles_simulated"]).mean()
    left_out = len(rows) - len(shown)
    title = f"{len(shown):,} rows, {exact:.2%} exact to the cycle"
    axes.set_title(title + (f"; {left_out} that have no cycles left out" if left_out else ""))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def errors(axes: Axes, rows: pd.DataFrame) -> Axes:
    """Draw the error of every row, simulated / measured - 1, against its measured cycles; return the axes."""
    shown = _finished(rows)
    for _, group, look in _groups(shown):
        error = group["cycles_simulated"] / group["cycles_measured"] - 1.0
        axes.scatter(group["cycles_measured"], error, **look)
    axes.axhline(0.0, color=style.DARK_TEXT, lw=0.8, zorder=1)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=LINEAR_ERROR)
    largest = max(10 * LINEAR_ERROR, float((shown["cycles_simulated"] / shown["cycles_measured"] - 1).abs().max()))
    steps = [step for step in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0) if step <= 10 * largest]
    axes.set_yticks([*(-step for step in reversed(steps) if step <= 1.0), 0.0, *steps])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+g} %" if value else "0"))
    axes.set_ylim(-1.5 * min(largest, 1.0), 1.5 * largest)
    axes.set_xlabel("measured cycles (Gemmini RTL)")
    axes.set_ylabel("error")
    return axes


def read_rows(path: Path) -> pd.DataFrame:
    """Read the rows of a `carat validate --json` file; InputError if it is none."""
    try:
        rows = pd.DataFrame(read_json(path)["rows"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the output of carat validate --json: {error}") from error
    if not {"kind", "cycles_measured", "cycles_simulated"} <= set(rows.columns):
        raise InputError(f"{path}: no rows with kind, cycles_measured and cycles_simulated in it")
    return rows


def main(arguments: Sequence[str]) -> None:
    """Draw both panels and save them."""
    parser = argparse.ArgumentParser(prog="python -m reports.validation", description=__doc__)
    parser.add_argument("rows", type=Path, metavar="VALIDATION.json")
    parser.add_argument("-o", "--output", type=Path, default=Path("validation.png"))
    chosen = parser.parse_args(arguments)
    rows = read_rows(chosen.rows)
    with style.sheet():
        figure = Figure(figsize=(7.4, 6.4))
        upper, lower = figure.subplots(2, 1, height_ratios=(3, 2), sharex=True)
        validation(upper, rows).set_xlabel("")
        errors(lower, rows)
        style.save(figure, chosen.output)


def _finished(rows: pd.DataFrame) -> pd.DataFrame:
    simulated = pd.to_numeric(rows["cycles_simulated"])
    shown = rows.assign(cycles_simulated=simulated).loc[(simulated > 0) & (rows["cycles_measured"] > 0)]
    if shown.empty:
        raise InputError("no row has both measured and simulated cycles, nothing to draw")
    return shown


def _groups(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame, dict[str, Any]]]:
    named = {kind: name for name, kinds in GROUPS.items() for kind in kinds}
    names = rows["kind"].map(lambda kind: named.get(kind, "other"))
    found = []
    for number, name in enumerate([*GROUPS, "other"]):
        members = rows.loc[names == name]
        if len(members):
            color = style.PALETTE[number % len(style.PALETTE)]
            marker = style.MARKERS[number % len(style.MARKERS)]
            look: dict[str, Any] = {
                "color": color,
                "marker": marker,
                "s": 16,
                "alpha": 0.75,
                "linewidths": 0,
                "zorder": 3,
            }
            found.append((name, members, look))
    return found


if __name__ == "__main__":
    style.run(main)
