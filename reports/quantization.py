"""Quantisations of one model: how far each is from float, against its cycles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from reports import style

TABLE = "compare.csv"

NEEDED = ("recipe", "cycles", "cosine")


def read(path: Path) -> pd.DataFrame:
    """Return the table of `carat infer --compare -o`, a folder or its compare.csv. Raises InputError for others."""
    return style.read(path / TABLE if path.is_dir() else path, NEEDED)


def quantization(axes: Axes, table: pd.DataFrame) -> Axes:
    """Draw one numbered point per quantisation on ``axes`` and return them.

    Horizontal: cycles of one sequence. Vertical, logarithmic: 1 - cosine to float, of the sentences where the table has
    them (their mean), else of the sequence.
    """
    column = "mean_cosine" if "mean_cosine" in table and table["mean_cosine"].notna().all() else "cosine"
    off = (1 - table[column]).clip(lower=1e-7)
    for number, (name, cycles, distance) in enumerate(zip(table["recipe"], table["cycles"], off, strict=True), 1):
        marker = style.MARKERS[(number - 1) % len(style.MARKERS)]
        axes.plot(cycles, distance, marker, label=f"{number} {name}")
        axes.annotate(str(number), (cycles, distance), xytext=(5, 4), textcoords="offset points", fontsize="small")
    axes.set_yscale("log")
    axes.set_xlabel("cycles")
    axes.set_ylabel("1 - cosine to float" + (", mean of the sentences" if column == "mean_cosine" else ""))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.02, 0.5))
    return axes
