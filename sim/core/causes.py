"""Which cause a cycle has, and the interval counters: judged once per visited cycle, valid until the next visit.

Between two visits nothing changes, so what held at the visit holds for the whole interval; counters grow by its
length. The first cause that applies wins, in the order of `Cause`.
"""

from numba import njit

from sim.core import mvout, writer
from sim.core.events import Cause, Event

COMPUTE = int(Cause.COMPUTE)
BANK_CONFLICT = int(Cause.BANK_CONFLICT)
LOAD_WAIT = int(Cause.LOAD_WAIT)
STORE_WAIT = int(Cause.STORE_WAIT)
NORMALIZE = int(Cause.NORMALIZE)
DEPENDENCY = int(Cause.DEPENDENCY)
QUEUE_FULL = int(Cause.QUEUE_FULL)
FILL_DRAIN = int(Cause.FILL_DRAIN)
ISSUE = int(Cause.ISSUE)

E_STALL = int(Event.COMMAND_STALL_CYCLES)


@njit
def _cause(m):
    x = m.ex
    if x.fire and not x.stalled:
        return COMPUTE
    if x.stalled:
        return BANK_CONFLICT
    if m.mesh.r_n > 0 or x.e_n > 0:
        return FILL_DRAIN
    return ISSUE


@njit
def settle(m, length, count, cause):
    """Charge `length` cycles to their cause and to the counters of the signals that are on."""
    cause[_cause(m)] += length
    if m.fe.stalled:
        count[E_STALL] += length
