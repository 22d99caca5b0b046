"""Parts of A and B that the tiles of a plan need, and a rough length of the plan (`sim.lower.sparse.plan`)."""

from __future__ import annotations

import numpy as np

from sim.lower.sparse.compiled.jit import entry, njit
from sim.lower.sparse.compiled.loads import blocks_of, row_cycles, run_length

SLOTS = 2
"""Of either operand, at most."""


@njit
def _take(held, count, slots, key, parts):
    """Return the part of a key that is in a slot, or a new one, and how many are held."""
    for place in range(count):
        if held[place, 1] == key:
            return held[place, 0], count
    if count == slots:
        for place in range(count - 1):
            held[place] = held[place + 1]
        count -= 1
    held[count, 0] = parts
    held[count, 1] = key
    return parts, count + 1


@njit
def assign(product, counts, order, tile_q, needs_a, steps, needed):
    """Walk the tiles in loop order: a part that has left its slots is loaded again.

    ``product``: a record of `records.PRODUCT`. ``counts``: tiles along i, j, q; ``order``: axes, outermost first;
    ``needs_a``: bool[j tiles, blocks of q]. ``steps``: int64[tiles, 9] as in `fill`, filled here; ``needed``:
    bool[tiles, blocks of q], by part of A. Returns parts of A and of B, the most columns of A of a part, and pairs of
    slots that meet (a bit for a * 2 + b).
    """
    slots_a, slots_b = min(SLOTS, counts[0] * counts[2]), min(SLOTS, counts[1] * counts[2])
    held_a, held_b = np.empty((SLOTS, 2), np.int64), np.empty((SLOTS, 2), np.int64)
    count_a = count_b = parts_a = parts_b = pairs = number = 0
    blocks_q = needs_a.shape[1]
    at = np.zeros(3, np.int64)
    for x in range(counts[order[0]]):
        for y in range(counts[order[1]]):
            for z in range(counts[order[2]]):
                at[order[0]], at[order[1]], at[order[2]] = x, y, z
                i, j, q = at[0], at[1], at[2]
                part_a, count_a = _take(held_a, count_a, slots_a, i * counts[2] + q, parts_a)
                part_b, count_b = _take(held_b, count_b, slots_b, j * counts[2] + q, parts_b)
                step = steps[number]
                step[0], step[1], step[2], step[3], step[4] = i, j, q, part_a, part_b
                step[5], step[6] = int(part_a == parts_a), int(part_b == parts_b)
                step[7], step[8] = part_a % slots_a, part_b % slots_b
                if part_a == parts_a:
                    needed[parts_a, :] = False
                    parts_a += 1
                parts_b += int(part_b == parts_b)
                for block in range(q * tile_q, min((q + 1) * tile_q, blocks_q)):
                    needed[part_a, block] |= needs_a[j, block]
                pairs |= 1 << (step[7] * SLOTS + step[8])
                number += 1
    columns, a_group, bridge = 0, product[0]["a_group"], product[0]["bridge"]
    for part in range(parts_a):
        block = found = 0
        while block < blocks_q:
            length = run_length(needed[part], block, blocks_q, a_group, bridge) if needed[part, block] else 0
            found += length
            block += max(1, length)
        columns = max(columns, found)
    return parts_a, parts_b, columns, pairs


@njit
def estimate(cost, product, tile, slowdown, steps, needed, sums, load_cycles):
    """Return a rough length, in which loads of the next part overlap with work on this one, and that of all loads.

    ``slowdown``: of computes that share banks with loads. ``sums``, ``load_cycles``: blocks of B and cycles of their
    loads below each row of blocks, by tile column.
    """
    p = product[0]
    last_q, dim = blocks_of(p["blocks_q"], tile[2]) - 1, p["dim"]
    total = loads = compute = store = earlier_store = 0.0
    for number in range(len(steps)):
        step = steps[number]
        i, j, q = step[0], step[1], step[2]
        count_i = min((i + 1) * tile[0], p["blocks_i"]) - i * tile[0]
        first, stop = q * tile[2], min((q + 1) * tile[2], p["blocks_q"])
        load = 0.0
        if step[5]:
            row, block, part = 0.0, first, needed[step[3]]
            while block < stop:
                length = run_length(part, block, stop, p["a_group"], p["bridge"]) if part[block] else 0
                if length:
                    row += row_cycles(cost[0], length, 0)
                block += max(1, length)
            load += count_i * (dim * row)
        if step[6]:
            load += load_cycles[j, stop] - load_cycles[j, first]
        total += max(compute, load, earlier_store)
        loads += load
        earlier_store = store
        compute = float(sums[j, stop] - sums[j, first]) * count_i * dim * slowdown
        width = min((j + 1) * tile[1], p["blocks_j"]) - j * tile[1]
        store = width * count_i * dim * p["store_cycles"] if q == last_q else 0.0
    return total + max(compute, earlier_store) + store, loads


@njit
def _group_cycles(cost, mask_row, start, stop, group, dim):
    """Cycles of loading the blocks of one aligned group."""
    rows, block = 0.0, start
    while block < stop:
        length = run_length(mask_row, block, stop, group, 0) if mask_row[block] else 0
        if length:
            rows += row_cycles(cost, length, 0)
        block += max(1, length)
    return dim * rows


@entry
def group_cycles(cost, mask, width, group, dim, found):
    """Write the cycles of loading the blocks of each row in parts of ``width`` columns, by aligned groups.

    ``found``: float64[parts, rows, groups]; a part fills those it has.
    """
    blocks_j = mask.shape[1]
    for part in range(blocks_of(blocks_j, width)):
        first, last = part * width, min((part + 1) * width, blocks_j)
        start, stop = first // group, blocks_of(last, group)
        for row in range(len(mask)):
            for place in range(start, stop):
                bounds = max(first, place * group), min(last, (place + 1) * group)
                cycles = _group_cycles(cost[0], mask[row], bounds[0], bounds[1], group, dim)
                found[part, row, place - start] = cycles
