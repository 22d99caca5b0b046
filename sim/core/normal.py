"""Helpers of the normal form: set times back so that the present cycle is 0, rotate ring buffers to their index 0.

Machines that behave alike from now on are made equal bit for bit (repeat/canonical.py); each unit does its part.
"""

from sim.core.jit import njit
from sim.core.params import NEVER

LONG_AGO = -(1 << 40)
"""A time too long past to matter; also the time of what has never happened."""


@njit
def recent(t, now, window):
    """A past time, relative to `now`; LONG_AGO once it is older than the `window` cycles in which it matters."""
    return t - now if t >= now - window else LONG_AGO


@njit
def due(t, now):
    """A time that units compare with the present only ("has it come?"), relative to `now`; 0 once it has come."""
    if t >= NEVER:
        return t
    return t - now if t > now else 0


@njit
def straighten(a, head, n, capacity):
    """Rotate a ring buffer: its n live entries, from `head` on, move to index 0 on; all others become 0."""
    if n == 0:
        a[:] = 0
    elif head == 0:
        a[n:] = 0
    else:
        b = a.copy()
        a[:] = 0
        for k in range(n):
            a[k] = b[(head + k) % capacity]
