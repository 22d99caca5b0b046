"""What a channel has counted, as events of the machine."""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.units.dram.state import ACT, CONFLICT, HIT, MISS, PRE, RD, REF, WR

E_ACT = int(Event.DRAM_ACTIVATES)
E_PRE = int(Event.DRAM_PRECHARGES)
E_RD = int(Event.DRAM_READ_BURSTS)
E_WR = int(Event.DRAM_WRITE_BURSTS)
E_REF = int(Event.DRAM_REFRESHES)
E_HIT = int(Event.DRAM_ROW_HITS)
E_MISS = int(Event.DRAM_ROW_MISSES)
E_CONFLICT = int(Event.DRAM_ROW_CONFLICTS)
E_OPEN = int(Event.DRAM_OPEN_CLOCKS)
E_CLOCKS = int(Event.DRAM_CLOCKS)


@njit
def take(d, clock, count):
    """Add to the events what a channel has counted up to a clock since the last call; it counts from there."""
    count[E_ACT] += d.issued[ACT]
    count[E_PRE] += d.issued[PRE] + d.closed_by_all
    count[E_RD] += d.issued[RD]
    count[E_WR] += d.issued[WR]
    count[E_REF] += d.issued[REF]
    count[E_HIT] += d.outcome[HIT]
    count[E_MISS] += d.outcome[MISS]
    count[E_CONFLICT] += d.outcome[CONFLICT]
    for rank in range(d.ranks):
        if d.open_n[rank] > 0:
            d.active_clocks += clock - d.open_t[rank]
            d.open_t[rank] = clock
    count[E_OPEN] += d.active_clocks
    count[E_CLOCKS] += (clock - d.counted_t) * d.ranks
    d.counted_t = clock
    d.issued[:] = 0
    d.outcome[:] = 0
    d.active_clocks = 0
    d.closed_by_all = 0
