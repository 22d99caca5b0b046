"""Small change of the canonical form: times set back, rings turned to their beginning."""

from sim.core.jit import njit
from sim.core.params import NEVER

LONG_AGO = -(1 << 40)
"""A time nobody compares with any more; also the time of what never happened."""


@njit
def recent(t, now, window):
    """A past time that matters for `window` cycles, set back by now."""
    return t - now if t >= now - window else LONG_AGO


@njit
def due(t, now):
    """A time only ever asked "has it come?", set back by now."""
    if t >= NEVER:
        return t
    return t - now if t > now else 0


@njit
def straighten(a, head, n, capacity):
    """The n live entries of a ring from head on to its beginning; all others 0."""
    if n == 0:
        a[:] = 0
    elif head == 0:
        a[n:] = 0
    else:
        b = a.copy()
        a[:] = 0
        for k in range(n):
            a[k] = b[(head + k) % capacity]
