"""The bus to memory and the memory: two TileLink buffers each way, a round-robin crossbar, a D channel.

Source: Scratchpad.scala (reader and writer -> TLBuffer -> TLXbar -> TLBuffer -> port) and the measurement set-up
(fixed latency, bytes per cycle each way, reads answered in request order, acknowledges before read beats, bursts
not interleaved, one beat per cycle on each channel).

A channel: `ra` and `wa` are the 2-entry buffers behind reader and writer, `pa` the one at the port.
D channel: `pd` at the port, `rd` and `wd` in front of reader and writer. An entry is one beat.
Behind the port lies the memory, or an L2 (l2.py) that asks the memory in its turn.
"""

import numpy as np

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.params import NEVER, XACTS

E_RR = int(Event.DRAM_READ_REQUESTS)
E_RB = int(Event.DRAM_READ_BYTES)
E_WR = int(Event.DRAM_WRITE_REQUESTS)
E_WB = int(Event.DRAM_WRITE_BYTES)
E_WU = int(Event.DRAM_WRITE_BYTES_UNMASKED)
E_MAXR = int(Event.MAX_OUTSTANDING_READS)
E_MAXW = int(Event.MAX_OUTSTANDING_WRITES)
E_RBEATS = int(Event.BUS_READ_BEATS)
E_WBEATS = int(Event.BUS_WRITE_BEATS)

BUFFER = np.dtype(
    [
        ("n", "i8"),
        ("pop_t", "i8"),
        ("who", "i8", (2,)),
        ("arg", "i8", (2,)),
        ("last", "i8", (2,)),
        ("address", "i8", (2,)),
    ]
)
"""A TLBuffer channel. who: 0 reader, 1 writer. arg: A: transaction id | beats << 16 (reader) or bytes | useful bytes
<< 16 of the Put (writer); D: transaction id. last: last beat of a burst. address (A): the first useful byte."""

NOTHING = 0
READ = 1
ACKNOWLEDGE = 2

DTYPE = np.dtype(
    [
        ("ra", BUFFER),
        ("wa", BUFFER),
        ("pa", BUFFER),
        ("pd", BUFFER),
        ("rd", BUFFER),
        ("wd", BUFFER),
        ("prefer", "i8"),  # 0: reader wins the next tie, 1: writer
        ("offer", "i8"),  # what the memory holds on its answer wires
        ("locked", "i8"),  # 1: the writer is inside a burst on A
        # pending reads in request order
        ("r_head", "i8"),
        ("r_n", "i8"),
        ("r_ready", "i8", (XACTS,)),
        ("r_beats", "i8", (XACTS,)),
        ("r_xact", "i8", (XACTS,)),
        ("r_in_burst", "i8"),
        ("r_next", "i8"),  # earliest time of the next read beat, in units of 1/read_den cycle
        # pending acknowledges in order
        ("w_head", "i8"),
        ("w_n", "i8"),
        ("w_ready", "i8", (XACTS,)),
        ("w_xact", "i8", (XACTS,)),
        ("w_drained", "i8"),  # when the write queue has drained, in units of 1/write_den cycle
        ("reads_out", "i8"),
        ("writes_out", "i8"),
    ]
)


@njit
def room(b, now):
    """True when a 2-entry buffer had room at the start of this cycle."""
    n = b.n
    if b.pop_t == now:
        n += 1
    return n < 2


@njit
def put_in(b, who, arg, last, address):
    """Append a beat."""
    i = b.n
    b.who[i] = who
    b.arg[i] = arg
    b.last[i] = last
    b.address[i] = address
    b.n = i + 1


@njit
def take(b, now):
    """Drop the head beat."""
    b.who[0] = b.who[1]
    b.arg[0] = b.arg[1]
    b.last[0] = b.last[1]
    b.address[0] = b.address[1]
    b.n -= 1
    b.pop_t = now


@njit
def accept_read(now, m, xact, beats):
    """The memory takes a read of some beats."""
    b = m.bus
    i = (b.r_head + b.r_n) % XACTS
    b.r_ready[i] = now + m.p.mem_latency
    b.r_beats[i] = beats
    b.r_xact[i] = xact
    b.r_n += 1
    b.reads_out += 1
    if b.reads_out > m.count[E_MAXR]:
        m.count[E_MAXR] = b.reads_out
    m.count[E_RR] += 1
    m.count[E_RB] += beats * m.p.beat_bytes


@njit
def accept_write(now, m, xact, last, size, useful):
    """The memory takes a beat of a Put of `size` bytes, of which `useful` are enabled by its mask."""
    b = m.bus
    p = m.p
    m.count[E_WBEATS] += 1
    # the write queue drains write_den/write_num beats per cycle; at full width a beat in its own cycle
    at = (now - 1) * p.write_den
    if b.w_drained > at:
        at = b.w_drained
    b.w_drained = at + p.write_num
    if last:
        i = (b.w_head + b.w_n) % XACTS
        b.w_ready[i] = (b.w_drained + p.write_den - 1) // p.write_den + p.mem_latency
        b.w_xact[i] = xact
        b.w_n += 1
        b.writes_out += 1
        if b.writes_out > m.count[E_MAXW]:
            m.count[E_MAXW] = b.writes_out
        m.count[E_WR] += 1
        m.count[E_WB] += size
        m.count[E_WU] += useful


@njit
def offer(now, m):
    """Put the next answer on the memory's wires, where it stays until it is taken. Returns the wake."""
    b = m.bus
    p = m.p
    if b.offer != NOTHING:
        return NEVER
    wake = NEVER
    if m.burst.busy_t >= now:  # bursts are on the wires
        if b.r_n > 0:
            wake = max(b.r_ready[b.r_head], m.burst.busy_t + 1)
        if b.w_n > 0:
            wake = min(wake, max(b.w_ready[b.w_head], m.burst.busy_t + 1))
        return wake
    # acknowledges first, but not inside a burst
    if b.w_n > 0 and b.w_ready[b.w_head] <= now and b.r_in_burst == 0:
        b.offer = ACKNOWLEDGE
        return now + 1
    if b.r_n > 0:
        due = b.r_ready[b.r_head]
        paced = (b.r_next + p.read_den - 1) // p.read_den
        if paced > due:
            due = paced
        if due <= now:
            b.offer = READ
            return now + 1
        wake = due
    if b.w_n > 0 and now < b.w_ready[b.w_head] < wake:
        wake = b.w_ready[b.w_head]
    return wake


@njit
def answer(now, m):
    """Take what the memory offers off its wires; returns transaction id << 1 | last beat."""
    b = m.bus
    p = m.p
    if b.offer == ACKNOWLEDGE:
        b.offer = NOTHING
        xact = b.w_xact[b.w_head]
        b.w_head = (b.w_head + 1) % XACTS
        b.w_n -= 1
        b.writes_out -= 1
        return xact << 1 | 1
    b.offer = NOTHING
    h = b.r_head
    b.r_beats[h] -= 1
    last = 1 if b.r_beats[h] == 0 else 0
    # Beats are staged one at a time at the memory's pace: a beat held up on the channel delays the next one only when
    # that one would have been staged before it left.
    at = b.r_ready[h] * p.read_den
    if b.r_next > at:
        at = b.r_next
    b.r_next = at + p.read_num
    if (now + 1) * p.read_den > b.r_next:
        b.r_next = (now + 1) * p.read_den
    m.count[E_RBEATS] += 1
    b.r_in_burst = 1 - last
    if last:
        b.r_head = (h + 1) % XACTS
        b.r_n -= 1
        b.reads_out -= 1
    return b.r_xact[h] << 1 | last


@njit
def _room_at_port(now, m):
    """Room for a beat behind those of bursts (burst.py), of which the last two may still be in the buffer."""
    return m.bus.pd.n + (m.bus.pd.pop_t == now) + (m.burst.rd1 >= now) + (m.burst.rd2 >= now) < 2


@njit
def _room_at_reader(now, m):
    """The same for the reader's buffer."""
    return m.bus.rd.n + (m.bus.rd.pop_t == now) + (m.burst.mg1 >= now) + (m.burst.mg2 >= now) < 2


@njit
def last_ready(now, m):
    """Cycle in which the memory will answer the read it took last, as far as it has not begun to."""
    b = m.bus
    t = b.r_ready[(b.r_head + b.r_n - 1) % XACTS]
    return t if b.r_n > 0 and t > now else NEVER


@njit
def step_port(now, m):
    """Answers in the buffer at the port go on to reader or writer. Returns the wake."""
    return _pass(now, m) if m.bus.pd.n > 0 else NEVER


@njit
def _pass(now, m):
    b = m.bus
    if m.burst.rd1 >= now:
        return now + 1
    if b.pd.who[0] == 0:
        if not _room_at_reader(now, m):
            return now + 1 if m.burst.mg1 >= now else NEVER
        put_in(b.rd, 0, b.pd.arg[0], b.pd.last[0], 0)
    else:
        if not room(b.wd, now):
            return NEVER
        put_in(b.wd, 1, b.pd.arg[0], 1, 0)
    take(b.pd, now)
    m.rs.progress_t = now
    return now + 1


@njit
def step_d(now, m):
    """The memory's next answer goes to the port. Returns the wake."""
    return _answers(now, m) if m.bus.r_n + m.bus.w_n + m.full > 0 and m.p.l2_sets == 0 else NEVER


@njit
def _answers(now, m):
    b = m.bus
    wake = offer(now, m)
    if b.offer == NOTHING:
        return wake
    if not _room_at_port(now, m):
        return now + 1 if m.burst.rd1 >= now else NEVER
    who = 0 if b.offer == READ else 1
    beat = answer(now, m)
    put_in(b.pd, who, beat >> 1, beat & 1, 0)
    m.rs.progress_t = now
    return now + 1


@njit
def step_a(now, m):
    """Requests: port -> memory, then the crossbar's round-robin choice reader/writer -> port. Returns the wake."""
    return _requests(now, m) if m.bus.pa.n + m.bus.ra.n + m.bus.wa.n + m.full > 0 else NEVER


@njit
def _requests(now, m):
    b = m.bus
    acted = False
    if m.p.l2_sets == 0 and b.pa.n > 0:
        if b.pa.who[0] == 0:
            accept_read(now, m, b.pa.arg[0] & 0xFFFF, b.pa.arg[0] >> 16)
        else:
            accept_write(now, m, 0, b.pa.last[0], b.pa.arg[0] & 0xFFFF, b.pa.arg[0] >> 16)
        take(b.pa, now)
        acted = True
    if room(b.pa, now):
        who = -1
        if b.locked:
            if b.wa.n > 0:
                who = 1
        elif b.ra.n > 0 and b.wa.n > 0:
            who = b.prefer
            b.prefer = 1 - who
        elif b.ra.n > 0:
            who = 0
            b.prefer = 1
        elif b.wa.n > 0:
            who = 1
            b.prefer = 0
        if who == 0:
            put_in(b.pa, 0, b.ra.arg[0], 1, b.ra.address[0])
            take(b.ra, now)
            acted = True
        elif who == 1:
            b.locked = 1 - b.wa.last[0]
            put_in(b.pa, 1, b.wa.arg[0], b.wa.last[0], b.wa.address[0])
            take(b.wa, now)
            acted = True
    if acted:
        m.rs.progress_t = now
        return now + 1
    return NEVER


@njit
def rebase(m, start):
    """Let all times of the memory side count from cycle ``start``."""
    b = m.bus
    for buffer in (b.ra, b.wa, b.pa, b.pd, b.rd, b.wd):
        buffer.pop_t -= start
    for i in range(XACTS):
        b.r_ready[i] -= start
        b.w_ready[i] -= start
    b.r_next -= start * m.p.read_den
    b.w_drained -= start * m.p.write_den
