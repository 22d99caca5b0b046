"""Programs to simulate: one `RowTask` per distinct program on a machine, and its `TaskOutcome`.

Tasks are sent to worker processes and outcomes sent back, so both hold plain data only.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import CaratError, Hang
from sim.isa.commands import Program
from sim.lower import lower
from sim.lower.encoder import operators
from sim.run.session import Session, Start
from sim.validate.recordings import with_gap

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock, Timing

NEVER_ENDS = -1
"""Cycles of a program that never ends, as in the measured tables."""

_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that are reported as the row's result, so that all other rows are still simulated."""


@dataclass(frozen=True)
class EncoderTask:
    """A whole encoder layer as one program, a fence after each operator (sizes in elements)."""

    seq: int
    hidden: int
    heads: int
    ffn: int


class MachineProgram(ABC):
    """The program of a row of a whole machine, as plain data (`sim.validate.soc`)."""

    @abstractmethod
    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Run it on ``hw``. Raises InputError and Hang."""


@dataclass(frozen=True)
class RowTask:
    """One program on one machine.

    ``source``: a recorded program, `EncoderTask`, or a work item for the lowering. ``gap_cycles``: earliest offer of a
    command after the acceptance of the previous one. ``phase``: hardware loop slot that comes first.
    ``cost``: estimated cycles, only for scheduling. ``written_rows``: accumulator
    rows that hold data of earlier programs.
    """

    hw: Hardware
    source: Any
    phase: int = 0
    repeats: int = 1
    gap_cycles: int = 1
    timeline: bool = False
    cost: int = 0
    written_rows: tuple[int, ...] = ()

    @property
    def key(self) -> Hashable:
        """Key that is equal for tasks with equal outcomes."""
        source = self.source
        if isinstance(source, np.ndarray):
            source = hashlib.sha256(source.tobytes()).hexdigest()
        return (self.hw.key, source, self.phase, self.repeats, self.gap_cycles, self.timeline, self.written_rows)

    @property
    def way(self) -> str:
        """``recorded`` if the commands come from a file, else ``lowered``."""
        return "recorded" if isinstance(self.source, np.ndarray) else "lowered"


@dataclass(frozen=True)
class TaskOutcome:
    """Result of a task: cycles (NEVER_ENDS, or None with a reason), counters, sections."""

    cycles: int | None
    counters: Mapping[str, int] = field(default_factory=dict)
    sections: tuple[int, ...] = ()
    causes: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    parts: Mapping[str, TaskOutcome] = field(default_factory=dict)
    timeline: Any = None
    next_phase: int = 0


def simulate(task: RowTask, clock: Clock = "periodic") -> TaskOutcome:
    """Lower or load the task's program, run it and return the outcome; an error becomes its reason."""
    try:
        if isinstance(task.source, MachineProgram):
            return task.source.outcome(task.hw, clock)
        if isinstance(task.source, EncoderTask):
            return _encoder(task, task.source, clock)
        return outcome_of(_session(task, clock).advance(program_of(task), timeline=task.timeline))
    except Hang as hang:
        return TaskOutcome(NEVER_ENDS, reason=str(hang))
    except CaratError as error:
        return TaskOutcome(None, reason=str(error))
    except _BROKEN as error:
        return TaskOutcome(None, reason=f"internal error: {type(error).__name__}: {error}")


def program_of(task: RowTask) -> Program:
    """Return the commands of a task: recorded, lowered, or all operators of an encoder layer in order."""
    if isinstance(task.source, EncoderTask):
        program = np.concatenate([part for _, part in _operators(task, task.source)])
    elif isinstance(task.source, np.ndarray):
        program = task.source
    else:
        program = lower(task.source, task.hw)
    return with_gap(np.concatenate([program] * task.repeats), task.gap_cycles)


def outcome_of(timed: Timing) -> TaskOutcome:
    """Return the outcome of one program."""
    return TaskOutcome(
        cycles=int(timed.cycles),
        counters={name: int(count) for name, count in timed.counters.items()},
        sections=tuple(int(part) for part in timed.sections),
        causes={name: int(count) for name, count in timed.causes.items()},
        timeline=timed.timeline,
        next_phase=int(timed.phase),
    )


def _operators(task: RowTask, sizes: EncoderTask) -> Iterator[tuple[str, Program]]:
    for name, work in operators(sizes.seq, sizes.hidden, sizes.heads, sizes.ffn, task.hw):
        yield name, with_gap(lower(work, task.hw), task.gap_cycles)


def _session(task: RowTask, clock: Clock) -> Session:
    start = replace(Start.reset(task.hw), phase=task.phase, written_rows=task.written_rows)
    return Session(task.hw, clock, start=start)


def _encoder(task: RowTask, sizes: EncoderTask, clock: Clock) -> TaskOutcome:
    """Run the layer as one program, whose sections are the operators' cycles.

    Counters come from runs of each operator alone.
    """
    operators = list(_operators(task, sizes))
    whole = _session(task, clock).advance(np.concatenate([program for _, program in operators]))
    session = _session(task, clock)
    alone: dict[Hashable, Timing] = {}
    parts = {}
    for (name, program), cycles in zip(operators, whole.sections, strict=True):
        key = session.key(program)
        if key is None or key not in alone:
            alone[key] = session.time(program)
        session.follow(alone[key])
        parts[name] = replace(outcome_of(alone[key]), cycles=int(cycles))
    return replace(outcome_of(whole), parts=parts)
