"""The systolic array with its delays: rows go in when A, B and D are there, results come out mesh_latency later.

Source: MeshWithDelays.scala, TagQueue.scala. A request (one command of the execute controller) carries the tag of
the preload whose result the *next* request (WS; next but one in OS) produces; tags and row counts wait in queues of
`tag_queue` entries and leave with the last row of that result.
"""

import numpy as np

from sim.core.events import Event
from sim.core.fields import accumulates, is_acc
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent, straighten
from sim.core.params import NEVER, is_garbage, plus, sp_bank
from sim.core.units import accumulator

E_IN = int(Event.MESH_INPUT_ROWS)
E_OUT = int(Event.MESH_OUTPUT_ROWS)
E_SPW = int(Event.SPAD_WRITE_ROWS)

ROWS = 1024  # rows inside the array; mesh_latency must stay below
TAGS = 64

DTYPE = np.dtype(
    [
        ("req", "i8"),  # a request is in place
        ("flush", "i8"),
        ("total", "i8"),
        ("fired", "i8"),  # rows of it that have gone in
        ("written", "i8"),  # operand registers filled: 1 A, 2 B, 4 D
        ("last_fire", "i8"),  # 1: the last row of the request goes in this cycle
        ("id", "i8"),
        # rows inside the array
        ("r_n", "i8"),
        ("r_head", "i8"),
        ("r_t", "i8", (ROWS,)),
        ("r_id", "i8", (ROWS,)),
        ("r_last", "i8", (ROWS,)),
        # tags
        ("t_n", "i8"),
        ("t_head", "i8"),
        ("t_pop_t", "i8"),
        ("t_slot", "i8", (TAGS,)),
        ("t_addr", "i8", (TAGS,)),
        ("t_rows", "i8", (TAGS,)),
        ("t_id", "i8", (TAGS,)),
        # row counts
        ("c_n", "i8"),
        ("c_head", "i8"),
        ("c_pop_t", "i8"),
        ("c_total", "i8", (TAGS,)),
        ("c_id", "i8", (TAGS,)),
        ("out_row", "i8"),  # rows of the present result that have come out
        ("c_stride", "i8"),
        ("ws", "i8"),  # present dataflow
        # rows announced to the accumulator: cycle in which the next one leaves, how many are left
        ("run_t", "i8"),
        ("run_n", "i8"),
    ]
)


@njit
def _first(now, x):
    """A tag that left in this very cycle still counts: hardware looks at the registers."""
    return -1 if x.t_pop_t == now else 0


@njit
def in_progress(now, m):
    """Some result with a reservation station entry is outstanding."""
    x = m.mesh
    for k in range(_first(now, x), x.t_n):
        if x.t_slot[(x.t_head + k) % TAGS] >= 0:
            return True
    return False


@njit
def hazard(now, m, a, b, c):
    """Some outstanding result starts at one of these local addresses (memory and row only)."""
    x = m.mesh
    p = m.p
    mask = 1 << 31 | p.addr_mask
    a = a & mask
    b = b & mask
    c = c & mask
    for k in range(_first(now, x), x.t_n):
        tag = x.t_addr[(x.t_head + k) % TAGS]
        row = tag & mask
        if (row == a or row == b or row == c) and not is_garbage(p, tag):
            return True
    return False


@njit
def step_out(now, m):
    """A result row leaves: written to its bank; with the last one the preload completes. Returns the wake."""
    x = m.mesh
    p = m.p
    if x.r_n == 0:
        return NEVER
    h = x.r_head
    due = x.r_t[h] + p.mesh_latency
    if due > now:
        return due
    last = x.r_last[h]
    number = x.r_id[h]
    x.r_head = (h + 1) % ROWS
    x.r_n -= 1
    m.count[E_OUT] += 1
    t = x.t_head
    tagged = x.t_n > 0 and x.t_id[t] == number
    c = x.c_head
    counted = x.c_n > 0 and x.c_id[c] == number
    total = x.c_total[c] if counted else p.dim
    if tagged and x.t_slot[t] >= 0:
        address = x.t_addr[t]
        if not is_garbage(p, address):
            done = x.out_row
            if x.ws:
                row = plus(p, address, done * x.c_stride)
                write = done < x.t_rows[t]
            else:
                row = plus(p, address, total - 1 - done * x.c_stride)
                write = total - 1 - done < x.t_rows[t]
            if write:
                if is_acc(row):
                    accumulator.mesh_write(now, m, row, accumulates(row))
                elif p.ex_write_spad:
                    m.ports.sp_write_t[sp_bank(p, row)] = now
                    m.count[E_SPW] += 1
        x.out_row += 1
        if x.out_row >= total:
            x.out_row = 0
        if last:
            m.rs.ex_done = x.t_slot[t]
    if last and tagged:
        x.t_head = (t + 1) % TAGS
        x.t_n -= 1
        x.t_pop_t = now
    if last and counted:
        x.c_head = (c + 1) % TAGS
        x.c_n -= 1
        x.c_pop_t = now
    return now + 1


@njit
def announce(now, m):
    """Announce to the accumulator the rows that leave one a cycle from now on and end nothing: one event of the leap.

    Returns the cycle behind them, 0 when there are none.
    """
    x = m.mesh
    p = m.p
    if p.acc_single or x.ws == 0 or x.t_n == 0 or x.c_n == 0 or x.r_n == 0:
        return 0
    h = x.r_head
    t = x.t_head
    n = min(min(x.r_n, x.c_total[x.c_head] - 1 - x.out_row), ROWS - p.mesh_latency)
    if n < 2 or x.t_id[t] != x.r_id[h] or x.c_id[x.c_head] != x.r_id[h] or x.t_slot[t] < 0:
        return 0
    address = x.t_addr[t]
    end = (h + n - 1) % ROWS
    together = x.r_t[end] == x.r_t[h] + n - 1 and x.r_id[end] == x.r_id[h] and x.r_last[end] == 0
    if is_garbage(p, address) or not is_acc(address) or not together:
        return 0
    x.run_t = x.r_t[h] + p.mesh_latency
    x.run_n = n
    accumulator.expect(m, x.run_t, n, address, x.out_row, x.t_rows[t], x.c_stride)
    return x.run_t + n


@njit
def leave(until, m):
    """The announced rows that are due before `until` have left."""
    x = m.mesh
    k = min(until - x.run_t, x.run_n)
    if k > 0:
        accumulator.arrive(until - 1, m)
        x.r_head = (x.r_head + k) % ROWS
        x.r_n -= k
        x.out_row += k
        x.run_t += k
        x.run_n -= k
        m.count[E_OUT] += k


@njit
def feed_rows(start, m, k):
    """k rows of the present request, none of them its last, have gone in, one a cycle from `start` on."""
    x = m.mesh
    for i in range(k):
        j = (x.r_head + x.r_n + i) % ROWS
        x.r_t[j] = start + i
        x.r_id[j] = x.id
        x.r_last[j] = 0
    x.r_n += k
    x.fired += k
    x.last_fire = 0
    m.count[E_IN] += k


@njit
def feed(now, m):
    """The next row goes into the array when its operands are in place. True when one went."""
    x = m.mesh
    x.last_fire = 0
    if x.req == 0 or (x.written != 7 and x.flush == 0):
        return False
    i = (x.r_head + x.r_n) % ROWS
    x.r_t[i] = now
    x.r_id[i] = x.id
    x.fired += 1
    x.last_fire = 1 if x.fired == x.total else 0
    x.r_last[i] = x.last_fire
    x.r_n += 1
    m.count[E_IN] += 1
    x.written = 0
    if x.last_fire:
        x.fired = 0
    return True


@njit
def ready(now, m):
    """Can a new request be taken this cycle?"""
    x = m.mesh
    p = m.p
    if x.req and not x.last_fire:
        return False
    tags = x.t_n + (1 if x.t_pop_t == now else 0)
    totals = x.c_n + (1 if x.c_pop_t == now else 0)
    return tags < p.tag_queue and totals < p.tag_queue


@njit
def close(m):
    """End of a cycle without a new request: a request whose last row went in is over."""
    x = m.mesh
    if x.last_fire:
        x.req = 1 if x.flush > 1 else 0
        x.flush = x.flush - 1 if x.flush > 0 else 0


@njit
def request(m, flush, total, slot, address, rows):
    """Take a request; the caller has asked `ready`."""
    x = m.mesh
    p = m.p
    before = x.id
    x.id = (before + 1) % p.matmul_ids
    x.req = 1
    x.flush = flush
    x.total = total
    x.last_fire = 0
    if flush == 0:
        i = (x.t_head + x.t_n) % TAGS
        x.t_slot[i] = slot
        x.t_addr[i] = address
        x.t_rows[i] = rows
        x.t_id[i] = (before + (2 if x.ws else 3)) % p.matmul_ids
        x.t_n += 1
        j = (x.c_head + x.c_n) % TAGS
        x.c_total[j] = total
        x.c_id[j] = (before + 1) % p.matmul_ids
        x.c_n += 1


@njit
def canonise(m, now):
    """Normal form, clock set back to 0. Ids count modulo a number: their distance from the newest matters."""
    x = m.mesh
    n = m.p.matmul_ids
    for ring in (x.r_t, x.r_id, x.r_last):
        straighten(ring, x.r_head, x.r_n, ROWS)
    for ring in (x.t_slot, x.t_addr, x.t_rows, x.t_id):
        straighten(ring, x.t_head, x.t_n, TAGS)
    for ring in (x.c_total, x.c_id):
        straighten(ring, x.c_head, x.c_n, TAGS)
    x.r_head = 0
    x.t_head = 0
    x.c_head = 0
    for i in range(x.r_n):
        x.r_t[i] -= now
        x.r_id[i] = (x.r_id[i] - x.id) % n
    for i in range(x.t_n):
        x.t_id[i] = (x.t_id[i] - x.id) % n
    for i in range(x.c_n):
        x.c_id[i] = (x.c_id[i] - x.id) % n
    x.id = 0
    x.t_pop_t = recent(x.t_pop_t, now, 0)
    x.c_pop_t = recent(x.c_pop_t, now, 0)
    x.last_fire = 0
    x.run_t = 0
    if not x.req:
        x.total = 0


def reset(m):
    """State after reset."""
    m.mesh.ws = 1 if m.p.dataflow == 1 else 0
    m.mesh.t_pop_t = LONG_AGO
    m.mesh.c_pop_t = LONG_AGO


def describe(m):
    """What a stopped array holds, in words."""
    return f"mesh: {m.mesh.r_n} rows inside, {m.mesh.t_n} results outstanding"
