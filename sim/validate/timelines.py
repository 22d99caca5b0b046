"""Command by command: allocation, issue and completion times, simulated against measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.isa.commands import signed64
from sim.validate import csvfile, sources, tables
from sim.validate.cases import case_of
from sim.validate.csvfile import CsvFile
from sim.validate.recordings import Library
from sim.validate.runner import Progress
from sim.validate.tables import MeasuredRow
from sim.validate.tasks import simulate

if TYPE_CHECKING:
    from sim.timing.timing import Clock

TIMES = ("t_alloc", "t_issue", "t_complete")
"""Cycles of allocation in the reservation station, issue to its controller, completion (-1: at issue)."""


@dataclass(frozen=True)
class TimelineComparison:
    """One case: number of equal commands, and the differences in cycles of the others.

    ``differences``: simulated - measured, one line per command that both have, columns as `TIMES`.
    """

    case: str
    commands_measured: int
    commands_simulated: int
    same_commands: int
    differences: npt.NDArray[np.int64]
    reason: str = ""

    @property
    def exact(self) -> float:
        """Share of the measured commands with the same operands and all three times equal."""
        same = int((self.differences == 0).all(axis=1).sum()) if len(self.differences) else 0
        return same / self.commands_measured

    @property
    def first_difference(self) -> int | None:
        """Index of the first command with a different time, None if all are equal."""
        differs = (self.differences != 0).any(axis=1)
        return int(np.argmax(differs)) if differs.any() else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: share exact, and median and worst absolute difference of each time."""
        head = {
            "case": self.case,
            "commands_measured": self.commands_measured,
            "commands_simulated": self.commands_simulated,
            "same_commands": self.same_commands,
            "exact": self.exact,
            "first_difference": self.first_difference,
            "reason": self.reason,
        }
        sizes = np.abs(self.differences)
        for column, time in enumerate(TIMES if len(sizes) else ()):
            of_time = sizes[:, column]
            head[time] = {
                "exact": float((of_time == 0).mean()),
                "median_cycles": float(np.median(of_time)),
                "worst_cycles": int(of_time.max()),
            }
        return head


def compare(
    files: Sequence[Path],
    programs: Sequence[Path] = (),
    *,
    way: str = "auto",
    clock: Clock = "periodic",
    progress: Progress | None = None,
) -> list[TimelineComparison]:
    """Compare every case of the timeline files; machines come from the measured tables given or beside them.

    Raises InputError for a malformed file and for a case without a machine in any table.
    """
    read = [csvfile.read(path) for path in files]
    timelines = [table for table in read if sources.is_timeline(table)]
    rows = {row.id: row for table in read if tables.is_measurements(table) for row in tables.rows_of(table)}
    work = [(table, *case) for table in timelines for case in read_cases(table)]
    machines = [_row(case, table, rows) for table, case, _ in work]
    found = []
    for done, ((table, case, lines), row) in enumerate(zip(work, machines, strict=True), start=1):
        library = Library(tuple(programs)) if programs else sources.library(table.path)
        found.append(_compare(case, lines, row, way, clock, library))
        if progress is not None:
            progress(done, len(work))
    return found


def _compare(
    case: str,
    measured: npt.NDArray[np.int64],
    row: MeasuredRow,
    way: str,
    clock: Clock,
    library: Library,
) -> TimelineComparison:
    chosen = case_of(row, library, "recorded" if way == "auto" else way)
    nothing = np.zeros((0, len(TIMES)), dtype=np.int64)
    if chosen is None or chosen.task is None:
        reason = chosen.reason if chosen else f"case {case!r} has no program"
        return TimelineComparison(case, len(measured), 0, 0, nothing, reason)
    outcome = simulate(replace(chosen.task, timeline=True), clock)
    if outcome.timeline is None:
        return TimelineComparison(case, len(measured), 0, 0, nothing, outcome.reason)
    simulated = np.stack([outcome.timeline[name].astype(np.int64) for name in ("funct", "rs1", "rs2", *TIMES)], axis=1)
    both = min(len(measured), len(simulated))
    same = (measured[:both, :3] == simulated[:both, :3]).all(axis=1)
    differences = simulated[:both, 3:] - measured[:both, 3:]
    return TimelineComparison(case, len(measured), len(simulated), int(same.sum()), differences)


def read_cases(table: CsvFile) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Return per case the lines (funct, rs1, rs2, t_alloc, t_issue, t_complete) in order of seq."""
    lines: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    problems = []
    for number, cells in table.records():
        try:
            operands = (signed64(int(cells["rs1"], 0)), signed64(int(cells["rs2"], 0)))
            times = tuple(int(cells[time]) for time in TIMES)
            lines[cells["case"]].append((int(cells["seq"]), int(cells["funct"]), *operands, *times))
        except ValueError as error:
            problems.append(f"{table.path}: line {number}: seq, funct, rs1, rs2 and times are numbers: {error}")
    csvfile.refuse(problems)
    return [(case, np.array(sorted(found), dtype=np.int64)[:, 1:]) for case, found in lines.items()]


def _row(case: str, table: CsvFile, rows: dict[str, MeasuredRow]) -> MeasuredRow:
    if case not in rows:
        for path in csvfile.inside(table.path.parent):
            other = csvfile.read(path)
            if tables.is_measurements(other):
                rows.update({row.id: row for row in tables.rows_of(other) if row.id not in rows})
    if case not in rows:
        raise InputError(f"{table.path}: case {case!r}: no measured table beside it names its machine and memory")
    return rows[case]
