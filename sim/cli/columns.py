"""``carat columns``: unit and definition of each reported column."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from sim.cli import common, options
from sim.run.columns import COLUMNS

Which = Annotated[
    Literal["ops", "kinds", "totals", "sweep", "explore", "cores"] | None,
    typer.Option("--table", help="Only this table."),
]


def columns(table: Which = None, as_json: options.AsJson = False) -> None:
    """Print unit, definition and formula of each reported column."""
    chosen = [column for column in COLUMNS.values() if table is None or table in column.tables]
    if as_json:
        typer.echo(json.dumps([column._asdict() for column in chosen], indent=1))
        return
    rows = [
        (
            c.name,
            c.unit or "text",
            ", ".join(c.tables),
            c.definition + (f" [= {c.formula}]" if c.formula else ""),
        )
        for c in chosen
    ]
    common.print_table("Columns", ("column", "unit", "in", "definition"), rows, 4)
