"""The loop: every unit once per visited cycle, downstream first; then on to the next cycle, or to the earliest wake.

Order within a cycle (it is part of the semantics; both clocks share it):
 1 idle check   2 result rows leave the mesh   3 loaded rows at the write ports   4 beat merger, acknowledges
 5 answers on the bus   (5a the L2)   6 requests on the bus   7 store path behind the SRAM   8 execute
 9 SRAM reads of the stores   10 store controller   11 DMA reader   12 load controller   13 reservation station
 14 loop unrollers   15 front end
The leaping clock leaves out the units that cannot act: those that move data (3 to 7, 9 to 12) unless one of them
woke, waits for a port or was handed a command, and of these all but the load path (11, 12) when it alone woke or got an
id back; those that handle commands (13 to 15) unless one of them woke or has news of a completion or a freed place. The
array is asked every time. The reference clock leaves out nothing, nor do the units then (`full`).

Downstream first means: a place freed in this cycle can be filled in this cycle only where the hardware's queue allows
that; plain queues remember the pop (`pop_t`) and judge by the count at the start of the cycle.
"""

import numpy as np

from sim.core import causes
from sim.core.events import Event
from sim.core.jit import entry
from sim.core.leap import burst, execute_run
from sim.core.params import NEVER
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
from sim.core.units.memory import fixed

E_VISITED = int(Event.VISITED_CYCLES)
E_EX = int(Event.COMMANDS_EX)

DONE = 0
HANG = 1
STOPPED = 2


@entry
def run(machine, program, sections, times, lines, channels, uses, leap):
    """Run a program to its last idle cycle or to one of the stops in `fe`; returns a status, all else is in the arrays.

    ``times``: timeline, ``uses``: log of the TLB; either may have no room, and then is not kept. ``lines``: the L2's
    tags (l2/state.py), empty without an L2. ``channels``: those of a DRAM (dram/state.py), none with another memory.
    """
    m = machine[0]
    m.rs.logging = 1 if times.shape[0] > 0 else 0
    m.tlb.logging = 1 if uses.shape[0] > 0 else 0
    m.full = 0 if leap else 1
    m.burst.on = 1 if leap and burst.suits(m) else 0
    used = 0
    frontend.fetch(m, program)
    now = np.int64(0)  # not a literal, for which every unit would be compiled once more
    out_t = 0
    ex_t = 0
    data_t = 0
    load_t = 0
    command_t = 0
    while True:
        m.count[E_VISITED] += 1
        if frontend.fell_idle(now, m):
            frontend.resume(now, m, program, sections)
            if m.fe.left == 0:
                execute_run.halt(now, m)
                memory.settle(now, m, channels)
                tlb.count(m)
                return DONE
            command_t = now
        burst.settle(now, m)
        # a port that was taken may be free now: whoever waits for one is asked every time
        data = not leap or data_t <= now or m.mv.busy or m.port.reader_out.n + m.p.acc_single > 0
        loads = data or load_t <= now or (m.rd.busy and m.rd.freed_t >= now - 1)
        if out_t <= now or m.mesh.run_n == 0:
            mesh.leave(now, m)
            out_t = mesh.step_out(now, m)
            if leap:
                out_t = max(out_t, mesh.announce(now, m))
        if data:
            data_t = mvin.step_write(now, m)
            if m.p.acc_single:
                data_t = min(data_t, accumulator.settle(now, m))
            data_t = min(data_t, mvin.step_merge(now, m))
            data_t = min(data_t, writer.acknowledge(now, m))
            data_t = min(data_t, port.step_delivery(now, m))
            burst.begin(now, m)
            data_t = min(data_t, port.step_answers(now, m, channels))
            if m.p.l2_sets:
                data_t = min(data_t, l2.step(now, m, lines, channels))
            data_t = min(data_t, port.step_requests(now, m))
            data_t = min(data_t, mvout.step(now, m))
        if ex_t <= now or m.ex.run_n == 0 or execute_run.disturbed(now, m):
            execute_run.carry_out(now, m)
            ex_t = execute.step(now, m)
            m.ex.run_n = 0
            if leap:
                ex_t = max(ex_t, execute_run.begin(now, m))
            wake = now + 1 if execute_state.unrolls(now, m) or m.mesh.t_pop_t == now else ex_t
        else:
            wake = now + 1 if execute_state.unroll(now, m) else ex_t
        if data:
            data_t = min(data_t, mvout.step_dispatch(now, m))
            data_t = min(data_t, store.step(now, m))
        if loads:
            load_t = min(reader.step(now, m), load.step(now, m))
            data_t = min(data_t, fixed.last_ready(now, m))
        if not leap or command_t <= now or reservation.has_news(now, m):
            handed = reservation.handed_over(m)
            command_t = reservation.step(now, m)
            command_t = min(command_t, loop_matmul.step(now, m))
            if leap and command_t <= now + 1 and not loop_conv.busy(m) and not reservation.may_act(now, m):
                command_t = np.int64(NEVER)
            command_t = min(command_t, loop_conv.step(now, m))
            command_t = min(command_t, frontend.step(now, m))
            if reservation.handed_over(m) != handed:
                data_t = now + 1
            if m.fe.fetch:
                frontend.fetch(m, program)
            if m.rs.log_n:
                execute_run.carry_out(now + 1, m)
                accumulator.arrive(now, m)
                reservation.record(now, m, times)
        if loads:
            tlb.settle(now, m.tlb)
            if m.tlb.log_n:
                used = tlb.record(m.tlb, uses, used)
        wake = min(min(min(wake, out_t), min(min(data_t, load_t), command_t)), burst.wake(now, m))
        if (leap and wake >= NEVER) or m.ex.illegal or now - m.rs.progress_t > m.p.stall_limit:
            execute_run.halt(now + 1, m)
            if not m.ex.illegal:
                burst.settle(now + m.p.stall_limit, m)
            return HANG
        until = wake if leap else now + 1
        causes.settle(now, m, until - now)
        now = until
        if m.fe.pc >= m.fe.stop or m.count[E_EX] >= m.fe.stop_ex:
            execute_run.halt(now, m)
            m.fe.stop_t = now
            m.tlb.logged = used
            return STOPPED


@entry
def rest(machine, lines, channels):
    """The cycle between two programs, in which only the memory side works; its times then count from the next one."""
    m = machine[0]
    now = m.fe.idle_t
    port.step_delivery(now, m)
    port.step_answers(now, m, channels)
    if m.p.l2_sets:
        l2.step(now, m, lines, channels)
    port.step_requests(now, m)
    port.rebase(m, now + 1)
    memory.rebase(m, now + 1)
    tlb.rebase(m.tlb, now + 1)
