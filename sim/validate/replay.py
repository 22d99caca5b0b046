"""Replay one recorded command stream on a machine, in the timing core alone (no lowering)."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, did_you_mean
from sim.validate import csvfile, recordings, spike
from sim.validate.recordings import Recording, with_gap
from sim.validate.tasks import NEVER_ENDS, RowTask, TaskOutcome, simulate

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock

TIMELINE_COLUMNS = ("case", "seq", "queue", "funct", "rs1", "rs2", "t_alloc", "t_issue", "t_complete")
_QUEUES = ("ld", "ex", "st")


def choose(path: Path, case: str | None = None) -> list[Recording]:
    """Return the streams of a program file or a log of Spike, or only the named one.

    Raises InputError for an unknown name.
    """
    found = spike.recordings_of(path) if spike.is_log(path) else _of_table(path)
    if not found:
        raise InputError(f"{path}: the file has no command")
    chosen = [recording for recording in found if case in (None, recording.case)]
    if not chosen:
        raise InputError(f"{path}: no case {case!r}{did_you_mean(str(case), {r.case for r in found})}")
    return chosen


def _of_table(path: Path) -> list[Recording]:
    table = csvfile.read(path)
    if not recordings.is_program(table):
        raise InputError(f"{path}: line 1: no recorded program: columns case, seq, funct, rs1, rs2 are needed")
    return recordings.recordings_of(table)


def run(
    recording: Recording, hw: Hardware, *, clock: Clock = "periodic", gap_cycles: int = 1, phase: int = 0
) -> TaskOutcome:
    """Run a recorded stream on ``hw`` with its timeline; one that never ends gives cycles -1 and the reason."""
    program = with_gap(recording.program, gap_cycles)
    return simulate(RowTask(hw, program, phase=phase, timeline=True), clock)


def as_dict(recording: Recording, outcome: TaskOutcome) -> dict[str, Any]:
    """Return one case as plain data for JSON; ``cycles`` null and a reason if it never ends or is refused."""
    ended = outcome.cycles not in (None, NEVER_ENDS)
    return {
        "case": recording.case,
        "commands": len(recording.program),
        "cycles": outcome.cycles if ended else None,
        "sections": list(outcome.sections),
        "counters": dict(outcome.counters),
        "causes": dict(outcome.causes),
        **({} if ended else {"never_ends": outcome.cycles == NEVER_ENDS, "reason": outcome.reason}),
    }


def line(recording: Recording, outcome: TaskOutcome) -> str:
    """Return one case as a printable line."""
    if outcome.cycles is None:
        return f"{recording.case}: refused: {outcome.reason}"
    if outcome.cycles == NEVER_ENDS:
        return f"{recording.case}: never ends\n{outcome.reason}"
    sections = f" (sections {'; '.join(map(str, outcome.sections))})" if len(outcome.sections) > 1 else ""
    return f"{recording.case}: {outcome.cycles:,} cycles, {len(recording.program):,} commands{sections}"


def timeline_csv(case: str, outcome: TaskOutcome) -> str:
    """Return the commands' times as CSV text in the format of the measured timelines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TIMELINE_COLUMNS)
    for seq, command in enumerate(outcome.timeline if outcome.timeline is not None else ()):
        operands = [f"{int(command[name]) & 0xFFFF_FFFF_FFFF_FFFF:#x}" for name in ("rs1", "rs2")]
        times = [int(command[name]) for name in TIMELINE_COLUMNS[6:]]
        writer.writerow([case, seq, _QUEUES[int(command["queue"])], int(command["funct"]), *operands, *times])
    return text.getvalue()
