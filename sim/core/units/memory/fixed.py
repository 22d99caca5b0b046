"""A memory of fixed latency and bandwidth: the one of the RTL measurements.

Reads are answered in request order, `mem_latency` cycles after their request, a beat every read_num/read_den cycles;
acknowledges precede read beats, but do not interrupt a burst. Puts enter a queue that drains a beat every
write_num/write_den cycles and are acknowledged `mem_latency` cycles after their last beat has left it. With `one_port`
a beat of either
delays the next one of both.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import due, straighten
from sim.core.params import NEVER, XACTS
from sim.core.units.memory.wires import ACKNOWLEDGE, READ

TIMING_BITS = 0

DTYPE = np.dtype(
    [
        # pending reads in request order: a ring
        ("read_head", "i8"),  # index of the oldest
        ("read_n", "i8"),  # reads that wait
        ("read_ready_t", "i8", (XACTS,)),  # cycle from which the first beat can be offered
        ("read_beats", "i8", (XACTS,)),  # beats still to come
        ("read_id", "i8", (XACTS,)),  # transaction
        ("in_burst", "i8"),  # 1: some beats of the oldest read were sent
        ("next_beat", "i8"),  # earliest time of the next read beat, in units of 1/read_den cycle
        # pending acknowledges in order: a ring
        ("ack_head", "i8"),  # index of the oldest
        ("ack_n", "i8"),  # acknowledges that wait
        ("ack_ready_t", "i8", (XACTS,)),  # cycle from which it can be offered
        ("ack_id", "i8", (XACTS,)),  # transaction
        ("drained", "i8"),  # time at which the write queue is empty, in units of 1/write_den cycle
    ]
)


@njit
def busy(m):
    """True while an answer is due."""
    return m.fixed.read_n + m.fixed.ack_n > 0


@njit
def takes_read(now, m, address):
    """Reads are always accepted."""
    return True


@njit
def takes_write(now, m, address):
    """Puts are always accepted."""
    return True


@njit
def read(now, m, transaction, beats, address):
    """Accept a read of some beats."""
    f = m.fixed
    i = (f.read_head + f.read_n) % XACTS
    f.read_ready_t[i] = now + m.p.mem_latency
    f.read_beats[i] = beats
    f.read_id[i] = transaction
    f.read_n += 1


@njit
def write(now, m, transaction, last, size, address):
    """Accept a beat of a Put."""
    f = m.fixed
    p = m.p
    # the write queue drains write_den/write_num beats per cycle; at full width a beat in its own cycle
    at = (now - 1) * p.write_den
    if f.drained > at:
        at = f.drained
    f.drained = at + p.write_num
    if p.one_port:
        f.next_beat = max(f.next_beat, now * p.read_den) + p.read_num
    if last:
        i = (f.ack_head + f.ack_n) % XACTS
        f.ack_ready_t[i] = (f.drained + p.write_den - 1) // p.write_den + p.mem_latency
        f.ack_id[i] = transaction
        f.ack_n += 1


@njit
def offer(now, m):
    """Put the next answer on the wires. Returns the wake."""
    f = m.fixed
    p = m.p
    wake = NEVER
    if m.burst.busy_t >= now:  # bursts are on the wires
        if f.read_n > 0:
            wake = max(f.read_ready_t[f.read_head], m.burst.busy_t + 1)
        if f.ack_n > 0:
            wake = min(wake, max(f.ack_ready_t[f.ack_head], m.burst.busy_t + 1))
        return wake
    if f.ack_n > 0 and f.ack_ready_t[f.ack_head] <= now and f.in_burst == 0:
        m.mem.offered = ACKNOWLEDGE
        return now + 1
    if f.read_n > 0:
        ready = f.read_ready_t[f.read_head]
        paced = (f.next_beat + p.read_den - 1) // p.read_den
        if paced > ready:
            ready = paced
        if ready <= now:
            m.mem.offered = READ
            return now + 1
        wake = ready
    if f.ack_n > 0 and now < f.ack_ready_t[f.ack_head] < wake:
        wake = f.ack_ready_t[f.ack_head]
    return wake


@njit
def acknowledge(m):
    """Take the offered acknowledge; return its transaction."""
    f = m.fixed
    transaction = f.ack_id[f.ack_head]
    f.ack_head = (f.ack_head + 1) % XACTS
    f.ack_n -= 1
    return transaction


@njit
def beat(now, m):
    """Take the offered beat of a read; return transaction << 1 | last beat."""
    f = m.fixed
    p = m.p
    h = f.read_head
    f.read_beats[h] -= 1
    last = 1 if f.read_beats[h] == 0 else 0
    # Beats are staged one at a time at the memory's rate: a beat delayed on the channel delays the next one only if
    # that one would have been staged before it left.
    at = f.read_ready_t[h] * p.read_den
    if f.next_beat > at:
        at = f.next_beat
    f.next_beat = at + p.read_num
    if (now + 1) * p.read_den > f.next_beat:
        f.next_beat = (now + 1) * p.read_den
    if p.one_port:
        f.drained = max(f.drained, now * p.write_den) + p.write_num
    f.in_burst = 1 - last
    if last:
        f.read_head = (h + 1) % XACTS
        f.read_n -= 1
    return f.read_id[h] << 1 | last


@njit
def last_ready(now, m):
    """Return the cycle in which the memory will answer the last read accepted, if that is in the future."""
    f = m.fixed
    t = f.read_ready_t[(f.read_head + f.read_n - 1) % XACTS]
    return t if f.read_n > 0 and t > now else NEVER


@njit
def rebase(m, start):
    """Make all times relative to cycle ``start``."""
    f = m.fixed
    for i in range(XACTS):
        f.read_ready_t[i] -= start
        f.ack_ready_t[i] -= start
    f.next_beat -= start * m.p.read_den
    f.drained -= start * m.p.write_den


@njit
def tidy(m):
    """Move both queues to index 0 and clear past answers."""
    f = m.fixed
    straighten(f.read_ready_t, f.read_head, f.read_n, XACTS)
    straighten(f.read_beats, f.read_head, f.read_n, XACTS)
    straighten(f.read_id, f.read_head, f.read_n, XACTS)
    straighten(f.ack_ready_t, f.ack_head, f.ack_n, XACTS)
    straighten(f.ack_id, f.ack_head, f.ack_n, XACTS)
    f.read_head = 0
    f.ack_head = 0


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    f = m.fixed
    p = m.p
    tidy(m)
    # A time below this does not delay a beat: beats are sent read_num after the previous one, at the earliest now.
    past = p.read_den - p.read_num
    f.next_beat = max(f.next_beat - now * p.read_den, past)
    for i in range(f.read_n):
        f.read_ready_t[i] = max(f.read_ready_t[i] - now, past // p.read_den)
    for i in range(f.ack_n):
        f.ack_ready_t[i] = due(f.ack_ready_t[i], now)
    f.drained = max(f.drained - now * p.write_den, -p.write_den)
