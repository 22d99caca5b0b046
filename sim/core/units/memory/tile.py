"""The tile's TileLink buffer between a core's port and the system bus: two beats each way.

Source: rocket-chip's tile (TLBuffer between the RoCC port and the system bus); a beat takes a cycle more in each
direction. With several cores it is a core's memory; the parts behind it are in units/crossbar.py, which takes requests
out and puts answers in after all cores of a cycle: a core's request is stored with its cycle, and not seen before the
next. With one core of an SoC (`PARAMS.tile_buffer`) it lies between the port (port.py) and the L2.
"""

import numpy as np

from sim.core.address import ALL_BITS
from sim.core.jit import njit
from sim.core.normal import LONG_AGO
from sim.core.params import NEVER
from sim.core.units.memory.wires import ACKNOWLEDGE, READ
from sim.core.units.tilelink import BUFFER, READER, WRITER, put_in, room, take

TIMING_BITS = ALL_BITS
"""Time depends on the other cores, too: the periodic clock cannot repeat it."""

CYCLES = 2
"""Cycles that the buffer adds to a read's path from the port and back."""

DTYPE = np.dtype(
    [
        ("request", BUFFER),  # on their way to the crossbar
        ("answer", BUFFER),  # on their way to the port
        ("pushed_t", "i8"),  # cycle in which the last request beat came in
        # the loop over several cores (cores.py)
        ("wake_t", "i8"),  # cycle in which the core is stepped next
        ("seen_t", "i8"),  # cycle up to which its time is charged to causes
        ("start_t", "i8"),  # cycle of its first offer
        ("done", "i8"),  # 1: its program has ended; 2: and none of its requests is in flight
        # counters
        (
            "wait_cycles",
            "i8",
        ),  # cycles in which a beat of this core waited for the crossbar while another core's beat passed
    ]
)


def reset(m):
    """Bring the record of a new machine to its state after reset."""
    m.tile.request.pop_t = LONG_AGO
    m.tile.answer.pop_t = LONG_AGO
    m.tile.pushed_t = LONG_AGO


@njit
def busy(m):
    """True while an answer waits."""
    return m.tile.answer.n > 0


@njit
def takes_read(now, m, address):
    """True if the buffer has room."""
    return room(m.tile.request, now)


@njit
def takes_write(now, m, address):
    """True if the buffer has room for a beat of a Put."""
    return room(m.tile.request, now)


@njit
def read(now, m, transaction, beats, address):
    """Accept a read of some beats."""
    put_in(m.tile.request, READER, transaction | beats << 16, 1, address)
    m.tile.pushed_t = now


@njit
def write(now, m, last, size, useful, address):
    """Accept a beat of a Put of `size` bytes, `useful` of them enabled."""
    put_in(m.tile.request, WRITER, size | useful << 16, last, address)
    m.tile.pushed_t = now


@njit
def offer(now, m):
    """Put the next answer on the wires. Returns the wake."""
    b = m.tile.answer
    if b.n == 0:
        return NEVER
    m.mem.offered = READ if b.client[0] == READER else ACKNOWLEDGE
    return now + 1


@njit
def beat(now, m):
    """Take the offered answer; return transaction << 1 | last beat."""
    b = m.tile.answer
    taken = b.arg[0] << 1 | b.last[0]
    take(b, now)
    return taken


@njit
def rebase(m):
    """No change.

    Between two programs the buffer's times do not matter, as its last beat is out before the next one begins.
    """
    m.tile.request.pop_t = LONG_AGO
    m.tile.answer.pop_t = LONG_AGO
    m.tile.pushed_t = LONG_AGO
