"""Follow each local row through the commands.

Times in which it holds data still to be read, and waits between commands.

Compiled, because a run uses tens of millions of rows; one pass in program order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.core.jit import Room
from sim.trace.commands import ACCUMULATE, ACCUMULATOR, READ, WRITE, Commands

if TYPE_CHECKING:
    from sim.hardware import Hardware

Ints = npt.NDArray[np.int64]

STEPS = 65_536
"""Largest number of steps, of equal length, in which occupancy is recorded."""


@dataclass(frozen=True)
class Walk:
    """``step_cycles``: length of one step. ``scratchpad``, ``accumulator``: rows that hold data still to be read, one
    value per step. ``waited_for``: for each command the one whose end let it issue, -1 for none."""

    step_cycles: int
    scratchpad: Ints
    accumulator: Ints
    waited_for: Ints


def walk(commands: Commands, hw: Hardware, cycles: int) -> Walk:
    """Return occupancy over ``cycles`` cycles and the critical dependence of each command."""
    step = max(1, -(-(cycles + 1) // STEPS))
    difference = np.zeros((2, cycles // step + 2), np.int64)
    waited = np.full(len(commands), -1, np.int64)
    c = commands
    times = np.stack([c.alloc, c.issue, c.complete])
    places = np.stack([c.memory, c.start, c.rows, c.use])
    _follow(c.queue, times, places, np.array([hw.sp_rows, hw.acc_rows]), step, difference, waited)
    held = np.cumsum(difference, axis=1)[:, :-1]
    return Walk(step, held[0], held[1], waited)


def _follow_rows(queue: Any, times: Any, places: Any, limits: Any, step: int, difference: Any, waited: Any) -> None:
    """Follow each row through the commands.

    ``times``: [alloc, issue, complete; command]; ``places``: [memory, first row, rows, use; command, operand].
    """
    alloc, issue, complete = times[0], times[1], times[2]
    memory, start, rows, use = places[0], places[1], places[2], places[3]
    offset = limits[0]
    total = limits[0] + limits[1]
    writer = np.full(total, -1, np.int64)
    reader = np.full(total, -1, np.int64)
    born = np.full(total, -1, np.int64)
    last = np.zeros(total, np.int64)
    for j in range(len(queue)):
        best = -1
        for which in range(2):
            place = memory[j, which]
            if place == 0:
                continue
            base = offset if place == ACCUMULATOR else 0
            limit = limits[place - 1]
            how = use[j, which]
            for k in range(rows[j, which]):
                row = base + (start[j, which] + k) % limit
                for i in (writer[row], reader[row] if how != READ else -1):
                    waits = i >= 0 and queue[i] != queue[j] and alloc[j] < complete[i] <= issue[j]
                    if waits and (best < 0 or complete[i] > complete[best]):
                        best = i
                if how == WRITE or (how == ACCUMULATE and born[row] < 0):
                    if born[row] >= 0:
                        difference[place - 1, born[row] // step] += 1
                        difference[place - 1, min(last[row], issue[j]) // step] -= 1
                    born[row] = issue[j]
                    last[row] = complete[j]
                elif born[row] >= 0 and complete[j] > last[row]:
                    last[row] = complete[j]
                if how == READ:
                    if reader[row] < 0 or complete[j] > complete[reader[row]]:
                        reader[row] = j
                else:
                    writer[row] = j
        waited[j] = best
    for row in range(total):
        if born[row] >= 0:
            place = 1 if row >= offset else 0
            difference[place, born[row] // step] += 1
            difference[place, last[row] // step] -= 1


_follow: Any = Room("trace", (Path(__file__),), arrays=True).entry(_follow_rows)
