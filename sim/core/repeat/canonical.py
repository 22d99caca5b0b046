"""Canonical form: one of the many records that stand for the same machine, its clock set back to zero.

Two machines behave alike from now on when they differ only in what nobody will look at again (empty places of queues,
operands of idle units, times long past), in where a ring begins, or in which of several equal labels (reservation
station slots, transaction ids, row numbers, array ids) a thing wears. `canonise` removes these differences in place:
the machine goes on as before. What a field's unit looks at is the only argument for touching it; a field nobody
mentions here is left alone and costs at most a period that is not found. Each unit's part stands in canonical_*.

Held by tests/laws/test_periods.py: a machine canonised at every stop runs as one that never was.
"""

from sim.core.jit import njit
from sim.core.leap import guards
from sim.core.repeat import canonical_execute, canonical_front, canonical_load, canonical_store


@njit
def canonise(m, now):
    """Canonical form of the machine between two cycles; `now` (the next) becomes 0. False: labels do not add up."""
    canonical_front.rest(m, now)
    canonical_load.rest(m, now)
    canonical_execute.rest(m, now)
    canonical_store.rest(m, now)
    canonical_front.rename_slots(m)
    canonical_store.rename_rows(m)
    guards.open_all(m)
    m.count[:] = 0
    m.cause[:] = 0
    return canonical_load.rename_transactions(m)
