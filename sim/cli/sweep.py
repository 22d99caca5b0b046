"""``carat sweep``: simulate every combination of machines, settings, workloads and sparsity."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.analysis.tables import check_output, write_table
from sim.base.errors import InputError, given_twice
from sim.cli import INTERRUPTED, common, options

if TYPE_CHECKING:
    import pandas as pd

    from sim.run.request import Request


@dataclass(frozen=True)
class Points:
    """Lists that a sweep combines."""

    workload: Annotated[list[str], typer.Argument(help="Workload names or graph files.")]
    hw: Annotated[list[str] | None, typer.Option("--hw", help="Machine; repeatable. Default: gemmini_ibert.")] = None
    grid: options.Grid = None
    sparsity: Annotated[
        list[str] | None, typer.Option("--sparsity", help="block16:0.5, 2:4, SPEC.toml, or dense; repeatable.")
    ] = None
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", metavar="P1,P2,...", help="Patterns to sweep, e.g. block16,2:4,unstructured/pack."),
    ] = None
    density: Annotated[
        str | None,
        typer.Option("--density", metavar="FIRST:LAST:STEP", help="Densities of --pattern, or a list 0.1,0.5."),
    ] = None
    prune: Annotated[list[str] | None, typer.Option("--prune", help="heads=8,layers=6; repeatable.")] = None
    schedule: Annotated[
        list[str] | None,
        typer.Option(
            "--schedule",
            metavar="NAME,NAME|OP=NAME",
            help="Schedules of the network, each a point (library,fused); OP=NAME: of operators, in all points.",
        ),
    ] = None

    def lists(self, request: Request) -> dict[str, Any]:
        """Return them as keyword arguments of `sim.sweep`. Raises InputError."""
        return {
            "workloads": self.workload,
            "hardware": self.hw or [options.DEFAULT_HARDWARE],
            "grid": grid_of(request, self.grid),
            "sparsity": _patterns(self.sparsity, self.pattern, self.density),
            "prune": self.prune,
            "schedule": _schedules(self.schedule),
        }


@dataclass(frozen=True)
class Where:
    """Workers that simulate the points of a sweep."""

    jobs: options.Jobs = None
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="Run on this dask.distributed cluster instead."),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only every N-th point, beginning with the I-th; see `merge`."),
    ] = None
    store: options.Store = None


@options.asks(without=("workload", "hw", "sparsity", "prune", "saliency", "weights", "tile", "schedule"))
def sweep(
    request: Request,
    points: Points,
    where: Where,
    output: options.Table = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
) -> None:
    """Simulate every combination; one row per point, a failing point is a row with its error."""
    check_table(output)
    given = requested(request)
    given["sizes"] = {name: _listed(name, value) for name, value in dict(given["sizes"]).items()}
    table = _swept({**given, **points.lists(request), **vars(where), "cache": not no_cache})
    if output is not None:
        write_table(table, output)
    if as_json:
        typer.echo(table_json(table))
    elif output is None and not sys.stdout.isatty():
        typer.echo(table.to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        print_points(table)
    if table["error"].notna().all():
        raise InputError(f"none of {len(table)} points was simulated; the first: {table['error'].iloc[0]}")


def _swept(arguments: dict[str, Any]) -> pd.DataFrame:
    """Run the sweep with its progress bar; Ctrl-C ends it with a message on what is stored."""
    from sim.sweeps import sweep as run_sweep  # SQLite

    done, store = [0, 0], arguments["store"]
    with common.progress_bar("sweep") as bar:

        def progress(finished: int, total: int, label: str) -> None:
            done[:] = finished, total
            bar(finished, total, label)

        try:
            return run_sweep(**arguments, progress=progress)
        except KeyboardInterrupt:
            kept = f"they are kept in {store}; the same command continues from there"
            advice = kept if store else "use --store to keep them"
            sys.stderr.write(f"carat: interrupted after {done[0]} of {done[1]} points; {advice}\n")
            raise typer.Exit(INTERRUPTED) from None


def _patterns(sparsity: list[str] | None, pattern: str | None, density: str | None) -> list[str] | None:
    if pattern is None and density is None:
        return sparsity
    from sim.sparsity.grid import lines  # numpy: not for --help

    return [*(sparsity or []), *lines(pattern, density)]


def _listed(name: str, value: Any) -> Any:
    """Return the values of ``--size seq=128,256``, an axis of the sweep; ``dim`` (ONNX dimensions) is one value."""
    if name == "dim" or not isinstance(value, str) or "," not in value:
        return value
    return [int(part) if part.isdecimal() else part for part in value.split(",")]


def _schedules(given: list[str] | None) -> list[dict[str, str]] | None:
    """Return the schedules of the points: each network schedule combined with those of single operators."""
    read = options.schedules(given)
    several = read.get("*", "").split(",")
    return [{**read, "*": one.strip()} for one in several] if "*" in read else [read] if read else None


def requested(request: Request) -> dict[str, Any]:
    """Return the fields of a request besides machine and graph, as keyword arguments of `sim.sweep` and `explore`."""
    given = {field.name: getattr(request, field.name) for field in fields(request)}
    named = {name: value for name, value in given.items() if name not in ("graph", "machine", "overrides", "mapping")}
    return {**named, "sizes": dict(request.sizes)}


def grid_of(request: Request, grid: list[str] | None) -> dict[str, list[Any]]:
    """Return the grid: settings that all points share, and the lists of ``--grid``. Raises InputError."""
    shared, listed = {key: [value] for key, value in request.overrides}, parse_grid(grid)
    if problems := [f"{key} is given by --set and by --grid; give one of them" for key in listed if key in shared]:
        raise InputError(problems)
    return {**shared, **listed}


def table_json(table: pd.DataFrame) -> str:
    """Return the rows as JSON, numbers as exact as in `carat run --json`, null for missing values."""
    rows = [{str(name): _exact(cell) for name, cell in row.items()} for row in table.to_dict("records")]
    return json.dumps(rows, indent=1)


def _exact(cell: Any) -> Any:
    if hasattr(cell, "item"):
        cell = cell.item()
    missing = cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell
    return None if missing else cell


def check_table(output: Path | None) -> None:
    """Refuse an output file that cannot be written, before the simulation. Raises InputError."""
    if output is not None:
        check_output(output)
        common.output_folder(output.parent)


def parse_grid(given: list[str] | None) -> dict[str, list[Any]]:
    """Return ``KEY=V1,V2`` options as a grid. Raises InputError for text without ``=``."""
    from sim.hardware import parse_settings  # pydantic: not for --help

    grid: dict[str, list[Any]] = {}
    names = [f"--grid {text.partition('=')[0]}" for text in given or ()]
    problems = given_twice(names, "list all values in one: KEY=V1,V2,...")
    for text in given or ():
        key, equals, values = text.partition("=")
        if not equals or not key or not values:
            problems.append(f"--grid {text}: must be KEY=V1,V2,..., e.g. scratchpad.capacity=128KiB,256KiB")
            continue
        listed = [one for value in values.split(",") for one in _range(value)]
        grid[key] = [next(iter(parse_settings([f"{key}={value}"]).values())) for value in listed]
    if problems:
        raise InputError(problems)
    return grid


MAX_VALUES = 1_000_000
"""Values of one key, as points of a sweep (`sim.sweeps.points`): counted before they are listed."""


def _range(value: str) -> list[str]:
    """Return the values of ``FIRST:LAST:STEP``, whole numbers of one unit, e.g. 64KiB:256KiB:64KiB; else the value."""
    parts = re.fullmatch(r"(\d+)([A-Za-z]*):(\d+)([A-Za-z]*):(\d+)([A-Za-z]*)", value)
    if parts is None:
        return [value]
    first, last, step = (int(parts[n]) for n in (1, 3, 5))
    if len({parts[2], parts[4], parts[6]}) > 1 or step < 1 or last < first:
        raise InputError(f"--grid {value}: must be FIRST:LAST:STEP of one unit, FIRST <= LAST, e.g. 64KiB:256KiB:64KiB")
    numbers = range(first, last + 1, step)
    if len(numbers) > MAX_VALUES:
        raise InputError(f"--grid {value}: {len(numbers):,} values; the limit is {MAX_VALUES:,}: give a larger step")
    return [f"{number}{parts[2]}" for number in numbers]


def print_points(table: pd.DataFrame) -> None:
    """Print the rows of a sweep as a table: point, settings, and the most important results."""
    knobs = [name for name in table.columns[: list(table.columns).index("seed")] if table[name].notna().any()]
    headings = ["point", *knobs, "cycles", "utilization", "read MB", "write MB", "energy uJ"]
    records = table.to_dict("records")
    rows = [[str(i), *(_text(row[knob]) for knob in knobs), *_answers(row)] for i, row in enumerate(records)]
    tables = [
        "" if isinstance(row["error"], str) or not row["energy_pj"] > 0
        else f"{row['energy_table']}, {row['node_nm']:g} nm"
        for row in records
    ]  # fmt: skip
    # energies of different tables cannot be compared: each row names its table
    if len({one for one in tables if one}) > 1:
        headings.append("by energy table")
        rows = [[*row, one] for row, one in zip(rows, tables, strict=True)]
    failed = [(i, row["error"]) for i, row in enumerate(records) if isinstance(row["error"], str)]
    common.print_table(f"{len(rows)} points, {len(failed)} failed", headings, rows, len(knobs) + 1)
    for index, error in failed:
        typer.echo(f"point {index}: {error}")
    notes = table["remarks"].dropna().unique() if "remarks" in table else ()
    for note in notes:
        typer.echo(f"note: {note}")


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) or value == value else ""


def _answers(row: dict[Any, Any]) -> list[str]:
    if isinstance(row["error"], str):
        return ["failed", "", "", "", ""]
    megas = (row["dram_read_bytes"], row["dram_write_bytes"], row["energy_pj"])
    return [f"{row['cycles']:,.0f}", f"{row['utilization']:.1%}", *(f"{value / 1e6:,.3f}" for value in megas)]
