"""One program order out of three streams of items: the door to `sim.lower.sparse.compiled.merge`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.isa.commands import COMMAND, Program
from sim.lower.sparse.compiled.merge import ITEM, merged

Items = npt.NDArray[np.void]
"""Array of `sim.lower.sparse.compiled.merge.ITEM`."""

LOAD_TAIL_CYCLES = 20
"""Completion of a load behind its last request, beyond the memory's latency (rtl README: L + 21 + beats)."""
RESULT_TAIL_CYCLES = 6
"""Result of a compute behind its last row, beyond mesh latency and scratchpad pipeline (addendum D1)."""


Command = tuple[int, int, int, int]


class Item(NamedTuple):
    """Commands that stay together, as in `ITEM`, made one by one; ``needs``: loads, computes and stores before them."""

    commands: tuple[Command, ...]
    busy_cycles: float
    drain_cycles: float
    needs: tuple[int, int, int] = (0, 0, 0)


def packed(items: Sequence[Item]) -> Items:
    """Return items as an array."""
    none = (0, 0, 0, 0)
    rows = [
        (len(one.commands), *one.commands[0][:3], *(one.commands[1] if one.commands[1:] else none)[:3],
         one.busy_cycles, one.drain_cycles, *one.needs)
        for one in items
    ]  # fmt: skip
    return np.array(rows, ITEM)


@dataclass(frozen=True)
class Streams:
    """Loads, computes and stores of a product in their own order, ``gap_cycles`` between commands."""

    loads: Items
    pairs: Items
    stores: Items
    gap_cycles: int

    def merged(self, hw: Hardware) -> Program:
        """Return all commands in program order."""
        station = hw.reservation_station
        entries = np.array([station.ld, station.ex, station.st], np.int64)
        tails = np.array(
            [
                hw.memory_latency_cycles + LOAD_TAIL_CYCLES,
                hw.mesh_latency_cycles + hw.scratchpad.read_pipeline_cycles + RESULT_TAIL_CYCLES,
                1,
            ],
            np.float64,
        )
        streams = (self.loads, self.pairs, self.stores)
        program = np.empty(sum(int(items["commands"].sum()) for items in streams), COMMAND)
        in_flight: Any = hw.load_commands_in_flight
        merged(*streams, entries, in_flight, tails, self.gap_cycles, program)
        return program
