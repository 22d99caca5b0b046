"""Energy by component, from the lowest to the highest published figures; area by component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from reports import fit, style
from sim.cost.area import COMPONENTS

if TYPE_CHECKING:
    from sim.analysis.saved import SavedRun


def energy(axes: Axes, runs: Mapping[str, SavedRun]) -> Axes:
    """Draw one stacked bar per run on ``axes`` and return them; whisker: all figures at their lowest and highest.

    Behind each run's name stand the table and node that its energy is computed with.
    """
    bands = [run.record["energy_pj"] for run in runs.values()]
    parts = {part: [band[part]["nominal"] * 1e-12 for band in bands] for part in style.ENERGY_COLORS}
    style.stack(axes, parts, [f"{name} ({priced_at(run)})" for name, run in runs.items()], style.ENERGY_COLORS)
    totals = [band_of(run) for run in runs.values()]
    middle = [nominal for _, nominal, _ in totals]
    spread = [[nominal - low for low, nominal, _ in totals], [high - nominal for _, nominal, high in totals]]
    axes.errorbar(middle, range(len(runs)), xerr=spread, fmt="none", ecolor=style.DARK_TEXT, capsize=4, lw=1.2)
    axes.set_xlim(0, max(high for _, _, high in totals) * 1.05)
    missing = any(run.totals["energy_not_modelled"] for run in runs.values())
    without = ", without units whose energy is not published" if missing else ""
    fit.x_label(axes, f"energy{without}; whisker: from lowest to highest published figures")
    axes.xaxis.set_major_formatter(EngFormatter(unit="J"))
    return axes


def area(axes: Axes, runs: Mapping[str, SavedRun]) -> Axes:
    """Draw the area of each run's machine by component, stacked, on ``axes`` and return them."""
    parts = {part: [run.record["area_um2"][part] * 1e-6 for run in runs.values()] for part in COMPONENTS}
    style.stack(axes, parts, list(runs), style.AREA_COLORS)
    missing = any(run.totals["area_not_modelled"] for run in runs.values())
    fit.x_label(axes, "area (mm2)" + (", without units whose area is not published" if missing else ""))
    return axes


def priced_at(run: SavedRun) -> str:
    """Return the energy table of a run and its node, e.g. "45nm" or "dosa_40nm, 40 nm"."""
    table, node = str(run.totals["energy_table"]), f"{run.totals['node_nm']} nm"
    return node if table == node.replace(" ", "") else f"{table}, {node}"


def band_of(run: SavedRun) -> tuple[float, float, float]:
    """Return (low, nominal, high) energy of a run in joules."""
    parts = run.record["energy_pj"].values()
    low, nominal, high = (sum(part[level] for part in parts) * 1e-12 for level in ("low", "nominal", "high"))
    return low, nominal, high
