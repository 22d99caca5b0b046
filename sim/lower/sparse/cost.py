"""Estimates of the cost of loading under a mask, used to choose a cut.

They influence the choice of the program, not its simulated time.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.lower.sparse.blocks import Blocks
from sim.lower.sparse.compiled.cut import group_cycles
from sim.lower.sparse.compiled.loads import COST
from sim.lower.sparse.compiled.records import Sums

REQUEST_OVERHEAD_CYCLES = 6
"""Round trip of a read beyond latency and beats, as the DMA sees it (rtl README, mvin rules)."""

STORE_CYCLES_PER_BLOCK_ROW = 1.75
"""A 64-byte row of four blocks leaves the accumulator every 7 cycles (rtl README, rules for mvout)."""


class LoadCost:
    """Estimated cycles per row of a load: its beats, or its share of the round trip of all ids."""

    def __init__(self, hw: Hardware):
        self.row_bytes = hw.packed_bytes(hw.dim, "b")
        self.group = hw.loop_max_block_len
        self.beat_cycles = max(1.0, hw.dma.bus_bytes / hw.memory.read_bytes_per_cycle)
        self.bus_bytes = hw.dma.bus_bytes
        self.round_trip_cycles = hw.memory_latency_cycles + REQUEST_OVERHEAD_CYCLES
        self.ids = hw.dma.max_in_flight_requests
        self.record = np.zeros(1, COST)
        for name in COST.names or ():
            self.record[name] = getattr(self, name)

    def row_cycles(self, blocks: int, block_bytes: int | None = None) -> float:
        """Return the cycles of one row of ``blocks`` adjacent blocks."""
        beats = -(-blocks * (block_bytes or self.row_bytes) // self.bus_bytes)
        return max(beats * self.beat_cycles, (self.round_trip_cycles + beats * self.beat_cycles) / self.ids)

    @cached_property
    def bridge(self) -> int:
        """Widest gap of unneeded blocks whose loading is cheaper than another request."""
        gap = 0
        while gap + 2 < self.group and self.row_cycles(gap + 3) <= 2 * self.row_cycles(1):
            gap += 1
        return gap


class BlockSums:
    """Blocks of B with their sums, made once per width of a part."""

    def __init__(self, blocks: Blocks, hw: Hardware):
        self.blocks, self.mask, self.dim = blocks, blocks.mask, hw.dim
        self.cost = LoadCost(hw)
        self._sums: dict[int, Sums] = {}

    def sums(self, width: int) -> Sums:
        """Return the sums for parts of ``width`` block columns."""
        if width not in self._sums:
            firsts = np.arange(0, self.mask.shape[1], width)
            blocks = _below(self.mask, firsts)
            index = blocks if self.blocks.index_bits is None else _below(self.blocks.index_bits, firsts)
            cycles = np.zeros(blocks.shape)
            self._row_loads(width, firsts).cumsum(axis=1, out=cycles[:, 1:])
            self._sums[width] = Sums(self.blocks.needs_a(np.diff(blocks, axis=1) > 0), blocks, index, cycles)
        return self._sums[width]

    def _row_loads(self, width: int, firsts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the cycles of loading the non-zero blocks of each row k, by part of ``width`` columns: [part, k]."""
        group = self.cost.group
        lasts = np.minimum(firsts + width, self.mask.shape[1])
        groups_n = -(-lasts // group) - firsts // group
        groups = np.empty((len(firsts), len(self.mask), int(groups_n.max())))
        group_cycles(self.cost.record, self.mask, width, group, self.dim, groups)
        sums = np.empty(groups.shape[:2])
        for n in np.unique(
            groups_n
        ):  # sums of equally many numbers each, because numpy's order of adding depends on the count
            parts = groups_n == n
            sums[parts] = groups[parts, :, :n].sum(axis=2)
        return sums


def _below(counts: npt.NDArray[Any], firsts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the sums of some numbers [q, j] below each row, by part of columns: [part, q + 1]."""
    found = np.zeros((len(firsts), len(counts) + 1), np.int64)
    np.add.reduceat(counts, firsts, axis=1, dtype=np.int64).T.cumsum(axis=1, out=found[:, 1:])
    return found
