"""The loop: every unit once per visited cycle, downstream first; then on to the next cycle, or to the earliest wake.

Order within a cycle (it is part of the semantics; both clocks share it):
 1 idle check   2 result rows leave the mesh   3 loaded rows at the write ports   4 beat merger, acknowledges
 5 answers on the bus   6 requests on the bus   7 store path behind the SRAM   8 execute   9 SRAM reads of the stores
 10 store controller   11 DMA reader   12 load controller   13 reservation station   14 loop unrollers   15 front end
Downstream first means: a place freed in this cycle can be filled in this cycle only where the hardware's queue allows
that; plain queues remember the pop (`pop_t`) and judge by the count at the start of the cycle.
"""

from numba import njit

from sim.core import (
    accumulator,
    causes,
    execute,
    frontend,
    load,
    loop_conv,
    loop_matmul,
    memory,
    mesh,
    mvin,
    mvout,
    reader,
    reservation,
    store,
    tlb,
    writer,
)
from sim.core.events import Event
from sim.core.params import NEVER

E_VISITED = int(Event.VISITED_CYCLES)

DONE = 0
HANG = 1


@njit(cache=True)
def run(machine, program, count, cause, sections, times, leap):
    """Run a program to its last idle cycle; returns a status and leaves everything else in the arrays."""
    m = machine[0]
    now = 0
    while True:
        count[E_VISITED] += 1
        if frontend.check_idle(now, m, program, sections) and m.fe.pc >= program.shape[0]:
            return DONE
        wake = mesh.step_out(now, m, count)
        wake = min(wake, mvin.step_write(now, m, count))
        if m.p.acc_single:
            wake = min(wake, accumulator.settle(now, m))
        wake = min(wake, mvin.step_merge(now, m))
        wake = min(wake, writer.acknowledge(now, m))
        wake = min(wake, memory.step_d(now, m, count))
        wake = min(wake, memory.step_a(now, m, count))
        wake = min(wake, mvout.step(now, m, count))
        wake = min(wake, execute.step(now, m, count))
        wake = min(wake, mvout.step_dispatch(now, m, count))
        wake = min(wake, store.step(now, m))
        wake = min(wake, reader.step(now, m))
        wake = min(wake, load.step(now, m))
        wake = min(wake, reservation.step(now, m, count, times))
        wake = min(wake, loop_matmul.step(now, m))
        wake = min(wake, loop_conv.step(now, m))
        wake = min(wake, frontend.step(now, m, program, count))
        tlb.settle(now, m)
        if wake >= NEVER or m.ex.illegal or now - m.rs.progress_t > m.p.stall_limit:
            return HANG
        until = wake if leap else now + 1
        causes.settle(m, until - now, count, cause)
        now = until
