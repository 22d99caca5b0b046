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
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.lower.tiling import Tile, blocks_of

Mask = npt.NDArray[np.bool_]

ORDERS = ("ijk", "jik")
"""Loop orders with k innermost: an accumulator half holds one output tile."""

BITS_PER_BYTE = 8

REQUEST_OVERHEAD_CYCLES = 6
"""Round trip of a read beyond latency and beats, as the DMA sees it (rtl README, mvin rules)."""

STORE_CYCLES_PER_BLOCK_ROW = 1.75
"""A 64-byte row of four blocks leaves the accumulator every 7 cycles (rtl README, rules for mvout)."""


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
        self.row_bytes = hw.dim * hw.input_bytes
        self.group = hw.loop_max_block_len
        self.beat_cycles = max(1.0, hw.dma.bus_bytes / hw.memory.read_bytes_per_cycle)
        self.bus_bytes = hw.dma.bus_bytes
        self.round_trip_cycles = hw.memory.latency_cycles + REQUEST_OVERHEAD_CYCLES
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


def order_steps(cut: Cut, order: str) -> Iterator[Tile]:
    """Yield tile indices in loop order."""
    for outer in product(*(range(cut.counts["ijk".index(name)]) for name in order)):
        at = dict(zip(order, outer, strict=True))
        yield at["i"], at["j"], at["k"]


def column_bytes(blocks_k: int) -> int:
    """Return the bytes of one column of the block index: one bit per block, whole bytes."""
    return blocks_of(blocks_k, BITS_PER_BYTE)


def index_rows(blocks_k: int, blocks_j: int, hw: Hardware) -> int:
    """Return the scratchpad rows of the index of ``blocks_j`` columns (the first may be shared)."""
    return blocks_of(blocks_j * column_bytes(blocks_k), hw.dim * hw.input_bytes) + 1


def assign_parts(cut: Cut, mask: Mask, order: str) -> None:
    """Fill steps and parts: walk the tiles, reload a part when it has left its slots."""
    blocks_k, blocks_j = mask.shape
    slots = [min(2, cut.counts[0] * cut.counts[2]), min(2, cut.counts[1] * cut.counts[2])]
    held: list[list[int]] = [[], []]
    keys: list[list[tuple[int, int]]] = [[], []]
    users: dict[int, set[int]] = {}
    for i0, j0, k0 in order_steps(cut, order):
        used = []
        for side, key in enumerate(((i0, k0), (j0, k0))):
            found = [position for position in held[side] if keys[side][position] == key]
            if not found:
                found = [len(keys[side])]
                keys[side].append(key)
                held[side] = ([*held[side], *found])[-slots[side] :]
            used.append(found[0])
        users.setdefault(used[0], set()).add(j0)
        cut.steps.append(Step((i0, j0, k0), used[0], used[1]))
    for position, key in enumerate(keys[0]):
        columns = np.zeros(blocks_j, dtype=bool)
        for j0 in users[position]:
            columns[j0 * cut.tile[1] : (j0 + 1) * cut.tile[1]] = True
        depth = span(key[1], cut.tile[2], blocks_k)
        wanted = mask[depth.start : depth.stop][:, columns].any(axis=1)
        needed = tuple(int(k) + depth.start for k in np.flatnonzero(wanted))
        cut.a_parts.append(Part(key, needed, position % slots[0]))
    for position, key in enumerate(keys[1]):
        cut.b_parts.append(Part(key, (), position % slots[1]))


def place_slots(cut: Cut, mask: Mask, hw: Hardware) -> bool:
    """Give every slot its rows, A and B in different banks where possible; False if they don't fit."""
    dim, bank, total = hw.dim, hw.sp_bank_rows, hw.sp_rows
    blocks_k, blocks_j = mask.shape
    cost = LoadCost(hw)
    a_rows = max(
        cut.tile[0] * dim * sum(length for _, length in runs(part.needed, cost.group, cost.bridge))
        for part in cut.a_parts
    )
    b_rows = 0
    for part in cut.b_parts:
        cols, depth = span(part.key[0], cut.tile[1], blocks_j), span(part.key[1], cut.tile[2], blocks_k)
        count = int(mask[depth.start : depth.stop, cols.start : cols.stop].sum())
        b_rows = max(b_rows, count * dim + index_rows(blocks_k, len(cols), hw))
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


def estimate_cycles(cut: Cut, mask: Mask, rows_blocks: int, hw: Hardware) -> float:
    """Return a rough length: loads of the next part overlap computes and stores of the present."""
    cost, dim = LoadCost(hw), hw.dim
    blocks_k, blocks_j = mask.shape
    seen_a = seen_b = -1
    loads, computes, stores = [], [], []
    b_cache: dict[tuple[int, int], tuple[float, int]] = {}
    for step in cut.steps:
        i0, j0, k0 = step.index
        count_i = len(span(i0, cut.tile[0], rows_blocks))
        cols, depth = span(j0, cut.tile[1], blocks_j), span(k0, cut.tile[2], blocks_k)
        if (j0, k0) not in b_cache:
            b_cache[j0, k0] = _b_cost(mask, cols, depth, cost, hw)
        b_cycles, count = b_cache[j0, k0]
        load = 0.0
        if step.a_part > seen_a:
            seen_a = step.a_part
            for _, length in runs(cut.a_parts[seen_a].needed, cost.group, cost.bridge):
                load += count_i * dim * cost.row_cycles(length)
        if step.b_part > seen_b:
            seen_b = step.b_part
            load += b_cycles
        loads.append(load)
        computes.append(count * count_i * dim * (2.0 if cut.shared_banks else 1.0))
        last = k0 == cut.counts[2] - 1
        stores.append(len(cols) * count_i * dim * STORE_CYCLES_PER_BLOCK_ROW if last else 0.0)
    total = loads[0]
    for n in range(len(loads)):
        following = loads[n + 1] if n + 1 < len(loads) else 0.0
        total += max(computes[n], following, stores[n - 1] if n else 0.0)
    return total + stores[-1]


def _b_cost(mask: Mask, cols: range, depth: range, cost: LoadCost, hw: Hardware) -> tuple[float, int]:
    cycles, count = 0.0, 0
    for k in depth:
        needed = tuple(int(j) + cols.start for j in np.flatnonzero(mask[k, cols.start : cols.stop]))
        count += len(needed)
        for _, length in runs(needed, cost.group):
            cycles += hw.dim * cost.row_cycles(length)
    return cycles, count


def candidates(rows_blocks: int, mask: Mask, hw: Hardware) -> Iterator[Tile]:
    """Yield (I, J, all of K) for tiles that fill half of the accumulator in different shapes."""
    room = max(1, hw.acc_rows // 2 // hw.dim)
    blocks_k, blocks_j = mask.shape
    seen = set()
    width = 1
    while True:
        wide = min(width, blocks_j, room)
        wide = blocks_of(blocks_j, blocks_of(blocks_j, wide))
        high = min(rows_blocks, max(1, room // wide))
        high = blocks_of(rows_blocks, blocks_of(rows_blocks, high))
        if (high, wide) not in seen:
            seen.add((high, wide))
            yield high, wide, blocks_k
        if width >= min(blocks_j, room):
            return
        width = width * 3 // 2 + 1


def make_cut(tile: Tile, order: str, rows_blocks: int, mask: Mask, hw: Hardware) -> Cut | None:
    """Return the plan for one tile and order, or None if its parts don't fit the scratchpad."""
    blocks_k, blocks_j = mask.shape
    counts = (blocks_of(rows_blocks, tile[0]), blocks_of(blocks_j, tile[1]), blocks_of(blocks_k, tile[2]))
    cut = Cut(tile, counts)
    assign_parts(cut, mask, order)
    return cut if place_slots(cut, mask, hw) else None


def choose_cut(rows_blocks: int, mask: Mask, hw: Hardware) -> Cut | None:
    """Return the plan with the shortest estimate, or None if nothing fits; ties keep the earlier one."""
    best, best_cycles = None, float("inf")
    for high, wide, depth in candidates(rows_blocks, mask, hw):
        for order in ORDERS:
            pieces = 1
            while (
                cut := make_cut((high, wide, blocks_of(depth, pieces)), order, rows_blocks, mask, hw)
            ) is None:
                if blocks_of(depth, pieces) == 1:
                    break
                pieces = pieces + 1 if pieces < 8 else pieces * 2
            if cut is not None and (cycles := estimate_cycles(cut, mask, rows_blocks, hw)) < best_cycles:
                best, best_cycles = cut, cycles
    return best
