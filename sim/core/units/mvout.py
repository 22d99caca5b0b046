"""The way of stored rows: dispatch, SRAM read, normaliser, scale unit, issue queue, writer; all in request order.

Source: Scratchpad.scala (write_dispatch_q, write_norm_q, write_scale_q, write_issue_q), AccumulatorScale.scala.
The issue queue holds a row during its whole scale latency and has read_delay + 1 entries: that limits the rate.
At 25809f78, data that come out of a bank's pipe are taken against the *bits* at the head of the issue queue, valid or
not: with a short pipe they can be lost, and the program then never ends.
"""

import numpy as np

from sim.core.events import Event
from sim.core.fields import full_width, is_acc
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import BANKS, NEVER, acc_bank, is_garbage, packed_bytes, sp_bank
from sim.core.units import accumulator, normalizer, writer

E_SCALE = int(Event.SCALE_ROWS)
E_NORM = int(Event.NORMALIZE_ROWS)
E_SPR = int(Event.SPAD_READ_ROWS)

ROWS = 64  # rows between dispatch and writer
QUEUE = 32

DTYPE = np.dtype(
    [
        ("next", "i8"),
        ("vaddr", "i8", (ROWS,)),
        ("addr", "i8", (ROWS,)),
        ("length", "i8", (ROWS,)),
        ("block", "i8", (ROWS,)),
        ("norm", "i8", (ROWS,)),
        ("stat", "i8", (ROWS,)),
        ("store", "i8", (ROWS,)),
        ("cmd", "i8", (ROWS,)),
        ("there", "i8", (ROWS,)),  # 1: on its way
        # queues of row numbers
        ("d_n", "i8"),
        ("d_pop_t", "i8"),
        ("pace_t", "i8"),  # the next accumulator row is read no earlier
        ("d", "i8", (2,)),
        ("n_n", "i8"),
        ("n_head", "i8"),
        ("n_pop_t", "i8"),
        ("n", "i8", (QUEUE,)),
        ("s_n", "i8"),
        ("s_head", "i8"),
        ("s_pop_t", "i8"),
        ("s", "i8", (QUEUE,)),
        ("i_n", "i8"),
        ("i_head", "i8"),
        ("i", "i8", (QUEUE,)),
        ("i_addr", "i8", (QUEUE,)),  # kept when popped: the stale bits at the head
        # accumulator scale pipeline
        ("p_n", "i8"),
        ("p_head", "i8"),
        ("p_t", "i8", (QUEUE,)),
        # per scratchpad bank: read buffer (cycle its row is there) and pipe of rows
        ("b_t", "i8", (BANKS,)),
        ("b_n", "i8", (BANKS,)),
        ("b_head", "i8", (BANKS,)),
        ("b_pop_t", "i8", (BANKS,)),
        ("b_pipe_t", "i8", (BANKS, QUEUE)),
        ("b_any", "i8"),  # rows in all those buffers and pipes
    ]
)

PORTS = np.dtype(
    [
        ("sp_write_t", "i8", (BANKS,)),  # last cycle with a write in this scratchpad bank
        ("sp_read_t", "i8", (BANKS,)),  # last cycle in which the execute controller read it
        ("sp_held", "i8", (BANKS,)),  # 1: its read buffer is stuck behind the store path
    ]
)


@njit
def busy(m):
    """A row is queued between dispatch and writer."""
    o = m.out
    return o.d_n + o.n_n + o.s_n + o.i_n > 0


@njit
def can_accept(now, m):
    """Room in the dispatch queue at the start of this cycle."""
    n = m.out.d_n + (1 if m.out.d_pop_t == now else 0)
    return n < 2


@njit
def accept(m, vaddr, address, length, block, norm, stat, store, cmd):
    """One row request of the store controller."""
    o = m.out
    r = o.next
    while o.there[r]:  # rows for the normaliser alone overtake those that wait for the writer, any number of them
        r = (r + 1) % ROWS
    o.next = (r + 1) % ROWS
    o.there[r] = 1
    o.vaddr[r] = vaddr
    o.addr[r] = address
    o.length[r] = length
    o.block[r] = block
    o.norm[r] = norm
    o.stat[r] = stat
    o.store[r] = store
    o.cmd[r] = cmd
    o.d[o.d_n] = r
    o.d_n += 1


@njit
def _hand_over(now, m):
    """Issue queue and data -> writer. True when something moved."""
    o = m.out
    p = m.p
    if not m.wr.ready or (p.read_is_queue and o.i_n == 0):
        return False  # gemmini 8c3f992 looks whether there is a head; 25809f78 does not
    address = o.i_addr[o.i_head]
    valid = False
    acted = False
    if is_garbage(p, address):
        valid = True
    elif is_acc(address):
        if o.p_n > 0 and o.p_t[o.p_head] <= now:
            o.p_head = (o.p_head + 1) % QUEUE
            o.p_n -= 1
            valid = True
            acted = True
    else:
        b = sp_bank(p, address)
        if o.b_n[b] > 0 and o.b_pipe_t[b, o.b_head[b]] <= now:
            o.b_head[b] = (o.b_head[b] + 1) % QUEUE
            o.b_n[b] -= 1
            o.b_pop_t[b] = now
            o.b_any -= 1
            valid = True
            acted = True
    if valid and o.i_n > 0:
        r = o.i[o.i_head]
        length = o.length[r]
        full = is_acc(address) == 1 and full_width(address) == 1 and not is_garbage(p, address)
        length = length * p.acc_bytes if full else packed_bytes(length, p.c_bits)
        writer.accept(m, o.vaddr[r], length, o.block[r], o.store[r])
        o.there[r] = 0
        o.i_head = (o.i_head + 1) % (p.read_delay + 1)
        o.i_n -= 1
        acted = True
    return acted


@njit
def _issue(m, r):
    o = m.out
    i = (o.i_head + o.i_n) % (m.p.read_delay + 1)
    o.i[i] = r
    o.i_addr[i] = o.addr[r]
    o.i_n += 1


@njit
def _scale(now, m):
    """Scale queue -> issue queue, for accumulator rows through the scale unit. True when a row moved."""
    o = m.out
    p = m.p
    if o.s_n == 0 or o.i_n >= p.read_delay + 1:
        return False
    r = o.s[o.s_head]
    address = o.addr[r]
    if is_acc(address) and not is_garbage(p, address):
        if o.p_n >= p.scale_latency or not normalizer.offers(now, m):
            return False
        normalizer.take(now, m)
        o.p_t[(o.p_head + o.p_n) % QUEUE] = now + p.scale_latency
        o.p_n += 1
        m.count[E_SCALE] += 1
    o.s_head = (o.s_head + 1) % QUEUE
    o.s_n -= 1
    o.s_pop_t = now
    _issue(m, r)
    return True


@njit
def _normalize(now, m):
    """Norm queue -> normaliser and scale queue. True when a row moved."""
    o = m.out
    p = m.p
    if o.n_n == 0:
        return False
    n = o.s_n + (1 if o.s_pop_t == now else 0)
    if n >= p.read_delay + 2:
        return False
    r = o.n[o.n_head]
    address = o.addr[r]
    to_memory = True
    if is_acc(address) and not is_garbage(p, address):
        bank = acc_bank(p, address)
        if m.acc.read_t[bank] > now or not normalizer.accepts(now, m, o.stat[r]):
            return False
        m.acc.read_t[bank] = NEVER
        normalizer.enter(now, m, o.stat[r], o.norm[r], 1 if accumulator.holds_data(m, address) else 0)
        to_memory = o.norm[r] == 0
        if not to_memory:
            m.count[E_NORM] += 1
    o.n_head = (o.n_head + 1) % QUEUE
    o.n_n -= 1
    o.n_pop_t = now
    if to_memory:
        o.s[(o.s_head + o.s_n) % QUEUE] = r
        o.s_n += 1
    else:
        o.there[r] = 0
    return True


@njit
def _buffers(now, m):
    """Rows read from scratchpad banks move from the read buffers into the pipes. True when one moved."""
    o = m.out
    p = m.p
    if o.b_any + m.full == 0:
        return False
    acted = False
    for b in range(p.sp_banks):
        m.ports.sp_held[b] = 0
        if o.b_t[b] <= now:
            n = o.b_n[b]
            if p.read_is_queue and o.b_pop_t[b] == now:
                n += 1
            limit = p.read_delay if p.read_is_queue else p.read_pipe
            if n < limit:
                o.b_pipe_t[b, (o.b_head[b] + o.b_n[b]) % QUEUE] = now + p.read_pipe
                o.b_n[b] += 1
                o.b_t[b] = NEVER
                acted = True
            else:
                m.ports.sp_held[b] = 1
    return acted


@njit
def step(now, m):
    """Everything behind the SRAM read, writer included. Returns the wake."""
    o = m.out
    if o.n_n + o.s_n + o.i_n + o.b_any + o.p_n + m.p.has_norm + m.full == 0 and writer.at_rest(m):
        m.wr.ready = 1
        return NEVER
    return _behind(now, m)


@njit
def _behind(now, m):
    o = m.out
    acted = False
    writing = writer.step(now, m)
    if _hand_over(now, m):
        acted = True
    if _scale(now, m):
        acted = True
    norm_wake = normalizer.step(now, m)
    if _normalize(now, m):
        acted = True
    if _buffers(now, m):
        acted = True
    if acted or writing <= now + 1 or norm_wake <= now + 1:
        return now + 1
    wake = norm_wake
    if o.p_n > 0 and now < o.p_t[o.p_head] < wake:
        wake = o.p_t[o.p_head]
    if o.b_any > 0:
        for b in range(m.p.sp_banks):
            if o.b_n[b] > 0 and now < o.b_pipe_t[b, o.b_head[b]] < wake:
                wake = o.b_pipe_t[b, o.b_head[b]]
            if now < o.b_t[b] < wake:
                wake = o.b_t[b]
    return wake


@njit
def step_dispatch(now, m):
    """Dispatch queue -> SRAM read request and norm queue, after the execute controller had its turn."""
    return _dispatch(now, m) if m.out.d_n > 0 else NEVER


@njit
def _dispatch(now, m):
    o = m.out
    p = m.p
    n = o.n_n + (1 if o.n_pop_t == now else 0)
    if n >= p.read_delay + 2:
        return NEVER
    r = o.d[0]
    address = o.addr[r]
    if not is_garbage(p, address):
        if is_acc(address):
            if o.pace_t > now:
                return o.pace_t
            if not accumulator.try_read(now, m, address):
                return accumulator.read_wake(now, m, address)
            o.pace_t = now + p.sum_cycles
        else:
            b = sp_bank(p, address)
            if m.ports.sp_read_t[b] == now or (p.sp_single and m.ports.sp_write_t[b] == now):
                return now + 1
            if o.b_t[b] != NEVER:
                return NEVER
            o.b_t[b] = now + 1
            o.b_any += 1
            m.count[E_SPR] += 1
    o.d[0] = o.d[1]
    o.d_n -= 1
    o.d_pop_t = now
    o.n[(o.n_head + o.n_n) % QUEUE] = r
    o.n_n += 1
    s = m.st
    c = o.cmd[r]
    s.c_left[c] -= 1
    if s.c_left[c] == 0:
        s.c_done_t[c] = now + 1
        s.c_ready += 1
        m.rs.news_t = now + 1
    return now + 1


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    o = m.out
    places = m.p.read_delay + 1
    for i in range(o.d_n, 2):
        o.d[i] = 0
    o.d_pop_t = recent(o.d_pop_t, now, 0)
    o.pace_t = due(o.pace_t, now)
    straighten(o.n, o.n_head, o.n_n, QUEUE)
    o.n_head = 0
    o.n_pop_t = recent(o.n_pop_t, now, 0)
    straighten(o.s, o.s_head, o.s_n, QUEUE)
    o.s_head = 0
    o.s_pop_t = recent(o.s_pop_t, now, 0)
    straighten(o.i, o.i_head, o.i_n, places)
    straighten(o.i_addr, o.i_head, places, places)
    for k in range(o.i_n, places):
        o.i_addr[k] = _left_behind(m.p, o.i_addr[k])
    o.i_head = 0
    straighten(o.p_t, o.p_head, o.p_n, QUEUE)
    o.p_head = 0
    for i in range(o.p_n):
        o.p_t[i] = due(o.p_t[i], now)
    for b in range(BANKS):
        straighten(o.b_pipe_t[b], o.b_head[b], o.b_n[b], QUEUE)
        o.b_head[b] = 0
        for i in range(o.b_n[b]):
            o.b_pipe_t[b, i] = due(o.b_pipe_t[b, i], now)
        o.b_t[b] = due(o.b_t[b], now)
        o.b_pop_t[b] = recent(o.b_pop_t[b], now, 0)
    m.ports.sp_write_t[:] = LONG_AGO
    m.ports.sp_read_t[:] = LONG_AGO


@njit
def _left_behind(p, address):
    """What is read of the bits left behind in the issue queue: which memory, and which bank of the scratchpad."""
    if is_garbage(p, address):
        return address
    if is_acc(address):
        return 1 << 31
    return sp_bank(p, address) << p.sp_row_bits


def reset(m):
    """State after reset."""
    m.ports.sp_write_t[:] = LONG_AGO
    m.ports.sp_read_t[:] = LONG_AGO
    m.out.b_t[:] = NEVER
    m.out.b_pop_t[:] = LONG_AGO
    for field in ("d_pop_t", "n_pop_t", "s_pop_t"):
        m.out[field] = LONG_AGO


def describe(m):
    """What a stopped store path holds, in words."""
    o = m.out
    text = f"store path: dispatch {o.d_n}, norm {o.n_n}, scale {o.s_n}, issue {o.i_n} rows"
    if o.i_n > 0 and o.p_n == 0 and o.b_any == 0:
        text += (
            "\nstore path: the row at the head of the issue queue has lost its data (scratchpad pipe shorter than the "
            "queues beside it: this machine cannot mvout from the scratchpad)"
        )
    return text
