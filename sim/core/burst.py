"""Bursts of read beats that nobody contends for, each one event: the leaping clock's way from the memory to the bank.

From the memory's wires a beat goes through two buffers to the merger, the row it completes through the scaler and the
pixel repeater to its bank. Rows of the scratchpad in whole beats (several in a beat: when the memory is as slow as they
leave the merger) that the scaler lets pass are never held up behind the merger, and before it by each other only; so
all times of a burst follow when the memory offers its first beat. Nobody
is asked beat by beat then (`settle` does what is due), and the units on the way see only the beats that go one by one.
Of the bursts on their way nobody looks at more than the places they hold: wires, transaction ids, banks.
"""

import numpy as np

from sim.core import load
from sim.core.events import Event
from sim.core.jit import njit
from sim.core.memory import NOTHING, room
from sim.core.params import BANKS, NEVER, RING, XACTS, sp_bank
from sim.core.reader import REQUESTS, free_xact
from sim.core.scaler import occupied

E_MAXR = int(Event.MAX_OUTSTANDING_READS)
E_RBEATS = int(Event.BUS_READ_BEATS)
E_SPW = int(Event.SPAD_WRITE_ROWS)

BEATS = 16  # most beats of a burst
BEATS_OUT = 64  # most beats whose cycles are known
STALL = 4  # beats that a merger's lost cycle holds up behind it, before the buffers have caught up

DTYPE = np.dtype(
    [
        ("on", "i8"),
        ("off", "i8"),  # 1: the program sends results to the scratchpad, where they go before loaded rows
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
        ("lost_t", "i8"),  # cycle in which the merger is not ready, as its last request ended in useless bytes
        # last beats on their way to the merger: cycle, transaction id
        ("x_n", "i8"),
        ("x_head", "i8"),
        ("x_t", "i8", (RING,)),
        ("x_id", "i8", (RING,)),
        # rows on their way to their banks: cycle, bank, last of a request
        ("w_n", "i8"),
        ("w_head", "i8"),
        ("w_t", "i8", (RING,)),
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
def _longest(p):
    """Cycles of the longest burst from the wires to the bank."""
    beats = p.max_bytes // p.beat_bytes
    return (beats * p.read_num + p.read_den - 1) // p.read_den + 3 + STALL + _path(p)


@njit
def suits(m):
    """Nothing but loaded rows comes to the scratchpad, from a memory without a cache."""
    return m.burst.off == 0 and m.p.l2_sets == 0 and m.p.max_bytes // m.p.beat_bytes <= BEATS


@njit
def settle(now, m):
    """Do what is due by now."""
    if m.burst.p_n + m.burst.a_n + m.burst.x_n + m.burst.w_n > 0:
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
        f.row_t = f.w_t[f.w_head]
        m.ports.sp_write_t[f.w_bank[f.w_head]] = f.row_t
        m.count[E_SPW] += 1
        if f.w_last[f.w_head]:
            f.last_t = f.row_t
        f.w_head = (f.w_head + 1) % RING
        f.w_n -= 1


@njit
def _answered(now, m):
    """Beats that have left the memory's wires, and requests it had taken before this cycle, in their order."""
    f = m.burst
    b = m.bus
    while True:
        t = f.p_t[f.p_head] >> 6
        left = f.p_n > 0 and t <= now
        if f.a_n > 0 and f.a_t[f.a_head] < now and not (left and t <= f.a_t[f.a_head]):
            f.a_head = (f.a_head + 1) % REQUESTS
            f.a_n -= 1
            b.reads_out += 1
            m.count[E_MAXR] = max(m.count[E_MAXR], b.reads_out)
        elif left:
            m.count[E_RBEATS] += (f.p_t[f.p_head] >> 1) & 31
            m.rs.progress_t = max(m.rs.progress_t, t + 1)
            b.reads_out -= f.p_t[f.p_head] & 1
            f.p_head = (f.p_head + 1) % BEATS_OUT
            f.p_n -= 1
        else:
            return


@njit
def wake(now, m):
    """Cycle in which somebody may want to know: a bank in use, a reader without ids, a completed command."""
    return (
        _wake(now, m)
        if m.ld.c_ready + m.burst.w_n + m.burst.x_n > 0 or m.rd.freed_t == now or m.burst.row_t == now
        else NEVER
    )


@njit
def _wake(now, m):
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
    return t


@njit
def _flows(m, xact):
    """Beats of this request are whole rows or rows whole beats; they go to the scratchpad, unchanged and once each."""
    p = m.p
    r = m.rd
    w0 = r.x0[xact]
    w1 = r.x1[xact]
    if (w0 >> 31) & 1 or (w0 >> 36) & 3 or w1 & 0xFFFF or (p.first_layer and (w1 >> 16) & 0xFF != 1):
        return False
    if p.mvin_units > 0 and (w0 >> 34) & 1 == 0:
        return False
    beat = p.beat_bytes
    row = r.x_row[xact]
    if row < beat:
        # rows leave the merger one a cycle: all those of a beat before the next one comes
        rows = beat // row
        if rows * row != beat or rows * (r.x_total[xact] // beat) > BEATS or p.read_num < rows * p.read_den:
            return False
        ends = r.x_total[xact] - r.x_shift[xact] - r.x_bytes[xact] < beat
        return ends and r.x_off[xact] == 0 and r.x_shift[xact] % row == 0
    return r.x_off[xact] == 0 and r.x_shift[xact] % beat == 0 and row % beat == 0


@njit
def _loses(m, xact):
    """The request ends in one beat without a useful byte: the merger then loses a cycle."""
    r = m.rd
    useless = r.x_total[xact] - r.x_shift[xact] - r.x_bytes[xact]
    return m.p.beat_bytes <= useless < 2 * m.p.beat_bytes


@njit
def _followed(m):
    """What comes within the stall behind the next read are bursts too, and no acknowledge."""
    b = m.bus
    p = m.p
    if b.w_n > 0 or p.mem_latency < 2 * _longest(p):
        return False
    beats = 0
    for i in range(1, b.r_n):
        j = (b.r_head + i) % XACTS
        if beats >= STALL:
            return True
        if not _flows(m, b.r_xact[j]) or _loses(m, b.r_xact[j]):
            return False
        beats += b.r_beats[j]
    return True


@njit
def _free(now, m):
    """Nothing that goes beat by beat is on the way, and the memory's next answer, due now, is a read."""
    b = m.bus
    v = m.mv
    if b.r_ready[b.r_head] > now or b.r_next > now * m.p.read_den:
        return False
    if b.offer != NOTHING or b.r_in_burst or (b.w_n > 0 and b.w_ready[b.w_head] <= now):
        return False
    acknowledge = b.pd.n == 1 and b.pd.who[0] == 1 and room(b.wd, now)
    if (b.pd.n > 0 and not acknowledge) or b.rd.n > 0 or v.g_valid:
        return False
    return v.busy == 0 or not (v.r_valid or occupied(v.s) or occupied(v.w))


@njit
def begin(now, m):
    """The memory's next read becomes a burst when it can, and so do those behind it that no acknowledge precedes."""
    if m.burst.on and m.bus.r_n > 0 and m.burst.busy_t < now:
        _begin(now, m)


@njit
def _begin(now, m):
    f = m.burst
    b = m.bus
    p = m.p
    if not _free(now, m):
        return
    at = now
    until = now + p.mem_latency
    # a beat that was held up comes closer to the next one than the memory's pace
    late = max(b.r_ready[b.r_head] * p.read_den, b.r_next) <= (now - 1) * p.read_den
    if late and m.rd.x_row[b.r_xact[b.r_head]] < p.beat_bytes:
        return
    while True:
        xact = b.r_xact[b.r_head]
        if not _flows(m, xact) or (_loses(m, xact) and (at > now or not _followed(m))):
            break
        _launch(at, m, xact, b.r_beats[b.r_head], b.r_ready[b.r_head] * p.read_den)
        b.r_head = (b.r_head + 1) % XACTS
        b.r_n -= 1
        if b.r_n == 0 or f.w_n + BEATS > RING or f.p_n + BEATS > BEATS_OUT or f.x_n == RING:
            break
        at = max(max(b.r_ready[b.r_head], f.busy_t + 1), (b.r_next + p.read_den - 1) // p.read_den)
        if at >= until or (b.w_n > 0 and b.w_ready[b.w_head] <= at):
            break
    _answered(now, m)


@njit
def _launch(at, m, xact, n, ready):
    """A burst of n beats, the first offered in cycle `at`: all times of its beats and rows."""
    f = m.burst
    b = m.bus
    r = m.rd
    p = m.p
    row_bytes = r.x_row[xact]
    shift = r.x_shift[xact]
    n_bytes = r.x_bytes[xact]
    path = _path(p)
    done = 0  # bytes of the rows so far
    row = 0
    merged = 0
    sent = 0  # cycle in which the last row leaves the merger
    for i in range(n):
        if i > 0:
            at = max(f.pd1 + 1, (b.r_next + p.read_den - 1) // p.read_den)
        port = max(at, max(f.pd1, f.rd2) + 1)
        buffer = max(port, max(f.rd1, f.mg2)) + 1
        merged = max(buffer, f.mg1) + 1
        if i == 0 and merged == f.lost_t:
            merged += 1
        b.r_next = max(max(ready, b.r_next) + p.read_num, (port + 1) * p.read_den)
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
            _send(m, sent + path, (r.x_addr[xact] & p.addr_mask) + r.x_stride[xact] * row, done == n_bytes)
            row += 1
    if merged == sent:
        f.lost_t = merged + 1
    f.busy_t = f.pd1
    j = (f.x_head + f.x_n) % RING
    f.x_t[j] = merged
    f.x_id[j] = xact
    f.x_n += 1
    if p.mvin_units > 0:
        m.mv.s.tail = (m.mv.s.tail + row) % 3
        m.mv.s.head = m.mv.s.tail
    load.returned(f.w_t[(f.w_head + f.w_n - 1) % RING], m, (r.x0[xact] >> 40) & 0xFF, r.x1[xact] >> 40)


@njit
def _send(m, t, address, last):
    """A row that will be in its bank in cycle t."""
    f = m.burst
    j = (f.w_head + f.w_n) % RING
    bank = sp_bank(m.p, address)
    f.w_t[j] = t
    f.w_bank[j] = bank
    f.w_last[j] = 1 if last else 0
    f.w_n += 1
    f.bank_t[bank] = t
