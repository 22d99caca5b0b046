"""DMA reader: rows of the load controller become memory requests.

Source: StreamReader in DMA.scala, XactTracker.scala. Stages: issue queue, request splitter (one Get per cycle while a
transaction id is free), TLB stage, translate stage, A channel. A refused request goes back into the TLB stage.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent, straighten
from sim.core.params import NEVER, XACTS
from sim.core.units import memory, tlb, writer
from sim.core.units.packet import best_size
from sim.core.units.tilelink import READER, WRITER, put_in, room

QUEUE = 16
REQUESTS = 8  # largest number on the way to the memory: one per cycle

DTYPE = np.dtype(
    [
        # issue queue (read_delay + 1 entries, refilled in the cycle it is emptied)
        ("queue_n", "i8"),  # rows queued
        ("queue_head", "i8"),  # index of the oldest
        ("queue_address", "i8", (QUEUE,)),  # DRAM address of the row
        ("queue_target", "i8", (QUEUE,)),  # local address and flags (scaler.pack0)
        ("queue_shape", "i8", (QUEUE,)),  # repeats, pixels, elements (scaler.pack1)
        ("queue_bytes", "i8", (QUEUE,)),  # bytes of the row
        ("queue_row_bytes", "i8", (QUEUE,)),  # bytes of a local row
        ("queue_block_stride", "i8", (QUEUE,)),  # local rows from one block to the next
        # the row being split
        ("busy", "i8"),  # 1: a row is being split
        ("address", "i8"),  # DRAM address of what is still to be requested
        ("block_target", "i8"),  # as queue_target
        ("block_shape", "i8"),  # as queue_shape
        ("bytes_left", "i8"),  # bytes still to be requested
        ("bytes_requested", "i8"),  # bytes requested
        ("row_bytes", "i8"),  # bytes of a local row
        ("block_stride", "i8"),  # local rows from one block to the next
        # TLB stage and translate stage: xact | beats << 16, address
        ("tlb_valid", "i8"),  # 1: a request is in the TLB stage
        ("tlb_arg", "i8"),  # its transaction and beats
        ("tlb_address", "i8"),  # its DRAM address
        ("translated_valid", "i8"),  # 1: a request is in the translate stage
        ("translated_arg", "i8"),  # its transaction and beats
        ("translated_address", "i8"),  # its DRAM address
        # transactions
        ("used", "i8"),  # ids in use
        ("freed_t", "i8"),  # last cycle in which an id was freed
        ("free_n", "i8"),  # free ids
        ("free", "i8", (XACTS,)),  # stack of free ids
        ("id_target", "i8", (XACTS,)),  # by id: local address and flags (scaler.pack0)
        ("id_shape", "i8", (XACTS,)),  # repeats, pixels, elements, useful bytes (pack1)
        ("id_address", "i8", (XACTS,)),  # local address of its first row
        ("id_total_bytes", "i8", (XACTS,)),  # bytes of the request
        ("id_shift", "i8", (XACTS,)),  # bytes of the request before the useful ones
        ("id_useful_bytes", "i8", (XACTS,)),  # useful bytes
        ("id_offset", "i8", (XACTS,)),  # bytes of its first local row loaded by earlier requests
        ("id_row_bytes", "i8", (XACTS,)),  # bytes of a local row
        ("id_block_stride", "i8", (XACTS,)),  # local rows from one block to the next
    ]
)


@njit
def free_xact(now, m, xact):
    """Free the id of a transaction whose last beat was taken; it can be used again from the next cycle."""
    r = m.reader
    r.free[r.free_n] = xact
    r.free_n += 1
    r.used -= 1
    r.freed_t = now


@njit
def can_accept(m):
    """True if the issue queue has room; called after the reader has taken this cycle's row."""
    return m.reader.queue_n < m.p.read_delay + 1


@njit
def accept(m, address, w0, w1, length_bytes, row_bytes, stride):
    """Accept a row request of the load controller."""
    r = m.reader
    i = (r.queue_head + r.queue_n) % QUEUE
    r.queue_address[i] = address
    r.queue_target[i] = w0
    r.queue_shape[i] = w1
    r.queue_bytes[i] = length_bytes
    r.queue_row_bytes[i] = row_bytes
    r.queue_block_stride[i] = stride
    r.queue_n += 1


@njit
def _alone(m):
    """True without contention.

    No request is on its way to the memory, and the writer will send none in the next cycles.
    """
    b = m.port
    o = m.mvout
    if (
        m.reader.tlb_valid + m.reader.translated_valid + b.reader_out.n + b.to_memory.n + b.writer_out.n > 0
        or not writer.at_rest(m)
    ):
        return False
    return o.dispatch_n + o.norm_n + o.scale_n + o.issue_n + o.buffered + o.pipe_n == 0


@njit
def _send(now, m, xact, beats):
    """Send a request without contention: TLB stage, translate stage, two buffers.

    The memory accepts it four cycles later.
    """
    f = m.burst
    tlb.pass_alone(now, m.tlb, tlb.READER, m.reader.address)
    m.port.prefer = WRITER
    memory.read_ahead(now + 4, m, xact, beats, m.reader.address)
    f.sent_t[(f.sent_head + f.sent_n) % REQUESTS] = now + 4
    f.sent_n += 1
    f.due_t = min(f.due_t, now + 5)
    m.station.progress_t = now + 4


@njit
def step(now, m):
    """One cycle of the reader. Returns the wake."""
    return (
        _cycle(now, m)
        if m.reader.busy + m.reader.queue_n + m.reader.tlb_valid + m.reader.translated_valid + m.full > 0
        else NEVER
    )


@njit
def _cycle(now, m):
    r = m.reader
    p = m.p
    acted = r.translated_valid + r.tlb_valid > 0
    refused = r.translated_valid == 1 and not _translated(now, m)
    refused_arg = r.translated_arg
    refused_address = r.translated_address
    r.translated_valid = 0
    if r.tlb_valid:
        _look_up(now, m)
    ready = r.busy == 0
    if refused:
        r.tlb_valid = 1
        r.tlb_arg = refused_arg
        r.tlb_address = refused_address
    elif r.busy and r.used + (1 if r.freed_t == now else 0) < p.n_xacts:
        acted = True
        _split(now, m)
        ready = r.busy == 0
    if ready and r.queue_n > 0:
        acted = True
        _next_row(r)
    waits = r.translated_valid + r.tlb_valid + m.port.reader_out.n + p.l2_sets == 0 and (
        r.used >= p.n_xacts if r.busy else r.queue_n == 0
    )
    return now + 1 if acted and not waits else NEVER  # otherwise wait for a row, or a free id


@njit
def _translated(now, m):
    """Pass the request of the translate stage to the A channel. False if its page is missing or there is no room."""
    if not room(m.port.reader_out, now) or tlb.missed(now, m.tlb, tlb.READER):
        return False
    put_in(m.port.reader_out, READER, m.reader.translated_arg, 1, m.reader.translated_address)
    return True


@njit
def _look_up(now, m):
    """Look up the page of the request in the TLB stage and move the request to the translate stage."""
    r = m.reader
    r.translated_valid = 1
    r.translated_arg = r.tlb_arg
    r.translated_address = r.tlb_address
    r.tlb_valid = 0
    tlb.present(now, m.tlb, tlb.READER, r.tlb_address)
    tlb.request(now, m.tlb, tlb.READER, r.tlb_address)


@njit
def _split(now, m):
    """Give the next Get of the row being split an id and move it to the TLB stage."""
    r = m.reader
    p = m.p
    size, useful = best_size(p, r.address, r.bytes_left)
    r.free_n -= 1
    xact = r.free[r.free_n]
    r.used += 1
    r.id_target[xact] = r.block_target
    r.id_shape[xact] = (r.block_shape & 0xFFFFFFFFFF) | useful << 40
    r.id_total_bytes[xact] = size
    r.id_shift[xact] = r.address & (size - 1)
    r.id_useful_bytes[xact] = useful
    r.id_offset[xact] = r.bytes_requested % r.row_bytes
    r.id_row_bytes[xact] = r.row_bytes
    r.id_block_stride[xact] = r.block_stride
    r.id_address[xact] = (r.block_target & 0xFFFFFFFF) + r.block_stride * (r.bytes_requested // r.row_bytes)
    if m.burst.enabled and _alone(m) and memory.takes_ahead(m, size):
        _send(now, m, xact, size // p.beat_bytes)
    else:
        r.tlb_valid = 1
        r.tlb_arg = xact | (size // p.beat_bytes) << 16
        r.tlb_address = r.address
    r.address += useful
    r.bytes_requested += useful
    r.bytes_left -= useful
    if r.bytes_left <= 0:
        r.busy = 0


@njit
def _next_row(r):
    """Begin splitting the oldest row of the issue queue."""
    h = r.queue_head
    r.busy = 1
    r.address = r.queue_address[h]
    r.block_target = r.queue_target[h]
    r.block_shape = r.queue_shape[h]
    r.bytes_left = r.queue_bytes[h]
    r.row_bytes = r.queue_row_bytes[h]
    r.block_stride = r.queue_block_stride[h]
    r.bytes_requested = 0
    r.queue_head = (h + 1) % QUEUE
    r.queue_n -= 1


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    r = m.reader
    h = r.queue_head
    for ring in (
        r.queue_address,
        r.queue_target,
        r.queue_shape,
        r.queue_bytes,
        r.queue_row_bytes,
        r.queue_block_stride,
    ):
        straighten(ring, h, r.queue_n, QUEUE)
    r.queue_head = 0
    if not r.busy:
        r.address = 0
        r.block_target = 0
        r.block_shape = 0
        r.bytes_left = 0
        r.bytes_requested = 0
        r.row_bytes = 0
        r.block_stride = 0
    if not r.tlb_valid:
        r.tlb_arg = 0
        r.tlb_address = 0
    if not r.translated_valid:
        r.translated_arg = 0
        r.translated_address = 0
    r.freed_t = recent(r.freed_t, now, 0)


@njit
def busy(m):
    """True if a transaction is in flight."""
    return m.reader.used > 0


def reset(m):
    """State after reset: all transaction ids are free."""
    ids = m.p.n_xacts
    m.reader.free_n = ids
    m.reader.free[:ids] = np.arange(ids)[::-1]
    m.reader.freed_t = LONG_AGO


def describe(m):
    """Describe what a stopped reader waits for."""
    return f"DMA reader: {m.reader.used} requests in flight, {m.reader.queue_n} rows queued"
