"""The page of one or several saved runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from reports import activity, breakdown, energy, layers, roofline, style, traffic, utilization
from reports.page import render, schedules, vector
from reports.page.tables import Cell, Head, PageRow, PageTable, change, number, plain, word
from sim.analysis.diff import diff, energy_note, same_prices
from sim.analysis.saved import BASE, SavedRun, settings_that_differ
from sim.base import palette
from sim.base.errors import InputError
from sim.base.toml import flat
from sim.base.version import code_version
from sim.cost.area import COMPONENTS
from sim.run.columns import CAUSES, COLUMNS, PRICED

MAX_RUNS = 6
"""Runs that have a colour of their own beside each other."""

SHOWN_DIFFERENCES = 15

UNLIKE = 8
"""Runs whose cycles differ by more than this factor are drawn as shares."""

SECTIONS = (
    ("summary", "Summary"),
    ("cycles", "Cycles"),
    ("limits", "Limits"),
    ("data", "Traffic, energy, area"),
    ("time", "Over time"),
    ("operators", "Operators"),
    ("hardware", "Hardware"),
    ("reproduce", "Reproduce"),
)


def runs_page(runs: Sequence[SavedRun]) -> str:
    """Return the page of 1 to `MAX_RUNS` saved runs as HTML; differences count from the first.

    Raises InputError for another number of runs, or where a run's table is damaged.
    """
    if not 1 <= len(runs) <= MAX_RUNS:
        raise InputError(f"report: {len(runs)} runs; 1 to {MAX_RUNS} can be shown side by side")
    first, many = runs[0], len(runs) > 1
    tables = {run.name: run.ops for run in runs}
    workloads = list(dict.fromkeys(str(run.totals["workload"]) for run in runs))
    machines = list(dict.fromkeys(str(run.totals["hardware"]) for run in runs))
    title = f"{', '.join(workloads)} on {', '.join(machines)}"
    names = f"{len(runs)} runs side by side, differences from {first.name}. " if many else ""
    saved, declined = schedules.savings(runs), schedules.declined(runs)
    sections = [*SECTIONS[:1], *((("differences", "Differences"),) if many else ())]
    sections += [*((("schedules", "Schedules"),) if saved or declined else ()), *SECTIONS[1:]]
    findings = [f"{run.name}: {run.record['sentence']}" if many else run.record["sentence"] for run in runs]
    return render.page(
        "runs.html.j2",
        title=title,
        subtitle=f"{names}Cycle-level simulation by Carat; hover over a heading for its definition.",
        sections=sections,
        findings=findings,
        warnings=_warnings(runs),
        summary=_summary(runs),
        causes=[(Head(cause.replace("_", " "), hint=CAUSES[cause]), color) for cause, color in _colors()],
        differences=[_difference(first, run) for run in runs[1:]],
        saved=saved,
        declined=declined,
        cycle_figures=_cycle_figures(runs),
        limit_figures=_limit_figures(runs),
        data_figures=_data_figures(runs),
        time_figures=_time_figures(runs),
        operators=_operators(runs),
        picks=[
            {"name": tag, "label": label, "options": sorted({str(v) for t in tables.values() for v in t[column]})}
            for tag, label, column in (("kind", "kind", "op_kind"), ("bound", "bound", "bound"))
        ],
        base=BASE,
        many=many,
        changes=_changes(runs),
        settings=_settings(runs),
        reproduce=[
            {
                "name": run.name,
                "command": run.record["reproduce"],
                "note": f"{_seed(run)}Carat {run.record['version']}",
                "stay": run.record.get("stay", []),
            }
            for run in runs
        ],
    )


def _colors() -> list[tuple[str, str]]:
    return [(cause, vector.page_color(color)) for cause, color in style.CAUSE_COLORS.items()]


def _seed(run: SavedRun) -> str:
    sparsity = run.record.get("sparsity")
    return f"sparsity {sparsity}, seed {run.record.get('seed')}; " if sparsity else ""


def _warnings(runs: Sequence[SavedRun]) -> list[str]:
    warnings = [f"{run.name}: {run.totals['remarks']}." for run in runs if run.totals["remarks"]]
    versions = dict.fromkeys(run.record["version"] for run in runs)
    if len(versions) > 1:
        warnings.append(
            f"The runs were simulated by different code ({', '.join(versions)}): a difference may come from it."
        )
    elif code_version() not in versions:
        warnings.append(f"Written by Carat {', '.join(versions)}; this is {code_version()}, whose results may differ.")
    answered = dict.fromkeys(f"{run.totals['workload']} ({run.totals['sizes']})" for run in runs)
    if len(answered) > 1:
        warnings.append(f"The runs are of different workloads or sizes: {', '.join(answered)}.")
    if (note := energy_note(runs)) is not None:
        warnings.append(note)
    for run in runs:
        left = run.record["profile"]["left_out"]
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            why = "too long to record" if run.record["profile"]["activity"] else "of several cores, not recorded"
            warnings.append(
                f"{run.name}: {', '.join(left[:3])}{more} are {why}: the figures over time leave them out, and their "
                "traffic is not split by operand."
            )
        warnings += _on_the_host(run)
    return warnings


def _on_the_host(run: SavedRun) -> list[str]:
    """Return the operators of the host, by reason."""
    if "fallback" not in run.ops:  # a run saved before the column was
        return []
    found = []
    for reason, rows in run.ops.dropna(subset=["fallback"]).groupby("fallback", sort=False):
        conversions = rows["op_kind"].isin(["quantize", "dequantize"])
        kinds = ", ".join(
            dict.fromkeys(rows.loc[~conversions, "op_kind"] if not conversions.all() else rows["op_kind"])
        )
        share = rows["cycles"].sum() / run.totals["cycles"]
        found.append(f"{run.name}: {kinds} on the host, {share:.1%} of all cycles with conversions: {reason}.")
    return found


FACTS: tuple[tuple[str, str], ...] = (
    ("workload", "workload"),
    ("sizes", "sizes"),
    ("hardware", "machine"),
    ("word_sizes", "word sizes"),
)
"""Columns of text in the summary: column, label."""

SUMMARY: tuple[tuple[str, str, float, str], ...] = (
    ("cycles", "cycles", 1.0, "{:,.0f}"),
    ("time_s", "time, ms", 1e3, "{:,.3f}"),
    ("utilization", "utilization", 1.0, "{:.1%}"),
    ("macs", "MACs", 1.0, "{:,.0f}"),
    ("dram_read_bytes", "DRAM read, MB", 1e-6, "{:,.3f}"),
    ("dram_write_bytes", "DRAM written, MB", 1e-6, "{:,.3f}"),
    ("energy_pj", "energy, mJ", 1e-9, "{:,.3f}"),
    ("power_w", "power, W", 1.0, "{:.3g}"),
    ("edp_js", "EDP, J s", 1.0, "{:.3g}"),
    ("area_mm2", "area, mm2", 1.0, "{:.3f}"),
)


def _summary(runs: Sequence[SavedRun]) -> PageTable:
    heads = [Head("", text=True)]
    for index, run in enumerate(runs):
        heads += [Head(run.name)] + ([Head("change")] if index else [])
    facts = [(label, [str(run.totals[column]) for run in runs]) for column, label in FACTS]
    facts.append(("energy table", [energy.priced_at(run) for run in runs]))
    texts = [PageRow([Cell(label), *_side_by_side([Cell(text, "wrap") for text in values])]) for label, values in facts]
    rows = [_summary_row(runs, *entry) for entry in SUMMARY]
    bands = [Cell("energy band, mJ")]
    bars = [Cell("cycles by cause")]
    for index, run in enumerate(runs):
        low, _, high = energy.band_of(run)
        bands += [Cell(f"{low * 1e3:,.3f} to {high * 1e3:,.3f}")] + ([Cell("")] if index else [])
        bars += [Cell(_bar(run.totals), "")] + ([Cell("")] if index else [])
    return PageTable(heads, [*texts, *rows[:7], PageRow(bands), *rows[7:], PageRow(bars)])


def _side_by_side(cells: Sequence[Cell]) -> list[Cell]:
    """Return one cell per run with an empty one for the change of each run but the first."""
    return [cells[0], *(part for cell in cells[1:] for part in (cell, Cell("")))]


def _summary_row(runs: Sequence[SavedRun], column: str, label: str, scale: float, pattern: str) -> PageRow:
    cells, first = [Cell(label)], runs[0]
    for index, run in enumerate(runs):
        value = run.totals[column]
        cells.append(number(value * scale, pattern))
        if index:
            moved = change(value, first.totals[column])
            if column in PRICED and not same_prices(first, run):
                moved = Cell(f"{moved.html} *", "soft", moved.sort)
            elif column in ("utilization", "macs"):
                moved = Cell(moved.html, sort=moved.sort)
            cells.append(moved)
    return PageRow(cells)


def _bar(row: Any) -> str:
    return render.safe(vector.recolored(palette.bar({cause: int(row[f"{cause}_cycles"]) for cause in CAUSES})))


def _difference(first: SavedRun, run: SavedRun) -> dict[str, Any]:
    found = diff(first.ops, run.ops, (first.name, run.name))
    causes = sorted((cause for cause in CAUSES if found.causes[cause]), key=lambda name: -abs(found.causes[name]))
    heads = [Head("operator", True), Head("count")]
    heads += [Head(f"cycles {first.name}"), Head(f"cycles {run.name}"), Head("change")]
    heads += [Head(cause.replace("_", " "), hint=CAUSES[cause]) for cause in causes]
    rows = []
    total = ("all", (len(first.ops), len(run.ops)), found.cycles, found.causes)
    groups = [(row.name, row.count, row.cycles, row.causes) for row in found.rows[:SHOWN_DIFFERENCES]]
    for name, count, cycles, by_cause in [total, *groups]:
        times = f"{count[0]}" if count[0] == count[1] else f"{count[0]} / {count[1]}"
        cells = [Cell(name), Cell(times), number(cycles[0]), number(cycles[1]), _signed(cycles[1] - cycles[0])]
        rows.append(PageRow([*cells, *(_signed(by_cause[cause]) for cause in causes)]))
    return {"title": f"{run.name} against {first.name}", "sentence": found.sentence(), "table": PageTable(heads, rows)}


def _signed(cycles: int) -> Cell:
    return Cell(f"{cycles:+,}" if cycles else "0", "worse" if cycles > 0 else "better" if cycles else "", str(cycles))


Drawing = tuple[str, str, str, float, Callable[[Axes], object]]
"""Id, title, caption, height in inches, and the function that draws it."""


def _figures(drawings: Sequence[Drawing]) -> list[dict[str, str]]:
    return [
        {"id": name, "title": title, "caption": caption, "svg": render.safe(vector.inline(draw, title, height))}
        for name, title, caption, height, draw in drawings
    ]


def _cycle_figures(runs: Sequence[SavedRun]) -> list[dict[str, str]]:
    tables = {run.name: run.ops for run in runs}
    lengths = [run.totals["cycles"] for run in runs]
    shares = max(lengths) > UNLIKE * min(lengths)
    note = " Shares, because the lengths of the runs differ widely." if shares else ""
    height = breakdown.height_inches(len(runs)) + 0.4
    drawings: list[Drawing] = [
        ("by-cause", "By cause", f"Why each cycle passed; every cycle has one cause.{note}", height,
         lambda axes: breakdown.breakdown(axes, tables, "cause", shares)),
        ("by-kind", "By kind of operator", f"A + joins what the array applies as it moves results out.{note}", height,
         lambda axes: breakdown.breakdown(axes, tables, "kind", shares)),
    ]  # fmt: skip
    for number_of, run in enumerate(runs):
        count = run.ops["layer"].nunique(dropna=False)
        title = f"By layer{f', {run.name}' if len(runs) > 1 else ''}"
        drawings.append(
            (f"by-layer-{number_of}", title, "One bar per layer, stacked by cause.", 1.6 + 0.17 * count,
             lambda axes, ops=run.ops: layers.layers(axes, ops))  # type: ignore[misc]
        )  # fmt: skip
    return _figures(drawings)


def _limit_figures(runs: Sequence[SavedRun]) -> list[dict[str, str]]:
    named = {run.name: run for run in runs}
    tables = {run.name: run.ops for run in runs}
    drawings: list[Drawing] = [
        ("utilization", "Utilization by operator", "Useful multiply-accumulates of those possible; equal operators of "
         "all layers are one bar.", utilization.height_inches(len(runs)),
         lambda axes: utilization.utilization(axes, tables)),
    ]  # fmt: skip
    if any(run.totals["macs"] and (run.ops["engine"] == "array").any() for run in runs):
        drawings.append(
            ("roofline", "Roofline", "Filled: against DRAM bytes; hollow: against scratchpad bytes. Size: share of the "
             "cycles.", 4.2 + 0.2 * len(runs), lambda axes: roofline.roofline(axes, named))
        )  # fmt: skip
    return _figures(drawings)


def _data_figures(runs: Sequence[SavedRun]) -> list[dict[str, str]]:
    named, high = {run.name: run for run in runs}, 2.1 + 0.3 * len(runs)
    drawings: list[Drawing] = [
        ("traffic-dram", "DRAM traffic by operand", "Bytes requested; padding is what requests carry beyond the "
         "operands.", high, lambda axes: traffic.traffic(axes, named, "dram")),
        ("traffic-levels", "Traffic by level", "The nearer to the array, the more bytes move.", 1.8 + 0.6 * len(runs),
         lambda axes: traffic.traffic(axes, named)),
        ("energy", "Energy by component", "Whisker: all figures at their lowest or highest published value."
         + _without(runs, "energy_not_modelled"), high,
         lambda axes: energy.energy(axes, named)),
        ("area", "Area by component", "At 22 nm, the node of the published area, at any energy table."
         + _without(runs, "area_not_modelled"), high,
         lambda axes: energy.area(axes, named)),
    ]  # fmt: skip
    return _figures(drawings)


def _without(runs: Sequence[SavedRun], column: str) -> str:
    """Return which units the areas or energies leave out, as sentences."""
    missing = [(run.name, run.totals[column]) for run in runs if run.totals[column]]
    return "".join(f" Not modelled of {name}: {text}." for name, text in missing)


def _time_figures(runs: Sequence[SavedRun]) -> list[dict[str, str]]:
    drawings: list[Drawing] = []
    for index, run in enumerate(runs):
        if len(run.record["profile"]["edges"]) < 2:
            continue
        name = f", {run.name}" if len(runs) > 1 else ""
        for what, title, caption in (
            ("occupancy", "Occupancy of the memories", "Rows holding data that is read later, of all rows."),
            ("throughput", "Array and bus", "Rows into the array, beats on the buses, of one per cycle."),
        ):
            drawings.append(
                (f"{what}-{index}", title + name, caption, 2.7,
                 lambda axes, run=run, what=what: activity.activity(axes, run, what))  # type: ignore[misc]
            )  # fmt: skip
    return _figures(drawings)


def _hint(column: str) -> str:
    return COLUMNS[column].definition


def _operators(runs: Sequence[SavedRun]) -> PageTable:
    """Return one row per operator of any run; with several runs cycles, change, share and utilization of each."""
    indexed = [{str(row["op"]): row for row in run.ops.to_dict("records")} for run in runs]
    heads = [Head("operator", True), Head("kind", True, _hint("op_kind")), Head("layer"), Head("m x n x k", True)]
    many = len(runs) > 1
    for index, run in enumerate(runs):
        heads.append(Head(f"cycles {run.name}" if many else "cycles", hint=_hint("cycles")))
        heads += [Head("change")] if index else []
        heads.append(Head(f"share {run.name}" if many else "share", hint=_hint("share")))
        heads.append(Head(f"util {run.name}" if many else "utilization", hint=_hint("utilization")))
    heads += [Head("bound", True, _hint("bound")), Head("causes", True)]
    heads += [
        Head("DRAM read, kB", hint=_hint("dram_read_bytes")),
        Head("DRAM written, kB", hint=_hint("dram_write_bytes")),
    ]
    heads += [
        Head(f"energy{f' {run.name}' if many else ''}, uJ at {energy.priced_at(run)}", hint=_hint("energy_pj"))
        for run in runs
    ]
    rows = []
    for op in dict.fromkeys(name for table in indexed for name in table):
        here = [table.get(op) for table in indexed]
        known: Any = next(row for row in here if row is not None)
        shape = f"{known['m']}x{known['n']}" + (f"x{known['k']}" if known["k"] else "")
        shape += f" ({known['batch']} times)" if known["batch"] > 1 else ""
        cells = [Cell(op), word(known["op_kind"]), number(known["layer"]), word(shape)]
        for index, row in enumerate(here):
            cells.append(number(row and row["cycles"]))
            if index:
                cells.append(change(row["cycles"] if row else 0, here[0]["cycles"] if here[0] else 0))
            cells.append(number(row and row["cycles"] / runs[index].totals["cycles"], "{:.2%}"))
            cells.append(number(row and row["utilization"], "{:.1%}"))
        cells += [word(known["bound"]), Cell(_bar(known), "text")]
        cells += [number(known[f"dram_{way}_bytes"] / 1e3, "{:,.1f}") for way in ("read", "write")]
        cells += [number(row and row["energy_pj"] / 1e6, "{:,.2f}") for row in here]
        rows.append(PageRow(cells, tags={"kind": str(known["op_kind"]), "bound": str(known["bound"])}))
    return PageTable(heads, rows)


def _changes(runs: Sequence[SavedRun]) -> PageTable:
    changed = {key for run in runs for key, _, _ in run.record["changes"]}
    changed |= {key for run in runs[1:] for key, _, _ in settings_that_differ(runs[0].hardware, run.hardware)}
    bases = {key: base for run in runs for key, base, _ in run.record["changes"]}
    tables = [flat(run.hardware) for run in runs]
    order = [key for key in dict.fromkeys(key for table in tables for key in table) if key in changed]
    rows = []
    for key in order:
        values = [table.get(key) for table in tables]
        differs = any(value != values[0] for value in values)
        shown = [word(key), word(_value(bases.get(key, values[0]))), *(word(_value(value)) for value in values)]
        rows.append(PageRow([Cell(cell.html, "text wrap") for cell in shown], changed=differs))
    heads = [Head("setting", True), Head(f"preset {BASE}", True), *(Head(f"run {run.name}", True) for run in runs)]
    return PageTable(heads, rows or plain(["setting"], [["none: the machine is the base"]]).rows)


def _settings(runs: Sequence[SavedRun]) -> PageTable:
    tables = [flat(run.hardware) for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = []
    for key in keys:
        values = [table.get(key) for table in tables]
        cells = [Cell(key), *(Cell(_value(value), "text wrap") for value in values)]
        rows.append(PageRow(cells, changed=any(value != values[0] for value in values)))
    for part in COMPONENTS:
        areas = [run.record["area_um2"][part] for run in runs]
        rows.append(PageRow([Cell(f"area of {part}, um2"), *(Cell(f"{area:,.0f}", "text") for area in areas)]))
    for what in ("area", "energy"):
        missing = [run.totals[f"{what}_not_modelled"] for run in runs]
        rows.append(PageRow([Cell(f"{what} not modelled"), *(Cell(_value(text), "text wrap") for text in missing)]))
    return PageTable([Head("setting", True), *(Head(run.name, True) for run in runs)], rows)


def _value(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1024 and value % 1024 == 0:
        return f"{value:,} ({value // 1024:,} Ki)"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else "-" if value is None else str(value)
