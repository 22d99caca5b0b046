"""A run: consecutive cycles with equal actions of the execute controller, one event for the leaping clock.

In each of them one row enters the array, one entry leaves the control queue, and one row of operands is read, whose
entry joins it: as in `execute.step`, with all decisions fixed. A run ends before the first cycle that could differ: the
last row of a command, a request that does not follow the previous one at once, an operand whose reading begins or ends.
Other units can end it earlier (`disturbed`). Until then no unit reads the state that it changes, except counters, so it
is applied at its end, or up to the cycle in which the state is read (`carry_out`).
"""

from sim.core.fields import is_acc
from sim.core.jit import njit
from sim.core.leap import burst
from sim.core.params import plus, sp_bank
from sim.core.units import mesh
from sim.core.units.execute.rows import E_SPR, E_WEIGHT
from sim.core.units.execute.state import COMPUTE, ENTRIES, GARBAGE, SINGLE_COMPUTE

ALL = 7  # operands A, B and D


@njit
def _bank(p, address, first, last):
    """Return the scratchpad bank that holds both of these rows of an operand and all in between; -1 none."""
    bank = sp_bank(p, plus(p, address, first))
    if is_acc(address) or abs(last - first) >> p.sp_row_bits or sp_bank(p, plus(p, address, last)) != bank:
        return -1
    return bank


@njit
def _until_last(now, m):
    """Return the number of next cycles in which rows enter the array and entries leave the queue, one per cycle.

    Also return which of them takes a request's last row and the next request; 0 none.
    """
    x = m.execute
    s = m.mesh
    p = m.p
    if (
        x.state != COMPUTE
        or x.done
        or x.firing == 0
        or x.row_fed == 0
        or x.stalled
        or x.pending_first >= 0
        or x.pending_second >= 0
    ):
        return 0, 0
    if s.requested == 0 or s.flush or s.written != ALL or p.row_cycles > 1:
        return 0, 0
    n = min(x.total - x.row, p.mesh_latency) - 1
    last = s.total - s.fired
    taken = 0
    for i in range(min(n, x.entry_n)):
        j = (x.entry_head + i) % ENTRIES
        if x.entry_fires[j] != ALL or x.entry_ready_t[j] > now + 1 + i:
            return i, taken
        if x.entry_first[j]:
            if i + 1 != last or s.tags_n >= p.tag_queue or s.totals_n >= p.tag_queue:
                return i, taken
            taken = last
        elif i + 1 == last:
            return i, taken
    return n if taken else min(n, last - 1), taken


@njit
def _stores_from_scratchpad(m):
    """True if a stored row waits for a scratchpad bank, or in its read buffer."""
    o = m.mvout
    if o.buffered > 0:
        return True
    for i in range(o.dispatch_n):
        if not is_acc(o.local[o.dispatch_queue[i]]):
            return True
    return False


@njit
def begin(now, m):
    """Begin a run after this cycle; return the first cycle after the run, 0 if there is none."""
    x = m.execute
    p = m.p
    n, taken = _until_last(now, m)
    if n < 2 or _stores_from_scratchpad(m):
        return 0
    row = x.row
    back = p.dim - 1 - row
    reads_a = x.a_on and row < x.a_rows
    reads_b = x.b_on and row < x.b_rows
    reads_d = x.d_on and back < x.d_rows
    if reads_a:
        n = min(n, x.a_rows - row)
    if reads_b:
        n = min(n, x.b_rows - row)
    if x.d_on and not reads_d:
        n = min(n, back - x.d_rows + 1)
    x.run_reads = reads_a + reads_b + reads_d
    x.run_weights = 1 if reads_d else 0
    if x.entry_n < 1 + (p.read_pipe if x.run_reads else 0):
        n = min(n, x.entry_n)  # the entries that join the queue could not leave it in time
    last = row + n - 1
    x.run_a = _bank(p, x.a_addr, row * x.a_stride, last * x.a_stride) if x.a_on else -2
    x.run_b = _bank(p, x.b_addr, row, last) if x.b_on else -3
    x.run_d = _bank(p, x.d_addr, back, p.dim - 1 - last) if x.d_on else -4
    one_bank = x.run_a == x.run_b or x.run_a == x.run_d or x.run_b == x.run_d
    if n < 2 or one_bank or x.run_a == -1 or x.run_b == -1 or x.run_d == -1:
        return 0
    # an operand that is not read cannot be disturbed
    other = x.run_a if reads_a else (x.run_b if reads_b else x.run_d)
    x.run_b = x.run_b if reads_b else other
    x.run_d = x.run_d if reads_d else other
    x.run_a = other
    x.run_t = now + 1
    x.run_n = n
    x.run_taken = taken if taken <= n else 0
    return now + 1 + n


@njit
def disturbed(now, m):
    """True if this cycle ends a run early: a write uses one of its banks, or a store reads the scratchpad."""
    x = m.execute
    if m.p.sp_single and x.run_reads:
        written = m.ports.sp_write_t
        if written[x.run_a] == now or written[x.run_b] == now or written[x.run_d] == now:
            return True
    return _stores_from_scratchpad(m)


@njit
def carry_out(until, m):
    """Apply the run's effects of its cycles before `until`."""
    x = m.execute
    k = min(until - x.run_t, x.run_n)
    if k <= 0:
        return
    head = x.entry_head + k
    ready = x.run_t + 1 + (m.p.read_pipe if x.run_reads else 0)
    address = GARBAGE if x.kind == SINGLE_COMPUTE else x.c_addr
    before = x.run_taken if 0 < x.run_taken <= k else 0
    if before:
        h = (x.entry_head + before - 1) % ENTRIES
        mesh.feed_rows(x.run_t, m, before - 1)
        mesh.feed(x.run_t + before - 1, m)
        mesh.request(m, 0, x.entry_total[h], x.entry_slot[h], x.entry_address[h], x.entry_rows[h])
        m.mesh.written = ALL
    x.run_taken = 0 if before else x.run_taken - k
    for i in range(max(0, k - x.entry_n), k):
        j = (x.entry_head + x.entry_n + i) % ENTRIES
        x.entry_fires[j] = ALL
        x.entry_first[j] = 0
        x.entry_ready_t[j] = ready + i
        x.entry_total[j] = x.total
        x.entry_slot[j] = x.c_slot
        x.entry_address[j] = address
        x.entry_rows[j] = x.c_rows
    x.entry_head = head % ENTRIES
    x.row += k
    m.count[E_SPR] += k * x.run_reads
    m.count[E_WEIGHT] += k * x.run_weights
    mesh.feed_rows(x.run_t + before, m, k - before)
    x.run_t += k
    x.run_n -= k


@njit
def halt(until, m):
    """Apply all announced events of cycles before `until` and end all announcements."""
    burst.settle(until - 1, m)
    carry_out(until, m)
    mesh.leave(until, m)
    m.execute.run_n = 0
    m.mesh.run_n = 0
    m.acc.run_n = 0
