"""The three command streams of a sampled product (loads, computes, stores), and what each command waits for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sim.hardware import Hardware
from sim.isa import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    FULL_WIDTH_BIT,
    GARBAGE_ADDRESS,
    ConfigKind,
    Funct,
    command,
    local_operand,
)
from sim.lower.encode import LOAD_FUNCTS, float_bits
from sim.lower.merge import Command, Item
from sim.lower.norm import COMMAND_SHIFT, PASSES, STATISTICS
from sim.lower.sparsecost import LoadCost
from sim.lower.tiling import blocks_of
from sim.lower.work import Operand, SampledMatmul

if TYPE_CHECKING:
    from sim.lower.sampled import Layout, Tile

A_STATE, B_STATE, D_STATE = 0, 1, 2
"""Load states as in the dense program; the third serves bias and index in turn."""

NORM_CYCLES = 2
"""Estimated cycles of a store through the normaliser beyond one per block; of 0 to 10 the one that ends soonest."""


@dataclass(frozen=True)
class Weights:
    """A block of weights: local address, shape (cols, rows) as a preload names it, loads that bring it."""

    local: int
    shape: tuple[int, int]
    loads: int


@dataclass(frozen=True)
class Chunk:
    """Up to DIM sub-rows that one compute streams; ``c_rows``: local rows of C that they may go to."""

    tile: int
    rows: int
    a: int
    a_cols: int
    c: int
    c_rows: int
    c_cols: int
    loads: int


@dataclass(frozen=True)
class Group:
    """Weights that are in the array together, and all that is streamed past them."""

    weights: list[Weights]
    chunks: list[Chunk]


class Builder:
    """Fills the three command streams of one product."""

    def __init__(self, work: SampledMatmul, layout: Layout, hw: Hardware):
        self.work, self.product, self.layout, self.hw = work, work.matmul, layout, hw
        self.dim, self.gap, self.cost = hw.dim, hw.cpu.command_cycles, LoadCost(hw)
        self.outputs = work.picks == "outputs"
        m, n, k = self.product.m, self.product.n, self.product.k
        self.m, self.keys, self.width = m, *((n, k) if self.outputs else (k, n))
        self.counts = np.asarray(work.counts, np.int64)
        self.columns = self.counts.cumsum(axis=1) - self.counts
        self.loads: list[Item] = []
        self.pairs: list[Item] = []
        self.stores: list[Item] = []
        self.waits: dict[int, tuple[int, int]] = {}
        self.b_ready: dict[tuple[int, int], int] = {}
        d = self.product.d or Operand(0, 0)
        self.d_address, self.d_stride = d.address, 0 if self.product.bias == "row" else d.row_stride
        self.state_stride = self.d_stride * (hw.input_bytes if self.product.low_d else hw.acc_bytes)

    def streams(self) -> tuple[list[Item], list[Item], list[Item]]:
        """Return (loads, computes, stores)."""
        tiles = self.layout.tiles
        groups = [group for number, tile in enumerate(tiles) for group in self._groups(number, tile)]
        pairs, belongs = self._pairs(groups)
        ends = [belongs.index(number + 1) if number + 1 in belongs else len(pairs) for number in range(len(tiles))]
        stored = []
        for number, tile in enumerate(tiles):
            for words, busy in self._softmax(number, tile) if self.outputs else self._rows(number, tile):
                self.stores.append(Item((words,), busy, busy, (0, ends[number], 0)))
            stored.append(len(self.stores))
        # A slot and a half of the accumulator are free again behind the computes, the stores of the tile before last.
        for place, (slot_of, half_of) in self.waits.items():
            needs = (0, ends[slot_of - 2] if slot_of > 1 else 0, stored[half_of - 2] if half_of > 1 else 0)
            self.loads[place] = replace(self.loads[place], needs=needs)
        for place, number in enumerate(belongs):
            loads = pairs[place].needs[0]
            pairs[place] = replace(pairs[place], needs=(loads, 0, stored[number - 2] if number > 1 else 0))
        return self.loads, pairs, self.stores

    def _extent(self, block: int, size: int) -> int:
        return min(self.dim, size - block * self.dim)

    # Loads

    def _load(self, state: int, dram: int, local: int, shape: tuple[int, int], width: int, slot: int, half: int) -> int:
        """Append an mvin of ``shape`` (cols, rows) behind the tile two before ``slot`` (``half``); return the loads."""
        cols, rows = shape
        blocks = blocks_of(cols, self.dim)
        beats = rows * blocks_of(cols * width, self.cost.bus_bytes)
        busy = rows * self.cost.row_cycles(blocks, self.dim * width)
        self.waits[len(self.loads)] = slot, half
        words = command(LOAD_FUNCTS[state], dram, local_operand(local, cols, rows), self.gap)
        self.loads.append(Item((words,), busy, beats))
        return len(self.loads)

    def _third_state(self, stride_bytes: int) -> None:
        """Point load state 2 at rows ``stride_bytes`` apart, if it isn't there already."""
        if self.state_stride == stride_bytes:
            return
        self.state_stride = stride_bytes
        scale = float_bits(self.product.d_scale) if self.hw.dma.mvin_scale_units != "none" else 0
        rs1 = scale << 32 | self.dim << 16 | 1 << 8 | D_STATE << 3 | self.product.low_d << 2 | ConfigKind.LD
        self.loads.append(Item((command(Funct.CONFIG, rs1, stride_bytes, self.gap),), 1, 1))

    def _index(self, number: int, tile: Tile) -> None:
        """Load the index of a tile's rows as whole scratchpad rows to the start of its slot."""
        row_bytes = self.dim * self.hw.input_bytes
        row = tile.rows.start * self.work.index_row_bytes // row_bytes
        last, local = blocks_of(tile.rows.stop * self.work.index_row_bytes, row_bytes), self.layout.slots[number % 2]
        while row < last:
            blocks = max(1, min(self.cost.group, (last - row) // self.dim))
            rows = min(self.dim, last - row)
            self._third_state(row_bytes * blocks)
            dram = self.work.index_address + row * row_bytes
            self._load(D_STATE, dram, local, (blocks * self.dim, rows), self.hw.input_bytes, number, 0)
            row, local = row + rows * blocks, local + rows * blocks

    def _operands(self, number: int, tile: Tile) -> dict[int, tuple[int, int]]:
        """Load what a tile streams; return (local address, loads) by block of rows."""
        found, group = {}, self.cost.group * self.dim
        local = self.layout.slots[number % 2] + tile.index_rows
        for block, size in zip(tile.blocks, tile.operands, strict=True):
            cols = self.width if self.outputs else min(size, self.work.row_elements)
            rows = self._extent(block, self.m)
            for col in range(0, cols, group):
                dram = (
                    self.product.a.address + (block * self.dim * self.product.a.row_stride + col) * self.hw.input_bytes
                )
                shape = (min(group, cols - col), rows)
                self._load(A_STATE, dram, local + col, shape, self.hw.input_bytes, number, 0)
            found[block] = local, len(self.loads)
            local += size
        return found

    def _weights(self, block: int, feature: int) -> Weights:
        """Return block (keys, features) of B, loaded with its neighbours when it is used first."""
        group = self.cost.group
        first = feature // group * group
        if (block, first) not in self.b_ready:
            place = block * self.dim * self.product.b.row_stride + first * self.dim
            shape = (min(group * self.dim, self.width - first * self.dim), self._extent(block, self.keys))
            dram = self.product.b.address + place * self.hw.input_bytes
            local = (block * self.layout.features + first) * self.dim
            self.b_ready[block, first] = self._load(B_STATE, dram, local, shape, self.hw.input_bytes, 0, 0)
        extents = self._extent(block, self.keys), self._extent(feature, self.width)
        shape = extents if self.outputs else extents[::-1]
        local = (block * self.layout.features + feature) * self.dim
        return Weights(local, shape, self.b_ready[block, first])

    def _bias(self, number: int, tile: Tile) -> int:
        """Bring the bias into a tile's half of the accumulator; return the loads."""
        width = self.hw.input_bytes if self.product.low_d else self.hw.acc_bytes
        self._third_state(self.d_stride * width)
        group = self.hw.loop_max_block_len_acc * self.dim
        for block in tile.blocks:
            for col in range(0, self.width, group):
                row = 0 if self.product.bias == "row" else block * self.dim * self.d_stride
                shape = (min(group, self.width - col), self._extent(block, self.m))
                local = self._c(number, tile, block) + col
                self._load(D_STATE, self.d_address + (row + col) * width, local, shape, width, 0, number)
        return len(self.loads)

    # Computes

    def _c(self, number: int, tile: Tile, block: int) -> int:
        """Return the local address at which the results of a block of rows begin."""
        before = sum(tile.places[: block - tile.blocks.start])
        return (ACCUMULATOR_BIT | number % 2 * (self.hw.acc_rows // 2)) + before

    def _groups(self, number: int, tile: Tile) -> Iterator[Group]:
        """Yield what is preloaded together and streamed past it, loads on the way."""
        self._index(number, tile)
        operands = self._operands(number, tile)
        bias = self._bias(number, tile) if self.product.bias != "none" else 0
        counts = self.counts[tile.rows.start : tile.rows.stop]
        streamed = {
            window: np.repeat(np.asarray(tile.rows), counts[:, window])
            for window in range(counts.shape[1])
            if counts[:, window].any()
        }
        features = range(self.layout.features)
        if self.outputs:
            order = [(window, feature) for window in streamed for feature in features]
        else:  # columns of C one after the other, so that they can leave
            order = [(window, feature) for feature in features for window in streamed]
        for window, feature in order:
            adds = feature > 0 if self.outputs else bias > 0 or window != next(iter(streamed))
            blocks = range(window * self.work.resident, blocks_of(self.keys, self.dim))[: self.work.resident]
            weights = [self._weights(block, feature) for block in blocks]
            rows = streamed[window]
            parts = [rows[i : i + self.dim] for i in range(0, len(rows), self.dim)]
            chunks = [self._chunk(number, tile, operands, part, window, feature, bias, adds=adds) for part in parts]
            yield Group(weights, chunks)

    def _chunk(
        self,
        number: int,
        tile: Tile,
        operands: dict[int, tuple[int, int]],
        rows: np.ndarray,
        window: int,
        feature: int,
        bias: int,
        *,
        adds: bool,
    ) -> Chunk:
        first, last = int(rows[0]) // self.dim, int(rows[-1]) // self.dim
        local, loads = operands[last]
        c, end = self._c(number, tile, first), self._c(number, tile, last)
        if self.outputs:
            local, end = local + feature * self.dim, end + tile.places[last - tile.blocks.start]
            cols = self._extent(feature, self.width), self.dim
        else:
            local += int(self.columns[rows[-1], window]) * self.dim
            c, end = c + feature * self.dim, end + (feature + 1) * self.dim
            cols = min(self.dim, self.work.row_elements), self._extent(feature, self.width)
        flag = ACCUMULATE_BIT if adds else 0
        return Chunk(number, len(rows), local, cols[0], c | flag, end - c, cols[1], max(loads, bias))

    def _pairs(self, groups: list[Group]) -> tuple[list[Item], list[int]]:
        """Return preloads and computes, and the tile of each.

        A group's weights but the last come in beside chunks of the group before; where it has too few, alone.
        """
        items: list[Item] = []
        tiles: list[int] = []
        for number, group in enumerate(groups):
            after = groups[number + 1].weights[:-1] if number + 1 < len(groups) else []
            tile = group.chunks[0].tile
            alone = group.weights[:-1] if number == 0 else []
            rides: list[Weights | None] = [group.weights[-1], *after[: len(group.chunks) - 1]]
            rides += [None] * (len(group.chunks) - len(rides))
            items += [self._preload(weights) for weights in alone]
            items += [
                self._pair(chunk, weights, switch=place == 0)
                for place, (chunk, weights) in enumerate(zip(group.chunks, rides, strict=True))
            ]
            items += [self._preload(weights) for weights in after[len(group.chunks) - 1 :]]
            tiles += [tile] * (len(items) - len(tiles))
        return items, tiles

    def _preload(self, weights: Weights) -> Item:
        nowhere = local_operand(GARBAGE_ADDRESS, self.dim, self.dim)
        words = command(Funct.PRELOAD, local_operand(weights.local, *weights.shape), nowhere, self.gap)
        return Item((words,), self.dim, self.dim, (weights.loads, 0, 0))

    def _pair(self, chunk: Chunk, weights: Weights | None, *, switch: bool) -> Item:
        nothing = local_operand(GARBAGE_ADDRESS, self.dim, self.dim)
        preloaded = nothing if weights is None else local_operand(weights.local, *weights.shape)
        c = local_operand(chunk.c, chunk.c_cols, chunk.c_rows)
        funct = Funct.COMPUTE_PRELOADED if switch else Funct.COMPUTE_ACCUMULATED
        words = (
            command(Funct.PRELOAD, preloaded, c, self.gap),
            command(funct, local_operand(chunk.a, chunk.a_cols, chunk.rows), nothing, self.gap),
        )
        busy = self.dim if weights is not None or self.outputs else max(chunk.rows, 4)
        return Item(words, busy, busy, (max(chunk.loads, weights.loads if weights else 0), 0, 0))

    # Stores

    def _softmax(self, number: int, tile: Tile) -> Iterator[tuple[Command, float]]:
        """Yield the three passes over the sub-rows of each row, two rows at a time, as in `sim.lower.norm`."""
        group, width = self.hw.max_block_len * self.dim, self.hw.input_bytes
        lengths = np.minimum(self.counts.sum(axis=1) * self.dim, self.work.row_elements)
        for block in tile.blocks:
            base = self._c(number, tile, block) | ACCUMULATE_BIT
            rows = range(block * self.dim, block * self.dim + self._extent(block, self.m))
            for row in rows[::STATISTICS]:
                for inner, final in PASSES["softmax"]:
                    for stat, one in enumerate(range(row, min(row + STATISTICS, rows.stop))):
                        yield command(Funct.CONFIG, 1 << 17 | stat << 8 | ConfigKind.NORM, 0, self.gap), 1
                        for col in range(0, int(lengths[one]), group):
                            cols = min(group, int(lengths[one]) - col)
                            code = final if col + group >= lengths[one] else inner
                            local = (base + col + one - rows.start) | code << COMMAND_SHIFT
                            dram = self.product.c.address + (one * self.product.c.row_stride + col) * width
                            words = command(Funct.MVOUT, dram, local_operand(local, cols, 1), self.gap)
                            yield words, blocks_of(cols, self.dim) + NORM_CYCLES

    def _rows(self, number: int, tile: Tile) -> Iterator[tuple[Command, float]]:
        """Yield the stores of whole blocks of C."""
        full = self.product.full_c
        width = self.hw.acc_bytes if full else self.hw.input_bytes
        group = (1 if full else self.hw.loop_max_block_len) * self.dim
        for block in tile.blocks:
            base = self._c(number, tile, block) | ACCUMULATE_BIT | (FULL_WIDTH_BIT if full else 0)
            for col in range(0, self.width, group):
                shape = (min(group, self.width - col), self._extent(block, self.m))
                dram = self.product.c.address + (block * self.dim * self.product.c.row_stride + col) * width
                words = command(Funct.MVOUT, dram, local_operand(base + col, *shape), self.gap)
                yield words, shape[1] * (2 * blocks_of(shape[0], self.dim) - 1)
