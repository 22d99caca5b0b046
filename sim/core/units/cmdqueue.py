"""The two-entry command queues of the front end (Chisel Queue(2): latency 1, one in and one out per cycle).

Units run downstream first, so a pop precedes the push of the same cycle; hardware, however, compares the count at the
start of the cycle. Therefore `pop_t` stores the cycle of the last pop.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent

DTYPE = np.dtype(
    [
        ("n", "i8"),  # commands in it, at most 2
        ("pop_t", "i8"),  # cycle in which the last one left
        ("funct", "i8", (2,)),  # command numbers
        ("rs1", "i8", (2,)),  # first operands
        ("rs2", "i8", (2,)),  # second operands
        ("source", "i8", (2,)),  # origin: 0 program, 1 matmul unroller, 2 convolution unroller
    ]
)


@njit
def can_push(q, now):
    """True if the queue had room at the start of this cycle."""
    n = q.n
    if q.pop_t == now:
        n += 1
    return n < 2


@njit
def push(q, funct, rs1, rs2, src):
    """Append a command; the caller has checked `can_push`."""
    i = q.n
    q.funct[i] = funct
    q.rs1[i] = rs1
    q.rs2[i] = rs2
    q.source[i] = src
    q.n = i + 1


@njit
def pop(q, now):
    """Remove the head."""
    q.funct[0] = q.funct[1]
    q.rs1[0] = q.rs1[1]
    q.rs2[0] = q.rs2[1]
    q.source[0] = q.source[1]
    q.n -= 1
    q.pop_t = now


@njit
def canonise(q, now):
    """Normal form, clock set back to 0."""
    for i in range(q.n, 2):
        q.funct[i] = 0
        q.rs1[i] = 0
        q.rs2[i] = 0
        q.source[i] = 0
    q.pop_t = recent(q.pop_t, now, 2)


def reset(q):
    """State after reset: empty, without an earlier pop."""
    q.pop_t = LONG_AGO
