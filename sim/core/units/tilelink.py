"""A channel of a TileLink buffer (TLBuffer): two entries, a beat each.

A beat is visible in the cycle after it is put in.

Room depends on the count at the start of a cycle, so a buffer stores the cycle of its last removal.
"""

import numpy as np

from sim.core.jit import njit

READER = 0
WRITER = 1

BUFFER = np.dtype(
    [
        ("n", "i8"),  # beats in it, at most 2
        ("pop_t", "i8"),  # cycle in which the last beat was taken out
        ("client", "i8", (2,)),  # READER or WRITER
        # request of the reader: transaction | beats << 16; of the writer: bytes of the Put | useful bytes << 16
        ("arg", "i8", (2,)),  # of an answer: transaction
        ("last", "i8", (2,)),  # 1: last beat of its burst
        ("address", "i8", (2,)),  # of a request: its first useful byte
    ]
)
"""One channel; an entry is one beat."""


@njit
def room(b, now):
    """True if a buffer had room at the start of this cycle."""
    n = b.n
    if b.pop_t == now:
        n += 1
    return n < 2


@njit
def put_in(b, client, arg, last, address):
    """Append a beat."""
    i = b.n
    b.client[i] = client
    b.arg[i] = arg
    b.last[i] = last
    b.address[i] = address
    b.n = i + 1


@njit
def take(b, now):
    """Remove the head beat."""
    b.client[0] = b.client[1]
    b.arg[0] = b.arg[1]
    b.last[0] = b.last[1]
    b.address[0] = b.address[1]
    b.n -= 1
    b.pop_t = now
