"""The memory behind the machine and the bus to it: two TileLink buffers each way, a round-robin crossbar, a D channel.

Source: Scratchpad.scala (reader and writer -> TLBuffer -> TLXbar -> TLBuffer -> port) and the measurement set-up
(fixed latency, bytes per cycle each way, reads answered in request order, acknowledges before read beats, bursts
not interleaved, one beat per cycle on each channel).

A channel: `ra` and `wa` are the 2-entry buffers behind reader and writer, `pa` the one at the port.
D channel: `pd` at the port, `rd` and `wd` in front of reader and writer. An entry is one beat.
"""

import numpy as np
from numba import njit

from sim.core.events import Event
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

BUFFER = np.dtype([("n", "i8"), ("pop_t", "i8"), ("who", "i8", (2,)), ("arg", "i8", (2,)), ("last", "i8", (2,))])
"""A TLBuffer channel. who: 0 reader, 1 writer. arg: A: beats asked (reader) or bytes of the Put on its last beat
(writer), with the transaction id; D: transaction id. last: last beat of a burst."""

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
def put_in(b, who, arg, last):
    """Append a beat."""
    i = b.n
    b.who[i] = who
    b.arg[i] = arg
    b.last[i] = last
    b.n = i + 1


@njit
def take(b, now):
    """Drop the head beat."""
    b.who[0] = b.who[1]
    b.arg[0] = b.arg[1]
    b.last[0] = b.last[1]
    b.n -= 1
    b.pop_t = now


@njit
def _send_beat(now, m):
    """The next beat of the oldest read goes into the port's buffer."""
    b = m.bus
    p = m.p
    h = b.r_head
    b.r_beats[h] -= 1
    last = 1 if b.r_beats[h] == 0 else 0
    put_in(b.pd, 0, b.r_xact[h], last)
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


@njit
def step_d(now, m):
    """Answers: port buffer -> reader or writer buffer, then memory -> port buffer. Returns the wake."""
    b = m.bus
    p = m.p
    acted = False
    if b.pd.n > 0:
        if b.pd.who[0] == 0:
            if room(b.rd, now):
                put_in(b.rd, 0, b.pd.arg[0], b.pd.last[0])
                take(b.pd, now)
                acted = True
        elif room(b.wd, now):
            put_in(b.wd, 1, 0, 1)
            take(b.pd, now)
            acted = True
    wake = NEVER
    if b.offer == NOTHING:
        # acknowledges first, but not inside a burst; what is once offered stays on the wires until it is taken
        if b.w_n > 0 and b.w_ready[b.w_head] <= now and b.r_in_burst == 0:
            b.offer = ACKNOWLEDGE
            acted = True
        elif b.r_n > 0:
            due = b.r_ready[b.r_head]
            paced = (b.r_next + p.read_den - 1) // p.read_den
            if paced > due:
                due = paced
            if due <= now:
                b.offer = READ
                acted = True
            else:
                wake = due
        if b.w_n > 0 and now < b.w_ready[b.w_head] < wake:
            wake = b.w_ready[b.w_head]
    if b.offer != NOTHING and room(b.pd, now):
        if b.offer == READ:
            _send_beat(now, m)
        else:
            put_in(b.pd, 1, 0, 1)
            b.w_head = (b.w_head + 1) % XACTS
            b.w_n -= 1
            b.writes_out -= 1
        b.offer = NOTHING
        acted = True
    if acted:
        m.rs.progress_t = now
        return now + 1
    return wake


@njit
def step_a(now, m):
    """Requests: port -> memory, then the crossbar's round-robin choice reader/writer -> port. Returns the wake."""
    b = m.bus
    p = m.p
    acted = False
    if b.pa.n > 0:
        if b.pa.who[0] == 0:
            i = (b.r_head + b.r_n) % XACTS
            beats = b.pa.arg[0] >> 16
            b.r_ready[i] = now + p.mem_latency
            b.r_beats[i] = beats
            b.r_xact[i] = b.pa.arg[0] & 0xFFFF
            b.r_n += 1
            b.reads_out += 1
            if b.reads_out > m.count[E_MAXR]:
                m.count[E_MAXR] = b.reads_out
            m.count[E_RR] += 1
            m.count[E_RB] += beats * p.beat_bytes
        else:
            m.count[E_WBEATS] += 1
            # the write queue drains write_den/write_num beats per cycle; at full width a beat in its own cycle
            at = (now - 1) * p.write_den
            if b.w_drained > at:
                at = b.w_drained
            b.w_drained = at + p.write_num
            if b.pa.last[0]:
                i = (b.w_head + b.w_n) % XACTS
                b.w_ready[i] = (b.w_drained + p.write_den - 1) // p.write_den + p.mem_latency
                b.w_n += 1
                b.writes_out += 1
                if b.writes_out > m.count[E_MAXW]:
                    m.count[E_MAXW] = b.writes_out
                m.count[E_WR] += 1
                m.count[E_WB] += b.pa.arg[0] & 0xFFFF
                m.count[E_WU] += b.pa.arg[0] >> 16
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
            put_in(b.pa, 0, b.ra.arg[0], 1)
            take(b.ra, now)
            acted = True
        elif who == 1:
            b.locked = 1 - b.wa.last[0]
            put_in(b.pa, 1, b.wa.arg[0], b.wa.last[0])
            take(b.wa, now)
            acted = True
    if acted:
        m.rs.progress_t = now
        return now + 1
    return NEVER
