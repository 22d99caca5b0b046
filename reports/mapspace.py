"""A random sample of mappings: how many have which energy-delay product, over the least one of the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reports import fit, style
from sim.base.errors import InputError
from sim.base.reading import read_json

NEEDED = ("shape", "samples", "histogram", "percentiles", "share_below_3x", "library_relative_edp")
MAX_SHOWN = 6
"""Samples drawn one below the other."""


def read(path: Path) -> list[dict[str, Any]]:
    """Return the samples of a file of `carat map --sample -o FILE.json`. Raises InputError for another file."""
    found = read_json(path)
    whole = isinstance(found, list) and found and all(isinstance(one, dict) for one in found)
    if not whole or any(name not in one for one in found for name in NEEDED):
        raise InputError(f"{path}: is no file of `carat map --sample N -o FILE.json`")
    if len(found) > MAX_SHOWN:
        raise InputError(f"{path}: {len(found)} samples; {MAX_SHOWN} fit one picture")
    return list(found)


def page(figure: Figure, samples: list[dict[str, Any]]) -> None:
    """Draw a histogram for each sample: simulated mappings, and those of which only a least score is known."""
    figure.set_figheight(1.2 + 1.9 * len(samples))
    panels = figure.subplots(len(samples), 1, sharex=True, squeeze=False)[:, 0]
    for axes, one in zip(panels, samples, strict=True):
        edges = np.array(one["histogram"]["edges"])
        bottom = np.zeros(len(edges) - 1)
        kinds = (("timed", "simulated", style.LINE_COLORS[0]), ("at_least", "at least this", "#BBBBBB"))
        for key, label, color in kinds:
            share = 100.0 * np.array(one["histogram"][key]) / one["samples"]
            axes.bar(edges[:-1], share, np.diff(edges), bottom, align="edge", color=color, label=label, lw=0)
            bottom += share
        axes.set_xscale("log")
        fit.log_ticks(axes.xaxis)
        axes.set_ylabel("% of sample")
        title = f"{one.get('operator', '')}: {one['shape']}, {one['samples']:,} drawn".lstrip(": ")
        axes.set_title(title, loc="left", fontsize=9)
        tenth = next((entry for entry in one["percentiles"] if entry["percent"] == 10), None)
        marks = [(3.0, f"below 3: {one['share_below_3x']:.1%}", "-")]
        if tenth is not None:
            least = "" if tenth["exact"] else ">= "
            marks.append((tenth["relative_edp"], f"10th percentile {least}{tenth['relative_edp']:.3g}", "--"))
        marks.append((one["library_relative_edp"], f"the library's {one['library_relative_edp']:.3g}", ":"))
        for place, label, dashes in marks:
            axes.axvline(place, color=style.DARK_TEXT, lw=1.0, ls=dashes, label=label)
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panels[-1].set_xlabel("energy-delay product over the least of the sample")
