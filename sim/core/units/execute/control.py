"""Execute controller: pairs preloads with computes, feeds the mesh, completes commands.

Source: ExecuteController.scala. A decision is made in the cycle in which the head is visible, and row 0 is fired in the
same cycle. Each cycle in which a command is being performed puts one entry into the control queue, whether or not an
operand row was fired (execute_rows).
"""

from sim.core.fields import (
    get,
    operand_cols,
    operand_rows,
)
from sim.core.jit import njit
from sim.core.params import NEVER, RING, is_garbage
from sim.core.units import mesh
from sim.core.units.execute import state as execute_state
from sim.core.units.execute.rows import fire
from sim.core.units.execute.state import (
    COMPUTE,
    ENTRIES,
    FLUSH,
    FLUSHING,
    GARBAGE,
    OVERLAPPED,
    SINGLE_COMPUTE,
    SINGLE_PRELOAD,
    WAITING,
    pop,
    unroll,
)
from sim.isa import codes
from sim.isa.layouts import EX_FIRST, EX_SECOND

DTYPE = execute_state.DTYPE


@njit
def _is_compute(funct):
    return funct == codes.COMPUTE_PRELOADED or funct == codes.COMPUTE_ACCUMULATED


@njit
def _begin(m, kind):
    """Prepare the operands of the command(s) at the head of the queue."""
    x = m.execute
    p = m.p
    x.state = COMPUTE
    x.kind = kind
    x.row = 0
    x.done = 0
    a_t = x.a_transpose if x.weight_stationary else 1 - x.a_transpose
    b_t = x.bd_transpose if not x.weight_stationary else 0
    d_t = x.bd_transpose if x.weight_stationary else 0
    place = 0 if kind == SINGLE_PRELOAD else 1
    a_place = 1 if place == 0 else (2 if a_t else 0)
    b_place = 1 if place == 0 else (2 if b_t else 0)
    a_in = a_t if kind == SINGLE_PRELOAD else (1 if kind == OVERLAPPED else 1 - a_t)
    b_in = b_t if kind == SINGLE_PRELOAD else (1 if kind == OVERLAPPED else 1 - b_t)
    d_in = 0 if kind == SINGLE_COMPUTE else 1
    ia = (x.queue_head + a_place) % RING
    ib = (x.queue_head + b_place) % RING
    ip = (x.queue_head + place) % RING
    a = x.queue_rs1[ia]
    b = x.queue_rs2[ib]
    d = x.queue_rs1[ip]
    c = x.queue_rs2[ip]
    x.a_addr = a & GARBAGE
    x.b_addr = b & GARBAGE
    x.d_addr = d & GARBAGE
    if p.hardcode_d:
        if p.dataflow == 1:
            x.b_addr = GARBAGE
        elif p.dataflow == 0:
            x.d_addr = GARBAGE
    x.a_on = 1 if a_in and not is_garbage(p, x.a_addr) else 0
    x.b_on = 1 if b_in and not is_garbage(p, x.b_addr) else 0
    x.d_on = 1 if d_in and not is_garbage(p, x.d_addr) else 0
    x.a_rows = operand_rows(a)
    x.a_cols = operand_cols(a)
    if x.a_transpose:
        x.a_rows, x.a_cols = x.a_cols, x.a_rows
    x.b_rows = operand_rows(b)
    x.b_cols = operand_cols(b)
    if b_t:
        x.b_rows, x.b_cols = x.b_cols, x.b_rows
    x.d_rows = operand_rows(d)
    x.d_cols = operand_cols(d)
    if d_t:
        x.d_rows, x.d_cols = x.d_cols, x.d_rows
    x.c_addr = c & GARBAGE
    x.c_rows = operand_rows(c)
    x.c_slot = x.queue_slot[ip] if kind != SINGLE_COMPUTE and not is_garbage(p, x.c_addr) else -1
    x.total = p.dim
    if x.weight_stationary and not x.d_on and not a_t and not b_t and not d_t:
        total = 4
        if x.a_on and x.a_rows > total:
            total = x.a_rows
        if x.b_on and x.b_rows > total:
            total = x.b_rows
        x.total = total


@njit
def _decide(now, m, pending):
    """State WAITING: decide how to perform the head of the queue. True if the state changed."""
    x = m.execute
    p = m.p
    if x.queue_n > 0:
        h = x.queue_head
        f0 = x.queue_funct[h]
        busy = (x.weight_stationary == 0 or f0 == codes.CONFIG) and mesh.in_progress(now, m)
        if f0 == codes.CONFIG and not busy and not pending:
            rs1 = x.queue_rs1[h]
            rs2 = x.queue_rs2[h]
            if not get(rs1, EX_FIRST.strides_only):
                x.a_transpose = get(rs1, EX_FIRST.transpose_a)
                x.bd_transpose = get(rs1, EX_FIRST.transpose_b)
                if p.dataflow == 2:
                    x.weight_stationary = get(rs1, EX_FIRST.weight_stationary)
                    m.mesh.weight_stationary = x.weight_stationary
            operands = x.a_transpose if x.weight_stationary else 1 - x.a_transpose
            if operands + x.bd_transpose > 1:
                x.illegal = 1
            x.a_stride = get(rs1, EX_FIRST.a_stride)
            m.mesh.c_stride = get(rs2, EX_SECOND.c_stride)
            m.station.ex_done = x.queue_slot[h]
            pop(now, x, 1)
            return True
        i1 = (h + 1) % RING
        i2 = (h + 2) % RING
        if f0 == codes.PRELOAD and x.queue_n > 1:
            ok = p.raw_impossible == 1
            if not ok:
                ok = not mesh.hazard(now, m, x.queue_rs1[h], x.queue_rs1[i1], x.queue_rs2[i1])
            if ok:
                _begin(m, SINGLE_PRELOAD)
                return True
        if _is_compute(f0):
            if x.queue_n > 1 and x.queue_funct[i1] == codes.PRELOAD:
                a_t = x.a_transpose if x.weight_stationary else 1 - x.a_transpose
                b_t = x.bd_transpose if not x.weight_stationary else 0
                third = a_t or b_t or p.raw_impossible == 0
                ok = True
                if third:
                    ok = x.queue_n > 2
                    if ok and p.raw_impossible == 0:
                        ok = not mesh.hazard(now, m, x.queue_rs1[i1], x.queue_rs1[i2], x.queue_rs2[i2])
                if ok:
                    _begin(m, OVERLAPPED)
                    return True
            _begin(m, SINGLE_COMPUTE)
            return True
        if busy:
            x.state = FLUSH
            return True
        return False
    if x.weight_stationary == 0 and mesh.in_progress(now, m):
        x.state = FLUSH
        return True
    return False


@njit
def _complete_pending(m):
    """Report a completion of an earlier cycle, unless the mesh reports one now. True if one was reported."""
    x = m.execute
    if m.station.ex_done >= 0:
        return False
    if x.pending_first >= 0:
        m.station.ex_done = x.pending_first
        x.pending_first = -1
        return True
    if x.pending_second >= 0:
        m.station.ex_done = x.pending_second
        x.pending_second = -1
        return True
    return False


@njit
def _dequeue_control(now, m, can_request):
    """Pass the head of the control queue to the mesh. Returns (it left, it made a request, cycle that it waits for)."""
    x = m.execute
    h = x.entry_head
    fires = x.entry_fires[h]
    if x.entry_ready_t[h] > now:
        return False, False, x.entry_ready_t[h]
    if x.entry_first[h] and not can_request:
        return False, False, NEVER
    x.entry_head = (h + 1) % ENTRIES
    x.entry_n -= 1
    m.mesh.written |= fires
    requested = fires != 0 and can_request
    if requested:
        mesh.request(m, 0, x.entry_total[h], x.entry_slot[h], x.entry_address[h], x.entry_rows[h])
    return True, requested, NEVER


@njit
def step(now, m):
    """One cycle: mesh input, control queue, state machine, completion, command queues. Returns the wake."""
    x = m.execute
    p = m.p
    x.stalled = 0
    x.firing = 0
    acted = mesh.feed(now, m)
    x.row_fed = 1 if acted else 0
    timed = NEVER
    begun = x.state
    if begun == WAITING and _decide(now, m, x.pending_first >= 0 or x.pending_second >= 0):
        acted = True
    if _complete_pending(m):
        acted = True
    can_request = mesh.ready(now, m)
    requested = False
    had_entry = x.entry_n > 0
    if had_entry:
        left, requested, timed = _dequeue_control(now, m, can_request)
        acted = acted or left
    if begun == FLUSH:
        if not had_entry and can_request:
            mesh.request(m, 1, p.dim, -1, GARBAGE, 0)
            requested = True
        if requested:
            x.state = FLUSHING
            acted = True
    elif begun == FLUSHING and can_request:
        x.state = WAITING
        acted = True
    if x.state == COMPUTE and x.pace_t > now:
        x.firing = 1
        timed = min(timed, x.pace_t)
    elif x.state == COMPUTE and x.entry_n < p.read_delay + 1:
        fire(now, m)
        acted = True
    if not requested:
        mesh.close(m)
    if unroll(now, m):
        acted = True
    return now + 1 if acted else timed
