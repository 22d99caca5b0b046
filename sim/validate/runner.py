"""Run the rows of measured tables: `validate(files) -> list of Result`.

Rows with the same program on the same machine are simulated once, in one process by default; with ``jobs`` > 1 worker
processes start the longest programs first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim.base import workers
from sim.base.errors import InputError, did_you_mean
from sim.validate import csvfile, sources, tables
from sim.validate.cases import WAYS, MeasuredCase, case_of
from sim.validate.recordings import Library
from sim.validate.soc import formats
from sim.validate.tables import MeasuredRow
from sim.validate.tasks import NEVER_ENDS, RowTask, TaskOutcome, simulate

if TYPE_CHECKING:
    from sim.timing.timing import Clock

Progress = Callable[[int, int], None]
"""Called with (programs done, programs in all)."""


@dataclass(frozen=True)
class RowResult:
    """A measured row and its outcome."""

    row: MeasuredRow
    outcome: TaskOutcome
    way: str

    @property
    def met_hang(self) -> bool:
        """Return whether the program never ends both on the RTL and in the simulator."""
        return self.row.cycles == NEVER_ENDS == self.outcome.cycles

    @property
    def error(self) -> float:
        """Cycles simulated / measured - 1; 0 for an agreed hang, 1 for a row that could not be simulated."""
        simulated = self.outcome.cycles
        if self.met_hang:
            return 0.0
        if simulated is None or NEVER_ENDS in (simulated, self.row.cycles):
            return 1.0
        return simulated / self.row.cycles - 1.0

    def simulated(self, quantity: str) -> int | None:
        """Return the simulated count of a measured column; None without a finished simulation."""
        if self.outcome.cycles in (None, NEVER_ENDS):
            return None
        return self.outcome.counters.get(tables.QUANTITIES[quantity])

    def error_of(self, quantity: str) -> float | None:
        """Return simulated / measured - 1 of a count; None if it was not measured or not simulated."""
        measured = self.row.measured(quantity)
        if measured is None or self.row.cycles == NEVER_ENDS:
            return None
        if self.outcome.cycles in (None, NEVER_ENDS):
            return 1.0
        simulated = self.simulated(quantity)
        if simulated is None:
            return None
        return simulated / measured - 1.0 if measured else float(simulated != 0)


def read_rows(files: Iterable[Path]) -> list[MeasuredRow]:
    """Return the rows of all measured tables among the files, without timelines.

    Raises one InputError for all problems.
    """
    rows: list[MeasuredRow] = []
    problems: list[str] = []
    for path in files:
        try:
            table = csvfile.read(path)
            if not sources.is_timeline(table):
                rows += formats.rows_of(table)
        except InputError as error:
            problems += error.problems
    csvfile.refuse(problems)
    return rows


def validate(
    files: Sequence[Path],
    programs: Sequence[Path] = (),
    *,
    way: str = "auto",
    jobs: int = 1,
    clock: Clock = "periodic",
    select: Callable[[MeasuredRow], bool] = lambda row: True,
    progress: Progress | None = None,
) -> list[RowResult]:
    """Simulate every row of the measured tables and return the results in the order of the rows.

    ``programs``: folders or files of recorded streams; by default those beside each table (`sources`).
    ``way``: auto, recorded (replay every row that has a recording) or lowered. ``select``: which rows.
    Raises InputError for a malformed table or program file.
    """
    if way not in WAYS:
        raise InputError(f"way {way!r} is unknown{did_you_mean(way, WAYS)}")
    missing = [f"{path}: no such folder or file of recorded programs" for path in programs if not path.exists()]
    if missing:
        raise InputError(missing)
    rows = [row for row in read_rows(files) if select(row)]
    given = Library(tuple(programs)) if programs else None
    libraries = {path: given or sources.library(path) for path in {row.path for row in rows}}
    cases = [case_of(row, libraries[row.path], way) for row in rows]
    return run_cases([case for case in cases if case is not None], jobs=jobs, clock=clock, progress=progress)


def run_cases(
    cases: Sequence[MeasuredCase], *, jobs: int = 1, clock: Clock = "periodic", progress: Progress | None = None
) -> list[RowResult]:
    """Simulate the cases, equal tasks once, and return one result per case in order."""
    tasks: dict[Hashable, RowTask] = {}
    for case in cases:
        if case.task is not None:
            tasks.setdefault(case.task.key, case.task)
    outcomes: dict[Hashable, TaskOutcome] = {}
    for key, outcome in _outcomes(tasks, jobs, clock):
        outcomes[key] = outcome
        if progress is not None:
            progress(len(outcomes), len(tasks))
    return [_result(case, outcomes) for case in cases]


def _outcomes(tasks: Mapping[Hashable, RowTask], jobs: int, clock: Clock) -> Iterator[tuple[Hashable, TaskOutcome]]:
    longest_first = sorted(tasks.items(), key=lambda item: -item[1].cost)
    if jobs > 1 and longest_first:
        # the shortest one first, in this process: it compiles the core for the workers
        key, task = longest_first.pop()
        yield key, simulate(task, clock)
    if jobs <= 1 or len(longest_first) < 2:
        for key, task in longest_first:
            yield key, simulate(task, clock)
        return
    # spawn: workers must not inherit the threads of a progress bar or of compiled code
    with workers.pool(jobs) as pool:
        futures = {pool.submit(simulate, task, clock): key for key, task in longest_first}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _result(case: MeasuredCase, outcomes: Mapping[Hashable, TaskOutcome]) -> RowResult:
    if case.task is None:
        return RowResult(case.row, TaskOutcome(None, reason=case.reason), "none")
    outcome = outcomes[case.task.key]
    if case.part is not None and outcome.cycles is not None and outcome.cycles != NEVER_ENDS:
        outcome = _part(case.row, case.part, outcome)
    return RowResult(case.row, outcome, case.task.way)


def _part(row: MeasuredRow, operator: str, layer: TaskOutcome) -> TaskOutcome:
    """Return one operator of an encoder layer; a recorded layer has only sections without names."""
    if operator in layer.parts:
        return layer.parts[operator]
    index = row.whole("op_index", -1)
    if not layer.parts and 0 <= index < len(layer.sections):
        return TaskOutcome(layer.sections[index])
    return TaskOutcome(None, reason=f"the layer has no operator {operator!r}{did_you_mean(operator, layer.parts)}")
