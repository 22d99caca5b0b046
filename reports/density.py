"""Gains of sparsity by family of patterns: cycles, energy and traffic against density, and the losses.

`carat plot density SWEEP -o density.png` (a table of `carat sweep ... --density 0.1:1.0:0.1 --pattern ...`).

A column per family: blocks, N:M, single weights, activations, attention scores, files. Above, each metric beside the
dense run (dotted) and the ideal (dashed: dense x share of multiply-accumulates left, one line per operand with zeros
unless the lines coincide). Below, the losses of a pattern as shares of the dense run: imbalance (cycles in which
multipliers hold zeros), fetch (cycles of waiting for operands or their banks) and metadata (bytes of index, bitmaps
and tables). Patterns of any density are lines, N:M ones points; those of activations and of attention are hollow.
"""

from __future__ import annotations

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from reports import fit, knobs, style
from sim.base.errors import InputError
from sim.sparsity.edits.dynamic import Dynamic
from sim.sparsity.spec import parse

DENSE = "dense"
MIXED = "multiply-accumulates"
"""Operands that the density of a specification with several rules counts."""
OF_FILES = re.compile(r"\.(toml|npz|npy|safetensors)(/|$)")
SAME_IDEAL = 0.05
"""Ideals that differ by less than this share of the dense run are drawn as one line."""

HEADROOM = 1.05
"""Of the y axis, over the largest value."""

METRICS = {
    "cycles": "cycles",
    "energy_pj": "energy",
    "dram_bytes": "DRAM traffic",
}
LOSSES = {
    "imbalance": "imbalance:\ncycles of zeros",
    "fetch": "fetch:\ncycles of waiting",
    "metadata": "metadata:\nbytes of index",
}
"""Losses, as shares of the dense run."""
UNITS = {"energy_pj": "J", "dram_bytes": "B"}
PANEL_INCHES = (2.6, 1.55)
FAMILIES = {"block": "blocks of weights", "nm": "N:M of weights", "unstructured": "single weights"}
"""Patterns of weights by family; other patterns are put together by operand."""
BASE = {f"dense_{name}": name for name in ("cycles", "dram_bytes", "mac_slots", "macs")}
"""Columns of the dense run that losses are shares of."""

PAGE_COLUMNS = (
    "macs",
    "macs_skipped",
    "mac_slots",
    "utilization",
    "energy_pj",
    "dram_read_bytes",
    "dram_write_bytes",
    "metadata_bytes",
    "load_wait_cycles",
    "bank_conflict_cycles",
)
"""Columns that the page needs besides hardware, workload, sparsity and cycles."""


def density(axes: Axes, sweep: pd.DataFrame, metric: str = "cycles") -> Axes:
    """Draw a metric against density on ``axes``, one line per machine, workload and pattern, and return them.

    ``sweep``: columns hardware, workload, sparsity (a line such as "block16:0.5" or "2:4", empty or dense) and the
    metric. Several seeds of a density give their mean and a bar from lowest to highest.
    """
    knobs.require(sweep, ("hardware", "workload", "sparsity", metric))
    points = _points(sweep, metric)
    _lines(axes, points)
    for number, (_, run) in enumerate(points.groupby("run", sort=True)):
        if not pd.isna(whole := run["dense"].iloc[0]):
            for place, left in enumerate(_ideals(run)):
                label = "_" if number or place else "ideal: dense x MACs left"
                axes.plot(left.index, left * whole, "--", color=style.DARK_TEXT, lw=1.0, label=label)
            axes.axhline(whole, ls=":", color=style.DARK_TEXT, lw=1.0, label="_" if number else "dense")
    _from_zero(axes)
    axes.yaxis.set_major_formatter(EngFormatter(unit=UNITS.get(metric, "")))
    axes.set_ylabel(METRICS.get(metric, metric))
    return axes


def speedup(axes: Axes, sweep: pd.DataFrame) -> Axes:
    """Draw dense cycles / cycles against density on ``axes`` with the ideal 1 / MACs left, and return them."""
    knobs.require(sweep, ("hardware", "workload", "sparsity", "cycles"))
    points = _points(sweep, "cycles")
    if points["dense"].isna().all():
        raise InputError("no finished dense point in the sweep; a speed-up counts from it (add --sparsity dense)")
    _lines(axes, points.assign(value=points["dense"] / points["value"]))
    for number, (_, run) in enumerate(points.groupby("run", sort=True)):
        for place, left in enumerate(_ideals(run)):
            label = "_" if number or place else "ideal: 1 / MACs left"
            axes.plot(left.index, 1 / left, "--", color=style.DARK_TEXT, lw=1.0, label=label)
    axes.axhline(1.0, ls=":", color=style.DARK_TEXT, lw=1.0, label="dense")
    _from_zero(axes)
    axes.set_ylabel("speed-up: dense cycles / cycles")
    fit.above(axes, 3)
    return axes


def page(figure: Figure, sweep: pd.DataFrame) -> None:
    """Draw a column of panels per family of patterns, the three metrics above and the three losses below.

    Panels of a row share their y axis, so families compare; the legend of a family stands over its column. Sets the
    size of the figure.
    """
    knobs.require(sweep, PAGE_COLUMNS)
    table = sweep.assign(dram_bytes=sweep["dram_read_bytes"] + sweep["dram_write_bytes"])
    table = table.assign(energy_pj=table["energy_pj"] * 1e-12)
    losses = _losses(table)
    family = pd.Series({at: _family(run) for at, run in table.iterrows()})
    names = [name for name in dict.fromkeys(family) if name != DENSE] or [DENSE]
    figure.set_size_inches(max(6.0, PANEL_INCHES[0] * len(names)), 1.4 + PANEL_INCHES[1] * len(METRICS | LOSSES))
    panels = figure.subplots(len(METRICS | LOSSES), len(names), sharey="row", squeeze=False)
    for column, name in enumerate(names):
        chosen = family.isin([name, DENSE])
        for row, metric in enumerate((*METRICS, *LOSSES)):
            axes = panels[row][column]
            if metric in METRICS:
                density(axes, table.loc[chosen], metric)
            else:
                _lines(axes, _points(losses.loc[chosen], metric))
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
                axes.set_ylabel(LOSSES[metric])
            if column:
                axes.set_ylabel("")
            if row < len(METRICS | LOSSES) - 1:
                axes.set_xlabel("")
        fit.above(panels[0][column], 1)
        legend = panels[0][column].get_legend()
        legend.set_title(name, prop={"size": 10, "weight": "bold"})
    for row in panels:
        top = max(axes.dataLim.y1 for axes in row)
        row[0].set_ylim(0, HEADROOM * top or None)


def _lines(axes: Axes, points: pd.DataFrame) -> None:
    """Draw patterns of any density as lines, each in a colour of its own, and N:M ones as points."""
    free = 0
    for name, line in points.groupby("line", sort=False):
        stats = line.groupby("density")["value"].agg(["mean", "min", "max"])
        spread = [stats["mean"] - stats["min"], stats["max"] - stats["mean"]]
        group = line["group"].iloc[0]
        groups = sorted(points.loc[points["group"] != "", "group"].unique())
        number = groups.index(group) if group else free
        color = style.DARK_TEXT if group else style.LINE_COLORS[number % len(style.LINE_COLORS)]
        free += not group
        axes.errorbar(
            stats.index,
            stats["mean"],
            spread,
            marker=style.MARKERS[number % len(style.MARKERS)],
            markerfacecolor=color if line["operand"].iloc[0] in ("weights", MIXED) else "white",
            ls="none" if group else "-",
            color=color,
            capsize=2,
            label=str(name),
        )
    axes.set_xlim(0, 1.04)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    operands = [name for name in dict.fromkeys(points["operand"]) if name != DENSE] or ["weights"]
    axes.set_xlabel(f"density: share that is not zero of\n{', '.join(operands)}")


def _from_zero(axes: Axes) -> None:
    """Let the y axis begin at zero and end above what is drawn."""
    axes.set_ylim(0, HEADROOM * axes.dataLim.y1 or None)


def _ideals(run: pd.DataFrame) -> list[pd.Series]:
    """Return by density the share of multiply-accumulates left, of each operand that differs from those before."""
    found: list[pd.Series] = []
    for operand in dict.fromkeys(run.loc[~run["operand"].isin((DENSE, MIXED)), "operand"]):
        left = run.loc[run["operand"].isin((operand, DENSE))].groupby("density")["left"].mean()
        if all((left - other).abs().max() > SAME_IDEAL for other in found):
            found.append(left)
    return found


def _losses(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with their losses as shares of the dense run of the same machine and workload."""
    dense = table.loc[_is_dense(table) & table["cycles"].notna()]
    if dense.empty:
        raise InputError("no finished dense point in the sweep; losses are shares of it (add --sparsity dense)")
    by = ["hardware", "workload"]
    base = (
        dense.groupby(by)[list(BASE.values())]
        .mean()
        .reset_index()
        .rename(columns={name: new for new, name in BASE.items()})
    )
    joined = table.merge(base, on=by, how="left")
    multipliers = joined["macs"] / (joined["cycles"] * joined["utilization"])
    idle = (joined["mac_slots"] - joined["macs"]) - (joined["dense_mac_slots"] - joined["dense_macs"])
    waits = joined["load_wait_cycles"] + joined["bank_conflict_cycles"]
    return joined.assign(
        imbalance=(idle / multipliers / joined["dense_cycles"]).clip(lower=0),
        fetch=waits / joined["dense_cycles"],
        metadata=joined["metadata_bytes"] / joined["dense_dram_bytes"],
    )


def _is_dense(table: pd.DataFrame) -> pd.Series:
    return table["sparsity"].isna() | table["sparsity"].isin(["", DENSE])


def _points(sweep: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return run, pattern, density, value and MACs left of every finished point.

    The dense point belongs to every pattern that has points at several densities.
    """
    done = sweep.loc[sweep[metric].notna()]
    known = ("hardware", "workload", "sparsity", "seed", *METRICS, *LOSSES, *BASE)
    others = [name for name in knobs.varied(done) if name not in known]
    several = len(done[["hardware", "workload", *others]].drop_duplicates()) > 1
    names = {
        at: ", ".join([f"{run['workload']} on {run['hardware']}", *(f"{key} {run[key]}" for key in others)])
        for at, run in done.iterrows()
    }
    dense_macs = {names[at]: run["macs"] for at, run in done.loc[_is_dense(done)].iterrows() if "macs" in run.index}
    rows = []
    for at, run in done.iterrows():
        pattern, share, operand, group = _pattern(run)
        name = names[at]
        counted = {"macs", "macs_skipped"} <= set(run.index)
        left = run["macs"] / (run["macs"] + run["macs_skipped"]) if counted else share
        if operand == MIXED and name in dense_macs and counted:
            share = left = run["macs"] / dense_macs[name]  # pruned, it has skipped nothing
        rows.append((name, pattern, share, float(run[metric]), left, operand, group))
    points = pd.DataFrame(rows, columns=["run", "pattern", "density", "value", "left", "operand", "group"])
    if points.empty:
        raise InputError("no finished point in the sweep, nothing to draw")
    sparse = points.loc[points["pattern"] != DENSE]
    grids = sparse.loc[sparse["group"] == ""]
    wholes = pd.concat([points.loc[points["pattern"] == DENSE], grids.loc[grids["density"] >= 1.0]])
    reference = wholes.drop_duplicates("run").set_index("run")["value"]
    patterns = grids[["run", "pattern"]].drop_duplicates()
    dense = points.loc[points["pattern"] == DENSE].drop(columns="pattern").merge(patterns, on="run")
    # a pattern's own point at full density is the dense program: one of the two is enough
    dense = dense.loc[~dense.set_index(["run", "pattern", "density"]).index.isin(_places(grids))]
    found = pd.concat([sparse, dense]) if len(sparse) else points
    line = found["run"] + ", " + found["pattern"] if several else found["pattern"]
    return found.assign(line=line, dense=found["run"].map(reference))


def _family(run: pd.Series) -> str:
    """Return the family of patterns that a row belongs to."""
    _, _, operand, _ = _pattern(run)
    if operand in (DENSE, MIXED):
        return DENSE if operand == DENSE else "files and word sizes"
    if operand != "weights":
        return operand
    pattern = parse(run["sparsity"]).zeros[0].pattern
    return FAMILIES.get(pattern, pattern)


def _places(points: pd.DataFrame) -> pd.Index:
    return points.set_index(["run", "pattern", "density"]).index


def _pattern(run: pd.Series) -> tuple[str, float, str, str]:
    """Return the name of a row's pattern, its density, its operand, and the name of the single point that it is.

    A pattern of any density is no single point (""). An N:M pattern is one by that name; a file or word sizes, which
    have no density to choose, by their own name, at the share of multiply-accumulates left.
    """
    text = run["sparsity"] if isinstance(run["sparsity"], str) and run["sparsity"] else DENSE
    if text == DENSE:
        return DENSE, 1.0, DENSE, ""
    if not OF_FILES.search(text.partition("@")[0]):  # which need not be here any more
        rules = parse(text)
        body, slash, scheme = text.partition("@")[0].partition("/")
        name = f"{body.partition(':')[0]}{slash}{scheme}"
        chosen = rules.attention if isinstance(rules.attention, Dynamic) else None
        if chosen is not None and (share := chosen.share or chosen.density):
            return name, share, "scores", ""
        if len(rules.zeros) == 1:
            rule = rules.zeros[0]
            if rule.pattern == "nm":
                return text, rule.density, rule.operand, f"{rule.group[0]}:{rule.group[1]}"
            return name, rule.density, rule.operand, ""
    return text, float(run["macs"] / (run["macs"] + run["macs_skipped"])), MIXED, text
