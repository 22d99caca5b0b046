"""The loop: every unit once per visited cycle, downstream first; then the next cycle, or the earliest wake.

Phases of a visited cycle. Their order is part of the semantics and the same for both clocks:

 1 idle check: at a fence, or the end of the program, the busy wire is sampled
 2 result rows leave the mesh
 3 loaded rows at the write ports of the local memories
 4 beat merger, acknowledges
 5 answers of the memory at the port (5a the L2)
 6 requests on the bus
 7 store path behind the SRAM
 8 execute controller
 9 SRAM reads of the stores
10 store controller
11 DMA reader
12 load controller
13 reservation station
14 loop unrollers: matmul, convolution
15 front end: the next command of the CPU

Downstream first means: a place freed in this cycle can be filled in this cycle only if the hardware's queue allows
that; plain queues store the cycle of the pop (`pop_t`) and compare the count at the start of the cycle.

The leaping clock skips groups of units that cannot act (leap/guards.py) and the cycles in which none can. The reference
clock (`m.full`) steps all units in every cycle.
"""

from collections.abc import Callable
from typing import Any

from sim.core import causes
from sim.core.events import Event
from sim.core.jit import entry, inlined, njit
from sim.core.leap import burst, execute_run, guards
from sim.core.params import DRAM, NEVER
from sim.core.units import (
    accumulator,
    execute,
    frontend,
    l2,
    load,
    loop_conv,
    loop_matmul,
    memory,
    mesh,
    mvin,
    mvout,
    port,
    reader,
    reservation,
    store,
    tlb,
    writer,
)
from sim.core.units.execute import state as execute_state
from sim.core.units.memory import tile

E_VISITED = int(Event.VISITED_CYCLES)
E_EX = int(Event.COMMANDS_EX)

DONE = 0
HANG = 1
STOPPED = 2
PAUSED = 3
OVERRUN = 4

PAUSE_VISITS = 1 << 22
"""Visited cycles, about half a second, after which `run` returns, so that Python can handle an interrupt."""


def drive(*arguments: Any, between: Callable[[], None] | None = None) -> int:
    """Call `run` with the arguments until it is done, hangs or stops; ``between`` is called at pauses and may raise."""
    while (status := run(*arguments)) == PAUSED:
        if between is not None:
            between()
    return int(status)


@entry
def run(machine, program, sections, times, lines, channels, uses, leap):
    """Run a program to its last idle cycle, to one of the stops in `m.front`, or to a pause; return the status.

    A program not idle by ``front.limit_t`` is stopped there (OVERRUN). Results are in the arrays. After a pause, call
    again with the same arguments. ``sections``: idle cycle of each section (fence). ``times``: timeline, ``uses``: log
    of the TLB; an empty array switches recording off. ``lines``: the L2's tags (l2/state.py), empty without an L2.
    ``channels``: those of a DRAM (dram/state.py), none with another memory. ``leap``: 0 for the reference clock.
    """
    m = machine[0]
    m.station.logging = 1 if times.shape[0] > 0 else 0
    m.tlb.logging = 1 if uses.shape[0] > 0 else 0
    m.full = 0 if leap else 1
    m.burst.enabled = 1 if leap and burst.suits(m) else 0
    used = m.tlb.logged
    now = m.front.start_t
    m.front.start_t = 0
    frontend.fetch(m, program)
    guards.open_all(m)
    visits = 0
    while True:
        # 1 idle check
        if frontend.fell_idle(now, m):
            frontend.resume(now, m, program, sections)
            if m.front.left == 0:
                m.count[E_VISITED] += visits + 1
                execute_run.halt(now, m)
                memory.settle(now, m, channels)
                tlb.count(m)
                return DONE
            m.guard.commands_t = now
        wake = visit(now, m, lines, channels)
        visits += 1
        if m.front.fetch:
            frontend.fetch(m, program)
        if m.station.log_n:
            execute_run.carry_out(now + 1, m)
            accumulator.arrive(now, m)
            reservation.record(now, m, times)
        if m.tlb.log_n:
            used = tlb.record(m.tlb, uses, used)
        if (leap and wake >= NEVER) or m.execute.illegal or now - progressed(m) > m.p.stall_limit:
            m.count[E_VISITED] += visits
            execute_run.halt(now + 1, m)
            if not m.execute.illegal:
                burst.settle(now + m.p.stall_limit, m)
            return HANG
        until = wake if leap else now + 1
        causes.settle(now, m, until - now)
        now = until
        stops = m.front.place >= m.front.stop or m.count[E_EX] >= m.front.stop_ex
        if stops or visits >= PAUSE_VISITS or now > m.front.limit_t:
            m.count[E_VISITED] += visits
            execute_run.halt(now, m)
            m.tlb.logged = used
            if stops:
                m.front.stop_t = now
                return STOPPED
            m.front.start_t = now
            return OVERRUN if now > m.front.limit_t else PAUSED


@njit
def progressed(m):
    """Last cycle with progress: a command or beat moved, or the CPU accepted a command and waits for the next one."""
    return max(m.station.progress_t, m.front.offer_t)


@inlined
def visit(now, m, lines, channels):
    """Run phases 2 to 15 of one cycle. Returns the wake: the next cycle in which anything could change."""
    g = m.guard
    burst.settle(now, m)
    data = guards.data(now, m)
    loads = data or guards.loads(now, m)
    if guards.results(now, m):
        g.results_t = _results(now, m)  # 2
    if data:
        # arrays are passed only if the machine has them: each call with one counts its references, 20 ns
        if m.p.memory_model == DRAM:
            memory.catch_up(now, m, channels)
        g.data_t = _loaded(now, m)  # 3 to 5
        if m.p.l2_sets:
            g.data_t = min(g.data_t, l2.step(now, m, lines, channels))  # 5a
        g.data_t = min(g.data_t, min(port.step_requests(now, m), mvout.step(now, m)))  # 6, 7
    wake = _execute(now, m)  # 8
    if data:
        g.data_t = min(g.data_t, mvout.step_dispatch(now, m))  # 9
        g.data_t = min(g.data_t, store.step(now, m))  # 10
    if loads:
        g.loads_t = min(reader.step(now, m), load.step(now, m))  # 11, 12
        g.data_t = min(g.data_t, memory.next_answer(now, m))
    if guards.commands(now, m):
        _commands(now, m)  # 13 to 15
    if loads:
        tlb.settle(now, m.tlb)
    wake = min(min(wake, g.results_t), min(g.data_t, g.loads_t))
    return min(min(wake, g.commands_t), burst.wake(now, m))


@njit
def _results(now, m):
    """Phase 2. The leaping clock announces the rows that follow, one a cycle."""
    mesh.leave(now, m)
    wake = mesh.step_out(now, m)
    return wake if m.full else max(wake, mesh.announce(now, m))


@njit
def _loaded(now, m):
    """Phases 3 to 5: the path of loaded rows, from the bank back to the memory."""
    wake = mvin.step_write(now, m)  # 3
    if m.p.acc_single:
        wake = min(wake, accumulator.settle(now, m))
    wake = min(wake, mvin.step_merge(now, m))  # 4
    wake = min(wake, writer.acknowledge(now, m))
    wake = min(wake, port.step_delivery(now, m))  # 5
    burst.begin(now, m)
    return min(wake, port.step_answers(now, m))


@njit
def _execute(now, m):
    """Phase 8. During a run of rows only the transpose unroller works."""
    g = m.guard
    if not guards.execute(now, m):
        return now + 1 if execute_state.unroll(now, m) else g.execute_t
    execute_run.carry_out(now, m)
    g.execute_t = execute.step(now, m)
    m.execute.run_n = 0
    if not m.full:
        g.execute_t = max(g.execute_t, execute_run.begin(now, m))
    return now + 1 if execute_state.unrolls(now, m) or m.mesh.tags_pop_t == now else g.execute_t


@njit
def _commands(now, m):
    """Phases 13 to 15. A command for a controller makes its group act in the next cycle."""
    g = m.guard
    handed = reservation.handed_over(m)
    wake = reservation.step(now, m)  # 13
    wake = min(wake, loop_matmul.step(now, m))  # 14
    if not m.full and wake <= now + 1 and not loop_conv.busy(m) and not reservation.may_act(now, m):
        wake = NEVER
    wake = min(wake, loop_conv.step(now, m))
    g.commands_t = min(wake, frontend.step(now, m))  # 15
    if reservation.handed_over(m) != handed:
        g.data_t = now + 1


@njit
def memory_side(now, m, lines, channels):
    """The phases of the memory side in a cycle between two programs."""
    port.step_delivery(now, m)
    memory.catch_up(now, m, channels)
    port.step_answers(now, m)
    if m.p.l2_sets:
        l2.step(now, m, lines, channels)
    port.step_requests(now, m)
    if not writer.at_rest(m):
        writer.step(now, m)
        tlb.settle(now, m.tlb)


@njit
def at_rest(m):
    """True when no request is left on its way to the memory, or to the L2: neither in the writer nor in a buffer."""
    return writer.at_rest(m) and port.at_rest(m) and m.tile.request.n == 0


@entry
def rest(machine, lines, channels):
    """The cycles between two programs, in which only the memory side works; its times then count from the next program.

    One cycle, and those in which beats are still sent of a Put that the L2 acknowledged when its first beat came.
    """
    m = machine[0]
    now = m.front.idle_t
    memory_side(now, m, lines, channels)
    while not at_rest(m):
        now += 1
        memory_side(now, m, lines, channels)
    port.rebase(m, now + 1)
    tile.rebase(m)
    memory.rebase(m, now + 1)
    tlb.rebase(m.tlb, now + 1)
