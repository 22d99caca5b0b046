"""What the commands share: option types, the progress bar, the output folder, tables."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sim.base.errors import InputError

Progress = Callable[[int, int, str], None]

DEFAULT_HARDWARE = "gemmini_ibert"
"""The default machine with the units that keep every encoder operator on the array."""
PATIENCE_S = 2.0
"""A run shorter than this shows no progress bar."""
PIPED_WIDTH = 140
"""Columns of a table that goes into a file or pipe, where there is no terminal to ask."""
UNLIMITED_WIDTH = 10_000

Workload = Annotated[str, typer.Argument(help="Workload name (see `carat list`) or a graph file (.json).")]
Machine = Annotated[str, typer.Option("--hw", help="Machine: a name (see `carat list`) or a TOML file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the machine, e.g. scratchpad.capacity=512KiB."),
]
Cpu = Annotated[
    str | None,
    typer.Option(
        "--cpu",
        metavar="none|rocket|...",
        help="What the CPU costs in front of the accelerator: a file of hwconfigs/cpu (see `carat list`); none: a "
        "command every cycle, the accelerator alone. Short for --set cpu.prices=NAME.",
    ),
]
Seq = Annotated[int | None, typer.Option("--seq", min=1, help="Sequence length in tokens.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Sequences at a time.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="NAME=N", help="Another size of the workload, e.g. layers=2."),
]
SparsityText = Annotated[
    str | None,
    typer.Option(
        "--sparsity",
        metavar="PATTERN|FILE",
        help="block16:0.5, 2:4, unstructured:0.3, masks.npz, SPEC.toml; see `carat list`.",
    ),
]
Prune = Annotated[
    str | None,
    typer.Option(
        "--prune", metavar="NAME=KEEP,...", help="Structured pruning, e.g. heads=8,layers=6 or *.FF1.columns=1536."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random masks.")]
Clock = Annotated[
    Literal["periodic", "leap", "reference"],
    typer.Option("--clock", help="periodic, leap (every change anew) or reference (every cycle, slow): one result."),
]
Dataflow = Annotated[Literal["WS", "OS"] | None, typer.Option("--dataflow", help="Dataflow of the matmuls.")]
Objective = Annotated[
    Literal["cycles", "energy", "edp"], typer.Option("--objective", help="What a search for tiles minimises.")
]
Reach = Annotated[
    Literal["call", "hardware"],
    typer.Option(
        "--reach",
        help="Of a search for tiles. call: what the C library's explicit-tile call can be given. hardware: also loop "
        "orders, operands that stay, scratchpad halves, which only loop commands of one's own can say.",
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither look timings up on disk nor keep them there.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Worker processes. Default: one per core.")]
Grid = Annotated[
    list[str] | None,
    typer.Option("--grid", metavar="KEY=V1,V2,...", help="Values of a machine key; KEY+KEY changes both; repeatable."),
]
Store = Annotated[
    Path | None, typer.Option("--store", help="SQLite file to keep what was simulated in, and to resume from.")
]
Table = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the table here: .csv or .parquet.")
]
Window = Annotated[
    str | None, typer.Option("--window", metavar="FROM:TO", help="Only what happens in these cycles of the run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def command_line() -> str | None:
    """Return the command as it was typed, None where a script called it."""
    from sim import cli

    return shlex.join(["carat", *cli.typed]) if cli.typed else None


def settings(given: Sequence[str] | None, cpu: str | None = None) -> dict[str, object]:
    """Return ``--set key=value`` and ``--cpu`` as overrides. Raises InputError for what has no ``=``."""
    from sim.hardware import parse_settings

    return ({} if cpu is None else {"cpu.prices": cpu}) | parse_settings(given or ())


def sizes(seq: int | None, batch: int | None, given: Sequence[str] | None) -> dict[str, Any]:
    """Return the workload's size arguments. Raises InputError for a size that is no whole number."""
    chosen: dict[str, Any] = {name: value for name, value in (("seq", seq), ("batch", batch)) if value is not None}
    problems = []
    for text in given or ():
        name, equals, number = text.partition("=")
        if equals and number.isdecimal():
            chosen[name] = int(number)
        else:
            problems.append(f"--size {text}: must be NAME=N with a whole number N, e.g. layers=2")
    if problems:
        raise InputError(problems)
    return chosen


def window(given: str | None) -> tuple[int, int] | None:
    """Return ``FROM:TO`` in cycles as numbers. Raises InputError for anything else."""
    if given is None:
        return None
    start, colon, end = given.partition(":")
    if not (colon and start.isdecimal() and end.isdecimal() and int(start) < int(end)):
        raise InputError(f"--window {given}: must be FROM:TO in cycles with FROM < TO, e.g. 0:2000")
    return int(start), int(end)


def output_folder(path: Path | None) -> None:
    """Create the folder and prove that it can be written, before any time is spent. Raises InputError."""
    if path is None:
        return
    probe = path / f".carat-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"output folder {path}: cannot be written: {error.strerror}") from error


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Yield a callback (done, total, label) that draws a bar on stderr after two seconds, on a terminal.

    Its first call, which comes when all input has been accepted, announces a compilation if one is due.
    """
    if not sys.stderr.isatty():
        yield _announcing(lambda done, total, label: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    look = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*look, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    timer = threading.Timer(PATIENCE_S, bar.start)
    timer.daemon = True
    timer.start()

    def update(done: int, total: int, label: str) -> None:
        bar.update(task, completed=done, total=total, description=label or what)

    try:
        yield _announcing(update)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


def _announcing(progress: Progress) -> Progress:
    called = False

    def first_announce(done: int, total: int, label: str) -> None:
        nonlocal called
        if not called and done < total:
            announce_compilation()
        called = True
        progress(done, total, label)

    return first_announce


def announce_compilation() -> None:
    """Say on stderr that this run compiles the timing core first, when numba's cache has nothing of it."""
    from sim import core

    if not core.is_compiled():
        message = "carat: compiling the timing core, under a minute on two cores (once per installation or change) ..."
        typer.echo(message, err=True)


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> None:
    """Print a table as wide as the terminal (plain and wide when piped), wider where numbers would be cut.

    The first ``text_columns`` columns are left-aligned; all of them but the first may fold.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    cells = [headings, *rows]
    for index, heading in enumerate(headings):
        width = max(len(row[index]) for row in cells)
        if 0 < index < text_columns:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right" if index >= text_columns else "left", min_width=width)
    for row in cells[1:]:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    unlimited = console.options.update(width=UNLIMITED_WIDTH)
    console.width = max(console.width, Measurement.get(console, unlimited, table).minimum)
    console.print(table)
