"""The cut of a block-sparse product: tile, loop order, and the place of each part of A and B over time.

A *part* is what one tile needs of A (rows i0, depth k0) or of B (columns j0, depth k0). Parts live in one
slot, or in two that alternate, so that loads of the next part overlap with computes of the present one; a
part that is still in a slot when it comes round again is not loaded again. Only blocks of B that are not
zero take room, and of A only columns that some block of B needs. The choice among candidate cuts uses rough
time estimates; they decide which program is emitted, never how long it takes.
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
from sim.lower.sparse.compiled.cut import SLOTS, assign, estimate
from sim.lower.sparse.cost import STORE_CYCLES_PER_BLOCK_ROW, Profile
from sim.lower.tiling import Tile, blocks_of, tile_counts

ORDERS = ("ijk", "jik")
"""Loop orders with k innermost: an accumulator half holds one output tile."""

SHARED_BANK_SLOWDOWN = 2.0
"""A and B in one single-ported bank take turns: 32 instead of 16 cycles per pair (rtl README, compute
rules).
"""

ABOUT_EQUAL = 1.02
"""Estimates this close say nothing about which plan is faster; bytes loaded, which cost energy, decide then."""

STEP_FIELDS = 9
"""Numbers of a tile in `Cut.steps`."""

DEPTHS_TRIED = 4
"""Depths of a tile that are estimated, from the largest that fits downwards: a shallow first part starts
sooner.
"""


@dataclass(frozen=True)
class Cut:
    """A complete plan. ``a_slots``, ``b_slots``: first scratchpad row of each slot, in the order of loading.

    ``steps``: int64[tiles, 9], tile (i, j, q), numbers of the parts of A and B, whether each is loaded then, slots of
    both. ``a_needed``: bool[parts of A, blocks of q]. ``block_sums``: int64[j tiles, blocks of q + 1], blocks of B
    below each row of blocks. ``blocks_i``: rows of output blocks.
    """

    tile: Tile
    counts: Tile
    blocks_i: int
    steps: npt.NDArray[np.int64]
    a_needed: Mask
    block_sums: npt.NDArray[np.int64]
    a_slots: tuple[int, ...] = ()
    b_slots: tuple[int, ...] = ()
    shared_banks: bool = False


Slots = tuple[tuple[int, ...], tuple[int, ...], bool]
"""First scratchpad row of each slot of A, and of B; whether two that meet lie in one bank."""


def place_slots(rows: tuple[int, int], parts: tuple[int, int, int], counts: Tile, hw: Hardware) -> Slots | None:
    """Return rows for every slot, A and B in different banks where possible; None if they don't fit.

    ``rows``: of a part of A and of B, at most. ``parts``: of A and of B, pairs of slots that meet (`assign`).
    """
    (a_rows, b_rows), bank, total = rows, hw.sp_bank_rows, hw.sp_rows
    parts_a, parts_b, pairs = parts
    two_a, two_b = parts_a > 1 and counts[0] * counts[2] > 1, parts_b > 1 and counts[1] * counts[2] > 1
    half = total // 2
    a_slots: tuple[int, ...]
    b_slots: tuple[int, ...]
    if two_a and two_b:
        a_slots, b_slots = (0, half), (half - b_rows, total - b_rows)
        fits = a_rows + b_rows <= half
    elif two_a:
        second = min(blocks_of(max(a_rows, 1), bank) * bank, total - b_rows - a_rows)
        a_slots, b_slots = (0, second), (total - b_rows,)
        fits = second >= a_rows
    else:
        span_b = blocks_of(max(b_rows, 1), bank) * bank
        lower = total - span_b - b_rows if total - span_b - b_rows >= a_rows else total - 2 * b_rows
        a_slots = (0,)
        b_slots = (lower, total - b_rows) if two_b else (total - b_rows,)
        fits = b_slots[0] >= a_rows
    if not fits:
        return None
    a_banks = [_banks(start, a_rows, bank) for start in a_slots]
    b_banks = [_banks(start, b_rows, bank) for start in b_slots]
    met = [(a, b) for a in range(len(a_slots)) for b in range(len(b_slots)) if pairs >> (a * SLOTS + b) & 1]
    return a_slots, b_slots, any(_meet(a_banks[a], b_banks[b]) for a, b in met)


def _banks(start: int, rows: int, bank_rows: int) -> tuple[int, int]:
    """Return the first and the last bank that a slot touches."""
    return start // bank_rows, (start + max(rows, 1) - 1) // bank_rows


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def estimate_cycles(cut: Cut, profile: Profile) -> tuple[float, float]:
    """Return a rough length, in which loads of the next part overlap with work on this one, and that of all loads."""
    columns, cost = profile.columns(cut.tile[1]), profile.cost
    slowdown = SHARED_BANK_SLOWDOWN if cut.shared_banks else 1.0
    blocks = (cut.blocks_i, profile.mask.shape[1], profile.mask.shape[0])
    numbers = (*cut.tile, *blocks, cut.counts[2] - 1, profile.dim, profile.blocks.a_group(cost.group), cost.bridge)
    cycles = np.array([slowdown, STORE_CYCLES_PER_BLOCK_ROW])
    needs = cut.steps, cut.a_needed, columns.blocks, columns.load_cycles
    total, loads = estimate(cost.record, np.array(numbers), cycles, *needs)
    return float(total), float(loads)


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


def make_cut(tile: Tile, order: str, rows_blocks: int, profile: Profile, hw: Hardware) -> Cut | None:
    """Return the plan for one tile and order, or None if its parts don't fit the scratchpad."""
    blocks_q, blocks_j = profile.mask.shape
    counts = tile_counts((rows_blocks, blocks_j, blocks_q), tile)
    columns, cost = profile.columns(tile[1]), profile.cost
    steps = np.empty((prod(counts), STEP_FIELDS), np.int64)
    needed = np.empty((len(steps), blocks_q), np.bool_)
    axes = np.array(["ijk".index(name) for name in order])
    runs = profile.blocks.a_group(cost.group), cost.bridge
    parts_a, parts_b, most_a, pairs = assign(np.array(counts), axes, tile[2], columns.needs_a, runs, steps, needed)
    edges = [*range(0, blocks_q, tile[2]), blocks_q]
    below = columns.blocks[:, edges]
    most_b = int((below[:, 1:] - below[:, :-1]).max())
    rows = tile[0] * hw.dim * most_a, most_b * hw.dim + profile.index_rows(tile[2], tile[1], hw)
    slots = place_slots(rows, (parts_a, parts_b, pairs), counts, hw)
    return None if slots is None else Cut(tile, counts, rows_blocks, steps, needed[:parts_a], columns.blocks, *slots)


def choose_cut(rows_blocks: int, profile: Profile, hw: Hardware) -> Cut | None:
    """Return, of the plans whose estimate is about the shortest, the one that loads least; None if nothing fits."""
    found: list[tuple[float, float, Cut]] = []
    blocks_k = len(profile.mask)
    for high, wide in candidates(rows_blocks, profile.mask, hw):
        several = rows_blocks > high and profile.mask.shape[1] > wide
        for order in ORDERS if several else ORDERS[:1]:
            pieces, tried = 1, 0
            while tried < DEPTHS_TRIED and (depth := blocks_of(blocks_k, pieces)) > 0:
                whole = profile.blocks.whole(depth)
                cut = make_cut((high, wide, whole), order, rows_blocks, profile, hw)
                if cut is not None:
                    tried += 1
                    found.append((*estimate_cycles(cut, profile), cut))
                if depth == 1 or whole == profile.blocks.fetch:
                    break
                pieces = max(pieces + 1, pieces * 3 // 2)
    if not found:
        return None
    longest = ABOUT_EQUAL * min(cycles for cycles, _, _ in found)
    return min((plan for plan in found if plan[0] <= longest), key=itemgetter(1, 0))[2]
