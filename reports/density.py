"""What sparsity buys, all patterns on one page: cycles, energy and traffic against density, and where the rest goes.

`carat plot density SWEEP -o density.png` (a table of `carat sweep ... --density 0.1:1.0:0.1 --pattern ...`).

Above, each beside the dense run (dotted) and the ideal (dashed: dense x share of multiply-accumulates left, a line for
each operand that has zeros, unless they fall together). Below, what a pattern loses, as a share of the dense run: to
imbalance (cycles in which multipliers hold zeros), to fetch (cycles that wait for operands or their banks) and to
metadata (index, bitmaps and tables, in bytes). Patterns of any density are lines, N:M ones points; those of activations
and of attention are hollow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from reports import style
from sim.base.errors import InputError
from sim.sparsity.edits.dynamic import Dynamic
from sim.sparsity.spec import parse

DENSE = "dense"
MIXED = "multiply-accumulates"
"""What a density counts of a specification with several rules."""
OF_FILES = re.compile(r"\.(toml|npz|npy|safetensors)(/|$)")
LINE_COLORS = (*style.RUN_COLORS, "#882255", "#999933", "#6B3A1B", "#44AA99")
SAME_IDEAL = 0.05
"""Ideals that differ by less than this share of the dense run are drawn as one line."""

HEADROOM = 1.05
"""Of the y axis, over the largest value."""

METRICS = {
    "cycles": "cycles",
    "energy_pj": "energy (J)",
    "dram_bytes": "traffic to and from memory (bytes)",
}
LOSSES = {
    "imbalance": "lost to imbalance: cycles of zeros",
    "fetch": "lost to fetch: cycles of waiting",
    "metadata": "lost to metadata: bytes of index",
}
BASE = {f"dense_{name}": name for name in ("cycles", "dram_bytes", "mac_slots", "macs")}
"""What losses are measured against: columns of the dense run."""

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
"""What the whole page needs beside hardware, workload, sparsity and cycles."""


def density(axes: Axes, sweep: pd.DataFrame, metric: str = "cycles") -> Axes:
    """Draw a metric against density on ``axes``, one line per machine, workload and pattern, and return them.

    ``sweep``: columns hardware, workload, sparsity (a line such as "block16:0.5" or "2:4", empty or dense) and the
    metric. Several seeds of a density give their mean and a bar from lowest to highest.
    """
    style.require(sweep, ("hardware", "workload", "sparsity", metric))
    points = _points(sweep, metric)
    _lines(axes, points)
    for number, (_, run) in enumerate(points.groupby("run", sort=True)):
        if not pd.isna(whole := run["dense"].iloc[0]):
            for place, left in enumerate(_ideals(run)):
                label = "_" if number or place else "ideal: dense x MACs left"
                axes.plot(left.index, left * whole, "--", color=style.DARK_TEXT, lw=1.0, label=label)
            axes.axhline(whole, ls=":", color=style.DARK_TEXT, lw=1.0, label="_" if number else "dense")
    _from_zero(axes)
    axes.yaxis.set_major_formatter(EngFormatter())
    axes.set_ylabel(METRICS.get(metric, metric))
    return axes


def speedup(axes: Axes, sweep: pd.DataFrame) -> None:
    """Draw cycles against density on ``axes``, the legend beside them."""
    density(axes, sweep).figure.legend(loc="outside right upper")


def page(panels: Sequence[Sequence[Axes]], sweep: pd.DataFrame) -> None:
    """Draw the three metrics on the upper row of ``panels`` and the three losses on the lower, one legend for all."""
    style.require(sweep, PAGE_COLUMNS)
    above, below = panels
    table = sweep.assign(dram_bytes=sweep["dram_read_bytes"] + sweep["dram_write_bytes"], energy_pj=sweep["energy_pj"])
    for axes, metric in zip(above, METRICS, strict=True):
        scaled = table.assign(energy_pj=table["energy_pj"] * 1e-12)
        density(axes, scaled, metric)
        axes.set_xlabel("")
    losses = _losses(table)
    for axes, loss in zip(below, LOSSES, strict=True):
        _lines(axes, _points(losses, loss))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylabel(f"{LOSSES[loss]}\n(share of the dense run)")
        _from_zero(axes)
    handles, labels = above[0].get_legend_handles_labels()
    above[0].figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))


def _lines(axes: Axes, points: pd.DataFrame) -> None:
    """Draw patterns of any density as lines, each in a colour of its own, and N:M ones as points."""
    free = 0
    for name, line in points.groupby("line", sort=False):
        stats = line.groupby("density")["value"].agg(["mean", "min", "max"])
        spread = [stats["mean"] - stats["min"], stats["max"] - stats["mean"]]
        group = line["group"].iloc[0]
        groups = sorted(points.loc[points["group"] != "", "group"].unique())
        number = groups.index(group) if group else free
        color = style.DARK_TEXT if group else LINE_COLORS[number % len(LINE_COLORS)]
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
    others = [name for name in style.varied(done) if name not in known]
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


def _places(points: pd.DataFrame) -> pd.Index:
    return points.set_index(["run", "pattern", "density"]).index


def _pattern(run: pd.Series) -> tuple[str, float, str, str]:
    """Return the name of a row's pattern, its density, the operand that has it, and what makes it a single point.

    That is N:M, or the name itself of what has no density to choose (a file, word sizes): the share of
    multiply-accumulates left; "" for a pattern of any density.
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
