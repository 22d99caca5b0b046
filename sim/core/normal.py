"""Helpers of the normal form: make times relative to the current cycle, rotate ring buffers to index 0.

Machines with equal future behaviour become equal bit for bit (repeat/canonical.py); each unit converts its record.
"""

from sim.core.jit import njit
from sim.core.params import NEVER

LONG_AGO = -(1 << 40)
"""A time too long past to matter; also the time of an event that never happened."""


@njit
def recent(t, now, window):
    """Return a past time relative to `now`; LONG_AGO if it is older than the `window` cycles in which it matters."""
    return t - now if t >= now - window else LONG_AGO


@njit
def due(t, now):
    """Return a time that units only compare with the current cycle, relative to `now`; 0 if it has passed."""
    if t >= NEVER:
        return t
    return t - now if t > now else 0


@njit
def straighten(a, head, n, capacity):
    """Rotate a ring buffer: its n live entries, which begin at `head`, move to index 0 and up; all others become 0."""
    if n == 0:
        a[:] = 0
    elif head == 0:
        a[n:] = 0
    else:
        b = a.copy()
        a[:] = 0
        for k in range(n):
            a[k] = b[(head + k) % capacity]
