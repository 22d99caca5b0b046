"""Estimates of the cost of loading under a mask, by which a cut is chosen.

They decide which program is emitted, never how long it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.lower.sparse.blocks import Blocks, Mask
from sim.lower.sparse.compiled.cut import group_cycles
from sim.lower.sparse.compiled.loads import COST

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
        """Widest gap of unneeded blocks that is cheaper to load than to start another request for."""
        gap = 0
        while gap + 2 < self.group and self.row_cycles(gap + 3) <= 2 * self.row_cycles(1):
            gap += 1
        return gap


@dataclass(frozen=True)
class Columns:
    """Needs of the parts of B of one width, by tile column j0.

    ``needs_a``: [j0, k] whether block k of A is needed; ``blocks``, ``load_cycles``: [j0, q] sums over rows of
    blocks below q.
    """

    needs_a: Mask
    blocks: npt.NDArray[np.int64]
    load_cycles: npt.NDArray[np.float64]


class Profile:
    """Blocks of B with their sums, made once per width of a part."""

    def __init__(self, blocks: Blocks, hw: Hardware):
        self.blocks, self.mask, self.dim = blocks, blocks.mask, hw.dim
        self.cost = LoadCost(hw)
        self._columns: dict[int, Columns] = {}
        self._index_rows: dict[tuple[int, int], int] = {}

    def columns(self, width: int) -> Columns:
        """Return the sums for parts of ``width`` block columns."""
        if width not in self._columns:
            blocks_k, blocks_j = self.mask.shape
            firsts = np.arange(0, blocks_j, width)
            counts = np.zeros((len(firsts), blocks_k + 1), dtype=np.int64)
            cycles = np.zeros(counts.shape)
            np.add.reduceat(self.mask, firsts, axis=1, dtype=np.int64).T.cumsum(axis=1, out=counts[:, 1:])
            self._row_loads(width, firsts).cumsum(axis=1, out=cycles[:, 1:])
            self._columns[width] = Columns(self.blocks.needs_a(np.diff(counts, axis=1) > 0), counts, cycles)
        return self._columns[width]

    def index_rows(self, depth: int, width: int, hw: Hardware) -> int:
        """Return `Blocks.index_rows` of a part, worked out once."""
        if (depth, width) not in self._index_rows:
            self._index_rows[depth, width] = self.blocks.index_rows(depth, width, hw)
        return self._index_rows[depth, width]

    def _row_loads(self, width: int, firsts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Cycles of loading the non-zero blocks of each row k, by part of ``width`` columns: [part, k]."""
        group = self.cost.group
        lasts = np.minimum(firsts + width, self.mask.shape[1])
        groups_n = -(-lasts // group) - firsts // group
        groups = np.empty((len(firsts), len(self.mask), int(groups_n.max())))
        group_cycles(self.cost.record, self.mask, width, group, self.dim, groups)
        sums = np.empty(groups.shape[:2])
        for n in np.unique(groups_n):  # sums of equally many numbers each: numpy's order of adding hangs on it
            parts = groups_n == n
            sums[parts] = groups[parts, :, :n].sum(axis=2)
        return sums
