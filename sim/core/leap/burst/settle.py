"""Events of the bursts under way, applied when they are due, and the cycles in which another unit depends on them."""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.leap.burst.state import BEATS_OUT, beats_of, cycle_of
from sim.core.params import NEVER, RING
from sim.core.units import load
from sim.core.units.reader import REQUESTS, free_xact

E_MAXR = int(Event.MAX_OUTSTANDING_READS)
E_RBEATS = int(Event.BUS_READ_BEATS)
E_SPW = int(Event.SPAD_WRITE_ROWS)


@njit
def settle(now, m):
    """Apply the events that are due by now."""
    if m.burst.due_t <= now:
        _settle(now, m)


@njit
def _settle(now, m):
    f = m.burst
    answered(now, m)
    while f.ends_n > 0 and f.ends_t[f.ends_head] <= now:
        free_xact(f.ends_t[f.ends_head], m, f.ends_id[f.ends_head])
        f.ends_head = (f.ends_head + 1) % RING
        f.ends_n -= 1
    while f.rows_n > 0 and f.rows_t[f.rows_head] <= now:
        h = f.rows_head
        k = min(now + 1 - f.rows_t[h], f.rows_count[h])
        f.row_t = f.rows_t[h] + k - 1
        m.ports.sp_write_t[f.rows_bank[h]] = f.row_t
        m.count[E_SPW] += k
        f.rows_t[h] += k
        f.rows_count[h] -= k
        if f.rows_count[h] == 0:
            if f.rows_last[h]:
                f.last_t = f.row_t
            f.rows_head = (h + 1) % RING
            f.rows_n -= 1
    f.due_t = f.rows_t[f.rows_head] if f.rows_n > 0 else NEVER
    if f.ends_n > 0:
        f.due_t = min(f.due_t, f.ends_t[f.ends_head])
    if f.wire_n > 0:
        f.due_t = min(f.due_t, cycle_of(f.wire_burst[f.wire_head]))
    if f.sent_n > 0:
        f.due_t = min(f.due_t, f.sent_t[f.sent_head] + 1)


@njit
def answered(now, m):
    """Return the beats that have left the memory's wires, and the requests accepted before this cycle, in order."""
    f = m.burst
    while True:
        t = cycle_of(f.wire_burst[f.wire_head])
        left = f.wire_n > 0 and t <= now
        if f.sent_n > 0 and f.sent_t[f.sent_head] < now and not (left and t <= f.sent_t[f.sent_head]):
            f.sent_head = (f.sent_head + 1) % REQUESTS
            f.sent_n -= 1
            m.mem.reads_out += 1
            m.count[E_MAXR] = max(m.count[E_MAXR], m.mem.reads_out)
        elif left:
            m.count[E_RBEATS] += beats_of(f.wire_burst[f.wire_head])
            m.station.progress_t = max(m.station.progress_t, t + 1)
            m.mem.reads_out -= f.wire_burst[f.wire_head] & 1
            f.wire_head = (f.wire_head + 1) % BEATS_OUT
            f.wire_n -= 1
        else:
            return


@njit
def wake(now, m):
    """Next cycle in which a unit depends on a burst: bank in use, reader without ids, completed command, fence."""
    f = m.burst
    x = m.execute
    t = load.next_done(now, m)
    if f.rows_n > 0 and x.run_n > 0 and m.p.sp_single and x.run_reads:
        if f.bank_t[x.run_a] > now or f.bank_t[x.run_b] > now or f.bank_t[x.run_d] > now:
            t = min(t, f.rows_t[f.rows_head])
    if m.mvin.busy and (f.rows_n > 0 or f.row_t == now):
        t = now + 1
    if m.reader.busy and m.reader.used >= m.p.n_xacts - 1:
        if m.reader.freed_t == now:
            t = now + 1
        elif f.ends_n > 0:
            t = min(t, f.ends_t[f.ends_head] + 1)
    if (
        m.front.waits and m.station.n[0] + m.station.n[1] + m.station.n[2] < 2
    ):  # only ids may be in use: of useless beats after all rows
        if m.reader.freed_t == now:
            t = now + 1
        elif f.ends_n > 0:
            t = min(t, f.ends_t[f.ends_head])
    return t
