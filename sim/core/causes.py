"""The cause of each cycle, and counters over intervals: set once per visited cycle, valid until the next visit.

Between two visits nothing changes, so the cause of the visit is that of the whole interval; counters grow by its
length. The first cause that applies wins, in the order of the function below: time is attributed to the array first, so
a cycle in which it takes a row is compute, even if other units work too.
"""

from sim.core.events import Cause, Event
from sim.core.jit import njit
from sim.core.params import RING
from sim.core.units import execute, load, loop_matmul, mesh, mvout, normalizer, reader, reservation, store, writer
from sim.core.units.reservation import EX, LD, ST
from sim.isa import codes

COMPUTE = int(Cause.COMPUTE)
BANK_CONFLICT = int(Cause.BANK_CONFLICT)
LOAD_WAIT = int(Cause.LOAD_WAIT)
STORE_WAIT = int(Cause.STORE_WAIT)
NORMALIZE = int(Cause.NORMALIZE)
DEPENDENCY = int(Cause.DEPENDENCY)
QUEUE_FULL = int(Cause.QUEUE_FULL)
FILL_DRAIN = int(Cause.FILL_DRAIN)
ISSUE = int(Cause.ISSUE)
CPU_ISSUE = int(Cause.CPU_ISSUE)

STALL = int(Event.COMMAND_STALL_CYCLES)
LD_WAIT = int(Event.LOAD_DMA_WAIT_CYCLE)
LD_ACTIVE = int(Event.LOAD_ACTIVE_CYCLE)
ST_WAIT = int(Event.STORE_DMA_WAIT_CYCLE)
ST_ACTIVE = int(Event.STORE_ACTIVE_CYCLE)
EX_ACTIVE = int(Event.EXE_ACTIVE_CYCLE)
EX_FLUSH = int(Event.EXE_FLUSH_CYCLE)
EX_BLOCK = int(Event.EXE_CONTROL_Q_BLOCK_CYCLE)
EX_PRELOAD_HAZ = int(Event.EXE_PRELOAD_HAZ_CYCLE)
EX_OVERLAP_HAZ = int(Event.EXE_OVERLAP_HAZ_CYCLE)
RS_FULL = int(Event.RESERVATION_STATION_FULL_CYCLES)
RS_ACTIVE = int(Event.RESERVATION_STATION_ACTIVE_CYCLES)
LOOP_ACTIVE = int(Event.LOOP_MATMUL_ACTIVE_CYCLES)
MAIN = int(Event.MAIN_LD_CYCLES)  # LD, ST, EX, LD_ST, LD_EX, ST_EX, LD_ST_EX follow in this order

NEVER_POPPED = -(1 << 50)


@njit
def _cause(now, m):
    x = m.execute
    r = m.station
    if x.firing and not x.stalled:
        # weights that are preloaded without a compute only fill the array
        return FILL_DRAIN if x.kind == execute.SINGLE_PRELOAD else COMPUTE
    if x.stalled:
        return BANK_CONFLICT
    if x.state == execute.COMPUTE:
        return QUEUE_FULL
    if x.state != execute.WAITING:
        return FILL_DRAIN
    if r.wait_n[EX] > 0:
        s = r.waiting[EX, r.wait_head[EX]]
        if r.deps[EX, s, LD]:
            return LOAD_WAIT
        if r.deps[EX, s, ST]:
            return STORE_WAIT
    if x.queue_n > 1:
        return DEPENDENCY
    if m.mesh.rows_n > 0 or x.entry_n > 0 or r.n[EX] > 0:
        return FILL_DRAIN
    if normalizer.busy(m):
        return NORMALIZE
    if mvout.busy(m) or writer.busy(m) or store.busy(m):
        return STORE_WAIT
    if reader.busy(m) or load.busy(m):
        return LOAD_WAIT
    fe = m.front
    if fe.stalled:
        return QUEUE_FULL
    # the CPU needs more than a cycle for its next command, and has not offered it yet
    if fe.waits == 0 and fe.left > 0 and fe.gap > 1 and fe.offer_t > now:
        return CPU_ISSUE
    return ISSUE


@njit
def _main(m):
    """Return the busy controllers as an index relative to MAIN_LD_CYCLES, or -1 for none."""
    loads = load.busy(m)
    stores = store.busy(m)
    executes = m.execute.queue_n > 0 or mesh.in_progress(NEVER_POPPED, m)
    if loads:
        if stores:
            return 6 if executes else 3
        return 4 if executes else 0
    if stores:
        return 5 if executes else 1
    return 2 if executes else -1


@njit
def settle(now, m, length):
    """Add `length` cycles to their cause and to the counters of the active signals."""
    m.cause[_cause(now, m)] += length
    x = m.execute
    if m.front.stalled:
        m.count[STALL] += length
    if m.load.state == 1:
        m.count[LD_WAIT] += length
    elif m.load.state == 2:
        m.count[LD_ACTIVE] += length
    if m.store.state == 1:
        m.count[ST_WAIT] += length
    elif m.store.state == 2:
        m.count[ST_ACTIVE] += length
    if x.state == execute.COMPUTE:
        m.count[EX_ACTIVE] += length
        if x.entry_n > m.p.read_delay:
            m.count[EX_BLOCK] += length
    elif x.state != execute.WAITING:
        m.count[EX_FLUSH] += length
    elif x.queue_n > 1 and m.p.raw_impossible == 0 and m.mesh.tags_n > 0:
        h = x.queue_head
        h1 = (h + 1) % RING
        h2 = (h + 2) % RING
        if x.queue_funct[h] == codes.PRELOAD and mesh.hazard(
            NEVER_POPPED, m, x.queue_rs1[h], x.queue_rs1[h1], x.queue_rs2[h1]
        ):
            m.count[EX_PRELOAD_HAZ] += length
        elif x.queue_n > 2 and x.queue_funct[h1] == codes.PRELOAD and codes.MVOUT < x.queue_funct[h] < codes.PRELOAD:
            if mesh.hazard(NEVER_POPPED, m, x.queue_rs1[h1], x.queue_rs1[h2], x.queue_rs2[h2]):
                m.count[EX_OVERLAP_HAZ] += length
    which = _main(m)
    if which >= 0:
        m.count[MAIN + which] += length
    if reservation.busy(m):
        m.count[RS_ACTIVE] += length
    if m.front.unrolled.n == 0 or reservation.head_blocked(m):
        m.count[RS_FULL] += length
    if m.front.matmul.n > 0 or loop_matmul.busy(m):
        m.count[LOOP_ACTIVE] += length
