"""The three command streams of a sampled product (loads, computes, stores), and what each command waits for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.isa.commands import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    FULL_WIDTH_BIT,
    ConfigKind,
    Funct,
    command,
    local_operand,
)
from sim.lower.encode import LOAD_FUNCTS, float_bits
from sim.lower.matmul import c_bytes, d_bytes
from sim.lower.norm import COMMAND_SHIFT, PASSES, STATISTICS
from sim.lower.pace import HAND, Pace
from sim.lower.sparse.cost import LoadCost
from sim.lower.sparse.merge import Command, Item, Items, packed
from sim.lower.sparse.sampled_pairs import A_COLS, C_COLS, LOADS, A, C, Chunk, Group, Piece, Weights, pairs
from sim.lower.sparse.sampled_plan import Cut, Shape, Step
from sim.lower.tiling import blocks_of
from sim.lower.work import Operand, SampledMatmul

A_STATE, B_STATE, D_STATE = 0, 1, 2
"""Load states as in the dense program; the third serves bias and index in turn."""

NORM_CYCLES = 2
"""Estimated cycles of a store through the normaliser beyond one per block; of 0 to 10 the one that ends soonest."""


class Builder:
    """Fills the three command streams of one product."""

    def __init__(self, work: SampledMatmul, cut: Cut, hw: Hardware):
        self.work, self.product, self.cut, self.hw = work, work.matmul, cut, hw
        self.shape = Shape(work, hw)
        self.outputs, self.keys, self.width = self.shape.outputs, self.shape.keys, self.shape.width
        self.dim, self.gap, self.cost, self.m = hw.dim, Pace(hw).gap(HAND), LoadCost(hw), work.matmul.m
        self.loads: list[Item] = []
        self.stores: list[Item] = []
        self.waits: dict[int, tuple[int, int]] = {}
        self.a_local: dict[int, dict[int, tuple[int, int]]] = {}
        self.b_ready: dict[tuple[int, int, int], int] = {}
        self.biased: dict[int, int] = {}
        self.last_read: dict[int, int] = {}
        self.c_before: dict[tuple[range, range], list[int]] = {}
        self.last_use = ({s.a_part: n for n, s in enumerate(cut.steps)}, {s.b_part: n for n, s in enumerate(cut.steps)})
        d = self.product.d or Operand(0, 0)
        self.d_address, self.d_stride = d.address, 0 if self.product.bias == "row" else d.row_stride
        self.state_stride = d_bytes(self.d_stride, self.product, hw)

    def streams(self) -> tuple[Items, Items, Items]:
        """Return (loads, computes, stores)."""
        computes, belongs = pairs(self.groups(), self.dim, outputs=self.outputs)
        ends = np.searchsorted(belongs, np.arange(len(self.cut.steps)), side="right").tolist()
        stored: list[int] = []
        for number, (step, following) in enumerate(zip(self.cut.steps, (*self.cut.steps[1:], None), strict=True)):
            if following is not None and following.tile == step.tile:
                continue
            for words, busy in self._softmax(step) if self.outputs else self._rows(step):
                self.stores.append(Item((words,), busy, busy, (0, ends[number], 0)))
            stored.append(len(self.stores))
        # A slot is free again behind the last step that used what lay there, half of the accumulator behind the stores
        # of the tile before last.
        for place, (step_before, tile) in self.waits.items():
            needs = (0, ends[step_before] if step_before >= 0 else 0, stored[tile - 2] if tile > 1 else 0)
            self.loads[place] = self.loads[place]._replace(needs=needs)
        before = np.array([stored[step.tile - 2] if step.tile > 1 else 0 for step in self.cut.steps], np.int64)
        computes["stores"] = before[belongs]
        return packed(self.loads), computes, packed(self.stores)

    def groups(self) -> list[Group]:
        """Return what is preloaded together and streamed past it, in order; the loads come about on the way."""
        return [group for number, step in enumerate(self.cut.steps) for group in self._groups(number, step)]

    def _extent(self, block: int, size: int) -> int:
        return min(self.dim, size - block * self.dim)

    # Loads

    def _load(self, state: int, dram: int, local: int, shape: tuple[int, int], bits: int, wait: tuple[int, int]) -> int:
        """Append an mvin of ``shape`` (cols, rows) of elements of ``bits``; return the loads so far.

        ``wait``: the step whose computes, the tile two behind the one whose stores come first (-1, 0: none).
        """
        cols, rows = shape
        blocks = blocks_of(cols, self.dim)
        beats = rows * blocks_of(cols * bits, 8 * self.cost.bus_bytes)
        busy = rows * self.cost.row_cycles(blocks, self.dim * bits // 8)
        self.waits[len(self.loads)] = wait
        words = command(LOAD_FUNCTS[state], dram, local_operand(local, cols, rows), self.gap)
        self.loads.append(Item((words,), busy, beats))
        return len(self.loads)

    def _free(self, side: int, part: int) -> tuple[int, int]:
        """Return what loads of a part wait for: the last step that used the part which it replaces."""
        gone = (self.cut.a_parts, self.cut.b_parts)[side][part][1]
        return self.last_use[side].get(gone, -1), 0

    def _third_state(self, stride_bytes: int) -> None:
        """Point load state 2 at rows ``stride_bytes`` apart, if it isn't there already."""
        if self.state_stride == stride_bytes:
            return
        self.state_stride = stride_bytes
        scale = float_bits(self.product.d_scale) if self.hw.dma.mvin_scale_units != "none" else 0
        rs1 = scale << 32 | self.dim << 16 | 1 << 8 | D_STATE << 3 | self.product.low_d << 2 | ConfigKind.LD
        self.loads.append(Item((command(Funct.CONFIG, rs1, stride_bytes, self.gap),), 1, 1))

    def _a(self, step: Step) -> dict[int, tuple[int, int]]:
        """Load what a step streams, its index first, unless it is there; return (local address, loads) by block."""
        if step.a_part in self.a_local:
            return self.a_local[step.a_part]
        windows = self.shape.a_windows(step.windows)
        wait, (local, gone) = self._free(0, step.a_part), self.cut.a_parts[step.a_part]
        if gone in self.last_read:
            # No command names the index rows, nor all the rows that a chunk streams, so the reservation station lets
            # loads overwrite them while they are read. A zero on what the slot's last part streams last waits for that
            # compute, and all later loads wait behind it.
            self._load(A_STATE, 0, self.last_read[gone], (1, 1), self.hw.bits("word"), wait)
        self._index(step, windows, local, wait)
        local += self.shape.index_rows(step.blocks, windows)
        found, group = {}, self.cost.group
        for block in step.blocks:
            columns = self.shape.columns(block, windows)
            end = min(columns.stop * self.dim, self.width if self.outputs else self.work.row_elements)
            for col in columns[::group]:
                place = (block * self.product.a.row_stride + col) * self.dim
                dram = self.product.a.address + self.hw.packed_bytes(place, "a")
                shape = (min(group * self.dim, end - col * self.dim), self._extent(block, self.m))
                at = local + (col - columns.start) * self.dim
                if shape[0] > 0:
                    self._load(A_STATE, dram, at, shape, self.hw.bits("a"), wait)
            found[block] = local, len(self.loads)
            local += len(columns) * self.dim
        self.a_local[step.a_part] = found
        return found

    def _index(self, step: Step, windows: range, local: int, wait: tuple[int, int]) -> None:
        """Load the index of a part as whole scratchpad rows."""
        row_bytes = self.hw.sp_row_bytes
        for load in self.shape.index_loads(step.blocks, windows, self.cost.group):
            self._third_state(row_bytes * load.blocks)
            dram = self.work.index_address + load.line * row_bytes
            shape = load.blocks * self.dim, load.rows
            self._load(D_STATE, dram, local + load.local, shape, self.hw.bits("word"), wait)

    def _weights(self, step: Step, block: int, feature: int) -> Weights:
        """Return block (keys, features) of B, loaded with its neighbours when its part needs it first."""
        group = self.cost.group
        first = max(step.features.start, feature // group * group)
        place = block - step.windows.start * self.work.resident
        base = self.cut.b_parts[step.b_part][0] + place * len(step.features) * self.dim
        if (step.b_part, block, first) not in self.b_ready:
            last = min((first // group + 1) * group, step.features.stop)
            shape = (min(last * self.dim, self.width) - first * self.dim, self._extent(block, self.keys))
            begin = (block * self.product.b.row_stride + first) * self.dim
            dram = self.product.b.address + self.hw.packed_bytes(begin, "b")
            local = base + (first - step.features.start) * self.dim
            loaded = self._load(B_STATE, dram, local, shape, self.hw.bits("b"), self._free(1, step.b_part))
            self.b_ready[step.b_part, block, first] = loaded
        extents = self._extent(block, self.keys), self._extent(feature, self.width)
        shape = extents if self.outputs else extents[::-1]
        return Weights(
            base + (feature - step.features.start) * self.dim, shape, self.b_ready[step.b_part, block, first]
        )

    def _bias(self, step: Step) -> int:
        """Bring the bias into a tile's half of the accumulator, once; return the loads."""
        if self.product.bias == "none" or step.tile in self.biased:
            return self.biased.get(step.tile, 0)
        bits = self.hw.bits("word") if self.product.low_d else 8 * self.hw.acc_bytes
        self._third_state(d_bytes(self.d_stride, self.product, self.hw))
        for block in step.blocks:
            for feature in step.features[:: self.hw.loop_max_block_len_acc]:
                row = 0 if self.product.bias == "row" else block * self.dim * self.d_stride
                end = min((feature + self.hw.loop_max_block_len_acc), step.features.stop)
                shape = (min(end * self.dim, self.width) - feature * self.dim, self._extent(block, self.m))
                local = self._c(step, block) + (feature - step.features.start) * self.dim
                dram = self.d_address + d_bytes(row + feature * self.dim, self.product, self.hw)
                self._load(D_STATE, dram, local, shape, bits, (-1, step.tile))
        self.biased[step.tile] = len(self.loads)
        return len(self.loads)

    # Computes

    def _c(self, step: Step, block: int) -> int:
        """Return the local address at which the results of a block of rows begin."""
        key = step.blocks, step.features
        if key not in self.c_before:
            places = (self.shape.places(b, step.features) for b in step.blocks)
            self.c_before[key] = list(accumulate(places, initial=0))
        half = step.tile % 2 * (self.hw.acc_rows // 2)
        return (ACCUMULATOR_BIT | half) + self.c_before[key][block - step.blocks.start]

    def _groups(self, number: int, step: Step) -> Iterator[Group]:
        """Yield the groups of one step."""
        operands, bias = self._a(step), self._bias(step)
        rows = self.shape.elements(step.blocks)
        counts = self.shape.counts[rows.start : rows.stop]
        streamed = {w: self._streamed(step, number, w, rows, operands) for w in step.windows if counts[:, w].any()}
        first = int(counts.any(axis=0).argmax())
        if self.outputs:
            order = [(window, feature) for window in streamed for feature in step.features]
        else:  # columns of C one after the other, so that they can leave
            order = [(window, feature) for feature in step.features for window in streamed]
        for window, feature in order:
            adds = feature > 0 if self.outputs else bias > 0 or window != first
            blocks = range(window * self.work.resident, blocks_of(self.keys, self.dim))[: self.work.resident]
            weights = [self._weights(step, block, feature) for block in blocks]
            chunks = self._at_feature(step, streamed[window], feature)
            chunks[:, C] |= ACCUMULATE_BIT if adds else 0
            chunks[:, LOADS] = np.maximum(chunks[:, LOADS], bias)
            self.last_read[step.a_part] = int(chunks[-1, A])
            yield Group(weights, chunks)

    def _streamed(
        self, step: Step, number: int, window: int, rows: range, operands: dict[int, tuple[int, int]]
    ) -> npt.NDArray[np.int64]:
        """Return the chunks of a window at the step's first feature, as rows of `Chunk`.

        Of A a chunk names the block that is loaded last, so that it waits.
        """
        found = []
        for piece in self._pieces(rows, window):
            local, loads = operands[piece.last]
            c, end = self._c(step, piece.first), self._c(step, piece.last)
            if self.outputs:
                end += self.shape.places(piece.last, step.features)
            else:
                local += (piece.place - self.shape.columns(piece.last, step.windows).start) * self.dim
                end += self.dim
            cols = self.dim if self.outputs else min(self.dim, self.work.row_elements)
            found.append(Chunk(number, piece.rows, local, cols, c, end - c, self.dim, loads))
        return np.array(found, np.int64)

    def _at_feature(self, step: Step, chunks: npt.NDArray[np.int64], feature: int) -> npt.NDArray[np.int64]:
        """Return a copy of a window's chunks at a feature: it moves A of scores, C of a context."""
        moved = chunks.copy()
        extent = self._extent(feature, self.width)
        if self.outputs:
            moved[:, A] += feature * self.dim
            moved[:, A_COLS] = extent
        else:
            moved[:, C] += (feature - step.features.start) * self.dim
            moved[:, C_COLS] = extent
        return moved

    def _pieces(self, rows: range, window: int) -> list[Piece]:
        """Return the sub-rows of some rows in a window, cut into as many as one compute streams."""
        owners, places = self.shape.sub_rows(rows, window)
        found = []
        for start in range(0, len(owners), self.dim):
            blocks = owners[start : start + self.dim] // self.dim
            last = int(blocks[-1])
            place = int(places[start : start + self.dim][blocks == last].max())
            found.append(Piece(len(blocks), int(blocks[0]), last, place))
        return found

    # Stores

    def _softmax(self, step: Step) -> Iterator[tuple[Command, float]]:
        """Yield the three passes over the sub-rows of each row, two rows at a time, as in `sim.lower.norm`."""
        group = self.hw.max_block_len * self.dim
        lengths = np.minimum(self.shape.counts.sum(axis=1) * self.dim, self.work.row_elements)
        for block in step.blocks:
            base = self._c(step, block) | ACCUMULATE_BIT
            rows = self.shape.elements(range(block, block + 1))
            for row in rows[::STATISTICS]:
                for inner, final in PASSES["softmax"]:
                    for stat, one in enumerate(range(row, min(row + STATISTICS, rows.stop))):
                        yield command(Funct.CONFIG, 1 << 17 | stat << 8 | ConfigKind.NORM, 0, self.gap), 1
                        for col in range(0, int(lengths[one]), group):
                            cols = min(group, int(lengths[one]) - col)
                            code = final if col + group >= lengths[one] else inner
                            local = (base + col + one - rows.start) | code << COMMAND_SHIFT
                            place = one * self.product.c.row_stride + col
                            dram = self.product.c.address + self.hw.packed_bytes(place, "c")
                            words = command(Funct.MVOUT, dram, local_operand(local, cols, 1), self.gap)
                            yield words, blocks_of(cols, self.dim) + NORM_CYCLES

    def _rows(self, step: Step) -> Iterator[tuple[Command, float]]:
        """Yield the stores of whole blocks of C."""
        full = self.product.full_c
        group = 1 if full else self.hw.loop_max_block_len
        for block in step.blocks:
            base = self._c(step, block) | ACCUMULATE_BIT | (FULL_WIDTH_BIT if full else 0)
            for feature in step.features[::group]:
                end = min(feature + group, step.features.stop)
                shape = (min(end * self.dim, self.width) - feature * self.dim, self._extent(block, self.m))
                place = (block * self.product.c.row_stride + feature) * self.dim
                local = base + (feature - step.features.start) * self.dim
                dram = self.product.c.address + c_bytes(place, self.product, self.hw)
                words = command(Funct.MVOUT, dram, local_operand(local, *shape), self.gap)
                yield words, shape[1] * (2 * blocks_of(shape[0], self.dim) - 1)
