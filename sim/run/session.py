"""State of the machine between programs, kept in this one place.

A fence ends each program and drains the array. Five items of state are left (`Start`): the slot of the loop unroller
that comes
next, the contents of an L2, the word mode that the array is set to, the pieces of library code that have run, and
whether a program has run at all: the CPU offers the command after a fence one cycle later. A run, its trace, its
timeline and the executor all go through a `Session`, so they agree.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from sim.base.errors import Hang, InputError
from sim.cpu import cost
from sim.isa.commands import Funct, Program
from sim.lower import Work, counted, lower
from sim.timing import timer
from sim.timing.contents import L2Contents
from sim.timing.memo import Memo

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.hardware.machine import Words
    from sim.plan.step import Step
    from sim.timing.disk import Timings
    from sim.timing.timing import Clock, Timing

RESTART_CYCLES = 1
"""After a fence the next command is offered one cycle after the first idle cycle; the measured layers
(tests/oracle/encoder.csv) show it as one more cycle in every operator but the first."""

LOOP_SLOTS = 2
"""Loops that the matmul unroller holds (LoopMatmul.scala, concurrent_loops)."""


@dataclass(frozen=True)
class Start:
    """State at the start of a program: ``phase``: next loop slot; ``words``: word mode of the array, None = as
    built; ``written_rows``: accumulator rows that hold earlier data (a run assumes none; only the normaliser depends on
    it); ``ran``: pieces of library code that earlier calls have run (`sim.cpu.calls`).
    """

    phase: int = 0
    is_first: bool = True
    words: Words | None = None
    l2: L2Contents | None = None
    written_rows: tuple[int, ...] = ()
    ran: frozenset[str] = frozenset()

    @classmethod
    def reset(cls, hw: Hardware) -> Start:
        """Return the state of ``hw`` before the first program; an L2, if there is one, is empty."""
        return cls(l2=L2Contents.empty(hw) if hw.remembers else None)


class Session:
    """Programs of one run, one after the other, on ``hw``; ``start``: state before the first, None = after reset."""

    def __init__(
        self, hw: Hardware, clock: Clock = "periodic", memo: Memo | None = None, start: Start | None = None
    ) -> None:
        self.hw, self.clock = hw, clock
        self.memo = memo if memo is not None else Memo()
        self.start = start if start is not None else Start.reset(hw)
        self.operator: str | None = None
        self.machine = hw

    def begin(self, operator: str, machine: Hardware | None = None) -> int:
        """Begin an operator (``machine``: the machine at its word sizes, None = unchanged).

        Returns the cycles of the command that sets another word mode, 0 if it is set already: the fence before has
        drained the array.
        """
        self.operator, self.machine = operator, machine or self.hw
        if self.machine.words == self.start.words:
            return 0
        self.start = replace(self.start, words=self.machine.words)
        return self.hw.cpu.command_cycles

    def words_of(self, step: Step) -> Words | None:
        """Return the word mode that an operator needs."""
        return (step.machine or self.hw).words

    @property
    def restart_cycles(self) -> int:
        """Cycles between the last idle cycle of one program and the first cycle of the next."""
        return 0 if self.start.is_first else RESTART_CYCLES

    def call(self, item: Work) -> int:
        """Return the CPU's cycles around the call of the next item, and mark its code as run."""
        around = cost(item, self.machine, self.start.ran, self.operator)
        if around.paths - self.start.ran:
            self.start = replace(self.start, ran=self.start.ran | around.paths)
        return around.cycles

    def key(self, item: Work | Program) -> Hashable | None:
        """Return the key of the timing of ``item`` from this state.

        None behind an L2, whose contents depend on all earlier programs.
        """
        content = item.tobytes() if isinstance(item, np.ndarray) else item
        return None if self.start.l2 is not None else (content, self.start.phase, self.machine.words)

    def advance(self, item: Work | Program, *, timeline: bool = False) -> Timing:
        """Run the next program, a work item or commands, and return its timing.

        ``timeline``: record the commands' times; such a program is simulated even if its timing is known.
        Raises InputError and Hang, naming operator and machine.
        """
        timed = self.time(item, timeline=timeline)
        self.follow(timed)
        return timed

    def follow(self, timed: Timing) -> None:
        """Advance past a program whose timing from this start is known."""
        self.start = replace(self.start, phase=timed.phase, l2=timed.l2, is_first=False)

    def time(
        self,
        item: Work | Program,
        machine: Hardware | None = None,
        program: Program | None = None,
        *,
        timeline: bool = False,
    ) -> Timing:
        """Return the timing of an item that starts here; the session does not advance.

        ``machine``: another machine that runs ``program``, the item as lowered for this machine.
        """
        hw, start, disk = machine or self.machine, self.start, self.memo.disk
        run = partial(timed, self.operator, item, hw, self.clock, start, disk, program, timeline)
        if timeline or program is not None or start.l2 is not None or isinstance(item, np.ndarray):
            return run()
        return self.memo.timing(item, hw, start.phase, self.clock, run)


def timed(
    operator: str | None,
    item: Work | Program,
    hw: Hardware,
    clock: Clock,
    start: Start,
    disk: Timings | None = None,
    program: Program | None = None,
    timeline: bool = False,
) -> Timing:
    """Time an item of an operator, or read its timing from ``disk``; ``program``: the lowered item, if available.

    Behind an L2, and with a timeline, the disk is not read. Raises InputError and Hang, naming operator (None: bare
    commands) and machine.
    """
    where = f"operator {operator} on {hw.name}: " if operator is not None else ""
    if timeline or start.l2 is not None or start.written_rows:
        disk = None
    if disk is not None and program is None and not isinstance(item, np.ndarray) and item.PACED and not hw.remembers:
        return _timed_by_item(operator, item, hw, clock, start, disk)
    try:
        commands = item if isinstance(item, np.ndarray) else lowered(item, hw) if program is None else program
        if disk is None:
            found = timer.run(
                commands,
                hw,
                clock=clock,
                timeline=timeline,
                phase=start.phase,
                written_rows=start.written_rows,
                l2=start.l2,
            )
        else:
            found = disk.run(commands, hw, clock=clock, phase=start.phase)
        counters = found.counters if isinstance(item, np.ndarray) else counted(item, commands, hw, found.counters)
        return found if counters == found.counters else replace(found, counters=counters)
    except Hang as hang:
        raise Hang(f"{where}{hang}") from hang
    except InputError as error:
        raise InputError([f"{where}{problem}" for problem in error.problems]) from error


def _timed_by_item(operator: str | None, item: Work, hw: Hardware, clock: Clock, start: Start, disk: Timings) -> Timing:
    """Time a sparse item, or read its timing from disk by the item itself: lowering takes as long as timing."""
    known = disk.of_item(item, hw, clock, start.phase)
    if known is None:
        known = timed(operator, item, hw, clock, start)
        disk.keep_item(item, hw, clock, start.phase, known)
    return known


def lowered(item: Work, hw: Hardware) -> Program:
    """Return the program of an item (read-only); dense items are lowered once for all speeds of the memory."""
    return lower(item, hw) if item.PACED else _dense(item, hw.unpaced)


@lru_cache(maxsize=32)  # the operators of a run or two
def _dense(item: Work, hw: Hardware) -> Program:
    return lower(item, hw)


def next_phase(phase: int, program: Program) -> int:
    """Return the loop slot after a program, without running it: each loop takes one slot."""
    return int(phase + (program["funct"] == Funct.LOOP_WS).sum()) % LOOP_SLOTS
