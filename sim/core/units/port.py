"""The port to memory: two TileLink buffers each way for DMA reader and writer, a round-robin crossbar, a D channel.

Source: Scratchpad.scala (reader and writer -> TLBuffer -> TLXbar -> TLBuffer -> port). One beat per cycle on each
channel. Reader, writer and merger reach memory through these buffers alone (`m.port`):

    reader -> reader_out --+                              +--> reader_in -> beat merger
                           +--> to_memory .. from_memory -+
    writer -> writer_out --+                              +--> writer_in -> writer

Between `to_memory` and `from_memory` is a memory model (memory/), or an L2 (l2/) with a memory model behind it.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent
from sim.core.params import DRAM, NEVER
from sim.core.units import memory
from sim.core.units.tilelink import BUFFER, READER, WRITER, put_in, room, take

BUFFERS = ("reader_out", "writer_out", "to_memory", "from_memory", "reader_in", "writer_in")

DTYPE = np.dtype(
    [
        *((name, BUFFER) for name in BUFFERS),
        ("prefer", "i8"),  # client that wins the next tie at the crossbar
        ("locked", "i8"),  # 1: the crossbar is inside a Put of the writer
    ]
)


def reset(m):
    """Bring the record of a new machine to its state after reset."""
    m.port.prefer = WRITER  # the crossbar's first tie goes to the writer
    for name in BUFFERS:
        m.port[name].pop_t = LONG_AGO


@njit
def at_rest(m):
    """True while no request waits in its buffers."""
    return m.port.reader_out.n + m.port.writer_out.n + m.port.to_memory.n == 0


@njit
def _room_at_port(now, m):
    """True if there is room for a beat after those of bursts (leap/burst), two of which may still be in the buffer."""
    b = m.port.from_memory
    return b.n + (b.pop_t == now) + (m.burst.buffer_t >= now) + (m.burst.buffer_before_t >= now) < 2


@njit
def _room_at_reader(now, m):
    """Like `_room_at_port`, for the reader's buffer."""
    b = m.port.reader_in
    return b.n + (b.pop_t == now) + (m.burst.merged_t >= now) + (m.burst.merged_before_t >= now) < 2


@njit
def step_delivery(now, m):
    """Pass answers in the buffer at the port to reader or writer. Returns the wake."""
    return _deliver(now, m) if m.port.from_memory.n > 0 else NEVER


@njit
def _deliver(now, m):
    b = m.port.from_memory
    if m.burst.buffer_t >= now:
        return now + 1
    if b.client[0] == READER:
        if not _room_at_reader(now, m):
            return now + 1 if m.burst.merged_t >= now else NEVER
        put_in(m.port.reader_in, READER, b.arg[0], b.last[0], 0)
    else:
        if not room(m.port.writer_in, now):
            return NEVER
        put_in(m.port.writer_in, WRITER, b.arg[0], 1, 0)
    take(b, now)
    m.station.progress_t = now
    return now + 1


@njit
def step_answers(now, m):
    """Pass the memory's next answer to the port (with an L2, see there). Returns the wake.

    Called after `memory.catch_up` to this cycle.
    """
    if m.p.tile_buffer:
        return _from_tile(now, m)
    return _answers(now, m) if m.p.l2_sets == 0 and (memory.busy(m) or m.full) else NEVER


@njit
def _from_tile(now, m):
    """Pass the L2's answer in the tile's buffer to the port."""
    b = m.tile.answer
    if b.n == 0 or not room(m.port.from_memory, now):
        return NEVER
    put_in(m.port.from_memory, b.client[0], b.arg[0], b.last[0], 0)
    take(b, now)
    m.station.progress_t = now
    return now + 1


@njit
def _answers(now, m):
    wake = memory.offer_known(now, m)
    offered = m.mem.offered
    if offered == memory.NOTHING:
        return wake
    if not _room_at_port(now, m):
        if m.burst.buffer_t >= now:
            return now + 1
        return wake if m.p.memory_model == DRAM else NEVER  # a DRAM continues while an answer is not taken
    beat = memory.answer(now, m)
    put_in(m.port.from_memory, READER if offered == memory.READ else WRITER, beat >> 1, beat & 1, 0)
    m.station.progress_t = now
    return now + 1


@njit
def step_requests(now, m):
    """Requests: port -> memory, then the crossbar's round-robin choice reader/writer -> port. Returns the wake."""
    b = m.port
    return _requests(now, m) if b.to_memory.n + b.reader_out.n + b.writer_out.n + m.full > 0 else NEVER


@njit
def _requests(now, m):
    acted = False
    if m.port.to_memory.n > 0:
        if m.p.tile_buffer:
            acted = _to_tile(now, m)
        elif m.p.l2_sets == 0:
            acted = _to_memory(now, m)
    if room(m.port.to_memory, now):
        acted = _arbitrate(now, m) or acted
    if acted:
        m.station.progress_t = now
        return now + 1
    return NEVER


@njit
def _to_tile(now, m):
    """Pass the request at the port into the tile's buffer."""
    b = m.port.to_memory
    if not room(m.tile.request, now):
        return False
    put_in(m.tile.request, b.client[0], b.arg[0], b.last[0], b.address[0])
    take(b, now)
    return True


@njit
def _to_memory(now, m):
    """Pass the request at the port to the memory, if it is accepted."""
    b = m.port.to_memory
    if b.client[0] == READER:
        if not memory.takes_read(now, m, b.address[0]):
            return False
        memory.read(now, m, b.arg[0] & 0xFFFF, b.arg[0] >> 16, b.address[0])
    else:
        if not memory.takes_write(now, m, b.address[0]):
            return False
        # the writer's acknowledges arrive in order and are counted, so its Puts need no transaction
        memory.write(now, m, 0, b.last[0], b.arg[0] & 0xFFFF, b.arg[0] >> 16, b.address[0])
    take(b, now)
    return True


@njit
def _arbitrate(now, m):
    """Let the crossbar pass one beat to the port: round robin, Puts uninterrupted."""
    b = m.port
    client = -1
    if b.locked:
        if b.writer_out.n > 0:
            client = WRITER
    elif b.reader_out.n > 0 and b.writer_out.n > 0:
        client = b.prefer
        b.prefer = 1 - client
    elif b.reader_out.n > 0:
        client = READER
        b.prefer = WRITER
    elif b.writer_out.n > 0:
        client = WRITER
        b.prefer = READER
    if client == READER:
        put_in(b.to_memory, READER, b.reader_out.arg[0], 1, b.reader_out.address[0])
        take(b.reader_out, now)
    elif client == WRITER:
        b.locked = 1 - b.writer_out.last[0]
        put_in(b.to_memory, WRITER, b.writer_out.arg[0], b.writer_out.last[0], b.writer_out.address[0])
        take(b.writer_out, now)
    return client >= 0


@njit
def rebase(m, start):
    """Make all times of the port relative to cycle ``start``."""
    b = m.port
    for buffer in (b.reader_out, b.writer_out, b.to_memory, b.from_memory, b.reader_in, b.writer_in):
        buffer.pop_t = recent(buffer.pop_t, start, 0)


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    b = m.port
    for buffer in (b.reader_out, b.writer_out, b.to_memory, b.from_memory, b.reader_in, b.writer_in):
        for i in range(buffer.n, 2):
            buffer.client[i] = 0
            buffer.arg[i] = 0
            buffer.last[i] = 0
        buffer.address[:] = 0  # a memory that reads it cannot be repeated (TIMING_BITS)
        buffer.pop_t = recent(buffer.pop_t, now, 0)
