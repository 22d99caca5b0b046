"""The path of stored rows: dispatch, SRAM read, normaliser, scale unit, issue queue, writer; all in request order.

Source: Scratchpad.scala (write_dispatch_q, write_norm_q, write_scale_q, write_issue_q), AccumulatorScale.scala.
The issue queue holds a row during its whole scale latency and has read_delay + 1 entries: that limits the rate.
At 25809f78, data from a bank's pipe are matched with the *bits* at the head of the issue queue, valid or not: with a
short pipe they can be lost, and the program then never ends.
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
        ("next", "i8"),  # first candidate for the next row's number
        ("address", "i8", (ROWS,)),  # by row number: DRAM address
        ("local", "i8", (ROWS,)),  # local address
        ("length", "i8", (ROWS,)),  # columns
        ("block", "i8", (ROWS,)),  # block of the row
        ("norm", "i8", (ROWS,)),  # command of the normaliser
        ("stat", "i8", (ROWS,)),  # statistic of the normaliser
        ("store", "i8", (ROWS,)),  # 1: last block, the row is written
        ("command", "i8", (ROWS,)),  # tracker slot of the mvout
        ("there", "i8", (ROWS,)),  # 1: on its way
        # queues of row numbers
        ("dispatch_n", "i8"),  # rows that wait for their SRAM read
        ("dispatch_pop_t", "i8"),  # cycle in which the last one left
        ("pace_t", "i8"),  # the next accumulator row is read no earlier
        ("dispatch_queue", "i8", (2,)),  # row numbers
        ("norm_n", "i8"),  # rows that wait for the normaliser
        ("norm_head", "i8"),  # index of the oldest
        ("norm_pop_t", "i8"),  # cycle in which the last one left
        ("norm_queue", "i8", (QUEUE,)),  # row numbers
        ("scale_n", "i8"),  # rows that wait for the scale unit
        ("scale_head", "i8"),  # index of the oldest
        ("scale_pop_t", "i8"),  # cycle in which the last one left
        ("scale_queue", "i8", (QUEUE,)),  # row numbers
        ("issue_n", "i8"),  # rows that wait for the writer
        ("issue_head", "i8"),  # index of the oldest
        ("issue_queue", "i8", (QUEUE,)),  # row numbers
        ("issue_address", "i8", (QUEUE,)),  # kept when popped: the stale bits at the head
        # accumulator scale pipeline
        ("pipe_n", "i8"),  # rows in the scale unit
        ("pipe_head", "i8"),  # index of the oldest
        ("pipe_t", "i8", (QUEUE,)),  # cycle from which the row is scaled
        # per scratchpad bank: read buffer (cycle its row is there) and pipe of rows
        ("buffer_t", "i8", (BANKS,)),  # cycle from which a row is in the read buffer, NEVER none
        ("buffer_n", "i8", (BANKS,)),  # rows in the pipe behind it
        ("buffer_head", "i8", (BANKS,)),  # index of the oldest
        ("buffer_pop_t", "i8", (BANKS,)),  # cycle in which the last one left
        ("buffer_pipe_t", "i8", (BANKS, QUEUE)),  # cycle from which each can leave
        ("buffered", "i8"),  # rows in all those buffers and pipes
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
    """True if a row is queued between dispatch and writer."""
    o = m.mvout
    return o.dispatch_n + o.norm_n + o.scale_n + o.issue_n > 0


@njit
def can_accept(now, m):
    """True if the dispatch queue had room at the start of this cycle."""
    n = m.mvout.dispatch_n + (1 if m.mvout.dispatch_pop_t == now else 0)
    return n < 2


@njit
def accept(m, vaddr, address, length, norm, store):
    """Accept a row request of the store controller for its current command and block."""
    o = m.mvout
    r = o.next
    while o.there[r]:  # rows for the normaliser alone overtake those that wait for the writer, any number of them
        r = (r + 1) % ROWS
    o.next = (r + 1) % ROWS
    o.there[r] = 1
    o.address[r] = vaddr
    o.local[r] = address
    o.length[r] = length
    o.block[r] = m.store.block
    o.norm[r] = norm
    o.stat[r] = m.store.stats & 1
    o.store[r] = store
    o.command[r] = m.store.present
    o.dispatch_queue[o.dispatch_n] = r
    o.dispatch_n += 1


@njit
def _hand_over(now, m):
    """Issue queue and data -> writer. True if something moved."""
    o = m.mvout
    p = m.p
    if not m.writer.ready or (p.read_is_queue and o.issue_n == 0):
        return False  # gemmini 8c3f992 tests that there is a head; 25809f78 does not
    address = o.issue_address[o.issue_head]
    valid = False
    acted = False
    if is_garbage(p, address):
        valid = True
    elif is_acc(address):
        if o.pipe_n > 0 and o.pipe_t[o.pipe_head] <= now:
            o.pipe_head = (o.pipe_head + 1) % QUEUE
            o.pipe_n -= 1
            valid = True
            acted = True
    else:
        b = sp_bank(p, address)
        if o.buffer_n[b] > 0 and o.buffer_pipe_t[b, o.buffer_head[b]] <= now:
            o.buffer_head[b] = (o.buffer_head[b] + 1) % QUEUE
            o.buffer_n[b] -= 1
            o.buffer_pop_t[b] = now
            o.buffered -= 1
            valid = True
            acted = True
    if valid and o.issue_n > 0:
        r = o.issue_queue[o.issue_head]
        length = o.length[r]
        full = is_acc(address) == 1 and full_width(address) == 1 and not is_garbage(p, address)
        length = length * p.acc_bytes if full else packed_bytes(length, p.c_bits)
        writer.accept(m, o.address[r], length, o.block[r], o.store[r])
        o.there[r] = 0
        o.issue_head = (o.issue_head + 1) % (p.read_delay + 1)
        o.issue_n -= 1
        acted = True
    return acted


@njit
def _issue(m, r):
    o = m.mvout
    i = (o.issue_head + o.issue_n) % (m.p.read_delay + 1)
    o.issue_queue[i] = r
    o.issue_address[i] = o.local[r]
    o.issue_n += 1


@njit
def _scale(now, m):
    """Scale queue -> issue queue, for accumulator rows through the scale unit. True if a row moved."""
    o = m.mvout
    p = m.p
    if o.scale_n == 0 or o.issue_n >= p.read_delay + 1:
        return False
    r = o.scale_queue[o.scale_head]
    address = o.local[r]
    if is_acc(address) and not is_garbage(p, address):
        if o.pipe_n >= p.scale_latency or not normalizer.offers(now, m):
            return False
        normalizer.take(now, m)
        o.pipe_t[(o.pipe_head + o.pipe_n) % QUEUE] = now + p.scale_latency
        o.pipe_n += 1
        m.count[E_SCALE] += 1
    o.scale_head = (o.scale_head + 1) % QUEUE
    o.scale_n -= 1
    o.scale_pop_t = now
    _issue(m, r)
    return True


@njit
def _normalize(now, m):
    """Norm queue -> normaliser and scale queue. True if a row moved."""
    o = m.mvout
    p = m.p
    if o.norm_n == 0:
        return False
    n = o.scale_n + (1 if o.scale_pop_t == now else 0)
    if n >= p.read_delay + 2:
        return False
    r = o.norm_queue[o.norm_head]
    address = o.local[r]
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
    o.norm_head = (o.norm_head + 1) % QUEUE
    o.norm_n -= 1
    o.norm_pop_t = now
    if to_memory:
        o.scale_queue[(o.scale_head + o.scale_n) % QUEUE] = r
        o.scale_n += 1
    else:
        o.there[r] = 0
    return True


@njit
def _buffers(now, m):
    """Move rows read from scratchpad banks from the read buffers into the pipes. True if one moved."""
    o = m.mvout
    p = m.p
    if o.buffered + m.full == 0:
        return False
    acted = False
    for b in range(p.sp_banks):
        m.ports.sp_held[b] = 0
        if o.buffer_t[b] <= now:
            n = o.buffer_n[b]
            if p.read_is_queue and o.buffer_pop_t[b] == now:
                n += 1
            limit = p.read_delay if p.read_is_queue else p.read_pipe
            if n < limit:
                o.buffer_pipe_t[b, (o.buffer_head[b] + o.buffer_n[b]) % QUEUE] = now + p.read_pipe
                o.buffer_n[b] += 1
                o.buffer_t[b] = NEVER
                acted = True
            else:
                m.ports.sp_held[b] = 1
    return acted


@njit
def step(now, m):
    """Step everything after the SRAM read, writer included. Returns the wake."""
    o = m.mvout
    if o.norm_n + o.scale_n + o.issue_n + o.buffered + o.pipe_n + m.p.has_norm + m.full == 0 and writer.at_rest(m):
        m.writer.ready = 1
        return NEVER
    return _behind(now, m)


@njit
def _behind(now, m):
    o = m.mvout
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
    if o.pipe_n > 0 and now < o.pipe_t[o.pipe_head] < wake:
        wake = o.pipe_t[o.pipe_head]
    if o.buffered > 0:
        for b in range(m.p.sp_banks):
            if o.buffer_n[b] > 0 and now < o.buffer_pipe_t[b, o.buffer_head[b]] < wake:
                wake = o.buffer_pipe_t[b, o.buffer_head[b]]
            if now < o.buffer_t[b] < wake:
                wake = o.buffer_t[b]
    return wake


@njit
def step_dispatch(now, m):
    """Dispatch queue -> SRAM read request and norm queue; stepped after the execute controller."""
    return _dispatch(now, m) if m.mvout.dispatch_n > 0 else NEVER


@njit
def _dispatch(now, m):
    o = m.mvout
    p = m.p
    n = o.norm_n + (1 if o.norm_pop_t == now else 0)
    if n >= p.read_delay + 2:
        return NEVER
    r = o.dispatch_queue[0]
    address = o.local[r]
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
            if o.buffer_t[b] != NEVER:
                return NEVER
            o.buffer_t[b] = now + 1
            o.buffered += 1
            m.count[E_SPR] += 1
    o.dispatch_queue[0] = o.dispatch_queue[1]
    o.dispatch_n -= 1
    o.dispatch_pop_t = now
    o.norm_queue[(o.norm_head + o.norm_n) % QUEUE] = r
    o.norm_n += 1
    s = m.store
    c = o.command[r]
    s.tracked_left[c] -= 1
    if s.tracked_left[c] == 0:
        s.tracked_done_t[c] = now + 1
        s.tracked_ready += 1
        m.station.news_t = now + 1
    return now + 1


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    o = m.mvout
    places = m.p.read_delay + 1
    for i in range(o.dispatch_n, 2):
        o.dispatch_queue[i] = 0
    o.dispatch_pop_t = recent(o.dispatch_pop_t, now, 0)
    o.pace_t = due(o.pace_t, now)
    straighten(o.norm_queue, o.norm_head, o.norm_n, QUEUE)
    o.norm_head = 0
    o.norm_pop_t = recent(o.norm_pop_t, now, 0)
    straighten(o.scale_queue, o.scale_head, o.scale_n, QUEUE)
    o.scale_head = 0
    o.scale_pop_t = recent(o.scale_pop_t, now, 0)
    straighten(o.issue_queue, o.issue_head, o.issue_n, places)
    straighten(o.issue_address, o.issue_head, places, places)
    for k in range(o.issue_n, places):
        o.issue_address[k] = _left_behind(m.p, o.issue_address[k])
    o.issue_head = 0
    straighten(o.pipe_t, o.pipe_head, o.pipe_n, QUEUE)
    o.pipe_head = 0
    for i in range(o.pipe_n):
        o.pipe_t[i] = due(o.pipe_t[i], now)
    for b in range(BANKS):
        straighten(o.buffer_pipe_t[b], o.buffer_head[b], o.buffer_n[b], QUEUE)
        o.buffer_head[b] = 0
        for i in range(o.buffer_n[b]):
            o.buffer_pipe_t[b, i] = due(o.buffer_pipe_t[b, i], now)
        o.buffer_t[b] = due(o.buffer_t[b], now)
        o.buffer_pop_t[b] = recent(o.buffer_pop_t[b], now, 0)
    m.ports.sp_write_t[:] = LONG_AGO
    m.ports.sp_read_t[:] = LONG_AGO


@njit
def _left_behind(p, address):
    """Return the bits of the issue queue that are read after their entry has left.

    The memory, and the scratchpad bank.
    """
    if is_garbage(p, address):
        return address
    if is_acc(address):
        return 1 << 31
    return sp_bank(p, address) << p.sp_row_bits


def reset(m):
    """State after reset."""
    m.ports.sp_write_t[:] = LONG_AGO
    m.ports.sp_read_t[:] = LONG_AGO
    m.mvout.buffer_t[:] = NEVER
    m.mvout.buffer_pop_t[:] = LONG_AGO
    for field in ("dispatch_pop_t", "norm_pop_t", "scale_pop_t"):
        m.mvout[field] = LONG_AGO


def describe(m):
    """Describe the contents of a stopped store path."""
    o = m.mvout
    text = f"store path: dispatch {o.dispatch_n}, norm {o.norm_n}, scale {o.scale_n}, issue {o.issue_n} rows"
    if o.issue_n > 0 and o.pipe_n == 0 and o.buffered == 0:
        text += (
            "\nstore path: the row at the head of the issue queue has lost its data (scratchpad pipe shorter than the "
            "queues beside it: this machine cannot mvout from the scratchpad)"
        )
    return text
