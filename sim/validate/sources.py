"""Folders of measured tables and recorded programs that are used when the user names none."""

from __future__ import annotations

from pathlib import Path

from sim.base.errors import InputError
from sim.validate import csvfile, tables
from sim.validate.csvfile import CsvFile
from sim.validate.recordings import Library

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = (_ROOT.parent / "shared" / "rtl", _ROOT / "tests" / "oracle")


def default_tables() -> list[Path]:
    """Return the tables and timelines of ``../shared/rtl`` and of ``tests/oracle``.

    Of two files with one name the first.
    """
    found: dict[str, Path] = {}
    for folder in _FOLDERS:
        for path in csvfile.inside(folder) if folder.is_dir() else ():
            if _is_table(path):
                found.setdefault(path.name.removesuffix(".gz"), path)
    if not found:
        raise InputError(
            "no measured tables found: this installation has no tests/oracle; name a table with --measurements FILE.csv"
        )
    return list(found.values())


def library(table: Path) -> Library:
    """Return the streams of ``programs/`` beside a table, then those of the default tables.

    A stream is found by machine and case; the first folder that has it is used.
    """
    found: list[Path] = []
    for folder in (table.parent, *_FOLDERS):
        programs = folder / "programs"
        if programs.is_dir() and not any(programs.samefile(other) for other in found):
            found.append(programs)
    return Library(tuple(found))


def soc_folders(table: Path) -> tuple[Path, ...]:
    """Return the folders searched for the traces of a table of a whole machine.

    The table's folder, then the default tables'.
    """
    return (table.parent, *(folder / "soc" for folder in _FOLDERS))


def is_timeline(table: CsvFile) -> bool:
    """Return whether the columns are those of per-command times."""
    return table.has("case", "seq", "funct", "t_alloc", "t_issue", "t_complete")


def _is_table(path: Path) -> bool:
    table = csvfile.read(path)
    return tables.is_measurements(table) or is_timeline(table)
