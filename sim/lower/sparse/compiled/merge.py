"""One program order out of three streams (loads, computes, stores): which command is offered next.

The reservation station allocates in program order, and a full class stops every class behind it (3.1 of
gemmini_machine.md). So the order matters: the command is taken whose class frees an entry first, stores before computes
before loads when equal, as the arbiter of the hardware loops prefers. The times are estimates from the machine's own
parameters; a wrong estimate costs cycles, never correctness, which rests on `ITEM`'s needs alone.
"""

from __future__ import annotations

import numpy as np

from sim.lower.sparse.compiled.jit import entry, njit
from sim.lower.sparse.compiled.loads import largest

ITEM = np.dtype(
    [
        ("commands", "i8"),
        ("funct", "i8"),
        ("rs1", "i8"),
        ("rs2", "i8"),
        ("next_funct", "i8"),
        ("next_rs1", "i8"),
        ("next_rs2", "i8"),
        ("busy_cycles", "f8"),
        ("drain_cycles", "f8"),
        ("loads", "i8"),
        ("computes", "i8"),
        ("stores", "i8"),
    ]
)
"""One or two ``commands`` that stay together. ``busy_cycles``: until the unit can start the next item;
``drain_cycles``: until the last row of this one passes. ``loads``, ``computes``, ``stores``: how many items of each
stream must come earlier in program order, for operands to be there and memory to be free again."""

LOAD, EXECUTE, STORE = range(3)

ISSUE_CYCLES = 2
"""From allocation to the first work in a controller."""


@njit
def _room_at(held, count, now, wanted, entries):
    """Return when ``wanted`` of the entries are free, and how many are held; drops those that ended by ``now``."""
    gone = 0
    while gone < count and held[gone] <= now:
        gone += 1
    for place in range(gone, count):
        held[place - gone] = held[place]
    count -= gone
    missing = count + wanted - entries
    at = now
    if missing > 0 and count > 0:
        at = max(now, held[min(missing, count) - 1])
    return at, count


@njit
def _hold(held, count, until):
    """Keep an entry until a cycle, in order of time; return how many are held."""
    place = count
    while place > 0 and held[place - 1] > until:
        held[place] = held[place - 1]
        place -= 1
    held[place] = until
    return count + 1


@njit
def _put(command, funct, rs1, rs2, gap):
    command["funct"] = funct
    command["rs1"] = rs1
    command["rs2"] = rs2
    command["gap"] = gap


@entry
def merged(loads, pairs, stores, entries, in_flight, tails, gap, program):
    """Write the commands of the three streams in order, each stream in its own; return how many.

    ``entries``: reservation station entries by class; ``in_flight``: loads that their controller tracks; ``tails``:
    cycles of completion behind the last row by class; ``gap``: cycles between commands; ``program``: COMMAND[...].
    """
    done_loads = np.empty(len(loads), np.float64)
    done_pairs = np.empty(len(pairs), np.float64)
    done_stores = np.empty(len(stores), np.float64)
    lengths = (len(loads), len(pairs), len(stores))
    done = np.zeros(3, np.int64)
    held = np.empty((3, largest(entries) + 4), np.float64)
    counts = np.zeros(3, np.int64)
    free_at = np.zeros(3, np.float64)
    ring = np.empty(in_flight, np.float64)
    tracked = 0
    now = 0.0
    written = 0
    for _ in range(len(loads) + len(pairs) + len(stores)):
        chosen, chosen_at = -1, np.inf
        for rank in range(3):
            kind = 2 - rank
            if done[kind] == lengths[kind]:
                continue
            item = loads[done[0]] if kind == LOAD else pairs[done[1]] if kind == EXECUTE else stores[done[2]]
            if done[0] < item["loads"] or done[1] < item["computes"] or done[2] < item["stores"]:
                continue
            at, counts[kind] = _room_at(held[kind], counts[kind], now, item["commands"], entries[kind])
            if at < chosen_at:
                chosen, chosen_at = kind, at
        item = loads[done[0]] if chosen == LOAD else pairs[done[1]] if chosen == EXECUTE else stores[done[2]]
        start = max(chosen_at + ISSUE_CYCLES, free_at[chosen])
        if item["loads"] > 0:
            start = max(start, done_loads[item["loads"] - 1])
        if item["computes"] > 0:
            start = max(start, done_pairs[item["computes"] - 1])
        if item["stores"] > 0:
            start = max(start, done_stores[item["stores"] - 1])
        if chosen == LOAD and tracked >= in_flight:
            start = max(start, ring[tracked % in_flight])
        free_at[chosen] = start + item["busy_cycles"]
        complete = start + item["drain_cycles"] + tails[chosen]
        if chosen == LOAD:
            ring[tracked % in_flight] = complete
            tracked += 1
            done_loads[done[0]] = complete
        elif chosen == EXECUTE:
            done_pairs[done[1]] = complete
        else:
            done_stores[done[2]] = complete
        done[chosen] += 1
        _put(program[written], item["funct"], item["rs1"], item["rs2"], gap)
        written += 1
        if item["commands"] == 2:
            _put(program[written], item["next_funct"], item["next_rs1"], item["next_rs2"], gap)
            written += 1
            counts[chosen] = _hold(held[chosen], counts[chosen], free_at[chosen])
        counts[chosen] = _hold(held[chosen], counts[chosen], complete)
        now = chosen_at + item["commands"]
    return written
