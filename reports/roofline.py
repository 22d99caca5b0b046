"""Roofline: each operator as a point under the roofs of the array, of DRAM and of the scratchpad.

DRAM intensity counts the bytes of the busier direction, since reads and writes have buses of their own; so no point can
lie above its roof.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports import fit, style
from sim.analysis.diff import without_layer
from sim.base.errors import InputError

if TYPE_CHECKING:
    from sim.analysis.saved import SavedRun

LABELLED, LABELLED_OF_MANY = 10, 6
"""Operators with the most cycles that carry their name: of one run, and of each of several."""


def roofline(axes: Axes, runs: Mapping[str, SavedRun]) -> Axes:
    """Draw the operators of each run on ``axes``, both logarithmic, and return them.

    Filled points: MACs per DRAM byte; hollow ones: per scratchpad byte. Points are as large as their share of cycles.
    Raises InputError when no operator multiplies.
    """
    tables = {name: points(run) for name, run in runs.items()}
    shown = pd.concat(tables.values())
    if shown.empty:
        raise InputError("no operator with multiply-accumulates on the array, nothing to draw")
    finite = shown[["dram_intensity", "spad_intensity"]].to_numpy(float)
    finite = finite[np.isfinite(finite)]
    ends = np.array([finite.min() / 3, finite.max() * 3])
    handles: list[Line2D] = []
    _roofs(axes, list(runs.values()), ends)
    for number, name in enumerate(runs):
        color = style.RUN_COLORS[number % len(style.RUN_COLORS)]
        table = tables[name]
        sizes = 12 + 160 * table["share"]
        axes.scatter(table["dram_intensity"], table["rate"], s=sizes, color=color, zorder=3)
        axes.scatter(table["spad_intensity"], table["rate"], s=sizes, facecolors="none", edgecolors=color, zorder=3)
        handles.append(Line2D([], [], color=color, marker="o", label=name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(bottom=axes.get_ylim()[0] / 1.6)  # room for names under the lowest points
    fit.log_ticks(axes.xaxis)
    fit.log_ticks(axes.yaxis)
    axes.set_xlabel("MACs per byte (log)")
    axes.set_ylabel("MACs per cycle (log)")
    grey = style.DARK_TEXT
    handles += [
        Line2D([], [], color=grey, marker="o", ls="-", label="DRAM roof, bytes of the busier direction"),
        Line2D([], [], color=grey, marker="o", ls="--", mfc="none", label="scratchpad roof and bytes"),
    ]
    fit.above(axes, 2, handles)
    marks = [(float(x), float(y)) for x, y in zip(shown["dram_intensity"], shown["rate"], strict=True)]
    fit.name_points(axes, _named(tables), marks=marks)
    return axes


def _roofs(axes: Axes, runs: list[SavedRun], ends: npt.NDArray[np.float64]) -> None:
    """Draw each distinct roof once: in the colour of its run, dark where several runs have it."""
    for key, dashes in (("dram_read_bytes_per_cycle", "-"), ("spad_bytes_per_cycle", "--")):
        of = [(run.record["roofs"]["macs_per_cycle"], run.record["roofs"][key]) for run in runs]
        for most, rate in dict.fromkeys(of):
            alone = of.count((most, rate)) == 1
            color = style.RUN_COLORS[of.index((most, rate)) % len(style.RUN_COLORS)] if alone else style.DARK_TEXT
            xs = np.unique(np.clip([ends[0], most / rate, ends[1]], *ends))
            axes.plot(xs, np.minimum(most, xs * rate), dashes, color=color, lw=1.2)


def points(run: SavedRun) -> pd.DataFrame:
    """Return one row per operator without its layer: rate (MACs per cycle), the two intensities, share of cycles."""
    ops, roofs = run.ops, run.record["roofs"]
    chosen = ops.loc[(ops["macs"] > 0) & (ops["engine"] == "array")]
    sums = chosen.groupby(chosen["op"].map(without_layer), sort=False)[
        ["macs", "cycles", "dram_read_bytes", "dram_write_bytes", "spad_read_bytes", "spad_write_bytes"]
    ].sum()
    scale = roofs["dram_read_bytes_per_cycle"] / roofs["dram_write_bytes_per_cycle"]
    busier = np.maximum(sums["dram_read_bytes"], sums["dram_write_bytes"] * scale)
    return pd.DataFrame(
        {
            "rate": sums["macs"] / sums["cycles"],
            "dram_intensity": sums["macs"] / busier,
            "spad_intensity": sums["macs"] / (sums["spad_read_bytes"] + sums["spad_write_bytes"]),
            "share": sums["cycles"] / ops["cycles"].sum(),
        }
    )


def _named(tables: Mapping[str, pd.DataFrame]) -> list[tuple[float, float, str]]:
    """Return (intensity, rate, names) of the largest points of each run; names of points that meet are joined."""
    groups: list[tuple[float, float, list[str]]] = []
    most = LABELLED if len(tables) == 1 else LABELLED_OF_MANY
    for table in tables.values():
        for name, row in table.sort_values("share", ascending=False).head(most).iterrows():
            x, y = float(row["dram_intensity"]), float(row["rate"])
            near = [one for one in groups if abs(np.log10(one[0] / x)) < 0.12 and abs(np.log10(one[1] / y)) < 0.1]
            if not near:
                groups.append((x, y, [str(name)]))
            elif str(name) not in near[0][2]:
                near[0][2].append(str(name))
    return [(x, y, ",\n".join(names)) for x, y, names in groups]
