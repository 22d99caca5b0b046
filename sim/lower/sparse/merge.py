"""One program order out of three streams of items: calls `sim.lower.sparse.compiled.merge`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.isa.commands import COMMAND, Program
from sim.lower.sparse.compiled.merge import merged

Items = npt.NDArray[np.void]
"""Array of records `sim.lower.sparse.compiled.merge.ITEM`."""

LOAD_TAIL_CYCLES = 20
"""Cycles from a load's last request to its completion, beyond the memory's latency (rtl README: L + 21 + beats)."""
RESULT_TAIL_CYCLES = 6
"""Cycles from a compute's last row to its result, beyond mesh latency and scratchpad pipeline (addendum D1)."""


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
