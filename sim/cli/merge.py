"""``carat merge`` and ``carat export``: stores of a sweep put together, and written as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.analysis.tables import write_table
from sim.base.errors import InputError
from sim.cli import options
from sim.cli.sweep import check_table

if TYPE_CHECKING:
    from sim.base.store import Store


def merge(
    store: Annotated[Path, typer.Argument(help="Store into which the others are merged; created when missing.")],
    others: Annotated[list[Path], typer.Argument(help="Stores of other shards; not changed.")],
    output: options.Table = None,
) -> None:
    """Merge the stores of a sweep's shards; list the missing points; write the table."""
    from sim.base.store import Store  # SQLite: not for --help

    check_table(output)
    for other in others:
        if not other.is_file():
            raise InputError(f"store {other}: no such file")
        Store(other, read_only=True).close()  # files that are no stores are refused before one is made
    with Store(store) as whole:
        for other in others:
            new = whole.merge(other)
            typer.echo(f"{other}: {new} points new to {store}")
        report(whole, output)


def export(
    store: Annotated[Path, typer.Argument(help="Store of a sweep.")],
    output: options.Table = None,
) -> None:
    """Print the contents of a store, and write its finished points as a table."""
    from sim.base.store import Store  # SQLite: not for --help

    check_table(output)
    if not store.is_file():
        raise InputError(f"store {store}: no such file")
    with Store(store) as kept:
        report(kept, output)


def report(store: Store, output: Path | None) -> None:
    """Print how many points of each sweep are finished; write the table to ``output`` if given."""
    from sim.analysis.stored_sweeps import stored_table  # SQLite

    for sweep in store.sweeps():
        missing = len(sweep.points) - sweep.finished
        rest = f"{missing} missing: run the sweep, or the missing shards, with --store" if missing else "complete"
        typer.echo(f"sweep {sweep.sweep}: {sweep.finished} of {len(sweep.points)} points, {rest}")
    if output is not None:
        table = stored_table(store)
        write_table(table, output)
        typer.echo(f"{len(table)} rows in {output}")
