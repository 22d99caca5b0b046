"""``carat sweep``: simulate every combination of machines, settings, workloads and sparsity."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import common

if TYPE_CHECKING:
    import pandas as pd

INTERRUPTED = 130
"""Exit code of a program ended by Ctrl-C, as shells count it."""


def sweep(
    workload: Annotated[list[str], typer.Argument(help="Workload names or graph files.")],
    hw: Annotated[list[str] | None, typer.Option("--hw", help="Machine; repeatable. Default: gemmini_ibert.")] = None,
    grid: common.Grid = None,
    set_: common.Settings = None,
    cpu: common.Cpu = None,
    sparsity: Annotated[
        list[str] | None, typer.Option("--sparsity", help="block16:0.5, 2:4, SPEC.toml, or dense; repeatable.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", metavar="P1,P2,...", help="Patterns to sweep, e.g. block16,2:4,unstructured/pack."),
    ] = None,
    density: Annotated[
        str | None,
        typer.Option("--density", metavar="FIRST:LAST:STEP", help="Densities of --pattern, or a list 0.1,0.5."),
    ] = None,
    prune: Annotated[list[str] | None, typer.Option("--prune", help="heads=8,layers=6; repeatable.")] = None,
    seq: common.Seq = None,
    batch: common.Batch = None,
    size: common.Sizes = None,
    seed: common.Seed = 0,
    clock: common.Clock = "periodic",
    dataflow: common.Dataflow = None,
    jobs: common.Jobs = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="Run on this dask.distributed cluster instead."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Only every N-th point from the I-th on; see `merge`.")
    ] = None,
    store: common.Store = None,
    output: common.Table = None,
    no_cache: common.NoCache = False,
    as_json: common.AsJson = False,
) -> None:
    """Simulate every combination; one row per point, a failing point is a row with its error."""
    from sim.sweeps import sweep as run_sweep
    from sim.sweeps import write_table

    if pattern is not None or density is not None:
        from sim.sparsity.grid import lines

        sparsity = [*(sparsity or []), *lines(pattern, density)]
    check_table(output)
    with common.progress_bar("sweep") as bar:
        done = [0, 0]

        def progress(finished: int, total: int, label: str) -> None:
            done[:] = finished, total
            bar(finished, total, label)

        try:
            table = run_sweep(
                hw or [common.DEFAULT_HARDWARE],
                grid={**{key: [value] for key, value in common.settings(set_, cpu).items()}, **parse_grid(grid)},
                workloads=workload,
                sizes=common.sizes(seq, batch, size),
                sparsity=sparsity,
                prune=prune,
                seed=seed,
                clock=clock,
                dataflow=dataflow,
                jobs=jobs,
                scheduler=scheduler,
                shard=shard,
                store=store,
                cache=not no_cache,
                progress=progress,
            )
        except KeyboardInterrupt:
            kept = (
                f"they are kept in {store}; the same command goes on from there"
                if store
                else "use --store to keep them"
            )
            sys.stderr.write(f"carat: interrupted after {done[0]} of {done[1]} points; {kept}\n")
            raise typer.Exit(INTERRUPTED) from None
    if output is not None:
        write_table(table, output)
    if as_json:
        typer.echo(table.to_json(orient="records", indent=1, double_precision=15))
    elif output is None and not sys.stdout.isatty():
        typer.echo(table.to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        print_points(table)


def check_table(output: Path | None) -> None:
    """Refuse an output file that cannot be written, before any time is spent. Raises InputError."""
    from sim.analysis.tables import check_output

    if output is not None:
        check_output(output)
        common.output_folder(output.parent)


def parse_grid(given: list[str] | None) -> dict[str, list[Any]]:
    """Return ``KEY=V1,V2`` options as a grid. Raises InputError for what has no ``=``."""
    from sim.base.errors import InputError
    from sim.hardware import parse_settings

    grid: dict[str, list[Any]] = {}
    problems = []
    for text in given or ():
        key, equals, values = text.partition("=")
        if not equals or not key or not values:
            problems.append(f"--grid {text}: must be KEY=V1,V2,..., e.g. scratchpad.capacity=128KiB,256KiB")
            continue
        grid[key] = [next(iter(parse_settings([f"{key}={value}"]).values())) for value in values.split(",")]
    if problems:
        raise InputError(problems)
    return grid


def print_points(table: pd.DataFrame) -> None:
    """Print the rows of a sweep as a table: point, knobs, and the answers people ask for first."""
    knobs = [name for name in table.columns[: list(table.columns).index("seed")] if table[name].notna().any()]
    headings = ["point", *knobs, "cycles", "utilization", "read MB", "write MB", "energy uJ"]
    records = table.to_dict("records")
    rows = [[str(i), *(_text(row[knob]) for knob in knobs), *_answers(row)] for i, row in enumerate(records)]
    failed = [(i, row["error"]) for i, row in enumerate(records) if isinstance(row["error"], str)]
    common.print_table(f"{len(rows)} points, {len(failed)} failed", headings, rows, len(knobs) + 1)
    for index, error in failed:
        typer.echo(f"point {index}: {error}")


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) or value == value else ""


def _answers(row: dict[Any, Any]) -> list[str]:
    if isinstance(row["error"], str):
        return ["failed", "", "", "", ""]
    megas = (row["dram_read_bytes"], row["dram_write_bytes"], row["energy_pj"])
    return [f"{row['cycles']:,.0f}", f"{row['utilization']:.1%}", *(f"{value / 1e6:,.3f}" for value in megas)]
