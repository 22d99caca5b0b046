"""The loop over several cores on one memory: each core's own cycle (engine.visit), then the crossbar and the memory.

A core is a machine record whose memory is its tile's buffer (units/memory/tile.py); the memory's side is one more
record (units/crossbar.py). In a cycle all cores are stepped first, in any order, as beats reach other cores only
through the crossbar; the crossbar is stepped last. The reference clock steps all of them in every cycle. The leaping
clock advances to the earliest wake, and steps only the cores with this wake; the crossbar wakes a core when it gives it
an answer or takes a request from it. There is no periodic clock: a core's time depends on the other cores.

A core whose program is over still sends the beats of a Put that an L2 acknowledged when its first beat came, as a core
alone does between two programs (engine.rest): the run ends when no core has any left.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from sim.core import causes
from sim.core.engine import DONE, E_VISITED, HANG, PAUSE_VISITS, PAUSED, at_rest, memory_side, progressed, visit
from sim.core.jit import entry, inlined
from sim.core.leap import execute_run
from sim.core.params import NEVER
from sim.core.units import accumulator, crossbar, frontend, memory, reservation, tlb


def drive(*arguments: Any, between: Callable[[], None] | None = None) -> int:
    """Call `run` with the arguments until it is done or hangs; ``between`` is called at pauses and may raise."""
    while (status := run(*arguments)) == PAUSED:
        if between is not None:
            between()
    return int(status)


def begin(cores: np.ndarray, starts: list[int], full: bool) -> None:
    """Let cores begin their programs in the given cycles. NEVER: the core has no program and stays idle.

    No request of an earlier program is in flight.
    """
    for m, start in zip(cores, starts, strict=True):
        m.full = int(full)
        m.tile.done = 2 * int(start >= NEVER)
        m.tile.start_t = m.tile.seen_t = m.tile.wake_t = m.front.offer_t = start if start < NEVER else 0
        m.front.fetch = 1
        m.station.progress_t = m.tile.start_t


@entry
def run(cores, sides, work, sections, times, lines, channels, leap):
    """Run every core's program to its end, and all beats to the memory, or to a pause; return the status.

    The last idle cycle of the last core is left in ``front.idle_t`` of the memory's side. All times in the state
    that the next program finds then count from its first cycle, the next one.

    ``cores``: machine records, put in order by `begin`; ``sides``: the memory's side, one record. ``work``: all
    programs concatenated, and their bounds: core i has commands bounds[i] to bounds[i + 1]. ``sections``,
    ``times``: as those of `engine.run`, a row for each core. ``lines``, ``channels``: those of the memory's side.
    """
    programs, bounds = work
    side = sides[0]
    x = side.crossbar
    now = x.now
    visits = 0
    for i in range(cores.shape[0]):
        cores[i].station.logging = 1 if times.shape[1] > 0 else 0
    while True:
        left = 0
        stirs = not leap or x.wake_t <= now
        for i in range(cores.shape[0]):
            m = cores[i]
            if m.tile.done < 2 and now >= m.tile.start_t and not (leap and m.tile.wake_t > now):
                if m.tile.done == 0:
                    _step(now, m, programs[bounds[i] : bounds[i + 1]], sections[i], times[i], lines, channels)
                if m.tile.done == 1:
                    memory_side(now, m, lines, channels)
                    m.tile.wake_t = now + 1
                stirs = stirs or crossbar.stirred(now, m.tile)
            left += m.tile.done == 0
        if left == 0 and side.front.idle_t < 0:
            memory.settle(now, side, channels)
            side.front.idle_t = now
        if stirs:
            x.wake_t = crossbar.step(now, cores, side, lines, channels)
        if _all_sent(cores):
            _hand_on(now + 1, cores, side)
            return DONE
        visits += 1
        side.count[E_VISITED] += 1
        wake = x.wake_t
        progress = side.station.progress_t
        limit = side.p.stall_limit
        lost = False
        for i in range(cores.shape[0]):
            m = cores[i]
            if m.tile.done < 2:
                wake = min(wake, m.tile.wake_t)
                progress = max(progress, progressed(m))
                limit = max(limit, m.p.stall_limit)
                lost = lost or m.execute.illegal != 0
        if (leap and wake >= NEVER) or lost or now - progress > limit:
            for i in range(cores.shape[0]):
                execute_run.halt(now + 1, cores[i])
            return HANG
        now = wake if leap else now + 1
        if visits >= PAUSE_VISITS:
            x.now = now
            return PAUSED


@inlined
def _all_sent(cores):
    """Note which cores have no request in flight behind their programs; return whether no core has any."""
    sending = 0
    for i in range(cores.shape[0]):
        m = cores[i]
        if m.tile.done == 1 and at_rest(m):
            m.tile.done = 2
        sending += m.tile.done < 2
    return sending == 0


@inlined
def _hand_on(start, cores, side):
    """Let the times of all that passes to the next program count from its first cycle."""
    side.crossbar.now = 0
    side.crossbar.wake_t = 0
    memory.rebase(side, start)
    for i in range(cores.shape[0]):
        tlb.rebase(cores[i].tlb, start)


@inlined
def _step(now, m, program, sections, times, lines, channels):
    """One cycle of a core: idle check, phases 2 to 15, and the accounting of `engine.run`."""
    causes.settle(m.tile.seen_t, m, now - m.tile.seen_t)
    m.tile.seen_t = now
    if m.front.fetch:
        frontend.fetch(m, program)
    if frontend.fell_idle(now, m):
        frontend.resume(now, m, program, sections)
        if m.front.left == 0:
            m.tile.done = 1
            execute_run.halt(now, m)
            tlb.count(m)
        m.guard.commands_t = now
    m.count[E_VISITED] += 1
    if m.tile.done == 0:
        m.tile.wake_t = visit(now, m, lines, channels)
        if m.front.fetch:
            frontend.fetch(m, program)
        if m.station.log_n:
            execute_run.carry_out(now + 1, m)
            accumulator.arrive(now, m)
            reservation.record(now, m, times)
