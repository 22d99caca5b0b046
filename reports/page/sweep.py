"""The page of a sweep: its Pareto front, its points in parallel, what each knob is worth, and a table of everything."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd

from reports import parallel, pareto, style, tornado
from reports.page import render, vector
from reports.page.tables import Cell, Head, Row, Table, number, word
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
    done = style.finished(sweep, RESULTS)
    best = pareto.front(*(done[column] for column in RESULTS)).tolist()
    knobs = [knob for knob in style.varied(done) if knob != "version"]
    failed = [str(error) for error in sweep["error"] if isinstance(error, str)] if "error" in sweep else []
    fastest, thrifty = done.iloc[int(done["cycles"].argmin())], done.iloc[int(done["energy_pj"].argmin())]
    return render.page(
        "sweep.html.j2",
        title=f"Sweep {name}",
        subtitle=f"{len(sweep)} points, {len(done)} finished, {len(best)} on the front. "
        f"Workloads: {', '.join(map(str, done['workload'].unique()))}.",
        findings=[
            f"Fewest cycles: {fastest['cycles']:,.0f} with {_setting(fastest, knobs)}.",
            f"Least energy: {thrifty['energy_pj'] * 1e-9:,.4f} mJ with {_setting(thrifty, knobs)}.",
        ],
        warnings=_warnings(failed, int(sweep.attrs.get("unfinished", 0))),
        results=", ".join(COLUMNS[column].name for column in RESULTS),
        front=_points(done.iloc[best], knobs, set(range(len(best)))),
        front_figures=_figures(done),
        tornado=_tornado(whatif) if whatif is not None else [],
        points=_points(done, knobs, set(best)),
    )


def _warnings(failed: list[str], unfinished: int) -> list[str]:
    warnings = [f"{len(failed)} points failed, the first: {failed[0]}"] if failed else []
    if unfinished:
        warnings.append(f"{unfinished} points are still to come: the sweep was cut off, or is running.")
    return warnings


def _setting(point: Any, knobs: list[str]) -> str:
    return ", ".join(f"{style.short(knob, knobs)} {_text(point[knob])}" for knob in knobs) or "the one setting"


def _text(value: object) -> str:
    return "-" if value is None or value != value else str(value)


def _points(points: pd.DataFrame, knobs: list[str], best: set[int]) -> Table:
    """One row per point, numbered as the table of the sweep numbers them."""
    known = [entry for entry in SHOWN if entry[0] in points.columns]
    heads = [Head("point", True), *(Head(style.short(knob, knobs), True, knob) for knob in knobs)]
    heads += [Head(label, hint=COLUMNS[column].definition) for column, label, _, _ in known]
    rows = []
    for place, (index, point) in enumerate(points.iterrows()):
        cells = [Cell(str(index)), *(_knob(point[knob]) for knob in knobs)]
        cells += [number(_scaled(point[column], scale), pattern) for column, _, scale, pattern in known]
        rows.append(Row(cells, tags={"front": "yes" if place in best else "no"}, changed=place in best))
    return Table(heads, rows)


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
            "title": f"{x.split('_')[0]} and {y.split('_')[0]}",
            "caption": f"Steps: front of these two. Ring: on the front together with {also.split('_')[0]}.",
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
            "title": "All points in parallel",
            "caption": "One line per point; in colour those on the front.",
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
