"""The page of a sweep: its Pareto fronts, its points in parallel coordinates, the effect of each knob, all points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports import knobs, parallel, pareto, tornado
from reports.page import render, vector
from reports.page.tables import Cell, Head, PageRow, PageTable, number, word
from sim.run.columns import COLUMNS

RESULTS = ("cycles", "energy_pj", "area_mm2")
SHOWN: tuple[tuple[str, str, float, str], ...] = (
    ("cycles", "cycles", 1.0, "{:,.0f}"),
    ("energy_pj", "energy, mJ", 1e-9, "{:,.4f}"),
    ("area_mm2", "area, mm2", 1.0, "{:.3f}"),
    ("edp_js", "EDP, J s", 1.0, "{:.3g}"),
    ("utilization", "utilization", 1.0, "{:.1%}"),
    ("dram_read_bytes", "DRAM read, MB", 1e-6, "{:,.3f}"),
    ("dram_write_bytes", "DRAM written, MB", 1e-6, "{:,.3f}"),
)
"""Result columns of the tables: column, heading, factor, pattern."""


def sweep_page(sweep: pd.DataFrame, name: str, whatif: Path | None = None) -> str:
    """Return the page of a sweep (`sim.analysis.sweep_table.read`) called ``name``.

    ``whatif``: table of `carat whatif -o`. Raises InputError without a finished point or without a needed column.
    """
    knobs.require(sweep, ["workload"])
    done = knobs.finished(sweep, RESULTS)
    group_of = knobs.questions(done, *RESULTS)
    best = pareto.front(*(done[column] for column in RESULTS), groups=list(group_of)).tolist()
    settings = knobs.settings(done).drop(columns="version", errors="ignore")
    failed = [str(error) for error in sweep["error"] if isinstance(error, str)] if "error" in sweep else []
    groups = list(dict.fromkeys(group_of))
    fronts = f"{len(best)} on the Pareto front" if len(groups) == 1 else f"{len(best)} on {len(groups)} Pareto fronts"
    return render.page(
        "sweep.html.j2",
        title=f"Sweep {name}",
        subtitle=f"{len(sweep)} points, {len(done)} finished, {fronts}. "
        f"Workloads: {', '.join(map(str, done['workload'].unique()))}.{_priced(done)}",
        findings=[text for group in groups for text in _findings(done.loc[group_of == group], settings, group, groups)],
        warnings=_warnings(failed, int(sweep.attrs.get("unfinished", 0))),
        results=", ".join(pareto.plain(column) for column in RESULTS),
        several=len(groups) > 1,
        front=_points(done.iloc[best], settings, set(range(len(best)))),
        front_figures=_figures(done),
        tornado=_tornado(whatif) if whatif is not None else [],
        points=_points(done, settings, set(best)),
    )


def _priced(done: pd.DataFrame) -> str:
    """Return the energy tables of the points with their nodes, as a sentence."""
    if not {"energy_table", "node_nm"} <= set(done.columns):
        return ""
    tables = done[["energy_table", "node_nm"]].drop_duplicates().itertuples(index=False)
    return f" Energy by table {', '.join(f'{table} ({node} nm)' for table, node in tables)}."


def _findings(points: pd.DataFrame, settings: pd.DataFrame, group: str, groups: Sequence[str]) -> list[str]:
    """Return the fewest cycles and the least energy of the points of one workload and size."""
    of = f"{group}: " if len(groups) > 1 else ""
    fastest, thrifty = (points.iloc[int(points[column].to_numpy().argmin())] for column in ("cycles", "energy_pj"))
    varied = settings.drop(columns=["workload"] if len(groups) > 1 else [], errors="ignore").to_dict("index")
    return [
        f"{of}Fewest cycles: {fastest['cycles']:,.0f} with {_setting(varied[fastest.name])}. "
        f"Least energy: {thrifty['energy_pj'] * 1e-9:,.4f} mJ with {_setting(varied[thrifty.name])}."
    ]


def _warnings(failed: list[str], unfinished: int) -> list[str]:
    warnings = [f"{len(failed)} points failed, the first: {failed[0]}"] if failed else []
    if unfinished:
        warnings.append(f"{unfinished} points are not finished: the sweep was interrupted, or is running.")
    return warnings


def _setting(values: Mapping[Any, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items()) or "the one setting"


def _text(value: object) -> str:
    return "-" if value is None or value != value else str(value)


def _points(points: pd.DataFrame, settings: pd.DataFrame, best: set[int]) -> PageTable:
    """Return one row per point, numbered as in the table of the sweep."""
    known = [entry for entry in SHOWN if entry[0] in points.columns]
    priced = len(set(points["energy_table"].astype(str))) > 1 if "energy_table" in points.columns else False
    heads = [Head("point", True), *(Head(str(name), True) for name in settings)]
    heads += [Head("energy table", True, COLUMNS["energy_table"].definition)] if priced else []
    heads += [Head(label, hint=COLUMNS[column].definition) for column, label, _, _ in known]
    rows = []
    chosen = settings.to_dict("index")
    for place, (index, point) in enumerate(points.iterrows()):
        cells = [Cell(str(index)), *(_knob(value) for value in chosen[index].values())]
        cells += [word(f"{point['energy_table']} ({point['node_nm']} nm)")] if priced else []
        cells += [number(_scaled(point[column], scale), pattern) for column, _, scale, pattern in known]
        rows.append(PageRow(cells, tags={"front": "yes" if place in best else "no"}, changed=place in best))
    return PageTable(heads, rows)


def _knob(value: Any) -> Cell:
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return Cell(f"{value:g}" if isinstance(value, float) else str(value), "text", f"{value}")
    return word(value)


def _scaled(value: Any, scale: float) -> float | None:
    return None if value is None or value != value else float(value) * scale


def _figures(done: pd.DataFrame) -> list[dict[str, str]]:
    pairs = [(x, y, next(z for z in RESULTS if z not in (x, y))) for x, y in itertools.combinations(RESULTS, 2)]
    figures = [
        {
            "id": f"{x}-{y}",
            "title": f"{pareto.plain(x)} and {pareto.plain(y)}",
            "caption": f"Steps: front of these two. Ring: on the front together with {pareto.plain(also)}.",
            "svg": render.safe(
                vector.inline(
                    lambda axes, x=x, y=y, also=also: pareto.pareto(  # type: ignore[misc]
                        axes, done, x, y, also=(also,), listing=False
                    ),
                    f"{y} against {x}",
                    3.4,
                )
            ),
        }
        for x, y, also in pairs
    ]
    figures.append(
        {
            "id": "parallel",
            "title": "All points in parallel coordinates",
            "caption": "One line per point; in colour those on the front of all three results.",
            "svg": render.safe(vector.inline(lambda axes: parallel.parallel(axes, done), "parallel coordinates", 3.4)),
        }
    )
    return figures


def _tornado(path: Path) -> list[dict[str, str]]:
    table = tornado.read(path)
    figures = []
    for metric in ("cycles", "energy_pj", "area_mm2"):
        drawn = vector.inline(lambda axes, metric=metric: tornado.tornado(axes, table, metric), metric, 4.2)  # type: ignore[misc]
        title = f"Change of {metric.split('_')[0]}"
        caption = "Each knob lowered and raised by a factor of two around one machine, the largest effect on top."
        figures.append({"id": f"tornado-{metric}", "title": title, "caption": caption, "svg": render.safe(drawn)})
    return figures
