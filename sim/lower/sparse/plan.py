"""How a block-sparse product is cut: tile, loop order, and which part of A and B lies where and until when.

A *part* is what one tile needs of A (rows i0, depth k0) or of B (columns j0, depth k0). Parts live in one
slot, or in two that alternate, so that loads of the next part overlap with computes of the present one; a
part that is still in a slot when it comes round again is not loaded again. Only blocks of B that are not
zero take room, and of A only columns that some block of B needs. The choice among candidate cuts uses rough
time estimates; they decide which program is emitted, never how long it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from operator import itemgetter

import numpy as np

from sim.hardware import Hardware
from sim.lower.sparse.blocks import Mask
from sim.lower.sparse.cost import STORE_CYCLES_PER_BLOCK_ROW, Profile, runs
from sim.lower.tiling import Tile, blocks_of, tile_counts

ORDERS = ("ijk", "jik")
"""Loop orders with k innermost: an accumulator half holds one output tile."""

SHARED_BANK_SLOWDOWN = 2.0
"""A and B in one single-ported bank take turns: 32 instead of 16 cycles per pair (rtl README, compute
rules).
"""

ABOUT_EQUAL = 1.02
"""Estimates this close say nothing about which plan is faster; bytes loaded, which cost energy, decide then."""

DEPTHS_TRIED = 4
"""Depths of a tile that are estimated, from the largest that fits downwards: a shallow first part starts
sooner.
"""


@dataclass(frozen=True)
class Part:
    """One load of a part: its block ranges, what of it is needed, and its slot."""

    key: tuple[int, int]
    needed: tuple[int, ...]
    slot: int


@dataclass(frozen=True)
class Step:
    """One tile: (i0, j0, k0), and the loads it uses as positions in `Cut.a_parts`, `Cut.b_parts`."""

    index: Tile
    a_part: int
    b_part: int


@dataclass
class Cut:
    """A complete plan; slots are first scratchpad rows, parts stand in order of loading."""

    tile: Tile
    counts: Tile
    steps: list[Step] = field(default_factory=list)
    a_parts: list[Part] = field(default_factory=list)
    b_parts: list[Part] = field(default_factory=list)
    a_slots: tuple[int, ...] = ()
    b_slots: tuple[int, ...] = ()
    shared_banks: bool = False


def span(index: int, size: int, limit: int) -> range:
    """Return the blocks of tile number ``index``."""
    return range(index * size, min((index + 1) * size, limit))


def order_steps(cut: Cut, order: str) -> Iterator[Tile]:
    """Yield tile indices in loop order."""
    for outer in product(*(range(cut.counts["ijk".index(name)]) for name in order)):
        at = dict(zip(order, outer, strict=True))
        yield at["i"], at["j"], at["k"]


def assign_parts(cut: Cut, profile: Profile, order: str) -> None:
    """Fill steps and parts: walk the tiles, reload a part when it has left its slots."""
    slots = [min(2, cut.counts[0] * cut.counts[2]), min(2, cut.counts[1] * cut.counts[2])]
    held: list[list[int]] = [[], []]
    keys: list[list[tuple[int, int]]] = [[], []]
    users: list[tuple[int, ...]] = []
    for i0, j0, k0 in order_steps(cut, order):
        used = []
        for side, key in enumerate(((i0, k0), (j0, k0))):
            found = [position for position in held[side] if keys[side][position] == key]
            if not found:
                found = [len(keys[side])]
                keys[side].append(key)
                held[side] = ([*held[side], *found])[-slots[side] :]
                users += [()] if side == 0 else []
            used.append(found[0])
        users[used[0]] += (j0,)
        cut.steps.append(Step((i0, j0, k0), used[0], used[1]))
    needs_a = profile.columns(cut.tile[1]).needs_a
    known: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}
    for position, (key, by) in enumerate(zip(keys[0], users, strict=True)):
        if (key[1], by) not in known:
            depth = span(key[1], cut.tile[2], needs_a.shape[1])
            wanted = needs_a[list(by), depth.start : depth.stop].any(axis=0)
            known[key[1], by] = tuple((np.flatnonzero(wanted) + depth.start).tolist())
        cut.a_parts.append(Part(key, known[key[1], by], position % slots[0]))
    cut.b_parts += [Part(key, (), position % slots[1]) for position, key in enumerate(keys[1])]


def place_slots(cut: Cut, profile: Profile, hw: Hardware) -> bool:
    """Give every slot its rows, A and B in different banks where possible; False if they don't fit."""
    dim, bank, total = hw.dim, hw.sp_bank_rows, hw.sp_rows
    blocks_k = len(profile.mask)
    group, bridge = profile.blocks.a_group(profile.cost.group), profile.cost.bridge
    columns = max(sum(length for _, length in runs(part.needed, group, bridge)) for part in cut.a_parts)
    a_rows = cut.tile[0] * dim * columns
    edges = [*range(0, blocks_k, cut.tile[2]), blocks_k]
    most = int(np.diff(profile.columns(cut.tile[1]).blocks[:, edges], axis=1).max())
    b_rows = most * dim + profile.blocks.index_rows(cut.tile[2], cut.tile[1], hw)
    two_a, two_b = max(p.slot for p in cut.a_parts) > 0, max(p.slot for p in cut.b_parts) > 0
    half = total // 2
    if two_a and two_b:
        cut.a_slots, cut.b_slots = (0, half), (half - b_rows, total - b_rows)
        fits = a_rows + b_rows <= half
    elif two_a:
        second = min(blocks_of(max(a_rows, 1), bank) * bank, total - b_rows - a_rows)
        cut.a_slots, cut.b_slots = (0, second), (total - b_rows,)
        fits = second >= a_rows
    else:
        span_b = blocks_of(max(b_rows, 1), bank) * bank
        lower = total - span_b - b_rows if total - span_b - b_rows >= a_rows else total - 2 * b_rows
        cut.a_slots = (0,)
        cut.b_slots = (lower, total - b_rows) if two_b else (total - b_rows,)
        fits = cut.b_slots[0] >= a_rows
    a_banks = [set(range(s // bank, (s + max(a_rows, 1) - 1) // bank + 1)) for s in cut.a_slots]
    b_banks = [set(range(s // bank, (s + max(b_rows, 1) - 1) // bank + 1)) for s in cut.b_slots]
    pairs = {(cut.a_parts[s.a_part].slot, cut.b_parts[s.b_part].slot) for s in cut.steps} if fits else set()
    cut.shared_banks = any(a_banks[a] & b_banks[b] for a, b in pairs)
    return fits


def estimate_cycles(cut: Cut, profile: Profile, rows_blocks: int) -> tuple[float, float]:
    """Return a rough length, in which loads of the next part overlap with work on this one, and that of all loads."""
    cost, dim = profile.cost, profile.dim
    blocks_k, blocks_j = profile.mask.shape
    columns = profile.columns(cut.tile[1])
    slowdown = SHARED_BANK_SLOWDOWN if cut.shared_banks else 1.0
    a_cycles: dict[tuple[int, ...], float] = {}
    seen_a = seen_b = -1
    total = loads = compute = store = earlier_store = 0.0
    for step in cut.steps:
        i0, j0, k0 = step.index
        count_i = len(span(i0, cut.tile[0], rows_blocks))
        depth = span(k0, cut.tile[2], blocks_k)
        load = 0.0
        if step.a_part > seen_a:
            seen_a = step.a_part
            needed = cut.a_parts[seen_a].needed
            if needed not in a_cycles:
                lengths = (length for _, length in runs(needed, profile.blocks.a_group(cost.group), cost.bridge))
                a_cycles[needed] = dim * sum(cost.row_cycles(length) for length in lengths)
            load += count_i * a_cycles[needed]
        if step.b_part > seen_b:
            seen_b = step.b_part
            load += columns.load_cycles[j0, depth.stop] - columns.load_cycles[j0, depth.start]
        total += max(compute, load, earlier_store)
        loads += load
        earlier_store = store
        blocks = columns.blocks[j0, depth.stop] - columns.blocks[j0, depth.start]
        compute = float(blocks) * count_i * dim * slowdown
        width = len(span(j0, cut.tile[1], blocks_j))
        last = k0 == cut.counts[2] - 1
        store = width * count_i * dim * STORE_CYCLES_PER_BLOCK_ROW if last else 0.0
    return total + max(compute, earlier_store) + store, loads


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
    blocks_k, blocks_j = profile.mask.shape
    counts = tile_counts((rows_blocks, blocks_j, blocks_k), tile)
    cut = Cut(tile, counts)
    assign_parts(cut, profile, order)
    return cut if place_slots(cut, profile, hw) else None


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
                    found.append((*estimate_cycles(cut, profile, rows_blocks), cut))
                if depth == 1 or whole == profile.blocks.fetch:
                    break
                pieces = max(pieces + 1, pieces * 3 // 2)
    if not found:
        return None
    longest = ABOUT_EQUAL * min(cycles for cycles, _, _ in found)
    return min((plan for plan in found if plan[0] <= longest), key=itemgetter(1, 0))[2]
