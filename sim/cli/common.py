"""Shared by the commands: the progress bar, the output folder, tables."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from sim.base.errors import InputError
from sim.run.progress import Progress as Progress
from sim.run.progress import shown

PIPED_WIDTH = 140
"""Width in characters of a table that is written to a file or pipe."""
UNLIMITED_WIDTH = 10_000

typed: list[str] = []
"""Arguments of the running command line: a saved run stores them as the command that reproduces it."""


def command_line() -> str | None:
    """Return the command as it was typed, None where a script called it."""
    return shlex.join(["carat", *typed]) if typed else None


def window(given: str | None) -> tuple[int, int] | None:
    """Return ``FROM:TO`` in cycles as numbers. Raises InputError for anything else."""
    if given is None:
        return None
    start, colon, end = given.partition(":")
    if not (colon and start.isdecimal() and end.isdecimal() and int(start) < int(end)):
        raise InputError(f"--window {given}: must be FROM:TO in cycles with FROM < TO, e.g. 0:2000")
    return int(start), int(end)


def output_folder(path: Path | None) -> None:
    """Create the folder and check that it can be written, before the simulation. Raises InputError."""
    if path is None:
        return
    probe = path / f".carat-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"output folder {path}: cannot be written: {error.strerror}") from error


def progress_bar(what: str) -> AbstractContextManager[Progress]:
    """Return a context whose callback (done, total, label) draws a bar on a terminal after two seconds.

    Compilations are announced. Nothing is written to a pipe, because scripts read the output of commands.
    """
    return shown(what, lines=False)


def plain_table(title: str, cells: Sequence[Sequence[str]], text_columns: int) -> str | None:
    """Return the text that rich prints of a table into a pipe, in a fortieth of its time; None where it would fold.

    ``cells``: the headings and the rows.
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    width = 3 + sum(widths) + 2 * (len(widths) - 1)
    text = "".join((title, *(cell for row in cells for cell in row)))
    if not (text.isascii() and text.isprintable() and len(title) <= width <= PIPED_WIDTH):
        return None
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        return None
    sides = [str.rjust if index >= text_columns else str.ljust for index in range(len(widths))]

    def line(row: Sequence[str]) -> str:
        padded = (side(cell, size) for side, cell, size in zip(sides, row, widths, strict=True))
        return f" {'  '.join(padded)}  "

    head, *body = map(line, cells)
    top = [title.ljust(width), " " * width] if title else [" " * width]
    return "\n".join([*top, head, f" {'─' * (width - 2)} ", *body, " " * width]) + "\n"


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> None:
    """Print a table as wide as the terminal (plain and wide when piped), wider where numbers would be cut.

    The first ``text_columns`` columns are left-aligned; all of them but the first may fold.
    """
    cells = [list(headings), *map(list, rows)]
    if not sys.stdout.isatty() and (plain := plain_table(title, cells, text_columns)) is not None:
        sys.stdout.write(plain)
    else:
        rich_table(title, cells, text_columns)


def rich_table(title: str, cells: Sequence[Sequence[str]], text_columns: int) -> None:
    """Print a table as `print_table` does. ``cells``: the headings and the rows."""
    from rich.box import SIMPLE_HEAD  # 50 ms: only for commands that print a table
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, heading in enumerate(cells[0]):
        width = max(len(row[index]) for row in cells)
        if 0 < index < text_columns:
            table.add_column(heading, overflow="fold")
        else:
            # no_wrap: otherwise rich shrinks the column, widens it again, and cuts the last column by the same width
            side: Literal["left", "right"] = "right" if index >= text_columns else "left"
            table.add_column(heading, justify=side, min_width=width, no_wrap=True)
    for row in cells[1:]:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    unlimited = console.options.update(width=UNLIMITED_WIDTH)
    console.width = max(console.width, Measurement.get(console, unlimited, table).minimum)
    console.print(table)
