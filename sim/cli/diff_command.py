"""``carat diff``: why two saved runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sim.analysis import saved
from sim.analysis.diff import diff as compare
from sim.analysis.diff import energy_note
from sim.cli import common, options

if TYPE_CHECKING:
    from sim.analysis.saved import SavedRun

TOP = 20
CAUSES_SHOWN = 3


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of `carat run -o`.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another run.")],
    by: Annotated[
        Literal["name", "op", "kind"],
        typer.Option("--by", help="Group operators by name without layer, one by one, or by kind."),
    ] = "name",
    top: Annotated[int, typer.Option("--top", min=1, help="Rows to print.")] = TOP,
    as_json: options.AsJson = False,
) -> None:
    """Print why two runs differ: per operator and per cause, the largest difference first."""
    a, b = saved.load_all([first, second])
    found = compare(a.ops, b.ops, (a.name, b.name), by)
    if as_json:
        typer.echo(json.dumps({**found.to_dict(), "energy": _energies(a, b)}, indent=1))
        return
    rows = [
        (row.name, _times(row.count), f"{row.cycles[0]:,}", f"{row.cycles[1]:,}", f"{row.change:+,}", _why(row.causes))
        for row in found.rows[:top]
    ]
    total = ("total", "", f"{found.cycles[0]:,}", f"{found.cycles[1]:,}", f"{found.change:+,}", _why(found.causes))
    headings = ("operator", "count", a.name, b.name, "change", "by cause")
    common.print_table(f"{b.name} against {a.name}, cycles", headings, [*rows, total])
    if len(found.rows) > top:
        rest = sum(row.change for row in found.rows[top:])
        typer.echo(f"... and {len(found.rows) - top} more with {rest:+,} together (--top)")
    typer.echo(found.sentence())
    typer.echo(_energy_line(a, b))
    other = [f"  {key}: {one} -> {two}" for key, one, two in saved.settings_that_differ(a.hardware, b.hardware)]
    typer.echo("\n".join(["machines differ in:", *other]) if other else "the machines are the same")
    if a.record["version"] != b.record["version"]:
        typer.echo(f"written by different code: {a.record['version']} and {b.record['version']}")


def _energies(*runs: SavedRun) -> list[dict[str, Any]]:
    """Return the energy of each run with the table and the node that it is computed with."""
    keys = ("energy_pj", "energy_table", "node_nm")
    return [{"run": run.name, **{key: run.totals[key] for key in keys}} for run in runs]


def _energy_line(a: SavedRun, b: SavedRun) -> str:
    """Return both energies with table and node, and their difference where both are of one table."""
    first, second = (
        f"{run['energy_pj'] * 1e-9:,.3f} mJ (table {run['energy_table']}, {run['node_nm']} nm)"
        for run in _energies(a, b)
    )
    line = f"energy: {second} against {first}"
    if energy_note((a, b)) is not None:
        return f"{line}; no difference is given: the tables differ, and with them the technology"
    return f"{line}, {b.totals['energy_pj'] / a.totals['energy_pj'] - 1:+.1%}"


def _times(count: tuple[int, int]) -> str:
    return f"{count[0]}" if count[0] == count[1] else f"{count[0]} -> {count[1]}"


def _why(causes: Mapping[str, int]) -> str:
    largest = sorted(causes.items(), key=lambda item: -abs(item[1]))[:CAUSES_SHOWN]
    return ", ".join(f"{cause} {cycles:+,}" for cause, cycles in largest if cycles)
