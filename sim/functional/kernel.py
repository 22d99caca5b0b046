"""The event loop: commands begin and end in the order of their times; data move when the command ends.

Every command has an interval [issue, completion]. What it reads must not be written by a command of another queue
inside that interval, and what it writes must not be in motion on behalf of another queue; otherwise it gets garbled
data (`GARBLED`) and the clash is noted. A correct schedule has no such clash, because the reservation station lets a
dependant issue only after the completion it waits for; so at one and the same cycle begins come before ends. Inside
a queue the hardware keeps program order, and the order of issue counts.

DRAM is read when a load ends and written when a store ends: a timeline knows nothing of the bytes that are still on
their way behind a store's completion, so a fence that a program forgot between a store and the load of the same bytes
shows only when the load ends before the store does.
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import compiled
from sim.functional.kernel_execute import (
    begin_compute,
    begin_preload,
    configure_execute,
    end_compute,
    end_preload,
)
from sim.functional.kernel_load import begin_load, configure_load, end_load
from sim.functional.kernel_store import begin_store, configure_store, end_store

LD, EX, ST = 0, 1, 2


@compiled
def execute(events, queue, funct, rs1, rs2, m):  # type: ignore[no-untyped-def]
    """Run all events: command * 2 + (1 at its end), in order. ``m``: `sim.functional.state.State`."""
    slot_of = np.zeros(queue.shape[0], np.int32)
    # freed places go to the end of the line: a compute may still look at its preload's after that one completed
    slots = m.snap.shape[0]
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
            if f == 0:
                if q == LD:
                    configure_load(m, a, b)
                elif q == ST:
                    configure_store(m, a, b)
                else:
                    configure_execute(m, a, b)
                continue
            s = free[taken % slots]
            taken += 1
            slot_of[c] = s
            m.snap[s, :] = 0
            m.snap[s, 0] = c
            if q == LD:
                begin_load(m, s, f, a, b)
            elif q == ST:
                begin_store(m, s, a, b)
            elif f == 6:
                begin_preload(m, s, a, b)
            else:
                begin_compute(m, s, f, a, b)
        elif f != 0:
            s = slot_of[c]
            free[freed % slots] = s
            freed += 1
            if q == LD:
                end_load(m, s, a, b)
            elif q == ST:
                end_store(m, s, a, b)
            elif f == 6:
                end_preload(m, s, a, b)
            else:
                end_compute(m, s, f, a, b)
