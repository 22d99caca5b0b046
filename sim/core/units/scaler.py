"""A scaler of loaded rows: a queue of two, an input register that replays repeated rows, the multipliers.

Source: VectorScalarMultiplier.scala. One multiplier per lane: an elastic pipeline, a row per cycle. Few multipliers:
three row slots whose elements are served round robin; rows with scale 1.0 pass in a cycle. All multipliers of such a
scaler do the same thing, so one stands for them. A row on the way is two packed integers (`pack0`, `pack1`).
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import RING

SCALER = np.dtype(
    [
        ("q_n", "i8"),
        ("q_pop_t", "i8"),
        ("q0", "i8", (2,)),
        ("q1", "i8", (2,)),
        ("valid", "i8"),  # the input register, in which repeats are counted down
        ("r0", "i8"),
        ("r1", "i8"),
        # one multiplier per lane: an elastic pipeline
        ("p_n", "i8"),
        ("p_head", "i8"),
        ("p0", "i8", (RING,)),
        ("p1", "i8", (RING,)),
        ("p_t", "i8", (RING,)),
        # few multipliers: three row slots served round robin, one representative multiplier
        ("head", "i8"),
        ("tail", "i8"),
        ("s_valid", "i8", (3,)),
        ("s_free_t", "i8", (3,)),
        ("s0", "i8", (3,)),
        ("s1", "i8", (3,)),
        ("s_left", "i8", (3,)),  # bit e set: element e of this slot still waits for the multiplier
        ("s_done_t", "i8", (3,)),
        ("grant", "i8"),
        ("granted", "i8"),  # 1: the multiplier has been given to some element (the periodic clock sets it back)
    ]
)


@njit
def pack0(address, accumulate, identity, last, wide, cmd):
    """Local address with its accumulator bit, flags, command slot."""
    return address | accumulate << 33 | identity << 34 | last << 35 | wide << 36 | cmd << 40


@njit
def pack1(repeats, pixels, length, n_bytes):
    """Repeats still to come, copies per pixel, elements of the row, bytes its transaction reports."""
    return repeats | pixels << 16 | length << 24 | n_bytes << 40


@njit
def occupied(q):
    """Any row in the scaler?"""
    return q.q_n + q.valid + q.p_n + q.s_valid[0] + q.s_valid[1] + q.s_valid[2] > 0


@njit
def out_ready(now, m, q, latency, units):
    """True when a scaler offers a row this cycle."""
    if units > 0:
        h = q.head
        return q.s_valid[h] == 1 and q.s_left[h] == 0 and q.s_done_t[h] <= now
    if latency == 0:
        return q.valid == 1
    return q.p_n > 0 and q.p_t[q.p_head] <= now


@njit
def peek(q, latency, units):
    """The row a scaler offers."""
    if units > 0:
        return q.s0[q.head], q.s1[q.head]
    if latency == 0:
        return q.r0, q.r1
    return q.p0[q.p_head], q.p1[q.p_head]


@njit
def placed(m, w0, w1):
    """The row as it leaves the scaler: address advanced by the repeat count, `last` only on the last repeat."""
    repeats = w1 & 0xFFFF
    address = w0 & 0xFFFFFFFF
    moved = (address & ~m.p.addr_mask) | ((address + repeats) & m.p.addr_mask)
    w0 = (w0 & ~0xFFFFFFFF) | moved
    if repeats > 0:
        w0 = w0 & ~(1 << 35)
    return w0


@njit
def drop(now, q, latency, units):
    """The offered row was taken."""
    if units > 0:
        h = q.head
        q.s_valid[h] = 0
        q.s_free_t[h] = now
        q.head = (h + 1) % 3
    elif latency > 0:
        q.p_head = (q.p_head + 1) % RING
        q.p_n -= 1


@njit
def advance(now, m, q, latency, units, popped):
    """Multiplier grants, input register -> slots or pipeline, queue -> input register. True when anything moved."""
    acted = False
    if units > 0:
        elements = (m.p.dim + units - 1) // units
        best = -1
        after = -1
        for slot in range(3):
            left = q.s_left[slot]
            if q.s_valid[slot] == 1 and left != 0:
                for e in range(elements):
                    if (left >> e) & 1:
                        at = slot * elements + e
                        if best < 0:
                            best = at
                        if at > q.grant and after < 0:
                            after = at
        if after >= 0:
            best = after
        if best >= 0:
            q.grant = best
            q.granted = 1
            slot = best // elements
            q.s_left[slot] &= ~(1 << (best - slot * elements))
            q.s_done_t[slot] = now + latency + 2
            acted = True
    moved = False
    if q.valid == 1:
        if units > 0:
            t = q.tail
            if q.s_valid[t] == 0 and q.s_free_t[t] != now:
                q.s_valid[t] = 1
                q.s0[t] = q.r0
                q.s1[t] = q.r1
                q.s_done_t[t] = now + 1
                identity = (q.r0 >> 34) & 1
                q.s_left[t] = 0 if identity else (1 << ((m.p.dim + units - 1) // units)) - 1
                q.tail = (t + 1) % 3
                moved = True
        elif latency == 0:
            moved = popped
        elif q.p_n < latency:
            i = (q.p_head + q.p_n) % RING
            q.p0[i] = q.r0
            q.p1[i] = q.r1
            q.p_t[i] = now + latency
            q.p_n += 1
            moved = True
    free = q.valid == 0
    if moved:
        acted = True
        if q.r1 & 0xFFFF:
            q.r1 -= 1
        else:
            q.valid = 0
            free = True
    if free and q.q_n > 0:
        q.valid = 1
        q.r0 = q.q0[0]
        q.r1 = q.q1[0]
        q.q0[0] = q.q0[1]
        q.q1[0] = q.q1[1]
        q.q_n -= 1
        q.q_pop_t = now
        acted = True
    return acted


@njit
def timed(now, q, latency, units, wake):
    """Earliest cycle at which a row inside a scaler becomes ready by the mere passing of time."""
    if units > 0:
        h = q.head
        if q.s_valid[h] == 1 and q.s_left[h] == 0 and now < q.s_done_t[h] < wake:
            return q.s_done_t[h]
    elif latency > 0 and q.p_n > 0 and now < q.p_t[q.p_head] < wake:
        return q.p_t[q.p_head]
    return wake


@njit
def canonise(s, now):
    """Normal form, clock set back to 0. Slots of few multipliers turn to their beginning."""
    for i in range(s.q_n, 2):
        s.q0[i] = 0
        s.q1[i] = 0
    s.q_pop_t = recent(s.q_pop_t, now, 0)
    if not s.valid:
        s.r0 = 0
        s.r1 = 0
    for ring in (s.p0, s.p1, s.p_t):
        straighten(ring, s.p_head, s.p_n, RING)
    s.p_head = 0
    for i in range(s.p_n):
        s.p_t[i] = due(s.p_t[i], now)
    _turn_slots(s, s.head)
    for i in range(3):
        s.s_free_t[i] = recent(s.s_free_t[i], now, 0)
        if s.s_valid[i]:
            s.s_done_t[i] = due(s.s_done_t[i], now)
        else:
            s.s_done_t[i] = 0
            s.s0[i] = 0
            s.s1[i] = 0
            s.s_left[i] = 0


@njit
def _turn_slots(s, by):
    for slots in (s.s_valid, s.s_free_t, s.s0, s.s1, s.s_left, s.s_done_t):
        old = slots.copy()
        for i in range(3):
            slots[i] = old[(i + by) % 3]
    s.tail = (s.tail - by) % 3
    s.head = 0


def reset(s):
    """State after reset."""
    s.q_pop_t = LONG_AGO
    s.s_free_t[:] = LONG_AGO
