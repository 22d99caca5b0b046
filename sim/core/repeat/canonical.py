"""Normal form of the whole machine: equivalent states compare equal bit for bit, their clock set back to zero.

Two machines have the same future behaviour if they differ only in fields that no unit reads again (empty places of
queues, operands of idle units, times long past), in the start of a ring buffer, or in labels that are interchangeable.
`canonise` removes these differences in place; the machine then continues as before. A field is cleared only if no unit
that reads it can be affected; a field that is not cleared can only hide a period. tests/laws/test_periods.py checks
that a machine put into normal form at every stop runs like one that never was.
"""

from sim.core.jit import njit
from sim.core.leap import burst, guards
from sim.core.repeat import labels
from sim.core.units import (
    accumulator,
    execute,
    frontend,
    load,
    loop_conv,
    loop_matmul,
    memory,
    mesh,
    mvin,
    mvout,
    normalizer,
    port,
    reader,
    reservation,
    store,
    writer,
)


@njit
def canonise(m, now):
    """Put the machine between two cycles into normal form; `now` (the next cycle) becomes 0.

    False: inconsistent labels.
    """
    frontend.canonise(m, now)
    loop_matmul.canonise(m, now)
    loop_conv.canonise(m, now)
    reservation.canonise(m, now)
    load.canonise(m, now)
    reader.canonise(m, now)
    port.canonise(m, now)
    memory.canonise(m, now)
    mvin.canonise(m, now)
    execute.canonise(m, now)
    mesh.canonise(m, now)
    accumulator.canonise(m, now)
    store.canonise(m, now)
    mvout.canonise(m, now)
    normalizer.canonise(m, now)
    writer.canonise(m, now)
    burst.canonise(m, now)
    guards.open_all(m)
    labels.rename_slots(m)
    labels.rename_rows(m)
    m.count[:] = 0
    m.cause[:] = 0
    return labels.rename_transactions(m)
