"""DRAM behind the port: requests cut into bursts, spread over channels, answered when their data are available.

A channel (units/dram) counts clocks of the memory, the machine its own cycles; clk_num / clk_den is the number of
clocks per cycle. A request is cut into aligned bursts, lowest address first. They wait in a single slot before the
channels (`slot`): in a clock of the memory each channel takes at most one, in order. A burst that its channel refuses
is offered again after the channel has acted, and no other burst overtakes it.

Known answers, whose time may be in the future, wait in the queues of fixed.py, which puts them on the wires and gives
them to bursts (leap/burst). `mem_latency` is the path from the port to the controllers and back; read and write rates
are those of the bus on that path. The channels are simulated lazily: `offer` advances them to its cycle, and returns as
wake a cycle before which no answer can be available.
"""

import numpy as np

from sim.core.address import ALL_BITS
from sim.core.jit import njit
from sim.core.params import NEVER, XACTS
from sim.core.units.dram import controller, counting
from sim.core.units.memory import fixed
from sim.core.units.memory.wires import NOTHING, READ

TIMING_BITS = ALL_BITS

WRITE = XACTS  # first identity of writes in a channel; those of reads are their transactions
NO_CLOCK = NEVER >> 1  # no clock of a run comes so late; times its length in cycles it would not fit 64 bits
PIECES = 4  # largest number of pieces of the channel number in an address

DTYPE = np.dtype(
    [
        # fixed numbers
        ("clk_num", "i8"),  # a machine cycle is clk_num / clk_den clocks of the DRAM
        ("clk_den", "i8"),  # (see clk_num)
        ("line_bits", "i8"),  # log2 bytes of a burst
        ("pieces", "i8"),  # runs of bits of an address above the burst, lowest first: channel or not
        ("piece_bits", "i8", (2 * PIECES + 1,)),  # bits of a run
        ("piece_channel", "i8", (2 * PIECES + 1,)),  # 1: they are part of the channel's number
        ("reads_fit", "i8"),  # 1: single bursts, one a cycle, are never refused: a clock each, a place for each
        # time
        ("origin", "i8"),  # machine cycles before the present program
        ("wake_t", "i8"),  # clock in which a channel acts next
        ("act_t", "i8"),  # first cycle in which a channel has work
        ("soon_t", "i8"),  # cycle before which no burst that still waits can be answered
        # the request before the channels
        ("slot_n", "i8"),  # bursts still to be taken
        ("slot_t", "i8"),  # clock in which the next one is offered, NEVER: after its channel has acted
        ("slot_id", "i8"),  # transaction of a read; WRITE + place in the ring of a Put
        ("slot_write", "i8"),  # 1: a Put
        ("slot_address", "i8"),  # DRAM address of the next burst
        ("slot_channel", "i8"),  # channel of the next burst
        ("taken_t", "i8", (64,)),  # clock in which each channel took a burst last
        # single bursts of reads on their way from the reader, in order: a ring
        ("ahead_head", "i8"),  # index of the oldest
        ("ahead_n", "i8"),  # reads
        ("ahead_t", "i8", (XACTS,)),  # clock in which its channel takes it
        ("ahead_id", "i8", (XACTS,)),  # transaction
        ("ahead_address", "i8", (XACTS,)),  # DRAM address
        # reads by transaction
        ("beats", "i8", (XACTS,)),  # beats of the answer
        ("parts", "i8", (XACTS,)),  # bursts that are not complete
        ("ready_t", "i8", (XACTS,)),  # cycle of the answer
        ("waiting", "i8"),  # reads with bursts that are not complete
        # Puts in order: a ring
        ("put_head", "i8"),  # index of the oldest
        ("put_n", "i8"),  # Puts whose acknowledge is not known yet
        ("put_id", "i8", (XACTS,)),  # transaction
        ("put_parts", "i8", (XACTS,)),  # bursts that are not complete
        ("put_ready_t", "i8", (XACTS,)),  # cycle of the acknowledge
        ("put_drained", "i8"),  # time at which the bus has transferred the last Put, in units of 1/write_den cycle
    ]
)


def reset(m):
    """Bring the record of a new machine to its state after reset."""
    m.dram.taken_t[:] = -1


def place(m: np.record, numbers: dict) -> None:
    """Set the fixed numbers: those of the clock, ``line_bits``, ``read_depth``, ``pieces`` of (is channel, bits)."""
    g = m.dram
    for name in ("clk_num", "clk_den", "line_bits"):
        g[name] = numbers[name]
    g.pieces = len(numbers["pieces"])
    for i, (is_channel, bits) in enumerate(numbers["pieces"]):
        g.piece_channel[i] = is_channel
        g.piece_bits[i] = bits
    g.reads_fit = int(g.clk_num >= g.clk_den and m.p.n_xacts <= numbers["read_depth"])


@njit
def _clock(g, now):
    """Return the first clock of the memory that begins in a cycle or later."""
    return ((g.origin + now) * g.clk_num + g.clk_den - 1) // g.clk_den


@njit
def _cycle(g, clock):
    """Return the first cycle that begins after the beginning of a clock."""
    return (clock * g.clk_den + g.clk_num - 1) // g.clk_num - g.origin


@njit
def _after(g, clock):
    """Return the first cycle after the end of a clock."""
    if clock >= NO_CLOCK:
        return NEVER
    return clock * g.clk_den // g.clk_num + 1 - g.origin


@njit
def busy(m):
    """True while an answer is due or a request waits before the channels."""
    g = m.dram
    return g.waiting + g.put_n + g.slot_n > 0 or fixed.busy(m)


@njit
def takes_read(now, m, address):
    """True if no other request waits before the channels."""
    return m.dram.slot_n == 0


@njit
def takes_write(now, m, address):
    """True if a beat of a Put is accepted, as for reads."""
    return m.dram.slot_n == 0


@njit
def _enter(now, m, at, identity, write, address, size):
    """Put a request of this cycle before the channels in cycle `at`."""
    g = m.dram
    first = address & -size
    g.slot_n = (size + (1 << g.line_bits) - 1) >> g.line_bits
    g.slot_address = first & -(1 << g.line_bits)
    g.slot_t = _clock(g, at)
    g.slot_id = identity
    g.slot_write = write
    g.act_t = min(g.act_t, now + 1)  # both are recomputed when the channels have been simulated up to then
    g.soon_t = now + 1


@njit
def _expect(g, now, transaction, beats, parts):
    """A read of some bursts waits for its data."""
    g.beats[transaction] = beats
    g.parts[transaction] = parts
    g.ready_t[transaction] = now
    g.waiting += 1


@njit
def read(now, m, transaction, beats, address):
    """Accept a read of some beats."""
    _enter(now, m, now, transaction, 0, address, beats * m.p.beat_bytes)
    _expect(m.dram, now, transaction, beats, m.dram.slot_n)


@njit
def takes_ahead(m, size):
    """True when a read will be taken in the cycle in which it comes, if no other request is on its way.

    Nothing waits in front of the channels, no channel can refuse it, and the one before it has left a clock to it.
    """
    g = m.dram
    return g.slot_n == 0 and g.reads_fit == 1 and size <= 1 << g.line_bits


@njit
def read_ahead(at, m, transaction, beats, address):
    """Take a read that comes in a later cycle; `takes_ahead`, and it comes behind all others."""
    g = m.dram
    i = (g.ahead_head + g.ahead_n) % XACTS
    clock = _clock(g, at)
    g.ahead_t[i] = clock
    g.ahead_id[i] = transaction
    g.ahead_address[i] = address & -(1 << g.line_bits)
    g.ahead_n += 1
    _expect(g, at, transaction, beats, 1)
    g.act_t = min(g.act_t, at + 1)
    g.soon_t = min(g.soon_t, _cycle(g, clock + 1) + m.p.mem_latency)


@njit
def write(now, m, transaction, last, size, address):
    """Accept a beat of a Put."""
    g = m.dram
    p = m.p
    g.put_drained = max(g.put_drained, (now - 1) * p.write_den) + p.write_num
    if last:
        i = (g.put_head + g.put_n) % XACTS
        at = max(now, (g.put_drained + p.write_den - 1) // p.write_den)
        _enter(now, m, at, WRITE + i, 1, address, size)
        g.put_id[i] = transaction
        g.put_parts[i] = g.slot_n
        g.put_ready_t[i] = now
        g.put_n += 1


@njit
def _split(g, address):
    """Return the channel of an address, and the address inside it."""
    rest = address >> g.line_bits
    channel = 0
    inside = 0
    channel_at = 0
    inside_at = 0
    for i in range(g.pieces):
        bits = g.piece_bits[i]
        value = rest & ((1 << bits) - 1)
        rest >>= bits
        if g.piece_channel[i]:
            channel |= value << channel_at
            channel_at += bits
        else:
            inside |= value << inside_at
            inside_at += bits
    return channel, (inside | rest << inside_at) << g.line_bits


@njit
def _hand_on(t, g, channels):
    """Offer the bursts of the waiting request to their channels in clock t."""
    while g.slot_n > 0:
        channel, inside = _split(g, g.slot_address)
        if g.taken_t[channel] == t:
            g.slot_t = t + 1
            return
        if not controller.accept(t, channels[channel], g.slot_id, inside, g.slot_write):
            g.slot_channel = channel
            g.slot_t = NEVER
            return
        g.taken_t[channel] = t
        g.wake_t = min(g.wake_t, t)
        g.slot_address += 1 << g.line_bits
        g.slot_n -= 1
    g.slot_t = NEVER


@njit
def _take_ahead(t, g, channels):
    """The oldest of the reads on their way is there, in clock t."""
    i = g.ahead_head
    channel, inside = _split(g, g.ahead_address[i])
    controller.accept(t, channels[channel], g.ahead_id[i], inside, 0)
    g.taken_t[channel] = t
    g.wake_t = min(g.wake_t, t)
    g.ahead_head = (i + 1) % XACTS
    g.ahead_n -= 1


@njit
def _next(g):
    """Clock in which a channel acts next, or a request comes to one."""
    t = min(g.wake_t, g.slot_t if g.slot_n > 0 else NEVER)
    return min(t, g.ahead_t[g.ahead_head] if g.ahead_n > 0 else NEVER)


@njit
def _complete(m, identity, clock):
    """Record the completion of a burst."""
    g = m.dram
    at = _cycle(g, clock) + m.p.mem_latency
    if identity >= WRITE:
        i = identity - WRITE
        g.put_parts[i] -= 1
        g.put_ready_t[i] = max(g.put_ready_t[i], at)
        return
    g.ready_t[identity] = max(g.ready_t[identity], at)
    g.parts[identity] -= 1
    if g.parts[identity] > 0:
        return
    g.waiting -= 1
    f = m.fixed
    t = g.ready_t[identity]
    first = 1 if f.in_burst or m.mem.offered == READ else 0  # nothing precedes an answer that has begun
    i = f.read_n
    while i > first and f.read_ready_t[(f.read_head + i - 1) % XACTS] > t:
        to = (f.read_head + i) % XACTS
        of = (f.read_head + i - 1) % XACTS
        f.read_ready_t[to] = f.read_ready_t[of]
        f.read_beats[to] = f.read_beats[of]
        f.read_id[to] = f.read_id[of]
        i -= 1
    to = (f.read_head + i) % XACTS
    f.read_ready_t[to] = t
    f.read_beats[to] = g.beats[identity]
    f.read_id[to] = identity
    f.read_n += 1


@njit
def _acknowledge(m):
    """Acknowledge the Puts whose bursts are complete, in order."""
    g = m.dram
    f = m.fixed
    while g.put_n > 0 and g.put_parts[g.put_head] == 0:
        i = (f.ack_head + f.ack_n) % XACTS
        f.ack_ready_t[i] = g.put_ready_t[g.put_head]
        f.ack_id[i] = g.put_id[g.put_head]
        f.ack_n += 1
        g.put_head = (g.put_head + 1) % XACTS
        g.put_n -= 1


@njit
def advance(now, m, channels):
    """Simulate all clocks of the memory that end before cycle `now`."""
    g = m.dram
    until = _clock(g, now)
    while True:
        t = _next(g)
        if t >= until:
            return
        if g.ahead_n > 0 and g.ahead_t[g.ahead_head] <= t:
            _take_ahead(t, g, channels)
        if g.slot_n > 0 and g.slot_t <= t:
            _hand_on(t, g, channels)
        if g.wake_t > t:
            continue
        wake = NEVER
        for i in range(channels.shape[0]):
            d = channels[i]
            if d.next_t <= t:
                controller.step(t, d)
                if g.slot_n > 0 and g.slot_t == NEVER and g.slot_channel == i:
                    g.slot_t = t + 1
            for k in range(d.done_n):
                _complete(m, d.done_id[k], d.done_t[k])
            d.done_n = 0
            wake = min(wake, d.next_t)
        g.wake_t = wake


@njit
def _soonest(m, channels):
    """Return a cycle before which no waiting burst can be answered."""
    g = m.dram
    at = NEVER
    if g.slot_n > 0:  # when it has gone, the next one may come
        at = _after(g, _next(g))
    elif g.put_n > 0 and _next(g) < NO_CLOCK:
        at = _cycle(g, _next(g)) + m.p.mem_latency
    if g.ahead_n > 0:  # a write that waits may answer it
        at = min(at, _cycle(g, g.ahead_t[g.ahead_head] + 1) + m.p.mem_latency)
    if g.waiting > 0 and g.wake_t < NO_CLOCK:
        at = min(at, _cycle(g, g.wake_t + channels[0].read_latency) + m.p.mem_latency)
    return at


@njit
def catch_up(now, m, channels):
    """Bring the channels up to a cycle in which an answer may come, or a request waits in front of them."""
    g = m.dram
    if now >= g.act_t and (now >= g.soon_t or g.slot_n > 0):
        advance(now, m, channels)
        _acknowledge(m)
        g.act_t = _after(g, _next(g))
        g.soon_t = _soonest(m, channels)


@njit
def offer(now, m):
    """Put the next answer on the wires, if they are free; call after `catch_up`. Returns the wake."""
    wake = max(now + 1, m.dram.soon_t)
    if m.mem.offered != NOTHING:
        return wake
    return min(wake, fixed.offer(now, m))


@njit
def rebase(m, start):
    """Make all times in machine cycles relative to cycle ``start``; the memory's own clock continues."""
    fixed.rebase(m, start)
    fixed.tidy(m)
    g = m.dram
    g.origin += start
    g.ready_t[:] -= start
    g.put_ready_t[:] -= start
    g.act_t, g.soon_t = 0, 0  # both are recomputed in the next call
    g.ahead_head = 0  # between two programs no request is on its way, and nothing of the last ones matters
    for ring in (g.ahead_t, g.ahead_id, g.ahead_address):
        ring[:] = 0
    if g.slot_n == 0:
        g.slot_t, g.slot_channel = NEVER, 0
        g.slot_id, g.slot_write, g.slot_address = 0, 0, 0
    g.put_drained -= start * m.p.write_den


@njit
def settle(now, m, channels):
    """Simulate the clocks before cycle `now`, and add the channels' counters since the last call."""
    g = m.dram
    advance(now, m, channels)
    _acknowledge(m)
    g.act_t, g.soon_t = now, now
    clock = _clock(g, now)
    for i in range(channels.shape[0]):
        counting.take(channels[i], clock, m.count)
