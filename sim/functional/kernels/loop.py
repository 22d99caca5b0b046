"""The event loop: commands begin and end in the order of their times; data move when a command ends.

Every command has an interval [issue, completion]. Inside it no command of another queue may write the rows that the
command reads, and none may be writing the rows that it writes; otherwise it gets garbled data (`rows.GARBLED`) and the
clash is recorded. A correct schedule has no such clash, because the reservation station issues a dependent command only
after the completion that it waits for; so in one cycle begins precede ends. Inside a queue the hardware keeps program
order, and the order of issue counts.

DRAM is read when a load ends and written when a store ends: a timeline does not contain the bytes in flight after a
store's completion, so a missing fence between a store and the load of the same bytes is only detected if the load ends
before the store.
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import entry
from sim.functional.kernels.execute import begin_compute, begin_preload, configure_execute, end_compute, end_preload
from sim.functional.kernels.fields import CONFIG, LOAD, PRELOAD, STORE
from sim.functional.kernels.load import begin_load, configure_load, end_load
from sim.functional.kernels.store import begin_store, configure_store, end_store


@entry
def execute(events, queue, funct, rs1, rs2, m):  # type: ignore[no-untyped-def]
    """Run all events: command * 2 + (1 at its end), in order. ``m``: `sim.functional.state.State`."""
    slot_of = np.zeros(queue.shape[0], np.int32)
    # freed slots go to the end of the queue: a compute may still read its preload's slot after the preload completed
    slots = m.commands.shape[0]
    free = np.arange(slots)
    taken = 0
    freed = 0
    for event in events:
        c = event >> 1
        a = rs1[c]
        b = rs2[c]
        f = funct[c]
        q = queue[c]
        if event & 1 == 0:
            if f == CONFIG:
                if q == LOAD:
                    configure_load(m, a, b)
                elif q == STORE:
                    configure_store(m, a, b)
                else:
                    configure_execute(m, a, b)
                continue
            s = free[taken % slots]
            taken += 1
            slot_of[c] = s
            m.commands[s] = m.unused
            m.commands[s].number = c
            if q == LOAD:
                begin_load(m, s, f, a, b)
            elif q == STORE:
                begin_store(m, s, a, b)
            elif f == PRELOAD:
                begin_preload(m, s, a, b)
            else:
                begin_compute(m, s, f, a, b)
        elif f != CONFIG:
            s = slot_of[c]
            free[freed % slots] = s
            freed += 1
            if q == LOAD:
                end_load(m, s, a, b)
            elif q == STORE:
                end_store(m, s, a, b)
            elif f == PRELOAD:
                end_preload(m, s, a, b)
            else:
                end_compute(m, s, f, a, b)
