"""A scaler of loaded rows: a queue of two, an input register that replays repeated rows, the multipliers.

Source: VectorScalarMultiplier.scala. One multiplier per lane: an elastic pipeline, a row per cycle. Few multipliers:
three row slots whose elements are served round robin; rows with scale 1.0 pass in a cycle. All multipliers of such a
scaler work alike, so one represents them. A row is two packed integers (`pack0`, `pack1`).
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import RING

SCALER = np.dtype(
    [
        ("queue_n", "i8"),  # rows queued, at most 2
        ("queue_pop_t", "i8"),  # cycle in which the last one left
        ("queue_target", "i8", (2,)),  # pack0 of the rows
        ("queue_shape", "i8", (2,)),  # pack1 of the rows
        ("valid", "i8"),  # the input register, in which repeats are counted down
        ("input_target", "i8"),  # pack0 of its row
        ("input_shape", "i8"),  # pack1, with the repeats still to come
        # one multiplier per lane: an elastic pipeline
        ("pipe_n", "i8"),  # rows in the pipeline
        ("pipe_head", "i8"),  # index of the oldest
        ("pipe_target", "i8", (RING,)),  # pack0
        ("pipe_shape", "i8", (RING,)),  # pack1
        ("pipe_t", "i8", (RING,)),  # cycle from which the row can leave
        # few multipliers: three row slots served round robin, one representative multiplier
        ("head", "i8"),  # slot that leaves next
        ("tail", "i8"),  # slot that is filled next
        ("slot_valid", "i8", (3,)),  # 1: holds a row
        ("slot_free_t", "i8", (3,)),  # cycle in which its last row left
        ("slot_target", "i8", (3,)),  # pack0
        ("slot_shape", "i8", (3,)),  # pack1
        ("slot_left", "i8", (3,)),  # bit e set: element e of this slot still waits for the multiplier
        ("slot_done_t", "i8", (3,)),  # cycle in which its last element is done
        ("grant", "i8"),  # element (slot * elements + element) that had the multiplier last
        ("granted", "i8"),  # 1: the multiplier was granted to an element (the periodic clock resets this)
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
    """True if there is a row in the scaler."""
    return q.queue_n + q.valid + q.pipe_n + q.slot_valid[0] + q.slot_valid[1] + q.slot_valid[2] > 0


@njit
def out_ready(now, m, q, latency, units):
    """True if a scaler offers a row in this cycle."""
    if units > 0:
        h = q.head
        return q.slot_valid[h] == 1 and q.slot_left[h] == 0 and q.slot_done_t[h] <= now
    if latency == 0:
        return q.valid == 1
    return q.pipe_n > 0 and q.pipe_t[q.pipe_head] <= now


@njit
def peek(q, latency, units):
    """Return the row that a scaler offers."""
    if units > 0:
        return q.slot_target[q.head], q.slot_shape[q.head]
    if latency == 0:
        return q.input_target, q.input_shape
    return q.pipe_target[q.pipe_head], q.pipe_shape[q.pipe_head]


@njit
def placed(m, w0, w1):
    """Return the row as it leaves the scaler: address advanced by the repeat count, `last` only on the last repeat."""
    repeats = w1 & 0xFFFF
    address = w0 & 0xFFFFFFFF
    moved = (address & ~m.p.addr_mask) | ((address + repeats) & m.p.addr_mask)
    w0 = (w0 & ~0xFFFFFFFF) | moved
    if repeats > 0:
        w0 = w0 & ~(1 << 35)
    return w0


@njit
def drop(now, q, latency, units):
    """Remove the offered row."""
    if units > 0:
        h = q.head
        q.slot_valid[h] = 0
        q.slot_free_t[h] = now
        q.head = (h + 1) % 3
    elif latency > 0:
        q.pipe_head = (q.pipe_head + 1) % RING
        q.pipe_n -= 1


@njit
def append(q, target, shape):
    """Append a row of the beat merger, which has checked for room in the queue."""
    q.queue_target[q.queue_n] = target
    q.queue_shape[q.queue_n] = shape
    q.queue_n += 1


@njit
def _elements(m, units):
    """Return the elements of a row that one of `units` multipliers serves."""
    return (m.p.dim + units - 1) // units


@njit
def _grant(now, m, q, latency, units):
    """Grant the multiplier round robin to the next element after the last one served. True if there was one."""
    elements = _elements(m, units)
    best = -1
    after = -1
    for slot in range(3):
        left = q.slot_left[slot]
        if q.slot_valid[slot] == 1 and left != 0:
            for e in range(elements):
                if (left >> e) & 1:
                    at = slot * elements + e
                    if best < 0:
                        best = at
                    if at > q.grant and after < 0:
                        after = at
    if after >= 0:
        best = after
    if best < 0:
        return False
    q.grant = best
    q.granted = 1
    slot = best // elements
    q.slot_left[slot] &= ~(1 << (best - slot * elements))
    q.slot_done_t[slot] = now + latency + 2
    return True


@njit
def _enter_slot(now, m, q, units):
    """Move the row of the input register into the slot that is filled next. True if the slot took it."""
    t = q.tail
    if q.slot_valid[t] == 1 or q.slot_free_t[t] == now:
        return False
    q.slot_valid[t] = 1
    q.slot_target[t] = q.input_target
    q.slot_shape[t] = q.input_shape
    q.slot_done_t[t] = now + 1
    identity = (q.input_target >> 34) & 1
    q.slot_left[t] = 0 if identity else (1 << _elements(m, units)) - 1
    q.tail = (t + 1) % 3
    return True


@njit
def _enter_pipe(now, q, latency):
    """Move the row of the input register into the elastic pipeline. True if there was a place."""
    if q.pipe_n >= latency:
        return False
    i = (q.pipe_head + q.pipe_n) % RING
    q.pipe_target[i] = q.input_target
    q.pipe_shape[i] = q.input_shape
    q.pipe_t[i] = now + latency
    q.pipe_n += 1
    return True


@njit
def advance(now, m, q, latency, units, popped):
    """Step multiplier grants, input register -> slots or pipeline, queue -> input register. True if anything moved."""
    acted = units > 0 and _grant(now, m, q, latency, units)
    moved = False
    if q.valid == 1:
        if units > 0:
            moved = _enter_slot(now, m, q, units)
        elif latency == 0:
            moved = popped
        else:
            moved = _enter_pipe(now, q, latency)
    free = q.valid == 0
    if moved:
        acted = True
        if q.input_shape & 0xFFFF:
            q.input_shape -= 1
        else:
            q.valid = 0
            free = True
    if free and q.queue_n > 0:
        q.valid = 1
        q.input_target = q.queue_target[0]
        q.input_shape = q.queue_shape[0]
        q.queue_target[0] = q.queue_target[1]
        q.queue_shape[0] = q.queue_shape[1]
        q.queue_n -= 1
        q.queue_pop_t = now
        acted = True
    return acted


@njit
def timed(now, q, latency, units, wake):
    """Return the earliest cycle at which a row inside a scaler becomes ready by time alone."""
    if units > 0:
        h = q.head
        if q.slot_valid[h] == 1 and q.slot_left[h] == 0 and now < q.slot_done_t[h] < wake:
            return q.slot_done_t[h]
    elif latency > 0 and q.pipe_n > 0 and now < q.pipe_t[q.pipe_head] < wake:
        return q.pipe_t[q.pipe_head]
    return wake


@njit
def canonise(s, now):
    """Normal form, clock set back to 0. Slots of few multipliers are rotated to the beginning."""
    for i in range(s.queue_n, 2):
        s.queue_target[i] = 0
        s.queue_shape[i] = 0
    s.queue_pop_t = recent(s.queue_pop_t, now, 0)
    if not s.valid:
        s.input_target = 0
        s.input_shape = 0
    for ring in (s.pipe_target, s.pipe_shape, s.pipe_t):
        straighten(ring, s.pipe_head, s.pipe_n, RING)
    s.pipe_head = 0
    for i in range(s.pipe_n):
        s.pipe_t[i] = due(s.pipe_t[i], now)
    _turn_slots(s, s.head)
    for i in range(3):
        s.slot_free_t[i] = recent(s.slot_free_t[i], now, 0)
        if s.slot_valid[i]:
            s.slot_done_t[i] = due(s.slot_done_t[i], now)
        else:
            s.slot_done_t[i] = 0
            s.slot_target[i] = 0
            s.slot_shape[i] = 0
            s.slot_left[i] = 0


@njit
def _turn_slots(s, by):
    for slots in (s.slot_valid, s.slot_free_t, s.slot_target, s.slot_shape, s.slot_left, s.slot_done_t):
        old = slots.copy()
        for i in range(3):
            slots[i] = old[(i + by) % 3]
    s.tail = (s.tail - by) % 3
    s.head = 0


def reset(s):
    """State after reset."""
    s.queue_pop_t = LONG_AGO
    s.slot_free_t[:] = LONG_AGO
