"""A window of a run, unit by unit: bars for commands, arrows where one waited for another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.ticker import EngFormatter

from reports import style
from sim.base.errors import InputError
from sim.base.reading import read_json
from sim.trace.gantt import check, units, window_of

COMMAND_COLORS = {
    "mvin": "#E69F00",
    "mvin2": "#56B4E9",
    "mvin3": "#D55E00",
    "preload": "#CC79A7",
    "compute": "#0072B2",
    "mvout": "#009E73",
}
MAX_ARROWS = 60
"""More arrows than this make a picture unreadable; the first ones of the window are drawn."""


def read(path: Path) -> dict[str, Any]:
    """Return a trace that `carat trace -o` wrote. Raises InputError for another file."""
    traced = read_json(path)
    if not isinstance(traced, dict) or "traceEvents" not in traced or "otherData" not in traced:
        raise InputError(f"{path}: no trace of Carat; make one with: carat trace WORKLOAD -o {path}")
    try:
        check(traced["traceEvents"])
    except InputError as error:
        raise InputError(f"{path}: {error}; make the trace anew with: carat trace WORKLOAD -o {path}") from None
    return traced


def gantt(axes: Axes, traced: Mapping[str, Any], window: tuple[int, int] | None = None) -> Axes:
    """Draw a window of a trace (`sim.trace.chrome.trace`) on ``axes``, a line per unit, and return them.

    Commands that overlap within a unit share its line. Raises InputError when no command lies in the window.
    """
    low, high = window_of(traced, window)
    lines = {name: _inside(slices, low, high) for name, slices in units(traced).items()}
    lines = {name: slices for name, slices in lines.items() if slices}
    if not lines:
        raise InputError(f"no command between cycles {low:,} and {high:,} of this trace")
    heights: dict[int, float] = {}
    for place, slices in enumerate(lines.values()):
        lanes = sorted({event["tid"] for event in slices})
        share = 0.8 / len(lanes)
        for event in slices:
            middle = place - 0.4 + (lanes.index(event["tid"]) + 0.5) * share
            heights[event["tid"]] = middle
            begin, end = max(event["ts"], low), min(event["ts"] + event["dur"], high)
            color = style.named_color(event["name"], COMMAND_COLORS)
            axes.barh(middle, end - begin, share * 0.94, begin, color=color, edgecolor=style.EDGE, lw=0.2)
    _arrows(axes, traced, heights, low, high)
    axes.set_yticks(range(len(lines)), list(lines))
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("cycle")
    axes.grid(axis="y", visible=False)
    names = dict.fromkeys(event["name"] for slices in lines.values() for event in slices)
    patches = [
        Patch(facecolor=style.named_color(name, COMMAND_COLORS), edgecolor=style.EDGE, lw=0.5, label=name)
        for name in names
    ]
    axes.legend(handles=patches, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, columnspacing=1.0)
    return axes


def _inside(slices: list[dict[str, Any]], low: int, high: int) -> list[dict[str, Any]]:
    return [event for event in slices if event["ts"] < high and event["ts"] + event["dur"] > low]


def _arrows(axes: Axes, traced: Mapping[str, Any], heights: Mapping[int, float], low: int, high: int) -> None:
    starts = {event["id"]: event for event in traced["traceEvents"] if event["ph"] == "s"}
    ends = [event for event in traced["traceEvents"] if event["ph"] == "f" and low <= event["ts"] < high]
    for end in sorted(ends, key=lambda event: event["ts"])[:MAX_ARROWS]:
        start = starts[end["id"]]
        if start["ts"] < low or start["tid"] not in heights or end["tid"] not in heights:
            continue
        tail, head = (start["ts"], heights[start["tid"]]), (end["ts"], heights[end["tid"]])
        arrow = FancyArrowPatch(tail, head, arrowstyle="-|>", mutation_scale=6, lw=0.7, color=style.DARK_TEXT, zorder=5)
        axes.add_patch(arrow)
