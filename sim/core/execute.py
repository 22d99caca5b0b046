"""Execute controller: pairs preloads with computes, reads operand rows, feeds the mesh, completes commands.

Source: ExecuteController.scala, TransposePreloadUnroller.scala, MultiHeadedQueue.scala. A decision is taken in the
cycle in which the head is visible and row 0 is fired in that same cycle. Each cycle in which a command is being
performed puts one entry into the control queue, whether or not an operand row was fired.
"""

import numpy as np
from numba import njit

from sim.core import mesh
from sim.core.events import Event
from sim.core.params import NEVER, RING, is_acc, is_garbage, plus, sp_bank

E_SPR = int(Event.SPAD_READ_ROWS)
E_WEIGHT = int(Event.WEIGHT_ROWS)

WAITING = 0
COMPUTE = 1
FLUSH = 2
FLUSHING = 3

SINGLE_PRELOAD = 1
OVERLAPPED = 2
SINGLE_COMPUTE = 3

GARBAGE = 0xFFFFFFFF
ENTRIES = 16

DTYPE = np.dtype(
    [
        # transpose unroller
        ("u_n", "i8"),
        ("u_pop_t", "i8"),
        ("u_funct", "i8", (2,)),
        ("u_rs1", "i8", (2,)),
        ("u_rs2", "i8", (2,)),
        ("u_slot", "i8", (2,)),
        ("u_state", "i8"),  # 0 idle, 1 first compute, 2 second preload
        ("u_transposed", "i8"),
        # execute queue
        ("q_n", "i8"),
        ("q_head", "i8"),
        ("q_popped", "i8"),
        ("q_pop_t", "i8"),
        ("q_funct", "i8", (RING,)),
        ("q_rs1", "i8", (RING,)),
        ("q_rs2", "i8", (RING,)),
        ("q_slot", "i8", (RING,)),
        ("state", "i8"),
        ("kind", "i8"),
        # configuration
        ("ws", "i8"),
        ("illegal", "i8"),  # 1: two operands configured for the one transposer; the RTL then flushes for ever
        ("a_transpose", "i8"),
        ("bd_transpose", "i8"),
        ("a_stride", "i8"),
        # the command being performed
        ("total", "i8"),
        ("row", "i8"),
        ("done", "i8"),  # operands fired for the present row: 1 A, 2 B, 4 D
        ("a_on", "i8"),  # operand is being read (started and not garbage)
        ("b_on", "i8"),
        ("d_on", "i8"),
        ("a_addr", "i8"),
        ("b_addr", "i8"),
        ("d_addr", "i8"),
        ("a_rows", "i8"),
        ("b_rows", "i8"),
        ("d_rows", "i8"),
        ("a_cols", "i8"),
        ("b_cols", "i8"),
        ("d_cols", "i8"),
        ("c_addr", "i8"),
        ("c_rows", "i8"),
        ("c_slot", "i8"),
        ("pend0", "i8"),  # completed commands that wait for the completion port, -1 none
        ("pend1", "i8"),
        # control queue
        ("e_n", "i8"),
        ("e_head", "i8"),
        ("e_fires", "i8", (ENTRIES,)),
        ("e_first", "i8", (ENTRIES,)),
        ("e_t", "i8", (ENTRIES,)),
        ("e_total", "i8", (ENTRIES,)),
        ("e_slot", "i8", (ENTRIES,)),
        ("e_addr", "i8", (ENTRIES,)),
        ("e_rows", "i8", (ENTRIES,)),
        # what held the controller back this cycle, for the cause of the cycle
        ("stalled", "i8"),  # 1: an operand row was refused by its bank
        ("fed", "i8"),  # 1: a row entered the array
        ("fire", "i8"),
    ]
)


@njit
def _unroll(now, m):
    """One command through the transpose unroller into the execute queue. True when one went."""
    x = m.ex
    p = m.p
    if x.u_n == 0:
        return False
    n = x.q_n + (x.q_popped if x.q_pop_t == now else 0)
    if n >= p.exq:
        return False
    funct = x.u_funct[0]
    rs1 = x.u_rs1[0]
    rs2 = x.u_rs2[0]
    slot = x.u_slot[0]
    keep = False
    if x.u_state == 0 and funct == 6:
        if x.u_transposed:
            if x.u_n < 2:
                return False
            if x.u_funct[1] == 4:
                rs2 = (rs2 & ~GARBAGE) | GARBAGE
                slot = -1
                keep = True
                x.u_state = 1
    elif x.u_state == 1:
        funct = 5
        rs1 = x.u_rs1[1]
        rs2 = x.u_rs2[1]
        slot = -1
        keep = True
        x.u_state = 2
    elif x.u_state == 2:
        rs1 = (rs1 & ~GARBAGE) | GARBAGE
        x.u_state = 0
    if funct == 0 and (rs1 >> 7) & 1 == 0:
        x.u_transposed = 1 if (p.dataflow == 1 or (rs1 >> 2) & 1) and (rs1 >> 9) & 1 else 0
    i = (x.q_head + x.q_n) % RING
    x.q_funct[i] = funct
    x.q_rs1[i] = rs1
    x.q_rs2[i] = rs2
    x.q_slot[i] = slot
    x.q_n += 1
    if not keep:
        x.u_funct[0] = x.u_funct[1]
        x.u_rs1[0] = x.u_rs1[1]
        x.u_rs2[0] = x.u_rs2[1]
        x.u_slot[0] = x.u_slot[1]
        x.u_n -= 1
        x.u_pop_t = now
    return True


@njit
def _pop(now, x, k):
    x.q_head = (x.q_head + k) % RING
    x.q_n -= k
    x.q_popped = k
    x.q_pop_t = now


@njit
def _is_compute(funct):
    return funct == 4 or funct == 5


@njit
def _begin(m, kind):
    """Set up the operands of the command(s) at the head of the queue."""
    x = m.ex
    p = m.p
    x.state = COMPUTE
    x.kind = kind
    x.row = 0
    x.done = 0
    a_t = x.a_transpose if x.ws else 1 - x.a_transpose
    b_t = x.bd_transpose if not x.ws else 0
    d_t = x.bd_transpose if x.ws else 0
    place = 0 if kind == SINGLE_PRELOAD else 1
    a_place = 1 if place == 0 else (2 if a_t else 0)
    b_place = 1 if place == 0 else (2 if b_t else 0)
    a_in = a_t if kind == SINGLE_PRELOAD else (1 if kind == OVERLAPPED else 1 - a_t)
    b_in = b_t if kind == SINGLE_PRELOAD else (1 if kind == OVERLAPPED else 1 - b_t)
    d_in = 0 if kind == SINGLE_COMPUTE else 1
    ia = (x.q_head + a_place) % RING
    ib = (x.q_head + b_place) % RING
    ip = (x.q_head + place) % RING
    a = x.q_rs1[ia]
    b = x.q_rs2[ib]
    d = x.q_rs1[ip]
    c = x.q_rs2[ip]
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
    x.a_rows = (a >> 48) & 0xFFFF
    x.a_cols = (a >> 32) & 0xFFFF
    if x.a_transpose:
        x.a_rows, x.a_cols = x.a_cols, x.a_rows
    x.b_rows = (b >> 48) & 0xFFFF
    x.b_cols = (b >> 32) & 0xFFFF
    if b_t:
        x.b_rows, x.b_cols = x.b_cols, x.b_rows
    x.d_rows = (d >> 48) & 0xFFFF
    x.d_cols = (d >> 32) & 0xFFFF
    if d_t:
        x.d_rows, x.d_cols = x.d_cols, x.d_rows
    x.c_addr = c & GARBAGE
    x.c_rows = (c >> 48) & 0xFFFF
    x.c_slot = x.q_slot[ip] if kind != SINGLE_COMPUTE and not is_garbage(p, x.c_addr) else -1
    x.total = p.dim
    if x.ws and not x.d_on and not a_t and not b_t and not d_t:
        total = 4
        if x.a_on and x.a_rows > total:
            total = x.a_rows
        if x.b_on and x.b_rows > total:
            total = x.b_rows
        x.total = total


@njit
def conflicts(now, m, a, b, c):
    """Does one of these local addresses meet an outstanding result?"""
    return mesh.hazard(now, m, a) or mesh.hazard(now, m, b) or mesh.hazard(now, m, c)


@njit
def _decide(now, m, pending):
    """State WAITING: choose what the head of the queue becomes. True when the state changed."""
    x = m.ex
    p = m.p
    if x.q_n > 0:
        h = x.q_head
        f0 = x.q_funct[h]
        busy = mesh.in_progress(now, m)
        if f0 == 0 and not busy and not pending:
            rs1 = x.q_rs1[h]
            rs2 = x.q_rs2[h]
            if (rs1 >> 7) & 1 == 0:
                x.a_transpose = (rs1 >> 8) & 1
                x.bd_transpose = (rs1 >> 9) & 1
                if p.dataflow == 2:
                    x.ws = (rs1 >> 2) & 1
                    m.mesh.ws = x.ws
            operands = x.a_transpose if x.ws else 1 - x.a_transpose
            if operands + x.bd_transpose > 1:
                x.illegal = 1
            x.a_stride = (rs1 >> 16) & 0xFFFF
            m.mesh.c_stride = (rs2 >> 48) & 0xFFFF
            m.rs.ex_done = x.q_slot[h]
            _pop(now, x, 1)
            return True
        i1 = (h + 1) % RING
        i2 = (h + 2) % RING
        if f0 == 6 and x.q_n > 1:
            ok = p.raw_impossible == 1
            if not ok:
                ok = not conflicts(now, m, x.q_rs1[h], x.q_rs1[i1], x.q_rs2[i1])
            if ok:
                _begin(m, SINGLE_PRELOAD)
                return True
        if _is_compute(f0):
            if x.q_n > 1 and x.q_funct[i1] == 6:
                a_t = x.a_transpose if x.ws else 1 - x.a_transpose
                b_t = x.bd_transpose if not x.ws else 0
                third = a_t or b_t or p.raw_impossible == 0
                ok = True
                if third:
                    ok = x.q_n > 2
                    if ok and p.raw_impossible == 0:
                        ok = not conflicts(now, m, x.q_rs1[i1], x.q_rs1[i2], x.q_rs2[i2])
                if ok:
                    _begin(m, OVERLAPPED)
                    return True
            _begin(m, SINGLE_COMPUTE)
            return True
        if busy and (x.ws == 0 or f0 == 0):
            x.state = FLUSH
            return True
        return False
    if x.ws == 0 and mesh.in_progress(now, m):
        x.state = FLUSH
        return True
    return False


@njit
def _bank_free(now, m, address):
    """Will the operand's bank take a read this cycle?"""
    bank = sp_bank(m.p, address)
    if m.p.sp_single and m.ports.sp_write_t[bank] == now:
        return False
    return m.ports.sp_held[bank] == 0


@njit
def _clash(p, x_addr, y_addr):
    """Two operand rows that cannot be read together: one scratchpad bank, or both in the accumulator."""
    if is_acc(x_addr) != is_acc(y_addr):
        return False
    return is_acc(x_addr) == 1 or sp_bank(p, x_addr) == sp_bank(p, y_addr)


@njit
def _fire(now, m, count):
    """Fire what can be fired of the present row into the control queue."""
    x = m.ex
    p = m.p
    row = x.row
    done = x.done
    a = plus(p, x.a_addr, row * x.a_stride)
    b = plus(p, x.b_addr, row)
    d = plus(p, x.d_addr, p.dim - 1 - row)
    fires = 0
    reads = False
    refused = False
    lost = False
    if not done & 1:
        ok = True
        if x.a_on and row < x.a_rows:
            if is_acc(a):
                lost = True
            elif _bank_free(now, m, a):
                m.ports.sp_read_t[sp_bank(p, a)] = now
                reads = True
                count[E_SPR] += 1
            else:
                ok = False
                refused = True
        if ok:
            fires |= 1
    if not done & 2:
        ok = not (x.a_on and x.b_on and not done & 1 and _clash(p, a, b))
        if ok and x.b_on and row < x.b_rows:
            if is_acc(b):
                lost = True
            elif _bank_free(now, m, b):
                m.ports.sp_read_t[sp_bank(p, b)] = now
                reads = True
                count[E_SPR] += 1
            else:
                ok = False
                refused = True
        if ok:
            fires |= 2
    if not done & 4:
        ok = True
        if x.d_on:
            if x.a_on and not done & 1 and _clash(p, a, d):
                ok = False
                refused = True
            if x.b_on and not done & 2 and _clash(p, b, d):
                ok = False
                refused = True
        if ok and x.d_on and p.dim - 1 - row < x.d_rows:
            if is_acc(d):
                lost = True
            elif _bank_free(now, m, d):
                m.ports.sp_read_t[sp_bank(p, d)] = now
                reads = True
                count[E_SPR] += 1
                count[E_WEIGHT] += 1
            else:
                ok = False
                refused = True
        if ok:
            fires |= 4
    i = (x.e_head + x.e_n) % ENTRIES
    x.e_fires[i] = fires
    x.e_first[i] = 1 if row == 0 and done == 0 else 0
    x.e_t[i] = now + 1 + p.read_pipe if reads else now + 1
    if lost:
        x.e_t[i] = NEVER
    x.e_total[i] = x.total
    x.e_slot[i] = x.c_slot
    x.e_addr[i] = GARBAGE if x.kind == SINGLE_COMPUTE else x.c_addr
    x.e_rows[i] = x.c_rows
    x.e_n += 1
    if refused:
        x.stalled = 1
    if fires:
        x.fire = 1
    x.done = done | fires
    if x.done == 7:
        x.done = 0
        x.row = row + 1
        if x.row == x.total:
            _finish(now, m)


@njit
def _finish(now, m):
    """All rows fired: commands leave the queue, completions become pending."""
    x = m.ex
    h = x.q_head
    x.state = WAITING
    x.row = 0
    garbage = is_garbage(m.p, x.c_addr)
    if x.kind == SINGLE_PRELOAD:
        x.pend0 = x.q_slot[h] if garbage else -1
        _pop(now, x, 1)
    elif x.kind == OVERLAPPED:
        x.pend0 = x.q_slot[h]
        x.pend1 = x.q_slot[(h + 1) % RING] if garbage else -1
        _pop(now, x, 2)
    else:
        x.pend0 = x.q_slot[h]
        _pop(now, x, 1)


@njit
def step(now, m, count):
    """One cycle: mesh input, control queue, state machine, completion, command queues. Returns the wake."""
    x = m.ex
    p = m.p
    x.stalled = 0
    x.fire = 0
    acted = mesh.feed(now, m, count)
    x.fed = 1 if acted else 0
    timed = NEVER
    begun = x.state
    if begun == WAITING and _decide(now, m, x.pend0 >= 0 or x.pend1 >= 0):
        acted = True
    # completions pending from earlier cycles; the mesh's own went first
    if m.rs.ex_done < 0:
        if x.pend0 >= 0:
            m.rs.ex_done = x.pend0
            x.pend0 = -1
            acted = True
        elif x.pend1 >= 0:
            m.rs.ex_done = x.pend1
            x.pend1 = -1
            acted = True
    can_request = mesh.ready(now, m)
    requested = False
    had_entry = x.e_n > 0
    if had_entry:
        h = x.e_head
        fires = x.e_fires[h]
        if x.e_t[h] > now:
            timed = x.e_t[h]
        elif not x.e_first[h] or can_request:
            acted = True
            x.e_head = (h + 1) % ENTRIES
            x.e_n -= 1
            m.mesh.written |= fires
            if fires and can_request:
                requested = True
                mesh.request(m, 0, x.e_total[h], x.e_slot[h], x.e_addr[h], x.e_rows[h])
    if begun == FLUSH:
        if not had_entry and can_request:
            mesh.request(m, 1, p.dim, -1, GARBAGE, 0)
            requested = True
        if requested:
            x.state = FLUSHING
            acted = True
    elif begun == FLUSHING:
        if can_request:
            x.state = WAITING
            acted = True
    if x.state == COMPUTE and x.e_n < p.read_delay + 1:
        _fire(now, m, count)
        acted = True
    if not requested:
        mesh.close(m)
    if _unroll(now, m):
        acted = True
    if acted:
        return now + 1
    return timed
