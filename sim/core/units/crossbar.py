"""The system bus between the tiles of several cores and the one memory, or the L2 in front of it.

Source: rocket-chip's system bus (TLXbar with TLArbiter.roundRobin). One beat a cycle in each direction.
*Requests*: in a cycle in which no Put is open the first core with a beat wins, counted down from the one below the
last winner L: L-1, .., 0, n-1, .., L; the last winner changes when the memory's side takes a first beat. A Put keeps
the channel for all its beats, also in cycles in which it has none. *Answers* go to the requesting core; if its buffer
is full, the channel waits, for all cores. The CPUs' own inputs, between those of the accelerators, are not used.

The memory's side is a record of its own (`side`), with the units that a single core has behind its port. It is stepped
after all cores of a cycle: a request is seen in the cycle after it arrived.
"""

import numpy as np

from sim.core.jit import inlined, njit
from sim.core.units import l2, memory
from sim.core.units.tilelink import READER, WRITER, put_in, room, take

DTYPE = np.dtype(
    [
        ("cores", "i8"),  # cores on the bus; 0: this record is not a memory's side
        ("ids", "i8"),  # transactions of a core at the memory: core * ids + its own
        ("winner", "i8"),  # last winner; `cores` after reset
        ("open", "i8"),  # core whose Put is open, -1: none
        ("wake_t", "i8"),  # cycle in which the memory's side can act next
        ("now", "i8"),  # cycle of the loop (cores.py) after a pause
    ]
)


def attach(side: np.record, cores: int, ids: int) -> None:
    """Make a reset record the memory's side of ``cores`` cores with ``ids`` transactions each."""
    side.crossbar.cores = cores
    side.crossbar.ids = ids
    side.crossbar.winner = cores
    side.crossbar.open = -1
    side.front.idle_t = -1  # not yet


@njit
def offers(t, now):
    """True if a tile had a beat for the crossbar at the start of the cycle."""
    return t.request.n > (1 if t.pushed_t == now else 0)


@njit
def _rouse(now, m):
    """Wake a core in the next cycle, which gets an answer or from which a request was taken."""
    m.tile.wake_t = min(m.tile.wake_t, now + 1)
    m.guard.data_t = min(m.guard.data_t, now + 1)


@njit
def _granted(now, m, x, core):
    """Record that the memory's side has taken the head beat of a core."""
    b = m.tile.request
    if x.open < 0:
        x.winner = core
    x.open = -1 if b.last[0] else core
    take(b, now)
    _rouse(now, m)


@njit
def _hand(now, m, client, transaction, last):
    """Give an answer to a core's tile."""
    put_in(m.tile.answer, client, transaction, last, 0)
    _rouse(now, m)


@njit
def _ask(now, side, b, core):
    """Offer the head beat of a core's tile to the memory."""
    if b.client[0] == READER:
        if not memory.takes_read(now, side, b.address[0]):
            return False
        transaction = core * side.crossbar.ids + (b.arg[0] & 0xFFFF)
        memory.read(now, side, transaction, b.arg[0] >> 16, b.address[0])
        return True
    if not memory.takes_write(now, side, b.address[0]):
        return False
    memory.write(now, side, core, b.last[0], b.arg[0] & 0xFFFF, b.arg[0] >> 16, b.address[0])
    return True


@njit
def _to_cache(side, b, core):
    """Put the head beat on the wires before the L2."""
    door = side.port.to_memory
    door.n = 0
    put_in(door, b.client[0] | core << 1, b.arg[0], b.last[0], b.address[0])


@njit
def _addressee(side):
    """Return the core of the memory's offered answer; -1: none is offered."""
    f = side.fixed
    if side.mem.offered == memory.NOTHING:
        return -1
    if side.mem.offered == memory.ACKNOWLEDGE:
        return f.ack_id[f.ack_head]
    return f.read_id[f.read_head] // side.crossbar.ids


@inlined
def step(now, cores, side, lines, channels):
    """One cycle of the crossbar and the units behind it. Returns the wake; cores that receive something are woken."""
    x = side.crossbar
    n = cores.shape[0]
    winner = -1
    for k in range(n):
        i = x.winner - 1 - k
        if i < 0:
            i += n
        t = cores[i].tile
        if winner < 0 and (x.open < 0 or x.open == i) and offers(t, now):
            winner = i
    acted = False
    taken = False
    if side.p.l2_sets:
        if winner >= 0:
            _to_cache(side, cores[winner].tile.request, winner)
        wake = l2.step(now, side, lines, channels)
        taken = winner >= 0 and side.port.to_memory.n == 0
        side.port.to_memory.n = 0
        to = side.l2.beat_info >> 41
        if side.l2.beat_n > 0 and room(cores[to].tile.answer, now):
            client = (side.l2.beat_info >> 40) & 1
            _hand(now, cores[to], client, (side.l2.beat_info >> 20) & 0xFFFF, side.l2.beat_last)
            side.l2.beat_n = 0
            acted = True
    else:
        wake = memory.offer(now, side, channels)
        to = _addressee(side)
        if to >= 0 and room(cores[to].tile.answer, now):
            client = READER if side.mem.offered == memory.READ else WRITER
            beat = memory.answer(now, side)
            _hand(now, cores[to], client, (beat >> 1) % x.ids if client == READER else 0, beat & 1)
            acted = True
        taken = winner >= 0 and _ask(now, side, cores[winner].tile.request, winner)
    if taken:
        for i in range(n):
            if i != winner and offers(cores[i].tile, now):
                cores[i].tile.wait_cycles += 1
        _granted(now, cores[winner], x, winner)
        acted = True
    if acted:
        side.station.progress_t = now
    fresh = False
    for i in range(n):
        fresh = fresh or cores[i].tile.pushed_t == now
    return now + 1 if acted or fresh else wake


@njit
def stirred(now, t):
    """True if a core's step has put a request into its tile, or taken an answer out of it."""
    return t.pushed_t == now or t.answer.pop_t == now
