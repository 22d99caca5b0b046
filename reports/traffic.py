"""Bytes moved in DRAM by operand, or at every level (scratchpad and accumulator by direction); a bar per run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from reports import fit, style

if TYPE_CHECKING:
    from sim.analysis.saved import SavedRun

LEVELS = {"DRAM": "dram", "scratchpad": "spad", "accumulator": "acc"}


def traffic(axes: Axes, runs: Mapping[str, SavedRun], level: Literal["dram", "all"] = "all") -> Axes:
    """Draw the bytes of DRAM or of all levels on ``axes``, a bar per run, and return them.

    The length of a bar is the sum of its level's counters; only DRAM traffic is split by operand.
    """
    names, bars = [], []
    for title, short in LEVELS.items():
        for name, run in runs.items() if level in (short, "all") else ():
            names.append(title if len(runs) == 1 else name if level == "dram" else f"{name}, {title}")
            bars.append(dram_by_operand(run) if short == "dram" else _by_direction(run, short))
    parts = list(dict.fromkeys(part for bar in bars for part in bar))
    lengths = {part: [bar.get(part, 0.0) for bar in bars] for part in parts}
    style.stack(axes, lengths, names, style.OPERAND_COLORS)
    fit.x_label(axes, "bytes read and written" + (" in DRAM" if level == "dram" else ""))
    axes.xaxis.set_major_formatter(EngFormatter(unit="B"))
    return axes


def dram_by_operand(run: SavedRun) -> dict[str, float]:
    """Return operand -> bytes read and written; bytes of programs that were not recorded are "read" or "written"."""
    split: dict[str, float] = {}
    recorded = {"read": 0, "write": 0}
    for row in run.record["profile"]["operands"]:
        recorded["read"] += row["read_bytes"]
        recorded["write"] += row["write_bytes"]
        split[row["operand"]] = split.get(row["operand"], 0.0) + row["read_bytes"] + row["write_bytes"]
    for direction, part in (("read", "read"), ("write", "written")):
        rest = float(run.totals[f"dram_{direction}_bytes"] - recorded[direction])
        split |= {part: rest} if rest else {}
    return split


def _by_direction(run: SavedRun, level: str) -> dict[str, float]:
    return {"read": float(run.totals[f"{level}_read_bytes"]), "written": float(run.totals[f"{level}_write_bytes"])}
