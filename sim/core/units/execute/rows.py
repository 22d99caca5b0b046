"""Operand rows of the execute controller: what can be read this cycle goes into the control queue.

Source: ExecuteController.scala. Operands in priority order A, B, D; two of them in one bank take turns, none gets more
than one row ahead; a refused read costs its operand the cycle.
"""

from sim.core.events import Event
from sim.core.fields import is_acc
from sim.core.jit import njit
from sim.core.params import NEVER, RING, is_garbage, plus, sp_bank
from sim.core.units.execute.state import ENTRIES, GARBAGE, OVERLAPPED, SINGLE_COMPUTE, SINGLE_PRELOAD, WAITING, pop

E_SPR = int(Event.SPAD_READ_ROWS)
E_WEIGHT = int(Event.WEIGHT_ROWS)


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
def fire(now, m):
    """Fire what can be fired of the present row into the control queue."""
    x = m.execute
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
                m.count[E_SPR] += 1
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
                m.count[E_SPR] += 1
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
                m.count[E_SPR] += 1
                m.count[E_WEIGHT] += 1
            else:
                ok = False
                refused = True
        if ok:
            fires |= 4
    i = (x.entry_head + x.entry_n) % ENTRIES
    x.entry_fires[i] = fires
    x.entry_first[i] = 1 if row == 0 and done == 0 else 0
    x.entry_ready_t[i] = now + 1 + p.read_pipe if reads else now + 1
    if lost:
        x.entry_ready_t[i] = NEVER
    x.entry_total[i] = x.total
    x.entry_slot[i] = x.c_slot
    x.entry_address[i] = GARBAGE if x.kind == SINGLE_COMPUTE else x.c_addr
    x.entry_rows[i] = x.c_rows
    x.entry_n += 1
    if refused:
        x.stalled = 1
    if fires:
        x.firing = 1
    x.done = done | fires
    if x.done == 7:
        x.done = 0
        x.pace_t = now + p.row_cycles
        x.row = row + 1
        if x.row == x.total:
            finish(now, m)


@njit
def finish(now, m):
    """All rows fired: commands leave the queue, completions become pending."""
    x = m.execute
    h = x.queue_head
    x.state = WAITING
    x.row = 0
    garbage = is_garbage(m.p, x.c_addr)
    if x.kind == SINGLE_PRELOAD:
        x.pending_first = x.queue_slot[h] if garbage else -1
        pop(now, x, 1)
    elif x.kind == OVERLAPPED:
        x.pending_first = x.queue_slot[h]
        x.pending_second = x.queue_slot[(h + 1) % RING] if garbage else -1
        pop(now, x, 2)
    else:
        x.pending_first = x.queue_slot[h]
        pop(now, x, 1)
