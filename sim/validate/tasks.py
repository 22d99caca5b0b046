"""What must be simulated: one `Task` per distinct program on a machine, and its `Outcome`.

Tasks travel to worker processes and outcomes travel back, so both hold plain data only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import CaratError, Hang
from sim.isa.commands import Program
from sim.validate.recordings import with_gap

if TYPE_CHECKING:
    from sim.hardware import Hardware

NEVER_ENDS = -1
"""Cycles of a program that never ends, as the measured tables spell it."""

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
"""What one row may raise without hiding the errors of all other rows; anything else is not ours to hold."""


@dataclass(frozen=True)
class EncoderSizes:
    """A whole encoder layer as one program, a fence after each operator (sizes in elements)."""

    seq: int
    hidden: int
    heads: int
    ffn: int


@dataclass(frozen=True)
class Task:
    """One program on one machine.

    ``source``: a recorded program, `EncoderSizes`, or a work item for the lowering. ``gap_cycles``: earliest
    offer of a command after the acceptance of the one before. ``phase``: hardware loop slot that comes first.
    ``cost``: a guess of the simulation's length in cycles, only for scheduling. ``written_rows``: accumulator
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
        """Equal for tasks that must give equal outcomes."""
        source = self.source
        if isinstance(source, np.ndarray):
            source = hashlib.sha256(source.tobytes()).hexdigest()
        return (self.hw.key, source, self.phase, self.repeats, self.gap_cycles, self.timeline, self.written_rows)

    @property
    def way(self) -> str:
        """``recorded`` if the commands come from a file, else ``lowered``."""
        return "recorded" if isinstance(self.source, np.ndarray) else "lowered"


@dataclass(frozen=True)
class Outcome:
    """What the simulator says: cycles (NEVER_ENDS, or None with a reason), counters, sections."""

    cycles: int | None
    counters: Mapping[str, int] = field(default_factory=dict)
    sections: tuple[int, ...] = ()
    causes: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    parts: Mapping[str, Outcome] = field(default_factory=dict)
    timeline: Any = None
    next_phase: int = 0


def simulate(task: Task, clock: str = "periodic") -> Outcome:
    """Lower or take the task's program, run it, and say what came of it; errors become a reason."""
    try:
        if isinstance(task.source, EncoderSizes):
            return _encoder(task, task.source, clock)
        return _run(task.hw, program_of(task), task.phase, clock, task.timeline, task.written_rows)
    except Hang as hang:
        return Outcome(NEVER_ENDS, reason=str(hang))
    except CaratError as error:
        return Outcome(None, reason=str(error))
    except _BROKEN as error:
        return Outcome(None, reason=f"internal error: {type(error).__name__}: {error}")


def program_of(task: Task) -> Program:
    """Return the commands of a task: recorded, lowered, or all operators of an encoder layer in order."""
    if isinstance(task.source, EncoderSizes):
        program = np.concatenate([part for _, part in _operators(task, task.source)])
    elif isinstance(task.source, np.ndarray):
        program = task.source
    else:
        from sim.lower import lower

        program = lower(task.source, task.hw)
    return with_gap(np.concatenate([program] * task.repeats), task.gap_cycles)


def core() -> Any:
    """Return the module of the timing core, imported (and compiled) when first needed."""
    from sim.timing import timer

    return timer


def _run(
    hw: Hardware,
    program: Program,
    phase: int,
    clock: str,
    timeline: bool = False,
    written_rows: tuple[int, ...] = (),
) -> Outcome:
    result = core().run(program, hw, clock=clock, timeline=timeline, phase=phase, written_rows=written_rows)
    return Outcome(
        cycles=int(result.cycles),
        counters={name: int(count) for name, count in result.counters.items()},
        sections=tuple(int(part) for part in result.sections),
        causes={name: int(count) for name, count in result.causes.items()},
        timeline=result.timeline,
        next_phase=int(result.phase),
    )


def _operators(task: Task, sizes: EncoderSizes) -> Iterator[tuple[str, Program]]:
    from sim.lower import lower
    from sim.lower.encoder import operators

    for name, work in operators(sizes.seq, sizes.hidden, sizes.heads, sizes.ffn, task.hw):
        yield name, with_gap(lower(work, task.hw), task.gap_cycles)


def _encoder(task: Task, sizes: EncoderSizes, clock: str) -> Outcome:
    """Run the layer as one program: its sections are the operators' cycles; counters need each alone."""
    operators = list(_operators(task, sizes))
    whole = _run(task.hw, np.concatenate([program for _, program in operators]), task.phase, clock)
    alone: dict[tuple[bytes, int], Outcome] = {}
    parts = {}
    phase = task.phase
    for (name, program), cycles in zip(operators, whole.sections, strict=True):
        key = (program.tobytes(), phase)
        if key not in alone:
            alone[key] = _run(task.hw, program, phase, clock)
        parts[name] = Outcome(cycles, alone[key].counters, causes=alone[key].causes)
        phase = alone[key].next_phase
    return Outcome(whole.cycles, whole.counters, whole.sections, whole.causes, parts=parts)
