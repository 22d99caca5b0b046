"""Read CSV files, plain or gzipped; errors name file and line of every malformed line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.base.errors import InputError
from sim.base.reading import read_text

csv.field_size_limit(1 << 24)  # a mask or sections cell can exceed the 128 KiB the module allows


@dataclass(frozen=True)
class CsvFile:
    """One CSV file: header names and data lines, each with the line number a text editor shows."""

    path: Path
    header: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]

    def has(self, *columns: str) -> bool:
        """Return whether every named column is in the header."""
        return set(columns) <= set(self.header)

    def position(self, column: str) -> int:
        """Return the index of a column that `has` confirmed."""
        return self.header.index(column)

    def records(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (line number, column -> text) of each data line."""
        for number, cells in self.lines:
            yield number, dict(zip(self.header, cells, strict=True))


def read(path: Path) -> CsvFile:
    """Read a CSV file (gzipped when its first two bytes say so).

    Raises InputError with file and line: unreadable, not text, no header, a repeated column, a line longer or shorter
    than the header.
    """
    text = read_text(path, what="CSV table")
    try:
        lines = [(number, tuple(cells)) for number, cells in _numbered(text) if cells]
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}") from error
    if not lines:
        raise InputError(f"{path}: line 1: a header line is needed, the file is empty")
    header = tuple(name.strip() for name in lines[0][1])
    problems = _header_problems(path, header)
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            problems.append(
                f"{path}: line {number}: {len(cells)} columns, but the header has {len(header)}"
                f" (last column read: {cells[-1]!r})"
            )
    refuse(problems)
    return CsvFile(path, header, tuple(lines[1:]))


def inside(source: Path) -> list[Path]:
    """Return the plain and gzipped CSV files of a folder, sorted by name, or the file itself."""
    return sorted([*source.glob("*.csv"), *source.glob("*.csv.gz")]) if source.is_dir() else [source]


def refuse(problems: Sequence[str], shown: int = 20) -> None:
    """Raise InputError with up to ``shown`` problems and the number of others; nothing if there are none."""
    if problems:
        rest = len(problems) - shown
        raise InputError([*problems[:shown], *([f"... and {rest} more"] if rest > 0 else [])])


def _numbered(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), strict=True)
    for cells in reader:
        yield reader.line_num, cells


def _header_problems(path: Path, header: tuple[str, ...]) -> list[str]:
    twice = sorted({name for name in header if header.count(name) > 1})
    return [f"{path}: line 1: column {name!r} occurs twice" for name in twice]
