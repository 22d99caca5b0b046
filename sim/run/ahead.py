"""The distinct programs of a run on all cores: operators are timed before their turn comes.

A program's timing depends on the one before it only in the loop slot that comes next, and every hardware matmul
loop moves on by one slot: the start of each program is foretold from the lowered programs, which takes next to
no time, and threads time them (the core holds no interpreter lock). A start foretold wrongly would cost time,
never a result: whoever takes the steps in order asks by the true start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from sim.base.errors import Hang, InputError
from sim.isa.commands import Funct, Program
from sim.lower import Conv, Matmul, Norm, ResidualAdd, Work, lower
from sim.lower.sparse.works import counted
from sim.timing import timer

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.planner import Step
    from sim.timing.memo import Memo
    from sim.timing.timer import Clock, L2Contents, Timing

LOOP_SLOTS = 2
"""Loops that the matmul unroller holds (LoopMatmul.scala, concurrent_loops)."""


DENSE = (Matmul, ResidualAdd, Norm, Conv)
"""Items whose lowering does not weigh what the memory takes for its answers."""


def lowered(item: Work, hw: Hardware) -> Program:
    """Return the program of an item, not to be written to; dense ones are lowered once for all speeds of the memory."""
    return _dense(item, hw.unpaced) if isinstance(item, DENSE) else lower(item, hw)


@lru_cache(maxsize=32)  # the operators of a run or two
def _dense(item: Work, hw: Hardware) -> Program:
    return lower(item, hw)


def time_item(
    op: str,
    item: Work,
    hw: Hardware,
    clock: Clock,
    memo: Memo,
    phase: int,
    program: Program | None = None,
    l2: L2Contents | None = None,
) -> Timing:
    """Time an item of operator ``op``, or find its timing on the memo's disk; ``program``: the item lowered, if it is.

    With ``l2``, what earlier items left there, the disk is not asked.

    Raises InputError and Hang, naming operator and machine.
    """
    try:
        program = lowered(item, hw) if program is None else program
        if memo.disk is None or l2 is not None:
            timed = timer.run(program, hw, clock=clock, phase=phase, l2=l2)
        else:
            timed = memo.disk.run(program, hw, clock=clock, phase=phase)
        counters = counted(item, program, hw, timed.counters)
        return timed if counters == timed.counters else replace(timed, counters=counters)
    except Hang as hang:
        raise Hang(f"operator {op} on {hw.name}: {hang}") from hang
    except InputError as error:
        raise InputError([f"operator {op} on {hw.name}: {problem}" for problem in error.problems]) from error


class Ahead:
    """Times the steps of one run ahead of their turn on ``threads`` threads (None: one per core); a context.

    One thread times nothing ahead. On leaving, what has not begun is dropped.
    """

    def __init__(self, hw: Hardware, clock: Clock, memo: Memo, threads: int | None = None):
        self.hw, self.clock, self.memo = hw, clock, memo
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = count if threads is None else threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def begin(self, steps: Iterable[Step]) -> None:
        """Lower the distinct items of ``steps`` in order and hand them to the threads.

        Stops at an item that is refused: the steps before it run, then it is refused in its turn.
        """
        if self._pool is None:
            return
        clock, memo, phase = self.clock, self.memo, 0
        programs: dict[tuple[Work, Hardware], tuple[Program, int]] = {}
        for step in steps:
            hw = step.machine or self.hw
            for item in step.alike:
                known = memo.known(item, hw, phase, clock)
                if known is not None and not isinstance(known, Future):
                    phase = known.phase
                    continue
                if (item, hw) not in programs:
                    try:
                        program = lowered(item, hw)
                    except InputError:
                        return
                    programs[item, hw] = program, int((program["funct"] == Funct.LOOP_WS).sum())
                program, loops = programs[item, hw]
                if known is None:
                    timed = self._pool.submit(time_item, step.name, item, hw, clock, memo, phase, program)
                    memo.begin(item, hw, phase, clock, timed)
                phase = (phase + loops) % LOOP_SLOTS

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self.memo.forget_unfinished()
