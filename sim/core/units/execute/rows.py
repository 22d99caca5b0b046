"""Operand rows of the execute controller: rows that can be read this cycle enter the control queue.

Source: ExecuteController.scala. Operands in priority order A, B, D; two of them in one bank alternate, none gets more
than one row ahead; a refused read delays its operand by a cycle.
"""

from sim.core.events import Event
from sim.core.fields import is_acc
from sim.core.jit import njit
from sim.core.params import NEVER, RING, is_garbage, plus, sp_bank
from sim.core.units.execute.state import ENTRIES, GARBAGE, OVERLAPPED, SINGLE_COMPUTE, SINGLE_PRELOAD, WAITING, pop

E_SPR = int(Event.SPAD_READ_ROWS)
E_WEIGHT = int(Event.WEIGHT_ROWS)

FIRES, READS, REFUSED, LOST = 1, 2, 4, 8
"""Outcome of an operand row in a cycle, as bits: it enters the control queue; a bank is read; the bank refuses.

The row is lost, as it is in the accumulator, from which no operand is read.
"""


@njit
def _bank_free(now, m, address):
    """True if the operand's bank accepts a read in this cycle."""
    bank = sp_bank(m.p, address)
    if m.p.sp_single and m.ports.sp_write_t[bank] == now:
        return False
    return m.ports.sp_held[bank] == 0


@njit
def _clash(p, x_addr, y_addr):
    """True if two operand rows cannot be read together: one scratchpad bank, or both in the accumulator."""
    if is_acc(x_addr) != is_acc(y_addr):
        return False
    return is_acc(x_addr) == 1 or sp_bank(p, x_addr) == sp_bank(p, y_addr)


@njit
def _read(now, m, address):
    """Read an operand row from its bank, if the bank accepts a read this cycle; a row in the accumulator is lost."""
    if is_acc(address):
        return FIRES | LOST
    if not _bank_free(now, m, address):
        return REFUSED
    m.ports.sp_read_t[sp_bank(m.p, address)] = now
    m.count[E_SPR] += 1
    return FIRES | READS


@njit
def _fire_a(now, m, a):
    x = m.execute
    if x.done & 1:
        return 0
    return _read(now, m, a) if x.a_on and x.row < x.a_rows else FIRES


@njit
def _fire_b(now, m, a, b):
    """B waits without a stall while A has yet to read the same bank."""
    x = m.execute
    if x.done & 2 or (x.a_on and x.b_on and not x.done & 1 and _clash(m.p, a, b)):
        return 0
    return _read(now, m, b) if x.b_on and x.row < x.b_rows else FIRES


@njit
def _fire_d(now, m, a, b, d):
    x = m.execute
    p = m.p
    if x.done & 4:
        return 0
    if not x.d_on:
        return FIRES
    if (x.a_on and not x.done & 1 and _clash(p, a, d)) or (x.b_on and not x.done & 2 and _clash(p, b, d)):
        return REFUSED
    if p.dim - 1 - x.row >= x.d_rows:
        return FIRES
    result = _read(now, m, d)
    if result & READS:
        m.count[E_WEIGHT] += 1
    return result


@njit
def _enqueue_control(now, m, fires, results):
    """Append an entry to the control queue; a lost row never becomes ready."""
    x = m.execute
    p = m.p
    i = (x.entry_head + x.entry_n) % ENTRIES
    x.entry_fires[i] = fires
    x.entry_first[i] = 1 if x.row == 0 and x.done == 0 else 0
    x.entry_ready_t[i] = now + 1 + p.read_pipe if results & READS else now + 1
    if results & LOST:
        x.entry_ready_t[i] = NEVER
    x.entry_total[i] = x.total
    x.entry_slot[i] = x.c_slot
    x.entry_address[i] = GARBAGE if x.kind == SINGLE_COMPUTE else x.c_addr
    x.entry_rows[i] = x.c_rows
    x.entry_n += 1


@njit
def fire(now, m):
    """Fire the operands of the current row that can be fired into the control queue."""
    x = m.execute
    p = m.p
    row = x.row
    a = plus(p, x.a_addr, row * x.a_stride)
    b = plus(p, x.b_addr, row)
    d = plus(p, x.d_addr, p.dim - 1 - row)
    a_result = _fire_a(now, m, a)
    b_result = _fire_b(now, m, a, b)
    d_result = _fire_d(now, m, a, b, d)
    results = a_result | b_result | d_result
    fires = (a_result & FIRES) | (b_result & FIRES) << 1 | (d_result & FIRES) << 2
    _enqueue_control(now, m, fires, results)
    if results & REFUSED:
        x.stalled = 1
    if fires:
        x.firing = 1
    x.done |= fires
    if x.done == 7:
        x.done = 0
        x.pace_t = now + p.row_cycles
        x.row = row + 1
        if x.row == x.total:
            finish(now, m)


@njit
def finish(now, m):
    """After the last row: commands leave the queue, completions become pending."""
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
