"""Recorded command streams: CSV files of (case, seq, funct, rs1, rs2), plain or gzipped, any file name.

An optional index beside them names, per file and case, the machine and the pace at which commands were offered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sim.base.errors import InputError
from sim.isa.commands import COMMAND, Funct, Program
from sim.validate import csvfile
from sim.validate.csvfile import CsvFile

_COMMANDS = {str(int(funct)): int(funct) for funct in Funct if funct != Funct.FENCE}


MARK, END = "mark", "end"
"""``funct`` of lines that are not commands (`carat record`): a reading of the cycle counter; the program's end."""

Lines = list[tuple[int, tuple[str, ...]]]
"""(Line number, cells funct, rs1, rs2) of the commands of one case."""

Notes = dict[tuple[str, str], tuple[str, int]]
"""(File's set, case) -> (machine, gap in cycles), from an index beside the program files."""


@dataclass(frozen=True)
class Recording:
    """One recorded stream: name of the file's set, case, machine (None = not in the file), commands.

    ``dim``: DIM of the header that the program was compiled with, if the file has it (`carat record`).
    """

    set_name: str
    case: str
    cfg: str | None
    program: Program
    dim: int | None = None


@dataclass(frozen=True)
class Library:
    """Folders (or files) of recorded streams, read when first needed; the first that has a stream is used."""

    sources: tuple[Path, ...]

    def find(self, cfg: str, case: str) -> Recording | None:
        """Return the stream of a case on a machine, else one from a file without machines, else None."""
        for key in ((cfg, case), (None, case)):
            for source in self.sources:
                if found := load(source).get(key):
                    return found
        return None


def is_program(table: CsvFile) -> bool:
    """Return whether the columns are those of a recorded command stream."""
    return table.has("case", "funct", "rs1", "rs2") and not table.has("t_alloc")


@cache
def load(source: Path) -> dict[tuple[str | None, str], Recording]:
    """Read every program file of a folder, or one file, once per process: (machine, case) -> stream.

    Raises InputError naming bad files, lines and cells.
    """
    if not source.exists():
        raise InputError(f"{source}: no such folder or file of recorded programs")
    tables = [csvfile.read(path) for path in csvfile.inside(source)]
    if not source.is_dir() and not is_program(tables[0]):
        raise InputError(f"{source}: line 1: no recorded program (case, seq, funct, rs1, rs2)")
    notes = _notes(tables)
    streams: dict[tuple[str | None, str], Recording] = {}
    for table in tables:
        for recording in recordings_of(table, notes) if is_program(table) else ():
            streams.setdefault((recording.cfg, recording.case), recording)
    return streams


def recordings_of(table: CsvFile, notes: dict[tuple[str, str], tuple[str, int]] | None = None) -> list[Recording]:
    """Return the streams of one program file in file order.

    Raises InputError naming each line that is not a command.
    """
    columns = [table.position(name) for name in ("case", "funct", "rs1", "rs2")]
    dim_column = table.position("dim") if table.has("dim") else None
    dims: dict[str, int] = {}
    cfg_column = table.position("cfg") if table.has("cfg") else None
    cells: dict[tuple[str | None, str], list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for line, row in table.lines:
        if row[columns[1]] in (MARK, END):
            continue
        if dim_column is not None and row[dim_column].isdecimal():
            dims.setdefault(row[columns[0]], int(row[dim_column]))
        cfg = row[cfg_column] if cfg_column is not None else None
        cells[(cfg, row[columns[0]])].append((line, tuple(row[column] for column in columns[1:])))
    problems: list[str] = []
    found = []
    set_name = table.path.name.split(".")[0]
    for (cfg, case), commands in cells.items():
        noted_cfg, gap = (notes or {}).get((set_name, case), (None, 1))
        program = program_of(table.path, commands, gap, problems)
        found.append(Recording(set_name, case, cfg or noted_cfg, program, dims.get(case)))
    csvfile.refuse(problems)
    if dim_column is not None and table.lines[-1][1][columns[1]] != END:
        where = f"{table.path}: line {table.lines[-1][0]}"
        raise InputError(f"{where}: the recording ends here, before the end of its program; record it again")
    return found


def with_gap(program: Program, gap_cycles: int) -> Program:
    """Return the program with every command offered at least ``gap_cycles`` after the previous one."""
    if not (program["gap"] < gap_cycles).any():
        return program
    paced = program.copy()
    paced["gap"] = np.maximum(paced["gap"], gap_cycles)
    return paced


def program_of(path: Path, commands: Lines, gap: int, problems: list[str]) -> Program:
    """Return commands given as (line, (funct, rs1, rs2)) texts; unreadable lines are added to ``problems``."""
    program = np.zeros(len(commands), dtype=COMMAND)
    program["gap"] = gap
    try:
        program["funct"] = [_funct(cells[0]) for _, cells in commands]
        for column, name in enumerate(("rs1", "rs2"), start=1):
            numbers = [0 if cells[0] == "fence" else int(cells[column], 0) for _, cells in commands]
            bits = np.array(numbers, dtype=np.uint64)
            program[name] = bits.view(np.int64)
    except (KeyError, ValueError, OverflowError):
        problems += [_complaint(path, line, cells) for line, cells in commands if not _readable(cells)]
    return program


def _funct(text: str) -> int:
    return int(Funct.FENCE) if text == "fence" else _COMMANDS[text]


def _readable(cells: tuple[str, ...]) -> bool:
    if cells[0] == "fence":
        return True
    try:
        return cells[0] in _COMMANDS and all(0 <= int(text, 0) < 1 << 64 for text in cells[1:])
    except ValueError:
        return False


def _complaint(path: Path, line: int, cells: tuple[str, ...]) -> str:
    return (
        f"{path}: line {line}: funct must be 'fence' or a known command code"
        f" and rs1, rs2 64-bit numbers, not {', '.join(map(repr, cells))}"
    )


def _notes(tables: Iterable[CsvFile]) -> Notes:
    notes: Notes = {}
    for table in tables:
        if is_program(table) or not table.has("set", "cfg", "case", "min_cmd_gap"):
            continue
        for line, row in table.records():
            if not row["min_cmd_gap"].isdigit():
                raise InputError(f"{table.path}: line {line}, column min_cmd_gap: a whole number is needed")
            notes[(row["set"], row["case"])] = (row["cfg"], int(row["min_cmd_gap"]))
    return notes
