"""What sparsity buys: cycles against density of the weights, beside the line where zeros cost nothing.

python -m reports.density SWEEP.csv -o density.png   (a table of `carat sweep ... --sparsity block16:0.5 ...`)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from reports import style
from sim.errors import InputError

DENSE = "dense"


def density(axes: Axes, sweep: pd.DataFrame) -> Axes:
    """Draw cycles against density on ``axes``, one line per machine, workload and pattern, and return them.

    ``sweep``: columns hardware, workload, sparsity ("pattern:density", empty or dense), cycles. Several seeds
    of a density give their mean and a bar from lowest to highest. Dashed: dense cycles x density.
    """
    points = _points(sweep)
    for number, (name, line) in enumerate(points.groupby("line", sort=True)):
        stats = line.groupby("density")["cycles"].agg(["mean", "min", "max"])
        color = style.PALETTE[number % len(style.PALETTE)]
        spread = [stats["mean"] - stats["min"], stats["max"] - stats["mean"]]
        marker = style.MARKERS[number % len(style.MARKERS)]
        axes.errorbar(stats.index, stats["mean"], spread, marker=marker, color=color, capsize=2, label=str(name))
        whole = stats.loc[stats.index >= 1.0, "mean"]
        if len(whole):
            axes.plot([0, 1], [0, whole.iloc[0]], "--", color=color, lw=1.0, alpha=0.8)
    axes.set_xlim(0, 1.04)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("density of the weights (share of blocks that are not zero)")
    axes.set_ylabel("cycles")
    axes.plot([], [], "--", color=style.DARK_TEXT, lw=1.0, label="dense cycles x density")
    axes.legend(loc="upper left")
    return axes


def main(arguments: Sequence[str]) -> None:
    """Draw one sweep and save it."""
    parser = argparse.ArgumentParser(prog="python -m reports.density", description=__doc__)
    parser.add_argument("sweep", type=Path, metavar="SWEEP.csv")
    parser.add_argument("-o", "--output", type=Path, default=Path("density.png"))
    chosen = parser.parse_args(arguments)
    table = style.read(chosen.sweep, ["hardware", "workload", "sparsity", "cycles"])
    with style.sheet():
        figure = Figure(figsize=(5.6, 4.0))
        density(figure.subplots(), table)
        style.save(figure, chosen.output)


def _points(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return line name, density and cycles of every finished point; dense points belong to every pattern."""
    done = sweep.loc[sweep["cycles"].notna()]
    others = [name for name in style.varied(done) if name not in ("hardware", "workload", "sparsity", "seed")]
    rows = []
    for _, run in done.iterrows():
        text = run["sparsity"] if isinstance(run["sparsity"], str) and run["sparsity"] != DENSE else f"{DENSE}:1"
        pattern, _, share = text.partition(":")
        name = ", ".join([f"{run['workload']} on {run['hardware']}", *(f"{key} {run[key]}" for key in others)])
        try:
            rows.append((name, pattern, float(share), float(run["cycles"])))
        except ValueError as error:
            raise InputError(f"sparsity {text!r}: pattern:density is needed, e.g. block16:0.5") from error
    points = pd.DataFrame(rows, columns=["run", "pattern", "density", "cycles"])
    if points.empty:
        raise InputError("no finished point in the sweep, nothing to draw")
    sparse = points.loc[points["pattern"] != DENSE]
    patterns = sparse[["run", "pattern"]].drop_duplicates()
    dense = points.loc[points["pattern"] == DENSE].drop(columns="pattern").merge(patterns, on="run")
    known = pd.concat([sparse, dense]) if len(sparse) else points
    return known.assign(line=known["run"] + ", " + known["pattern"])


if __name__ == "__main__":
    style.run(main)
