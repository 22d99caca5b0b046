"""Command traces of a whole machine: each command that the accelerator accepted, its cycle, and the program's marks.

Columns case, event (command, busy, mark), cycle, value (funct, busy wire, number of the mark), rs1, rs2, port_stall
(cycles in which the port refused the command). A mark n opens call n of the program, 1000 + n closes it; commands
outside belong to the program's warm-up. The gap of a command is the CPU's time: cycles from the acceptance of the
previous
command to its arrival.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.base.errors import InputError, did_you_mean
from sim.isa.commands import Program, command, program
from sim.run.session import Session, Start, next_phase
from sim.validate import csvfile
from sim.validate.csvfile import CsvFile
from sim.validate.tables import MeasuredRow
from sim.validate.tasks import MachineProgram, TaskOutcome, outcome_of

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock

CLOSES = 1000
"""Mark n + this closes the call that mark n opened."""


class TraceEvent(NamedTuple):
    """One line of a trace."""

    line: int
    cycle: int
    value: int
    rs1: int
    rs2: int
    stall: int


@dataclass(frozen=True)
class Segment:
    """Commands between two marks: ``call`` None outside calls. Cycles run from the first acceptance to the last idle.

    ``before``, ``behind``: cycles from the opening mark to the first command's arrival, and from idle to the closing
    mark.
    """

    call: int | None
    commands: Program
    cycles: int = 0
    before: int = 0
    behind: int = 0


def is_trace(table: CsvFile) -> bool:
    """Return whether the columns are those of a command trace."""
    return table.has("case", "event", "cycle", "value", "rs1", "rs2")


def cases_of(table: CsvFile) -> dict[str, list[Segment]]:
    """Return the segments of every case of a trace. Raises InputError for bad cells and for a truncated trace."""
    events: dict[str, list[tuple[str, TraceEvent]]] = defaultdict(list)
    problems: list[str] = []
    harts: dict[str, set[str]] = defaultdict(set)
    for line, columns in table.records():
        try:
            cycle, value, rs1, rs2 = (int(columns[name] or "0", 0) for name in ("cycle", "value", "rs1", "rs2"))
            stall = int(columns.get("port_stall") or "0")
        except ValueError:
            problems.append(f"{table.path}: line {line}: cycle, value, rs1, rs2 and port_stall must be whole numbers")
            continue
        if columns["event"] not in ("command", "busy", "mark"):
            problems.append(
                f"{table.path}: line {line}, column event: {columns['event']!r} is none of command, busy, mark"
            )
            continue
        harts[columns["case"]].add(columns.get("hart", ""))
        events[columns["case"]].append((columns["event"], TraceEvent(line, cycle, value, rs1, rs2, stall)))
    csvfile.refuse(problems)
    found = {}
    for case, lines in events.items():
        if len(harts[case]) > 1:
            continue  # two cores on one memory, not a program of one core
        found[case] = _segments(table.path, case, lines, problems)
    csvfile.refuse(problems)
    return found


def _segments(path: Path, case: str, events: Sequence[tuple[str, TraceEvent]], problems: list[str]) -> list[Segment]:
    segments: list[Segment] = []
    commands: list[TraceEvent] = []
    opened: TraceEvent | None = None
    idle = 0
    for what, event in events:
        if what == "command":
            commands.append(event)
        elif what == "busy":
            idle = event.cycle if event.value == 0 else idle
        elif event.value < CLOSES:
            segments += [_segment(None, commands, None, idle, event.cycle)] if commands else []
            commands, opened = [], event
        elif opened is not None and event.value == opened.value + CLOSES:
            if commands and idle < commands[-1].cycle:
                problems.append(
                    f"{path}: line {event.line}: {case}: call {opened.value} closes before the accelerator is idle"
                )
            segments += [_segment(opened.value, commands, opened, idle, event.cycle)] if commands else []
            commands, opened = [], None
        else:
            problems.append(f"{path}: line {event.line}: {case}: mark {event.value} closes no open call")
    if opened is not None:
        problems.append(
            f"{path}: line {opened.line}: {case}: call {opened.value} opens and never closes: the trace ends "
            f"at line {events[-1][1].line}; the calls before it are complete"
        )
    return segments


def _segment(
    call: int | None, events: Sequence[TraceEvent], opened: TraceEvent | None, idle: int, closed: int
) -> Segment:
    words, last = [], events[0].cycle - 1
    for event in events:
        words.append(command(event.value, event.rs1, event.rs2, max(1, event.cycle - event.stall - last)))
        last = event.cycle
    first = events[0]
    before = first.cycle - first.stall - opened.cycle if opened is not None else 0
    return Segment(call, program(words), idle - first.cycle, before, closed - idle)


@dataclass(frozen=True)
class TraceCall(MachineProgram):
    """A call of a trace with the CPU's gaps; all segments up to it are run to fill the L2."""

    path: Path
    case: str
    call: int

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return the cycles from the call's first command to idle."""
        start, session = Start.reset(hw), None
        for segment in _read(self.path)[self.case]:
            if not hw.memory.l2_bytes and segment.call != self.call:  # only the loop slot is kept
                start = replace(start, phase=next_phase(start.phase, segment.commands))
                continue
            session = session or Session(hw, clock, start=start)
            timed = session.advance(segment.commands)
            if segment.call == self.call:
                return outcome_of(timed)
        raise InputError(f"{self.path}: {self.case}: no call {self.call}")


_CASES: dict[Path, dict[str, list[Segment]]] = {}


def _read(path: Path) -> dict[str, list[Segment]]:
    """Return the segments of a trace file, read once per process."""
    if path not in _CASES:
        _CASES[path] = cases_of(csvfile.read(path))
    return _CASES[path]


def rows_of(table: CsvFile) -> list[MeasuredRow]:
    """Return a row per call of a trace: cycles from its first command to idle, and the machine in the case's name."""
    rows = []
    for case, segments in cases_of(table).items():
        machine = _machine(case)
        for segment in segments:
            if segment.call is not None and segment.cycles > 0:
                columns = {
                    "id": f"{case}.{segment.call}",
                    "kind": "soc_trace",
                    "case": case,
                    "call": str(segment.call),
                    "cycles": str(segment.cycles),
                    "cpu": "rocket",
                    **machine,
                }
                rows.append(MeasuredRow(table.path, 1, columns))
    return rows


def _machine(case: str) -> dict[str, str]:
    """Return the machine columns from a case's name: dn, dl2, L40, R4; norm machines have an L2."""
    norm = case.startswith(("enc", "normc"))
    latency, rate = re.search(r"_L(\d+)", case), re.search(r"_R(\d+)(?:_|$)", case)
    pace = rate[1] if rate else "16"
    return {
        "cfg": "norm" if norm else "default",
        "l2_KiB": "512" if norm or "_dl2" in case else "0",
        "mem_latency": latency[1] if latency else "40",
        "rd_bytes_per_cycle": pace,
        "wr_bytes_per_cycle": pace,
    }


def choose(cases: Mapping[str, list[Segment]], case: str | None, path: Path) -> dict[str, list[Segment]]:
    """Return all cases, or the named one. Raises InputError for an unknown one."""
    if case is None:
        return dict(cases)
    if case not in cases:
        raise InputError(f"{path}: no case {case!r}{did_you_mean(case, cases)}")
    return {case: cases[case]}


def gaps_of(segment: Segment) -> int:
    """Return the CPU's cycles for a segment's commands."""
    return int(np.sum(segment.commands["gap"]))
