"""Activity over time: rows held in scratchpad and accumulator, and how busy array and bus were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from reports import fit
from sim.base.errors import InputError

if TYPE_CHECKING:
    from sim.analysis.saved import SavedRun

OCCUPANCY = {
    "spad_rows": ("scratchpad", "#D55E00", "spad_rows"),
    "acc_rows": ("accumulator", "#0072B2", "acc_rows"),
}
THROUGHPUT = {
    "mesh_rows": ("rows into the array", "#0072B2", None),
    "read_beats": ("read bus", "#D55E00", None),
    "write_beats": ("write bus", "#009E73", None),
}
"""Series of `sim.trace.profile` -> label, colour, capacity among the roofs (None: one per cycle)."""


def activity(axes: Axes, run: SavedRun, what: Literal["occupancy", "throughput"] = "occupancy") -> Axes:
    """Draw on ``axes`` shares over the cycles of a run and return them.

    "occupancy": rows holding data that is still to be read, of all rows. "throughput": rows into the array and beats
    on each bus per cycle, of the one that is possible. Raises InputError when the run has no activity.
    """
    profile, roofs = run.record["profile"], run.record["roofs"]
    edges = np.asarray(profile["edges"], float)
    if len(edges) < 2:
        raise InputError(
            f"{run.folder}: no commands were recorded (several cores, or nothing on the array), no activity to draw"
        )
    for name, (label, color, capacity) in (OCCUPANCY if what == "occupancy" else THROUGHPUT).items():
        share = np.asarray(profile["activity"][name], float) / (roofs[capacity] if capacity else 1.0)
        axes.stairs(share, edges, color=color, lw=1.2, label=label)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("cycle")
    axes.set_ylabel("rows in use" if what == "occupancy" else "share of one per cycle")
    fit.above(axes, 3)
    return axes
