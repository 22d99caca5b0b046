"""The systolic array with its delays: rows enter when A, B and D are available, results leave mesh_latency later.

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

ROWS = 1024  # capacity of rows inside the array; mesh_latency must be below
TAGS = 64

DTYPE = np.dtype(
    [
        ("requested", "i8"),  # a request is in place
        ("flush", "i8"),  # flushes still to be done by the request
        ("total", "i8"),  # rows of the request
        ("fired", "i8"),  # rows of it that have gone in
        ("written", "i8"),  # operand registers filled: 1 A, 2 B, 4 D
        ("last_fire", "i8"),  # 1: the last row of the request goes in this cycle
        ("request_id", "i8"),  # id of the newest request, modulo `matmul_ids`
        # rows inside the array
        ("rows_n", "i8"),  # rows between input and output
        ("rows_head", "i8"),  # index of the oldest
        ("rows_t", "i8", (ROWS,)),  # cycle in which the row went in
        ("rows_id", "i8", (ROWS,)),  # id of its request
        ("rows_last", "i8", (ROWS,)),  # 1: last row of its request
        # tags
        ("tags_n", "i8"),  # results outstanding
        ("tags_head", "i8"),  # index of the oldest
        ("tags_pop_t", "i8"),  # cycle in which the last one was complete
        ("tags_slot", "i8", (TAGS,)),  # reservation station slot, -1 none
        ("tags_address", "i8", (TAGS,)),  # local address of the result
        ("tags_rows", "i8", (TAGS,)),  # rows that are kept
        ("tags_id", "i8", (TAGS,)),  # id of the request that moves it out
        # row counts
        ("totals_n", "i8"),  # requests whose number of rows is held
        ("totals_head", "i8"),  # index of the oldest
        ("totals_pop_t", "i8"),  # cycle in which the last one was over
        ("totals_rows", "i8", (TAGS,)),  # rows of the request
        ("totals_id", "i8", (TAGS,)),  # its id
        ("out_row", "i8"),  # rows of the present result that have come out
        ("c_stride", "i8"),  # local rows from one row of C to the next
        ("weight_stationary", "i8"),  # present dataflow
        # rows announced to the accumulator: cycle in which the next one leaves, how many are left
        ("run_t", "i8"),  # cycle in which the next announced row leaves
        ("run_n", "i8"),  # announced rows left
    ]
)


@njit
def _first(now, x):
    """Return the index of the first tag.

    One that left in this cycle still counts, as hardware compares the registers.
    """
    return -1 if x.tags_pop_t == now else 0


@njit
def in_progress(now, m):
    """True if a result with a reservation station entry is outstanding."""
    x = m.mesh
    for k in range(_first(now, x), x.tags_n):
        if x.tags_slot[(x.tags_head + k) % TAGS] >= 0:
            return True
    return False


@njit
def hazard(now, m, a, b, c):
    """True if an outstanding result starts at one of these local addresses (memory and row only)."""
    x = m.mesh
    p = m.p
    mask = 1 << 31 | p.addr_mask
    a = a & mask
    b = b & mask
    c = c & mask
    for k in range(_first(now, x), x.tags_n):
        tag = x.tags_address[(x.tags_head + k) % TAGS]
        row = tag & mask
        if (row == a or row == b or row == c) and not is_garbage(p, tag):
            return True
    return False


@njit
def step_out(now, m):
    """Let a result row leave: it is written to its bank; with the last one the preload completes. Returns the wake."""
    x = m.mesh
    p = m.p
    if x.rows_n == 0:
        return NEVER
    h = x.rows_head
    due = x.rows_t[h] + p.mesh_latency
    if due > now:
        return due
    last = x.rows_last[h]
    number = x.rows_id[h]
    x.rows_head = (h + 1) % ROWS
    x.rows_n -= 1
    m.count[E_OUT] += 1
    t = x.tags_head
    tagged = x.tags_n > 0 and x.tags_id[t] == number
    c = x.totals_head
    counted = x.totals_n > 0 and x.totals_id[c] == number
    total = x.totals_rows[c] if counted else p.dim
    if tagged and x.tags_slot[t] >= 0:
        address = x.tags_address[t]
        if not is_garbage(p, address):
            done = x.out_row
            if x.weight_stationary:
                row = plus(p, address, done * x.c_stride)
                write = done < x.tags_rows[t]
            else:
                row = plus(p, address, total - 1 - done * x.c_stride)
                write = total - 1 - done < x.tags_rows[t]
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
            m.station.ex_done = x.tags_slot[t]
    if last and tagged:
        x.tags_head = (t + 1) % TAGS
        x.tags_n -= 1
        x.tags_pop_t = now
    if last and counted:
        x.totals_head = (c + 1) % TAGS
        x.totals_n -= 1
        x.totals_pop_t = now
    return now + 1


@njit
def announce(now, m):
    """Announce to the accumulator the rows that leave one per cycle from now on and end no result.

    One event of the leaping clock.

    Returns the cycle after them, 0 if there are none.
    """
    x = m.mesh
    p = m.p
    if p.acc_single or x.weight_stationary == 0 or x.tags_n == 0 or x.totals_n == 0 or x.rows_n == 0:
        return 0
    h = x.rows_head
    t = x.tags_head
    n = min(min(x.rows_n, x.totals_rows[x.totals_head] - 1 - x.out_row), ROWS - p.mesh_latency)
    if n < 2 or x.tags_id[t] != x.rows_id[h] or x.totals_id[x.totals_head] != x.rows_id[h] or x.tags_slot[t] < 0:
        return 0
    address = x.tags_address[t]
    end = (h + n - 1) % ROWS
    together = x.rows_t[end] == x.rows_t[h] + n - 1 and x.rows_id[end] == x.rows_id[h] and x.rows_last[end] == 0
    if is_garbage(p, address) or not is_acc(address) or not together:
        return 0
    x.run_t = x.rows_t[h] + p.mesh_latency
    x.run_n = n
    accumulator.expect(m, x.run_t, n, address, x.out_row, x.tags_rows[t], x.c_stride)
    return x.run_t + n


@njit
def leave(until, m):
    """Record that the announced rows due before `until` have left."""
    x = m.mesh
    k = min(until - x.run_t, x.run_n)
    if k > 0:
        accumulator.arrive(until - 1, m)
        x.rows_head = (x.rows_head + k) % ROWS
        x.rows_n -= k
        x.out_row += k
        x.run_t += k
        x.run_n -= k
        m.count[E_OUT] += k


@njit
def feed_rows(start, m, k):
    """Record that k rows of the current request, not its last, have entered, one per cycle beginning with `start`."""
    x = m.mesh
    for i in range(k):
        j = (x.rows_head + x.rows_n + i) % ROWS
        x.rows_t[j] = start + i
        x.rows_id[j] = x.request_id
        x.rows_last[j] = 0
    x.rows_n += k
    x.fired += k
    x.last_fire = 0
    m.count[E_IN] += k


@njit
def feed(now, m):
    """Let the next row enter the array if its operands are available. True if one entered."""
    x = m.mesh
    x.last_fire = 0
    if x.requested == 0 or (x.written != 7 and x.flush == 0):
        return False
    i = (x.rows_head + x.rows_n) % ROWS
    x.rows_t[i] = now
    x.rows_id[i] = x.request_id
    x.fired += 1
    x.last_fire = 1 if x.fired == x.total else 0
    x.rows_last[i] = x.last_fire
    x.rows_n += 1
    m.count[E_IN] += 1
    x.written = 0
    if x.last_fire:
        x.fired = 0
    return True


@njit
def ready(now, m):
    """True if a new request can be accepted in this cycle."""
    x = m.mesh
    p = m.p
    if x.requested and not x.last_fire:
        return False
    tags = x.tags_n + (1 if x.tags_pop_t == now else 0)
    totals = x.totals_n + (1 if x.totals_pop_t == now else 0)
    return tags < p.tag_queue and totals < p.tag_queue


@njit
def close(m):
    """End a cycle without a new request: a request whose last row entered is over."""
    x = m.mesh
    if x.last_fire:
        x.requested = 1 if x.flush > 1 else 0
        x.flush = x.flush - 1 if x.flush > 0 else 0


@njit
def request(m, flush, total, slot, address, rows):
    """Accept a request; the caller has checked `ready`."""
    x = m.mesh
    p = m.p
    before = x.request_id
    x.request_id = (before + 1) % p.matmul_ids
    x.requested = 1
    x.flush = flush
    x.total = total
    x.last_fire = 0
    if flush == 0:
        i = (x.tags_head + x.tags_n) % TAGS
        x.tags_slot[i] = slot
        x.tags_address[i] = address
        x.tags_rows[i] = rows
        x.tags_id[i] = (before + (2 if x.weight_stationary else 3)) % p.matmul_ids
        x.tags_n += 1
        j = (x.totals_head + x.totals_n) % TAGS
        x.totals_rows[j] = total
        x.totals_id[j] = (before + 1) % p.matmul_ids
        x.totals_n += 1


@njit
def canonise(m, now):
    """Normal form, clock set back to 0. Ids count modulo a number: their distance from the newest matters."""
    x = m.mesh
    n = m.p.matmul_ids
    for ring in (x.rows_t, x.rows_id, x.rows_last):
        straighten(ring, x.rows_head, x.rows_n, ROWS)
    for ring in (x.tags_slot, x.tags_address, x.tags_rows, x.tags_id):
        straighten(ring, x.tags_head, x.tags_n, TAGS)
    for ring in (x.totals_rows, x.totals_id):
        straighten(ring, x.totals_head, x.totals_n, TAGS)
    x.rows_head = 0
    x.tags_head = 0
    x.totals_head = 0
    for i in range(x.rows_n):
        x.rows_t[i] -= now
        x.rows_id[i] = (x.rows_id[i] - x.request_id) % n
    for i in range(x.tags_n):
        x.tags_id[i] = (x.tags_id[i] - x.request_id) % n
    for i in range(x.totals_n):
        x.totals_id[i] = (x.totals_id[i] - x.request_id) % n
    x.request_id = 0
    x.tags_pop_t = recent(x.tags_pop_t, now, 0)
    x.totals_pop_t = recent(x.totals_pop_t, now, 0)
    x.last_fire = 0
    x.run_t = 0
    if not x.requested:
        x.total = 0


def reset(m):
    """State after reset."""
    m.mesh.weight_stationary = 1 if m.p.dataflow == 1 else 0
    m.mesh.tags_pop_t = LONG_AGO
    m.mesh.totals_pop_t = LONG_AGO


def describe(m):
    """Describe the contents of a stopped array."""
    return f"mesh: {m.mesh.rows_n} rows inside, {m.mesh.tags_n} results outstanding"
