"""The cut of a sampled product: the rows, features and windows of each step, and the address of each part.

*Features* are the other dimension of B than the keys: K of scores, N of a context. A step computes a block of rows, a
range of features and a range of windows. The portion of A or of B for a step is a *part*; parts of each side are in one
slot, or in two that alternate, and one that is still in its slot is not loaded again. The portion of C for a step is a
*tile*, in one half of the accumulator. Cuts are compared by rough times, which influence the choice of the program, not
its simulated time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, islice, pairwise, product
from math import prod
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower.sparse.blocks import BITS_PER_BYTE
from sim.lower.sparse.cost import STORE_CYCLES_PER_BLOCK_ROW, LoadCost
from sim.lower.tiling import blocks_of
from sim.lower.work import SampledMatmul

SOFTMAX_CYCLES = (19.0, 2.5)
"""Cycles per row, and per block of it, through the normaliser: measured on `gemmini_sparse` at 128 and 512 tokens."""

SLOTS = 2
"""Slots of either operand: one part is used while the next is loaded."""

CUTS_TRIED = 64
"""Number of cuts that are estimated."""

HELD_UP = 0.5
"""Share of the time of loads that is not hidden: loads begin late, and delay computes that read their bank."""


@dataclass(frozen=True)
class IndexLoad:
    """One load of index.

    Its first line in DRAM (a scratchpad row of bytes), its first row relative to the part's, blocks, rows. With several
    blocks row r has ``blocks`` neighbouring lines, one for each.
    """

    line: int
    local: int
    blocks: int
    rows: int


class SampledShape:
    """Sizes of a sampled product in blocks, and sums over its counts."""

    def __init__(self, work: SampledMatmul, hw: Hardware):
        m, n, k = work.matmul.m, work.matmul.n, work.matmul.k
        self.work, self.hw, self.dim, self.m = work, hw, hw.dim, m
        self.outputs = work.picks == "outputs"
        self.keys, self.width = (n, k) if self.outputs else (k, n)
        self.rows, self.features = blocks_of(m, hw.dim), blocks_of(self.width, hw.dim)
        self.counts = np.asarray(work.counts, np.int64)
        self.windows = self.counts.shape[1]
        self.before = self.counts.cumsum(axis=1) - self.counts
        """[row, window]: sub-rows of the row in the windows before."""
        self._columns: dict[tuple[int, range], range] = {}
        self._a_rows: dict[tuple[range, range], int] = {}

    @cached_property
    def longest(self) -> tuple[int, ...]:
        """Sub-rows of the fullest row of each block of rows: the columns that the block takes."""
        totals = self.counts.sum(axis=1)
        return tuple(max(1, int(totals[i : i + self.dim].max())) for i in range(0, self.m, self.dim))

    def streams(self, blocks: range, windows: range) -> bool:
        """Whether any row of some blocks has a sub-row in some windows."""
        rows = self.elements(blocks)
        return bool(self.counts[rows.start : rows.stop, windows.start : windows.stop].any())

    def columns(self, block: int, windows: range) -> range:
        """Return the columns of packed values that a block of rows has in some windows, in blocks of DIM."""
        if self.outputs:
            return range(self.features)
        key = block, windows
        if key not in self._columns:
            rows = slice(block * self.dim, (block + 1) * self.dim)
            last = windows.stop - 1
            ends = self.before[rows, last] + self.counts[rows, last]
            self._columns[key] = range(int(self.before[rows, windows.start].min()), int(ends.max()))
        return self._columns[key]

    def a_windows(self, windows: range) -> range:
        """Return the windows whose index is loaded with a part of A.

        All windows for queries, which stay while keys change.
        """
        return range(self.windows) if self.outputs else windows

    def places(self, block: int, features: range) -> int:
        """Return the accumulator rows of the results of a block of rows."""
        return (self.longest[block] if self.outputs else len(features)) * self.dim

    def sub_rows(self, rows: range, window: int) -> npt.NDArray[np.int64]:
        """Return int64[2, sub-rows]: the row of each sub-row of some rows in a window, and its position in the row."""
        counts = self.counts[rows.start : rows.stop, window]
        owners = np.repeat(np.asarray(rows), counts)
        number = np.arange(len(owners)) - np.repeat(counts.cumsum() - counts, counts)
        return np.stack([owners, self.before[owners, window] + number])

    def index_edge(self, window: int) -> int:
        """Return the bits of a row's index before a window; after the last window with the padding of its last byte."""
        whole = self.work.index_row_bytes * BITS_PER_BYTE
        return whole if window == self.windows else min(window * self.work.index_bits, whole)

    def index_bits(self, rows: range, windows: range) -> tuple[int, int]:
        """Return (first bit, bits) of the index of some rows in some windows; parts are stored one after the other."""
        first, last = (len(rows) * self.index_edge(edge) for edge in (windows.start, windows.stop))
        return rows.start * self.work.index_row_bytes * BITS_PER_BYTE + first, last - first

    def index_loads(self, blocks: range, windows: range, group: int) -> Iterator[IndexLoad]:
        """Yield the loads of the index of a part as whole scratchpad rows; ``group``: blocks of a request."""
        first, size = self.index_bits(self.elements(blocks), windows)
        row_bits = self.hw.sp_row_bytes * BITS_PER_BYTE
        line, last, local = first // row_bits, blocks_of(first + size, row_bits), 0
        while line < last:
            wide = max(1, min(group, (last - line) // self.dim))
            rows = min(self.dim, last - line)
            yield IndexLoad(line, local, wide, rows)
            line, local = line + rows * wide, local + rows * wide

    def a_rows(self, blocks: range, windows: range) -> int:
        """Return the scratchpad rows of a part of A, index first."""
        if (blocks, windows) not in self._a_rows:
            columns = sum(len(self.columns(b, windows)) for b in blocks)
            self._a_rows[blocks, windows] = self.index_rows(blocks, windows) + columns * self.dim
        return self._a_rows[blocks, windows]

    def index_rows(self, blocks: range, windows: range) -> int:
        """Return the scratchpad rows of a part's index; the first and the last may contain bytes of other parts."""
        size = self.index_bits(self.elements(blocks), windows)[1]
        return blocks_of(size, self.hw.sp_row_bytes * BITS_PER_BYTE) + 1

    def elements(self, blocks: range) -> range:
        """Return the rows of some blocks of rows."""
        return range(blocks.start * self.dim, min(blocks.stop * self.dim, self.m))


@dataclass(frozen=True)
class SampledStep:
    """One step: blocks of rows, features, windows; numbers of the parts and of the tile of C."""

    blocks: range
    features: range
    windows: range
    a_part: int
    b_part: int
    tile: int


class PartSlots:
    """Parts of one side in the order of loading, in two slots: a new part replaces the least recently used one.

    The part of the previous step is never replaced: its last computes already preload the next weights.
    """

    def __init__(self) -> None:
        self.keys: list[object] = []
        self.slots: list[int] = []
        self.replaced: list[int] = []
        self._held: list[int] = []

    def take(self, key: object) -> int:
        """Return the part of this key in a slot, or a new one."""
        part = next((held for held in self._held if self.keys[held] == key), len(self.keys))
        if part < len(self.keys):
            self._held.remove(part)
        else:
            gone = self._held.pop(0) if len(self._held) == SLOTS else -1
            self.keys.append(key)
            self.replaced.append(gone)
            self.slots.append(self.slots[gone] if gone >= 0 else part)
        self._held.append(part)
        return part


@dataclass(frozen=True)
class SampledPlan:
    """All steps in order; by part of either side, the first scratchpad row of its slot and the part it replaces (-1:
    none).
    """

    steps: tuple[SampledStep, ...]
    a_parts: tuple[tuple[int, int], ...]
    b_parts: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def choose_cut(work: SampledMatmul, hw: Hardware) -> SampledPlan:
    """Return the cut with the shortest estimate. Raises InputError if not even the smallest fits."""
    shape = SampledShape(work, hw)
    found = [(estimate(cut, shape), number, cut) for number, cut in enumerate(_cuts(shape))]
    if found:
        return min(found, key=itemgetter(0, 1))[2]
    product = work.matmul
    places, half = max(shape.longest) * hw.dim if shape.outputs else hw.dim, hw.acc_rows // 2
    if places > half:
        reason = f"the sub-rows of {hw.dim} rows take {places} accumulator rows, half of it has {half}; use a larger "
        reason += "accumulator.capacity or a lower density"
    else:
        reason = (
            f"{hw.sp_rows} scratchpad rows do not hold two windows of weights and the rows streamed past them; use "
        )
        reason += "a larger scratchpad.capacity"
    raise InputError(f"sampled matmul {product.m}x{product.n}x{product.k}: {reason}")


def _cuts(shape: SampledShape) -> Iterator[SampledPlan]:
    """Yield cuts that fit, of equal pieces on every side, those of the fewest steps first."""
    by_hand = shape.work.matmul.tile
    rows = [by_hand[0]] if by_hand is not None else _sizes(shape.rows)
    features = [shape.features] if shape.outputs else _sizes(shape.features)
    sizes = sorted(product(rows, features, _sizes(shape.windows)), key=lambda size: _steps(shape, size))
    found = (
        _cut(shape, _ranges(shape.rows, high), _ranges(shape.features, wide), _ranges(shape.windows, deep))
        for high, wide, deep in sizes
    )
    return islice((cut for cut in found if cut is not None), CUTS_TRIED)


def _steps(shape: SampledShape, size: tuple[int, int, int]) -> int:
    counts = (shape.rows, shape.features, shape.windows)
    return prod(blocks_of(count, piece) for count, piece in zip(counts, size, strict=True))


def _sizes(count: int) -> list[int]:
    """Return sizes of pieces of ``count``: halves, thirds, quarters, ... and single ones."""
    pieces = [p for p in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128) if p < count]
    return list(dict.fromkeys(blocks_of(count, p) for p in (*pieces, count)))


def _ranges(count: int, size: int) -> list[range]:
    return [range(i, min(i + size, count)) for i in range(0, count, size)]


def _cut(shape: SampledShape, rows: list[range], features: list[range], windows: list[range]) -> SampledPlan | None:
    """Return the cut into these pieces, or None if it does not fit."""
    hw, resident = shape.hw, shape.work.resident
    b_rows = len(windows[0]) * resident * len(features[0]) * hw.dim
    if b_rows > hw.sp_rows or any(
        sum(shape.places(b, features[0]) for b in blocks) > hw.acc_rows // 2 for blocks in rows
    ):
        return None
    steps: list[SampledStep] = []
    a, b = PartSlots(), PartSlots()
    tile = -1
    for wide, blocks in product(features, rows):
        tile += 1
        for deep in windows:
            if not shape.streams(blocks, deep):
                continue
            parts = a.take((blocks, None if shape.outputs else deep)), b.take((wide, deep))
            steps.append(SampledStep(blocks, wide, deep, *parts, tile))
    a_rows = max(shape.a_rows(step.blocks, shape.a_windows(step.windows)) for step in steps)
    counts = [min(SLOTS, len(side.keys)) for side in (a, b)]
    slots = _slots((a_rows,) * counts[0] + (b_rows,) * counts[1], hw)
    if slots is None:
        return None
    sides = (a, slots[: counts[0]]), (b, slots[counts[0] :])
    placed = [tuple((at[slot], gone) for slot, gone in zip(p.slots, p.replaced, strict=True)) for p, at in sides]
    return SampledPlan(tuple(steps), placed[0], placed[1])


def _slots(sizes: tuple[int, ...], hw: Hardware) -> tuple[int, ...] | None:
    """Return the first rows of slots of these sizes, each in banks of its own if possible; None if they do not fit.

    Loads into a single-ported bank and reads from it delay each other.
    """
    starts = {
        unit: tuple(accumulate((blocks_of(size, unit) * unit for size in sizes), initial=0))
        for unit in (hw.sp_bank_rows, hw.dim)
    }
    return next((found[:-1] for found in starts.values() if found[-1] <= hw.sp_rows), None)


def estimate(cut: SampledPlan, shape: SampledShape) -> float:
    """Return a rough length in cycles.

    The largest of loads, computes and stores, plus the first load and the last store.
    """
    hw, dim, cost = shape.hw, shape.dim, LoadCost(shape.hw)
    loads = []
    for before, step in pairwise([None, *cut.steps]):
        assert step is not None
        load, wide = 0.0, min(cost.group, len(step.features))
        if before is None or step.a_part > before.a_part:
            load += shape.a_rows(step.blocks, step.windows) * cost.row_cycles(cost.group) / cost.group
        if before is None or step.b_part > before.b_part:
            rows = len(step.windows) * shape.work.resident * len(step.features) * dim
            load += rows * cost.row_cycles(wide) / wide
        loads.append(load)
    streamed = float(shape.counts.sum()) / shape.windows / shape.rows
    computes = sum(
        len(step.windows) * len(step.features) * max(shape.work.resident * dim, streamed * len(step.blocks) + dim / 2)
        for step in cut.steps
    )
    if shape.outputs:
        per_row, per_block = SOFTMAX_CYCLES
        stores = shape.m * per_row + float(shape.counts.sum()) * per_block
    else:
        full = max(1.0, dim * hw.acc_bytes / hw.dma.bus_bytes)
        stores = shape.m * shape.features * (full if shape.work.matmul.full_c else STORE_CYCLES_PER_BLOCK_ROW)
    tiles, total = cut.steps[-1].tile + 1, sum(loads)
    return float(max(total, computes, stores) + HELD_UP * total + loads[0] + stores / tiles)
