"""Bursts of read beats that nobody contends for, each one event: the leaping clock's way from the memory to the bank.

From the memory's wires a beat goes through two buffers to the merger, the row it completes through the scaler and the
pixel repeater to its bank. Rows of the scratchpad in whole beats, or whole rows in a beat, that the scaler lets pass
are never held up behind the merger, and before it by each other only; so all times of a burst follow when the memory
offers its first beat. Nobody is asked beat by beat then (`settle` does what is due), and the units on the way see only
the beats that go one by one. Of the bursts on their way nobody looks at more than the places they hold: wires, the
buffers and the merger (from whoever goes beat by beat behind them), transaction ids, banks.
"""

import numpy as np

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import BANKS, FIXED, NEVER, RING, XACTS, sp_bank
from sim.core.units import load
from sim.core.units.memory.wires import NOTHING
from sim.core.units.reader import REQUESTS, free_xact
from sim.core.units.scaler import occupied

E_MAXR = int(Event.MAX_OUTSTANDING_READS)
E_RBEATS = int(Event.BUS_READ_BEATS)
E_SPW = int(Event.SPAD_WRITE_ROWS)

BEATS = 16  # most beats of a burst
BEATS_OUT = 64  # most beats whose cycles are known

DTYPE = np.dtype(
    [
        ("on", "i8"),
        ("off", "i8"),  # 1: the program sends results to the scratchpad, where they go before loaded rows
        ("due_t", "i8"),  # cycle in which `settle` has to do something next
        # bursts (for a timeline: single beats) that have not left the wires yet: last cycle << 6, beats << 1,
        # 1 where the burst ends
        ("p_n", "i8"),
        ("p_head", "i8"),
        ("p_t", "i8", (BEATS_OUT,)),
        ("busy_t", "i8"),  # cycle of the last of them
        # requests on their way to the memory: cycles in which it takes them
        ("a_n", "i8"),
        ("a_head", "i8"),
        ("a_t", "i8", (REQUESTS,)),
        # cycles in which the last beats reached port buffer, reader's buffer and merger
        ("pd1", "i8"),
        ("rd1", "i8"),
        ("rd2", "i8"),
        ("mg1", "i8"),
        ("mg2", "i8"),
        ("free_t", "i8"),  # cycle from which the merger takes the next request
        # last beats on their way to the merger: cycle, transaction id
        ("x_n", "i8"),
        ("x_head", "i8"),
        ("x_t", "i8", (RING,)),
        ("x_id", "i8", (RING,)),
        # rows on their way to their banks, one a cycle: cycle of the first, how many, their bank, 1 when the last of
        # them is the last of a request
        ("w_n", "i8"),
        ("w_head", "i8"),
        ("w_t", "i8", (RING,)),
        ("w_rows", "i8", (RING,)),
        ("w_bank", "i8", (RING,)),
        ("w_last", "i8", (RING,)),
        ("bank_t", "i8", (BANKS,)),  # last cycle in which one of them enters this bank
        ("row_t", "i8"),  # cycle in which the last one was written, and the last of a request
        ("last_t", "i8"),
    ]
)


@njit
def _path(p):
    """Cycles from leaving the merger to the bank: input register, multipliers (a row that passes), repeater."""
    return 2 + (1 if p.mvin_units > 0 else p.mvin_latency) + p.first_layer


@njit
def suits(m):
    """Nothing but loaded rows comes to the scratchpad, from a memory without a cache."""
    return (
        m.burst.off == 0
        and m.p.l2_sets == 0
        and m.p.page_mode == 0
        and m.p.memory_model == FIXED
        and m.p.max_bytes // m.p.beat_bytes <= BEATS
    )


@njit
def settle(now, m):
    """Do what is due by now."""
    if m.burst.due_t <= now:
        _settle(now, m)


@njit
def _settle(now, m):
    f = m.burst
    _answered(now, m)
    while f.x_n > 0 and f.x_t[f.x_head] <= now:
        free_xact(f.x_t[f.x_head], m, f.x_id[f.x_head])
        f.x_head = (f.x_head + 1) % RING
        f.x_n -= 1
    while f.w_n > 0 and f.w_t[f.w_head] <= now:
        h = f.w_head
        k = min(now + 1 - f.w_t[h], f.w_rows[h])
        f.row_t = f.w_t[h] + k - 1
        m.ports.sp_write_t[f.w_bank[h]] = f.row_t
        m.count[E_SPW] += k
        f.w_t[h] += k
        f.w_rows[h] -= k
        if f.w_rows[h] == 0:
            if f.w_last[h]:
                f.last_t = f.row_t
            f.w_head = (h + 1) % RING
            f.w_n -= 1
    f.due_t = f.w_t[f.w_head] if f.w_n > 0 else NEVER
    if f.x_n > 0:
        f.due_t = min(f.due_t, f.x_t[f.x_head])
    if f.p_n > 0:
        f.due_t = min(f.due_t, f.p_t[f.p_head] >> 6)
    if f.a_n > 0:
        f.due_t = min(f.due_t, f.a_t[f.a_head] + 1)


@njit
def _answered(now, m):
    """Beats that have left the memory's wires, and requests it had taken before this cycle, in their order."""
    f = m.burst
    while True:
        t = f.p_t[f.p_head] >> 6
        left = f.p_n > 0 and t <= now
        if f.a_n > 0 and f.a_t[f.a_head] < now and not (left and t <= f.a_t[f.a_head]):
            f.a_head = (f.a_head + 1) % REQUESTS
            f.a_n -= 1
            m.mem.reads_out += 1
            m.count[E_MAXR] = max(m.count[E_MAXR], m.mem.reads_out)
        elif left:
            m.count[E_RBEATS] += (f.p_t[f.p_head] >> 1) & 31
            m.rs.progress_t = max(m.rs.progress_t, t + 1)
            m.mem.reads_out -= f.p_t[f.p_head] & 1
            f.p_head = (f.p_head + 1) % BEATS_OUT
            f.p_n -= 1
        else:
            return


@njit
def wake(now, m):
    """Cycle in which somebody may want to know: a bank in use, a reader without ids, a completed command, a fence."""
    f = m.burst
    x = m.ex
    t = load.next_done(now, m)
    if f.w_n > 0 and x.run_n > 0 and m.p.sp_single and x.run_reads:
        if f.bank_t[x.run_a] > now or f.bank_t[x.run_b] > now or f.bank_t[x.run_d] > now:
            t = min(t, f.w_t[f.w_head])
    if m.mv.busy and (f.w_n > 0 or f.row_t == now):
        t = now + 1
    if m.rd.busy and m.rd.used >= m.p.n_xacts - 1:
        if m.rd.freed_t == now:
            t = now + 1
        elif f.x_n > 0:
            t = min(t, f.x_t[f.x_head] + 1)
    if m.fe.waits and m.rs.n[0] + m.rs.n[1] + m.rs.n[2] < 2:  # only ids may be out: of useless beats behind all rows
        if m.rd.freed_t == now:
            t = now + 1
        elif f.x_n > 0:
            t = min(t, f.x_t[f.x_head])
    return t


@njit
def _flows(m, xact):
    """Beats of this request are whole rows or rows whole beats; they go to the scratchpad, unchanged and once each."""
    p = m.p
    r = m.rd
    w0 = r.x0[xact]
    w1 = r.x1[xact]
    if r.x_bytes[xact] == 0:  # no row, and nobody to tell: its command counts no bytes and may be over
        return False
    if (w0 >> 31) & 1 or (w0 >> 36) & 3 or w1 & 0xFFFF:
        return False
    if p.first_layer and (w1 >> 16) & 0xFF != 1:
        return False
    if p.mvin_units > 0 and (w0 >> 34) & 1 == 0:
        return False
    beat = p.beat_bytes
    row = r.x_row[xact]
    if row < beat:
        if beat % row or r.x_total[xact] // row > BEATS:
            return False
        return r.x_off[xact] == 0 and r.x_shift[xact] % row == 0
    return r.x_off[xact] == 0 and r.x_shift[xact] % beat == 0 and row % beat == 0


@njit
def _free(now, m):
    """Nothing that goes beat by beat is on the way, and the memory's next answer, due now, is a read."""
    mem = m.fixed
    v = m.mv
    if mem.next_beat > now * m.p.read_den:
        return False
    if m.mem.offered != NOTHING or mem.in_burst or (mem.ack_n > 0 and mem.ack_ready_t[mem.ack_head] <= now):
        return False
    if m.port.from_memory.n + m.port.reader_in.n + v.g_valid > 0:
        return False
    return v.busy == 0 or not (v.r_valid or occupied(v.s) or occupied(v.w))


@njit
def begin(now, m):
    """The memory's next read becomes a burst when it can, and so do those behind it that no acknowledge precedes."""
    mem = m.fixed
    if m.burst.on and mem.read_n > 0 and mem.read_ready_t[mem.read_head] <= now and m.burst.busy_t < now:
        _begin(now, m)


@njit
def _begin(now, m):
    f = m.burst
    mem = m.fixed
    p = m.p
    if not _free(now, m):
        return
    at = now
    until = now + p.mem_latency
    while True:
        xact = mem.read_id[mem.read_head]
        if not _flows(m, xact):
            break
        _launch(at, m, xact, mem.read_beats[mem.read_head], mem.read_ready_t[mem.read_head] * p.read_den)
        mem.read_head = (mem.read_head + 1) % XACTS
        mem.read_n -= 1
        if mem.read_n == 0 or f.w_n + BEATS > RING or f.p_n + BEATS > BEATS_OUT or f.x_n == RING:
            break
        at = max(max(mem.read_ready_t[mem.read_head], f.busy_t + 1), (mem.next_beat + p.read_den - 1) // p.read_den)
        if at >= until or (mem.ack_n > 0 and mem.ack_ready_t[mem.ack_head] <= at):
            break
    _answered(now, m)


@njit
def _launch(at, m, xact, n, ready):
    """A burst of n beats, the first offered in cycle `at`: all times of its beats and rows."""
    f = m.burst
    p = m.p
    r = m.rd
    address = r.x_addr[xact] & p.addr_mask
    sent = _smooth(at, m, xact, n, address)
    if sent < 0:
        sent = _beats(at, m, xact, n, ready, address)
    merged = f.mg1
    # the cycle of its last row will do, the one behind a beat that brought no row, but not that of both
    f.free_t = sent if sent > merged else (merged + 1 if sent < merged else merged + 2)
    f.busy_t = f.pd1
    j = (f.x_head + f.x_n) % RING
    f.x_t[j] = merged
    f.x_id[j] = xact
    f.x_n += 1
    f.due_t = min(f.due_t, f.p_t[f.p_head] >> 6)
    load.returned(sent + _path(p), m, (r.x0[xact] >> 40) & 0xFF, r.x1[xact] >> 40)


@njit
def _smooth(at, m, xact, n, address):
    """A beat a cycle, a row a beat, nobody in the way, one bank: cycle of the last row out of the merger, or -1."""
    f = m.burst
    p = m.p
    r = m.rd
    beat = p.beat_bytes
    if p.read_num > p.read_den or m.rs.logging or r.x_row[xact] != beat:
        return -1
    if max(f.pd1, f.rd2) >= at or max(f.rd1, f.mg2) > at or max(f.mg1 + 1, f.free_t) > at + 2:
        return -1
    rows = (r.x_bytes[xact] + beat - 1) // beat
    last = address + r.x_stride[xact] * (rows - 1)
    if sp_bank(p, address) != sp_bank(p, last) or last > p.addr_mask:
        return -1
    m.fixed.next_beat = (at + n) * p.read_den
    if n > 1:
        f.rd2 = at + n - 1
        f.mg2 = at + n
    else:
        f.rd2 = f.rd1
        f.mg2 = f.mg1
    f.pd1 = at + n - 1
    f.rd1 = at + n
    f.mg1 = at + n + 1
    f.p_t[(f.p_head + f.p_n) % BEATS_OUT] = f.pd1 << 6 | n << 1 | 1
    f.p_n += 1
    first = at + 3 + r.x_shift[xact] // beat
    _rows(m, first + _path(p), rows, address, True)
    if p.mvin_units > 0:
        _turn(m, rows)
    return first + rows - 1


@njit
def _beats(at, m, xact, n, ready, address):
    """The same, beat by beat."""
    f = m.burst
    mem = m.fixed
    r = m.rd
    p = m.p
    row_bytes = r.x_row[xact]
    shift = r.x_shift[xact]
    n_bytes = r.x_bytes[xact]
    path = _path(p)
    done = 0  # bytes of the rows so far
    row = 0
    sent = 0  # cycle in which the last row leaves the merger
    for i in range(n):
        if i > 0:
            at = max(f.pd1 + 1, (mem.next_beat + p.read_den - 1) // p.read_den)
        port = max(at, max(f.pd1, f.rd2) + 1)
        buffer = max(port, max(f.rd1, f.mg2)) + 1
        merged = max(buffer, f.mg1) + 1
        if i == 0:
            merged = max(merged, f.free_t)
        mem.next_beat = max(max(ready, mem.next_beat) + p.read_num, (port + 1) * p.read_den)
        f.pd1 = port
        f.rd2 = f.rd1
        f.rd1 = buffer
        f.mg2 = f.mg1
        f.mg1 = merged
        if m.rs.logging or i == n - 1:
            ended = 1 if i == n - 1 else 0
            f.p_t[(f.p_head + f.p_n) % BEATS_OUT] = port << 6 | (1 if m.rs.logging else n) << 1 | ended
            f.p_n += 1
        useful = (i + 1) * p.beat_bytes - shift
        while done < n_bytes and (useful >= done + row_bytes or useful >= n_bytes):
            done = min(done + row_bytes, n_bytes)
            sent = max(merged, sent) + 1
            _rows(m, sent + path, 1, address + r.x_stride[xact] * row, done == n_bytes)
            row += 1
    if p.mvin_units > 0:
        _turn(m, row)
    return sent


@njit
def _turn(m, rows):
    """The scaler's slots take turns; these rows have passed."""
    m.mv.s.tail = (m.mv.s.tail + rows) % 3
    m.mv.s.head = m.mv.s.tail


@njit
def _rows(m, t, n, address, last):
    """Rows of one bank, the first of which will be there in cycle t; `last`: the last of them ends a request."""
    f = m.burst
    bank = sp_bank(m.p, address)
    f.bank_t[bank] = t + n - 1
    j = (f.w_head + f.w_n - 1) % RING
    if f.w_n > 0 and f.w_bank[j] == bank and f.w_last[j] == 0 and f.w_t[j] + f.w_rows[j] == t:
        f.w_rows[j] += n
    else:
        j = (f.w_head + f.w_n) % RING
        f.w_t[j] = t
        f.w_rows[j] = n
        f.w_bank[j] = bank
        f.w_n += 1
        f.due_t = min(f.due_t, t)
    f.w_last[j] = 1 if last else 0


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    f = m.burst
    straighten(f.p_t, f.p_head, f.p_n, BEATS_OUT)
    straighten(f.a_t, f.a_head, f.a_n, REQUESTS)
    straighten(f.x_t, f.x_head, f.x_n, RING)
    straighten(f.x_id, f.x_head, f.x_n, RING)
    for ring in (f.w_t, f.w_rows, f.w_bank, f.w_last):
        straighten(ring, f.w_head, f.w_n, RING)
    f.p_head = 0
    f.a_head = 0
    f.x_head = 0
    f.w_head = 0
    for i in range(f.a_n):
        f.a_t[i] -= now
    for i in range(f.p_n):
        f.p_t[i] -= now << 6
    for i in range(f.x_n):
        f.x_t[i] -= now
    for i in range(f.w_n):
        f.w_t[i] -= now
    f.due_t = due(f.due_t, now)
    for bank in range(BANKS):
        f.bank_t[bank] = recent(f.bank_t[bank], now, 0)
    f.busy_t = recent(f.busy_t, now, 0)
    f.pd1 = recent(f.pd1, now, 0)
    f.rd1 = recent(f.rd1, now, 0)
    f.rd2 = recent(f.rd2, now, 0)
    f.mg1 = recent(f.mg1, now, 0)
    f.mg2 = recent(f.mg2, now, 0)
    f.free_t = recent(f.free_t, now, 0)
    f.row_t = LONG_AGO
    f.last_t = LONG_AGO


def reset(m):
    """State after reset: no burst under way, none before."""
    for field in ("busy_t", "pd1", "rd1", "rd2", "mg1", "mg2", "free_t", "row_t", "last_t"):
        m.burst[field] = LONG_AGO
    m.burst.due_t = NEVER
