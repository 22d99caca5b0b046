"""Prefetch of timings: the distinct programs of a run are simulated on all cores, ahead of their turn.

Without an L2 a program's timing depends on the program before it through the loop slot alone, and the slot follows from
the lowered programs (`session.next_phase`) in negligible time. A wrong prediction wastes work and changes no result:
the run looks each timing up by its actual start. Threads suffice, as the core releases the interpreter lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.base.workers import cores
from sim.run.session import Session, Start, lowered, next_phase, timed
from sim.timing import timer

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.isa.commands import Program
    from sim.lower import Work
    from sim.plan.step import Step


class Prefetch:
    """Times the steps of a session ahead of their turn on ``threads`` threads (None: one per core); a context.

    With one thread nothing is prefetched. On exit, programs that have not begun are dropped and running ones stopped.
    """

    def __init__(self, session: Session, threads: int | None = None):
        self.session = session
        threads = cores() if threads is None else threads
        self._abandoned = threading.Event()
        self._pool = None
        if threads > 1:
            self._pool = ThreadPoolExecutor(threads, initializer=timer.heed, initargs=(self._abandoned,))

    def begin(self, steps: Iterable[Step]) -> None:
        """Lower the distinct items of ``steps`` in order and hand them to the threads.

        Stops at a refused item, which the run itself refuses after the steps before it. Behind an L2 no
        program can be timed before those in front of it.
        """
        session = self.session
        if self._pool is None or session.start.l2 is not None:
            return
        phase, clock, memo = session.start.phase, session.clock, session.memo
        programs: dict[tuple[Work, Hardware], Program] = {}
        begun: dict[
            tuple[int, int, int], int
        ] = {}  # item and machine (equal ones of a plan are one object), slots before and after
        for step in steps:
            hw = step.machine or session.hw
            for item in step.equivalent:
                at = id(item), id(hw), phase
                if at in begun:
                    phase = begun[at]
                    continue
                known = memo.known(item, hw, phase, clock)
                if known is not None and not isinstance(known, Future):
                    phase = begun[at] = known.phase
                    continue
                # a sparse product is lowered by its thread, if its timing is not on disk; its commands hold no loop
                if (item, hw) not in programs and not item.PACED:
                    try:
                        programs[item, hw] = lowered(item, hw)
                    except InputError:
                        return
                program = programs.get((item, hw))
                if known is None:
                    start = Start(phase)
                    future = self._pool.submit(timed, step.name, item, hw, clock, start, memo.disk, program)
                    memo.begin(item, hw, phase, clock, future)
                phase = begun[at] = phase if program is None else next_phase(phase, program)

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._abandoned.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self.session.memo.forget_unfinished()
