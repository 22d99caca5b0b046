"""The plans of one tile: where its parts lie, and how long each depth of it would take (`sim.lower.sparse.plan`)."""

from __future__ import annotations

import numpy as np

from sim.lower.sparse.compiled.cut import SLOTS, assign, estimate
from sim.lower.sparse.compiled.items import BITS_PER_BYTE
from sim.lower.sparse.compiled.jit import entry, njit
from sim.lower.sparse.compiled.loads import blocks_of
from sim.lower.sparse.compiled.records import BITMAP, NO_INDEX

STEP_FIELDS = 9
"""Numbers of a tile among the steps of a plan."""


@njit
def _most(sums, depth):
    """Return the most that a part of ``depth`` rows of blocks holds, of sums below each row by tile column."""
    found, last = 0, sums.shape[1] - 1
    for column in range(len(sums)):
        for first in range(0, last, depth):
            found = max(found, sums[column, min(first + depth, last)] - sums[column, first])
    return found


@njit
def _index_rows(p, tile, sums):
    """Return the scratchpad rows that the index of a part may take; ``sums``: bits of index below each row."""
    row_bytes = p["index_row_bytes"]
    if p["index_kind"] == NO_INDEX:
        return 0  # there is none, or the decoder takes it off
    if p["index_kind"] == BITMAP:  # whole bytes a column; the first row may be shared
        return blocks_of(tile[1] * blocks_of(p["blocks_q"], BITS_PER_BYTE), row_bytes) + 1
    return blocks_of(blocks_of(_most(sums, tile[2]), BITS_PER_BYTE), row_bytes)


@njit
def _place(p, rows_a, rows_b, two_a, two_b, slots):
    """Write the first row of every slot of A and of B, in different banks where possible; False if they don't fit."""
    bank, total = p["bank_rows"], p["sp_rows"]
    half = total // 2
    slots[0, 0], slots[1, 1] = 0, total - rows_b
    if two_a and two_b:
        slots[0, 1], slots[1, 0] = half, half - rows_b
        return rows_a + rows_b <= half
    if two_a:
        slots[0, 1] = min(blocks_of(max(rows_a, 1), bank) * bank, total - rows_b - rows_a)
        slots[1, 0] = total - rows_b
        return slots[0, 1] >= rows_a
    span = blocks_of(max(rows_b, 1), bank) * bank
    lower = total - span - rows_b if total - span - rows_b >= rows_a else total - 2 * rows_b
    slots[1, 0] = lower if two_b else total - rows_b
    return slots[1, 0] >= rows_a


@njit
def _shared(p, rows_a, rows_b, pairs, slots):
    """Return whether two slots that meet (``pairs``, as `assign` has it) lie in one bank."""
    bank = p["bank_rows"]
    for a in range(SLOTS):
        for b in range(SLOTS):
            if pairs >> (a * SLOTS + b) & 1:
                ends_a = slots[0, a] + max(rows_a, 1) - 1
                ends_b = slots[1, b] + max(rows_b, 1) - 1
                if slots[0, a] // bank <= ends_b // bank and slots[1, b] // bank <= ends_a // bank:
                    return True
    return False


@entry
def planned(product, tile, order, sums, steps, needed, slots):
    """Plan a tile in a loop order.

    ``product``: a record of `records.PRODUCT`; ``order``: axes, outermost first; ``sums``: `records.Sums` of the tile's
    columns. ``steps``: int64[tiles, 9] and ``needed``: bool[tiles, blocks of q] as in `assign`; ``slots``: int64[2, 2],
    the first row of each slot of A and of B. Returns the slots of A and of B (0 and 0 where they do not fit), whether
    slots that meet share a bank, parts of A, scratchpad rows of a part's index.
    """
    p = product[0]
    counts = np.empty(3, np.int64)
    counts[0] = blocks_of(p["blocks_i"], tile[0])
    counts[1] = blocks_of(p["blocks_j"], tile[1])
    counts[2] = blocks_of(p["blocks_q"], tile[2])
    parts_a, parts_b, most_a, pairs = assign(product, counts, order, tile[2], sums.needs_a, steps, needed)
    index = _index_rows(p, tile, sums.index)
    rows_a, rows_b = tile[0] * p["dim"] * most_a, _most(sums.blocks, tile[2]) * p["dim"] + index
    two_a, two_b = parts_a > 1 and counts[0] * counts[2] > 1, parts_b > 1 and counts[1] * counts[2] > 1
    if not _place(p, rows_a, rows_b, two_a, two_b, slots):
        return 0, 0, 0, parts_a, index
    return 1 + int(two_a), 1 + int(two_b), int(_shared(p, rows_a, rows_b, pairs, slots)), parts_a, index


@entry
def tried(cost, product, tile, depths, order, sums, found):
    """Estimate the plans of a tile's rows and columns that fit, at ``depths`` in order, as many as ``found`` has room.

    ``cost``: a record of `loads.COST`; the rest as `planned` takes it. ``found``: float64[plans, 3], depth, cycles in
    all, cycles of loads. Returns how many.
    """
    p = product[0]
    slots = np.empty((2, SLOTS), np.int64)
    whole = np.empty(3, np.int64)
    whole[0], whole[1] = tile[0], tile[1]
    columns = blocks_of(p["blocks_i"], tile[0]) * blocks_of(p["blocks_j"], tile[1])
    count = 0
    for depth in depths:
        if count == len(found):
            break
        whole[2] = depth
        tiles = columns * blocks_of(p["blocks_q"], depth)
        steps = np.empty((tiles, STEP_FIELDS), np.int64)
        needed = np.empty((tiles, p["blocks_q"]), np.bool_)
        slots_a, _, shared, _, _ = planned(product, whole, order, sums, steps, needed, slots)
        if slots_a:
            slowdown = p["shared_slowdown"] if shared else 1.0
            times = estimate(cost, product, whole, slowdown, steps, needed, sums.blocks, sums.load_cycles)
            found[count, 0], found[count, 1], found[count, 2] = depth, times[0], times[1]
            count += 1
    return count
