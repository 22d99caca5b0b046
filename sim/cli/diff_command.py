"""``carat diff``: why two kept runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from sim.cli import common, options

TOP = 20
CAUSES_SHOWN = 3


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run kept by `carat run -o`.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.")],
    by: Annotated[
        Literal["name", "op", "kind"],
        typer.Option("--by", help="Put operators together by name without layer, one by one, or by kind."),
    ] = "name",
    top: Annotated[int, typer.Option("--top", min=1, help="Rows to print.")] = TOP,
    as_json: options.AsJson = False,
) -> None:
    """Print why two runs differ: per operator and per cause, the largest difference first."""
    from sim.analysis import saved  # pandas: not for --help
    from sim.analysis.diff import diff as compare

    a, b = saved.load_all([first, second])
    found = compare(a.ops, b.ops, (a.name, b.name), by)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
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
    other = [f"  {key}: {one} -> {two}" for key, one, two in saved.settings_that_differ(a.hardware, b.hardware)]
    typer.echo("\n".join(["machines differ in:", *other]) if other else "the machines are the same")
    if a.record["version"] != b.record["version"]:
        typer.echo(f"written by different code: {a.record['version']} and {b.record['version']}")


def _times(count: tuple[int, int]) -> str:
    return f"{count[0]}" if count[0] == count[1] else f"{count[0]} -> {count[1]}"


def _why(causes: Mapping[str, int]) -> str:
    largest = sorted(causes.items(), key=lambda item: -abs(item[1]))[:CAUSES_SHOWN]
    return ", ".join(f"{cause} {cycles:+,}" for cause, cycles in largest if cycles)
