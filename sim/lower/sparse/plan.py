"""The cut of a block-sparse product: tile, loop order, and the address of each part of A and B over time.

A *part* is the portion of A (rows i0, depth k0) or of B (columns j0, depth k0) for one tile. Parts are in one slot, or
in two that alternate, so that loads of the next part overlap with computes of the current one; a part that is still in
a slot at its next use is not loaded again. Only non-zero blocks of B take room, and of A only columns that some block
of B needs. Candidate cuts are compared by rough time estimates, which influence the choice of the program, not its
simulated time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.lower.sparse.blocks import Mask
from sim.lower.sparse.compiled import records
from sim.lower.sparse.compiled.cut import SLOTS
from sim.lower.sparse.compiled.search import STEP_FIELDS, planned, tried
from sim.lower.sparse.cost import STORE_CYCLES_PER_BLOCK_ROW, BlockSums
from sim.lower.tiling import Tile, blocks_of, tile_counts

ORDERS = ("ijk", "jik")
"""Loop orders with k innermost: an accumulator half holds one output tile."""

AXES = {order: np.array(["ijk".index(axis) for axis in order]) for order in ("ijk", "jik", "ikj", "jki", "kij", "kji")}
"""Numbers of the axes by loop order, outermost first."""

SHARED_BANK_SLOWDOWN = 2.0
"""Slowdown of A and B in one single-ported bank, which take turns.

32 instead of 16 cycles per pair (rtl README, compute
rules).
"""

ABOUT_EQUAL = 1.02
"""Relative difference of estimates below which the plan with fewer loaded bytes, hence less energy, is chosen."""

DEPTHS_TRIED = 4
"""Number of tile depths that are estimated, from the largest that fits downwards: a shallow first part starts sooner.
"""


@dataclass(frozen=True)
class Cut:
    """A complete plan. ``a_slots``, ``b_slots``: first scratchpad row of each slot, in the order of loading.

    ``steps``: int64[tiles, 9], tile (i, j, q), numbers of the parts of A and B, whether each is loaded then, slots of
    both. ``a_needed``: bool[parts of A, blocks of q]. ``block_sums``: int64[j tiles, blocks of q + 1], blocks of B
    below each row of blocks. ``blocks_i``: rows of output blocks. ``index_rows``: scratchpad rows that the index of a
    part may take.
    """

    tile: Tile
    counts: Tile
    blocks_i: int
    steps: npt.NDArray[np.int64]
    a_needed: Mask
    block_sums: npt.NDArray[np.int64]
    index_rows: int
    a_slots: tuple[int, ...]
    b_slots: tuple[int, ...]


def candidates(rows_blocks: int, mask: Mask, hw: Hardware) -> Iterator[tuple[int, int]]:
    """Yield (I, J) for tiles that fill half of the accumulator in different shapes."""
    room = max(1, hw.acc_rows // 2 // hw.dim)
    blocks_j = mask.shape[1]
    seen = set()
    width = 1
    while True:
        wide = min(width, blocks_j, room)
        wide = blocks_of(blocks_j, blocks_of(blocks_j, wide))
        high = min(rows_blocks, max(1, room // wide))
        high = blocks_of(rows_blocks, blocks_of(rows_blocks, high))
        if (high, wide) not in seen:
            seen.add((high, wide))
            yield high, wide
        if width >= min(blocks_j, room):
            return
        width = width * 3 // 2 + 1


class PlanSearch:
    """Plans of one product; ``rows_blocks``: rows of output blocks."""

    def __init__(self, rows_blocks: int, profile: BlockSums, hw: Hardware):
        blocks, cost = profile.blocks, profile.cost
        self.rows_blocks, self.profile, self.hw = rows_blocks, profile, hw
        blocks_q, blocks_j = blocks.shape
        values = {
            "blocks_i": rows_blocks, "blocks_j": blocks_j, "blocks_q": blocks_q, "dim": hw.dim,
            "a_group": blocks.a_group(cost.group), "bridge": cost.bridge,
            "bank_rows": hw.sp_bank_rows, "sp_rows": hw.sp_rows,
            "index_kind": blocks.index_kind, "index_row_bytes": hw.sp_row_bytes,
            "store_cycles": STORE_CYCLES_PER_BLOCK_ROW, "shared_slowdown": SHARED_BANK_SLOWDOWN,
        }  # fmt: skip
        self._product = np.zeros(1, records.PRODUCT)
        for name, value in values.items():
            self._product[name] = value

    def cut(self, tile: Tile, order: str) -> Cut | None:
        """Return the plan for one tile and order, or None if its parts don't fit the scratchpad."""
        blocks_q, blocks_j = self.profile.blocks.shape
        counts = tile_counts((self.rows_blocks, blocks_j, blocks_q), tile)
        sums = self.profile.sums(tile[1])
        steps = np.empty((prod(counts), STEP_FIELDS), np.int64)
        needed = np.empty((len(steps), blocks_q), np.bool_)
        slots = np.zeros((2, SLOTS), np.int64)
        found = planned(self._product, np.array(tile), AXES[order], sums, steps, needed, slots)
        slots_a, slots_b, _, parts_a, index_rows = found
        if not slots_a:
            return None
        a_slots, b_slots = (tuple(row[:count].tolist()) for row, count in zip(slots, (slots_a, slots_b), strict=True))
        return Cut(tile, counts, self.rows_blocks, steps, needed[:parts_a], sums.blocks, index_rows, a_slots, b_slots)

    def best(self) -> Cut | None:
        """Return, of the plans whose estimate is about the shortest, the one that loads least; None if nothing fits."""
        found = []
        depths, room = np.array(list(self._depths())), np.empty((DEPTHS_TRIED, 3))
        for high, wide in candidates(self.rows_blocks, self.profile.mask, self.hw):
            several = self.rows_blocks > high and self.profile.mask.shape[1] > wide
            sums, sides = self.profile.sums(wide), np.array([high, wide])
            for order in ORDERS if several else ORDERS[:1]:
                count = tried(self.profile.cost.record, self._product, sides, depths, AXES[order], sums, room)
                found += [(cycles, loads, (high, wide, int(depth)), order) for depth, cycles, loads in room[:count]]
        if not found:
            return None
        longest = ABOUT_EQUAL * min(cycles for cycles, *_ in found)
        _, _, tile, order = min((plan for plan in found if plan[0] <= longest), key=itemgetter(1, 0))
        return self.cut(tile, order)

    def _depths(self) -> Iterator[int]:
        """Yield depths of a tile that cut no group, from all rows of blocks downwards."""
        blocks, pieces = self.profile.blocks, 1
        while True:
            depth = blocks_of(blocks.shape[0], pieces)
            whole = blocks.whole(depth)
            yield whole
            if depth == 1 or whole == blocks.fetch:
                return
            pieces = max(pieces + 1, pieces * 3 // 2)
