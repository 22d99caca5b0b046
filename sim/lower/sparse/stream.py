"""The three command streams of a block-sparse product (loads, computes, stores), tile after tile.

What each command needs to precede it is written down beside it; `merge` makes one program order of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from sim.hardware import Hardware
from sim.isa.commands import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    FULL_WIDTH_BIT,
    GARBAGE_ADDRESS,
    STORED_SHIFT,
    ConfigKind,
    Funct,
    command,
    local_operand,
)
from sim.lower.encode import LOAD_FUNCTS, float_bits
from sim.lower.matmul import c_bytes, d_bytes
from sim.lower.merge import Command, Item
from sim.lower.pace import HAND, Pace
from sim.lower.sparse.blocks import BITS_PER_BYTE, Blocks, column_bytes
from sim.lower.sparse.cost import LoadCost, runs
from sim.lower.sparse.plan import Cut, Step, span
from sim.lower.tiling import blocks_of, matmul_blocks
from sim.lower.work import BlockSparseMatmul, Operand, PackedMatmul

SCHEDULER_CYCLES = 1
"""A block scheduler issues a command every cycle, as the hardware loops do."""

A_STATE, B_STATE, D_STATE = 0, 1, 2
"""Load states as in the dense program; the third serves bias, zeros and the block index in turn."""


@dataclass(frozen=True)
class IndexPart:
    """The index of one part of B: its ``blocks`` (q, j) in the order of use, and the loads that bring it.

    ``loads``: DRAM byte address, lines side by side, rows, first of its scratchpad rows counted from the part's first.
    """

    blocks: tuple[tuple[int, int], ...]
    loads: tuple[tuple[int, int, int, int], ...]


class Builder:
    """Fills the three command streams of one product, tile after tile."""

    def __init__(self, work: BlockSparseMatmul | PackedMatmul, parts: Blocks, cut: Cut, hw: Hardware):
        self.work, self.product, self.parts, self.cut, self.hw = work, work.matmul, parts, cut, hw
        self.mask = parts.mask
        scheduled = isinstance(work, BlockSparseMatmul) and work.scheduled
        self.dim, self.acc_half = hw.dim, hw.acc_rows // 2
        self.gap = SCHEDULER_CYCLES if scheduled else Pace(hw).gap(HAND)
        self.cost = LoadCost(hw)
        self.sizes = (self.product.m, self.product.n)
        self.blocks = (*matmul_blocks(self.product, hw.dim)[:2], parts.shape[0])
        self.index_at: dict[tuple[int, int], int] = {}
        self.index_parts: dict[tuple[int, int], IndexPart] = {}
        self.stored_at: dict[tuple[int, int], int] = {}
        self.stored_blocks: dict[tuple[int, int], int] = {}
        self.index_end = self.stored_end = 0
        self.loads: list[Item] = []
        self.pairs: list[Item] = []
        self.stores: list[Item] = []
        self.a_local: dict[tuple[int, int], int] = {}
        self.b_local: dict[tuple[int, int], int] = {}
        self.ready: dict[tuple[str, int, int], int] = {}
        self.slot_pairs = {"a": [0] * len(cut.a_slots), "b": [0] * len(cut.b_slots)}
        self.half_stores = [0, 0]
        self.last_read: dict[int, int] = {}
        d = self.product.d or Operand(0, 0)
        self.d_address, self.d_stride = d.address, 0 if self.product.bias == "row" else d.row_stride
        self.state_stride = d_bytes(self.d_stride, self.product, hw)

    def streams(self) -> tuple[list[Item], list[Item], list[Item]]:
        """Return (loads, computes, stores)."""
        seen_a = seen_b = -1
        outputs = -1
        ends: dict[int, int] = {}
        for step in self.cut.steps:
            k0 = step.index[2]
            if k0 == 0:
                outputs += 1
                ends = {}
                self._begin_output(step, outputs % 2)
            load_b = step.b_part > seen_b
            index_rows = self._index(step) if load_b else 0
            self._operands(step, load_a=step.a_part > seen_a, load_b=load_b, index_rows=index_rows)
            seen_a, seen_b = max(seen_a, step.a_part), max(seen_b, step.b_part)
            self._computes(step, outputs % 2, ends)
            if k0 == self.cut.counts[2] - 1:
                self._store(step, outputs % 2, ends)
        return self.loads, self.pairs, self.stores

    def _extent(self, first: int, count: int, axis: int) -> int:
        """Elements of ``count`` blocks from block ``first`` on, without what lies beyond the matrix."""
        return min((first + count) * self.dim, self.sizes[axis]) - first * self.dim

    def _ranges(self, step: Step) -> tuple[range, range, range]:
        i, j, k = (
            span(index, size, limit) for index, size, limit in zip(step.index, self.cut.tile, self.blocks, strict=True)
        )
        return i, j, k

    def _c_local(self, half: int, i: int, j: int, ranges: tuple[range, range, range]) -> int:
        offset = ((i - ranges[0].start) * len(ranges[1]) + j - ranges[1].start) * self.dim
        return (ACCUMULATOR_BIT | half * self.acc_half) + offset

    def _load(
        self,
        state: int,
        dram: int,
        local: int,
        shape: tuple[int, int],
        bits: int,
        needs: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """Append an mvin of ``shape`` (cols, rows)."""
        cols, rows = shape
        blocks = blocks_of(cols, self.dim)
        busy = rows * self.cost.row_cycles(blocks, self.dim * bits // 8) if dram else rows * blocks
        beats = rows * blocks_of(cols * bits, 8 * self.cost.bus_bytes)
        self._command(LOAD_FUNCTS[state], dram, local_operand(local, cols, rows), busy, beats, needs)

    def _command(
        self,
        funct: Funct,
        rs1: int,
        rs2: int,
        busy: float,
        drain: float,
        needs: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        self.loads.append(Item((command(funct, rs1, rs2, self.gap),), busy, drain, needs))

    def _third_state(self, stride_bytes: int, *, shrink: bool = False) -> None:
        """Point load state 2 at rows ``stride_bytes`` apart, if it isn't there already."""
        if self.state_stride == stride_bytes:
            return
        self.state_stride = stride_bytes
        scale = float_bits(self.product.d_scale) if self.hw.dma.mvin_scale_units != "none" else 0
        rs1 = scale << 32 | self.dim << 16 | 1 << 8 | D_STATE << 3 | shrink << 2 | ConfigKind.LD
        self._command(Funct.CONFIG, rs1, stride_bytes, 1, 1)

    def _index(self, step: Step) -> int:
        """Fetch the index of a part of B to the start of its slot, as whole scratchpad rows; return how many."""
        depth, cols = self._ranges(step)[2], self._ranges(step)[1]
        row_bytes = self.hw.sp_row_bytes
        if self.parts.stored_bits is not None:
            return 0
        if self.parts.index_bits is None:  # a bitmap column by column; the first row may hold others' bits too
            column = column_bytes(self.blocks[2])
            first, last = cols.start * column // row_bytes, blocks_of(cols.stop * column, row_bytes)
            wide = 1
        else:  # in the order of use, each part from a fresh line on, as wide as a request
            key = self.cut.b_parts[step.b_part].key
            if key not in self.index_at:
                self.index_at[key] = self.index_end
                line = self.parts.index_line_bytes(depth.start, depth.stop, cols.start, cols.stop)
                self.index_end += blocks_of(line, row_bytes)
            first, wide = self.index_at[key], self.cost.group
            line = self.parts.index_line_bytes(depth.start, depth.stop, cols.start, cols.stop)
            last = first + blocks_of(line, row_bytes)
        slot = self.cut.b_parts[step.b_part].slot
        needs = (0, self.slot_pairs["b"][slot], 0)
        if self.parts.index_bits is not None and slot in self.last_read:
            # No command names the index rows, so the reservation station lets loads overwrite them while preloads of
            # the slot's last part have yet to read them. A zero on the block that is preloaded last waits for that
            # preload, and all later loads wait behind it.
            self._load(B_STATE, 0, self.last_read[slot], (1, 1), self.hw.bits("word"), needs)
        loads = []
        row = first
        while row < last:  # whole blocks side by side, so that nothing is written behind the index
            blocks = max(1, min(wide, (last - row) // self.dim))
            rows = min(self.dim, last - row)
            self._third_state(row_bytes * blocks)
            dram = self.work.index_address + row * row_bytes
            local = self.cut.b_slots[slot] + row - first
            self._load(D_STATE, dram, local, (blocks * self.dim, rows), self.hw.bits("word"), needs)
            loads.append((dram, blocks, rows, row - first))
            row += rows * blocks
        if self.parts.index_bits is not None:
            used = tuple((q, j) for q in depth for j in cols if self.mask[q, j])
            self.index_parts[self.cut.b_parts[step.b_part].key] = IndexPart(used, tuple(loads))
        return last - first

    def _operands(self, step: Step, *, load_a: bool, load_b: bool, index_rows: int) -> None:
        """Load what the tile needs and no slot holds: row q of B, then the columns of A that begin there."""
        rows, cols, depth = self._ranges(step)
        parts = self.parts
        a_part, b_part = self.cut.a_parts[step.a_part], self.cut.b_parts[step.b_part]
        a_runs = dict(runs(a_part.needed, parts.a_group(self.cost.group), self.cost.bridge)) if load_a else {}
        a_columns = sum(a_runs.values())
        a_next = self.cut.a_slots[a_part.slot]
        b_next = self.cut.b_slots[b_part.slot] + index_rows
        hw, product = self.hw, self.product
        a_needs = (0, self.slot_pairs["a"][a_part.slot], 0)
        b_needs = (0, self.slot_pairs["b"][b_part.slot], 0)
        for q in depth:
            used = tuple(int(j) + cols.start for j in np.flatnonzero(self.mask[q, cols.start : cols.stop]))
            for j, count in runs(used, self.cost.group) if load_b else ():
                # Neighbours with fewer packed rows are padded: the lines of a request are stored side by side.
                shape = (self._extent(j, count, 1), int(parts.rows[q, j : j + count].max()))
                if parts.stored_bits is None:
                    dram = product.b.address + hw.packed_bytes((q * product.b.row_stride + j) * self.dim, "b")
                    self._load(B_STATE, dram, b_next, shape, hw.bits("b"), b_needs)
                else:
                    self._expand(q, j, count, b_next, shape, b_needs)
                for n in range(count):
                    self.b_local[q, j + n] = b_next + n * self.dim
                    self.ready["b", q, j + n] = len(self.loads)
                b_next += count * self.dim
            if count := a_runs.get(q, 0):
                last = q + count - 1
                extent = parts.a_column(last) + parts.a_width(last) - parts.a_column(q)
                for i in rows:
                    column = i * product.a.row_stride * self.dim + parts.a_column(q)
                    dram = product.a.address + hw.packed_bytes(column, "a")
                    local = a_next + (i - rows.start) * a_columns * self.dim
                    self._load(A_STATE, dram, local, (extent, self._extent(i, 1, 0)), hw.bits("a"), a_needs)
                    for n in range(count):
                        self.a_local[i, q + n] = local + n * self.dim
                        self.ready["a", i, q + n] = len(self.loads)
                a_next += count * self.dim

    def _expand(
        self, q: int, j: int, count: int, local: int, shape: tuple[int, int], needs: tuple[int, int, int]
    ) -> None:
        """Append an expanding mvin: bytes as stored, in the order of use, each from a fresh beat on."""
        local_rows = shape[1] * blocks_of(shape[0], self.dim)
        bits = self.parts.load_bits(q, j, shape)
        row_bytes = max(1, blocks_of(blocks_of(bits, BITS_PER_BYTE), local_rows))
        stored = row_bytes * local_rows
        if (q, j) not in self.stored_at:
            self.stored_at[q, j] = self.stored_end
            self.stored_blocks[q, j] = count
            self.stored_end += blocks_of(stored, self.cost.bus_bytes) * self.cost.bus_bytes
        dram = self.work.index_address + self.stored_at[q, j]
        busy = max(self.cost.row_cycles(1, stored), local_rows * self.hw.decode_cycles)
        beats = blocks_of(stored, self.cost.bus_bytes)
        rs2 = row_bytes << STORED_SHIFT | local_operand(local, *shape)
        self._command(LOAD_FUNCTS[B_STATE], dram, rs2, busy, beats, needs)

    def _begin_output(self, step: Step, half: int) -> None:
        """Bring the bias into the accumulator half, or zeros where no block of B will ever write."""
        ranges = self._ranges(step)
        rows, cols, _ = ranges
        biased = self.product.bias != "none"
        wanted = [j for j in cols if biased or not self.mask[:, j].any()]
        group = self.hw.loop_max_block_len_acc
        if biased and wanted:
            self._third_state(d_bytes(self.d_stride, self.product, self.hw), shrink=self.product.low_d)
        for j, count in runs(tuple(wanted), group):
            for i in rows:
                row = 0 if self.product.bias == "row" else i * self.d_stride
                dram = self.d_address + d_bytes((row + j) * self.dim, self.product, self.hw) if biased else 0
                shape = (self._extent(j, count, 1), self._extent(i, 1, 0))
                self._load(
                    D_STATE,
                    dram,
                    self._c_local(half, i, j, ranges),
                    shape,
                    self.hw.bits("word") if self.product.low_d else 8 * self.hw.acc_bytes,
                    (0, 0, self.half_stores[half]),
                )
                for n in range(count):
                    self.ready["c", i, j + n] = len(self.loads)

    def _computes(self, step: Step, half: int, ends: dict[int, int]) -> None:
        """One preload per non-zero block, one compute per row block; ``ends``: pairs so far, by column j."""
        ranges = self._ranges(step)
        rows, cols, depth = ranges
        dim, biased = self.dim, self.product.bias != "none"
        for k in depth:
            for j in cols:
                if not self.mask[k, j]:
                    continue
                accumulate = ACCUMULATE_BIT if biased or j in ends else 0
                b_shape = (self._extent(j, 1, 1), int(self.parts.rows[k, j]))
                group = k // self.parts.fetch * self.parts.fetch
                for i in rows:
                    height = self._extent(i, 1, 0)
                    c = self._c_local(half, i, j, ranges) | accumulate
                    weights = self.b_local[k, j] if i == rows.start else GARBAGE_ADDRESS
                    first = Funct.COMPUTE_PRELOADED if i == rows.start else Funct.COMPUTE_ACCUMULATED
                    a = local_operand(self.a_local[i, group], b_shape[1], height)
                    pair: tuple[Command, ...] = (
                        command(
                            Funct.PRELOAD,
                            local_operand(weights, *b_shape),
                            local_operand(c, b_shape[0], height),
                            self.gap,
                        ),
                        command(first, a, local_operand(GARBAGE_ADDRESS, dim, dim), self.gap),
                    )
                    loads = max(
                        self.ready["a", i, group],
                        self.ready["b", k, j],
                        self.ready.get(("c", i, j), 0) if biased else 0,
                    )
                    busy = dim if i == rows.start else max(height, 4)
                    self.pairs.append(Item(pair, busy, busy, (loads, 0, self.half_stores[half])))
                ends[j] = len(self.pairs)
                self.last_read[self.cut.b_parts[step.b_part].slot] = self.b_local[k, j]
        self.slot_pairs["a"][self.cut.a_parts[step.a_part].slot] = len(self.pairs)
        self.slot_pairs["b"][self.cut.b_parts[step.b_part].slot] = len(self.pairs)

    def _store(self, step: Step, half: int, ends: dict[int, int]) -> None:
        """Store the output tile, up to four block columns at a time, as soon as they are complete."""
        ranges = self._ranges(step)
        rows, cols, _ = ranges
        full = self.product.full_c
        group = 1 if full else self.hw.loop_max_block_len
        chunks = [range(j, min(j + group, cols.stop)) for j in range(cols.start, cols.stop, group)]
        for pairs, chunk in sorted(((max(ends.get(j, 0) for j in c), c) for c in chunks), key=itemgetter(0)):
            for i in rows:
                loads = max(self.ready.get(("c", i, j), 0) for j in chunk)
                local = self._c_local(half, i, chunk.start, ranges) | ACCUMULATE_BIT | (FULL_WIDTH_BIT if full else 0)
                place = (i * self.product.c.row_stride + chunk.start) * self.dim
                dram = self.product.c.address + c_bytes(place, self.product, self.hw)
                shape = (self._extent(chunk.start, len(chunk), 1), self._extent(i, 1, 0))
                busy = shape[1] * (2 * len(chunk) - 1)
                store = command(Funct.MVOUT, dram, local_operand(local, *shape), self.gap)
                self.stores.append(Item((store,), busy, busy, (loads, pairs, 0)))
        self.half_stores[half] = len(self.stores)
