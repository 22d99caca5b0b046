"""What loading costs, roughly, and what a mask says about it: the estimates behind the choice of a cut.

They decide which program is emitted, never how long it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.lower.sparse.blocks import Blocks, Mask
from sim.lower.tiling import blocks_of

REQUEST_OVERHEAD_CYCLES = 6
"""Round trip of a read beyond latency and beats, as the DMA sees it (rtl README, mvin rules)."""

STORE_CYCLES_PER_BLOCK_ROW = 1.75
"""A 64-byte row of four blocks leaves the accumulator every 7 cycles (rtl README, rules for mvout)."""


@lru_cache(maxsize=65536)
def runs(needed: tuple[int, ...], group: int, bridge: int = 0) -> tuple[tuple[int, int], ...]:
    """Return (start, length) of runs of adjacent blocks, cut at multiples of ``group`` (aligned reads).

    Gaps of at most ``bridge`` blocks are filled: one long request can be cheaper than two short ones.
    """
    found: list[tuple[int, int]] = []
    for block in needed:
        if found:
            start, length = found[-1]
            gap = block - (start + length)
            if gap <= bridge and start // group == block // group:
                found[-1] = (start, block - start + 1)
                continue
        found.append((block, 1))
    return tuple(found)


class LoadCost:
    """Estimated cycles per row of a load: its beats, or its share of the round trip of all ids."""

    def __init__(self, hw: Hardware):
        self.row_bytes = hw.packed_bytes(hw.dim, "b")
        self.group = hw.loop_max_block_len
        self.beat_cycles = max(1.0, hw.dma.bus_bytes / hw.memory.read_bytes_per_cycle)
        self.bus_bytes = hw.dma.bus_bytes
        self.round_trip_cycles = hw.memory_latency_cycles + REQUEST_OVERHEAD_CYCLES
        self.ids = hw.dma.max_in_flight_requests

    def row_cycles(self, blocks: int, block_bytes: int | None = None) -> float:
        """Return the cycles of one row of ``blocks`` adjacent blocks."""
        beats = -(-blocks * (block_bytes or self.row_bytes) // self.bus_bytes)
        return max(beats * self.beat_cycles, (self.round_trip_cycles + beats * self.beat_cycles) / self.ids)

    @property
    def bridge(self) -> int:
        """Widest gap of unneeded blocks that is cheaper to load than to start another request for."""
        gap = 0
        while gap + 2 < self.group and self.row_cycles(gap + 3) <= 2 * self.row_cycles(1):
            gap += 1
        return gap


@dataclass(frozen=True)
class Columns:
    """What parts of B of one width need, by tile column j0.

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
        self._patterns: dict[int, float] = {}

    def columns(self, width: int) -> Columns:
        """Return the sums for parts of ``width`` block columns."""
        if width not in self._columns:
            blocks_k, blocks_j = self.mask.shape
            counts = np.zeros((blocks_of(blocks_j, width), blocks_k + 1), dtype=np.int64)
            cycles = np.zeros(counts.shape)
            for j0, first in enumerate(range(0, blocks_j, width)):
                last = min(first + width, blocks_j)
                counts[j0, 1:] = self.mask[:, first:last].sum(axis=1).cumsum()
                cycles[j0, 1:] = self._row_loads(first, last).cumsum()
            self._columns[width] = Columns(self.blocks.needs_a(np.diff(counts, axis=1) > 0), counts, cycles)
        return self._columns[width]

    def _row_loads(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Cycles of loading the non-zero blocks of each row k in columns first..last, by aligned groups."""
        group = self.cost.group
        start, stop = first // group, blocks_of(last, group)
        inside = np.zeros((len(self.mask), (stop - start) * group), dtype=np.int64)
        inside[:, first - start * group : last - start * group] = self.mask[:, first:last]
        codes = inside.reshape(len(self.mask), -1, group) @ (1 << np.arange(group))
        distinct, where = np.unique(codes, return_inverse=True)
        costs = np.array([self._pattern_cycles(int(code)) for code in distinct])
        sums: npt.NDArray[np.float64] = costs[where.reshape(codes.shape)].sum(axis=1)
        return sums

    def _pattern_cycles(self, code: int) -> float:
        """Cycles of one group whose bits say which blocks are loaded."""
        if code not in self._patterns:
            needed = tuple(bit for bit in range(self.cost.group) if code >> bit & 1)
            rows = sum(self.cost.row_cycles(length) for _, length in runs(needed, self.cost.group))
            self._patterns[code] = self.dim * rows
        return self._patterns[code]
