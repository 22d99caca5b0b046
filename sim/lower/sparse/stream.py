"""The command streams of a block-sparse product: its sizes, blocks and plan as arrays for the compiled `fill`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.fields import STORED_MOST
from sim.lower.matmul import c_bytes
from sim.lower.pace import HAND, Pace
from sim.lower.sparse.blocks import BITS_PER_BYTE, Blocks
from sim.lower.sparse.compiled import fill, records
from sim.lower.sparse.compiled.merge import ITEM
from sim.lower.sparse.cost import LoadCost
from sim.lower.sparse.merge import Streams
from sim.lower.sparse.plan import Cut
from sim.lower.sparse.sizes import bias_stride_bytes, product_sizes
from sim.lower.tiling import matmul_blocks
from sim.lower.work import BlockSparseMatmul, PackedMatmul

SCHEDULER_CYCLES = 1
"""A block scheduler issues a command every cycle, as the hardware loops do."""

INDEX_FIELDS = 6


@dataclass(frozen=True)
class IndexPart:
    """The index of one part of B: its ``blocks`` (q, j) in the order of use, and the loads that bring it.

    ``loads``: DRAM byte address, adjacent lines, rows, first scratchpad row relative to the part's first.
    """

    blocks: tuple[tuple[int, int], ...]
    loads: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Filled:
    """Streams, and the DRAM addresses of stored blocks and index, which begin at byte address ``base``."""

    streams: Streams
    tables: records.Tables
    blocks: Blocks
    cut: Cut
    base: int

    @cached_property
    def stored(self) -> dict[tuple[int, int], tuple[int, int]]:
        """First block (q, j) of an expanding load -> its byte address and number of consecutive blocks."""
        at, count = self.tables.stored_at, self.tables.stored_count
        first = np.argwhere(at >= 0).tolist()
        return {(q, j): (self.base + int(at[q, j]), int(count[q, j])) for q, j in first}

    @cached_property
    def index(self) -> tuple[IndexPart, ...]:
        """The index of each part of B in the order of loading."""
        blocks, cut = self.blocks, self.cut
        if blocks.index_bits is None:
            return ()
        loads: dict[tuple[int, int], dict[tuple[int, ...], None]] = {}
        for tile_j, tile_q in cut.steps[cut.steps[:, 6] == 1][:, 1:3].tolist():
            loads.setdefault((tile_j, tile_q), {})
        for tile_j, tile_q, *load in self.tables.index_loads.tolist():
            loads[tile_j, tile_q][tuple(load)] = None
        found = []
        for (tile_j, tile_q), brought in loads.items():
            q, j = tile_q * cut.tile[2], tile_j * cut.tile[1]
            used = np.argwhere(blocks.mask[q : q + cut.tile[2], j : j + cut.tile[1]]) + np.array((q, j))
            four = tuple((dram, lines, rows, local) for dram, lines, rows, local in brought)
            found.append(IndexPart(tuple((row, column) for row, column in used.tolist()), four))
        return tuple(found)


def filled(work: BlockSparseMatmul | PackedMatmul, blocks: Blocks, cut: Cut, hw: Hardware) -> Filled:
    """Return the streams of a product under a plan."""
    _refuse_long_rows(blocks, hw)
    sizes = _sizes(work, blocks, cut, hw)
    tables = _tables(blocks, cut, sizes[0])
    room = _room(blocks, cut)
    loads, pairs, stores = (np.empty(count, ITEM) for count in room)
    tables = tables._replace(index_loads=np.zeros((room[0], INDEX_FIELDS), np.int64))
    state = np.zeros(1, records.STATE)
    state["stride_bytes"] = bias_stride_bytes(work.matmul, hw)
    slots = np.array(cut.a_slots, np.int64), np.array(cut.b_slots, np.int64)
    fill.fill((sizes, LoadCost(hw).record, state), tables, cut.steps, slots, (loads, pairs, stores))
    counts = [int(state[name][0]) for name in ("loads", "pairs", "stores")]
    gap_cycles = SCHEDULER_CYCLES if work.is_scheduled else Pace(hw).gap(HAND)
    streams = Streams(loads[: counts[0]], pairs[: counts[1]], stores[: counts[2]], gap_cycles)
    tables = tables._replace(index_loads=tables.index_loads[: int(state["index_loads"][0])])
    return Filled(streams, tables, blocks, cut, work.index_address)


def _refuse_long_rows(blocks: Blocks, hw: Hardware) -> None:
    """Raise InputError if a local row is stored in more bytes than the field of an expanding load can hold."""
    if blocks.stored_bits is None or blocks.circulant:
        return
    row_bytes = int(
        np.ceil(np.asarray(blocks.stored_bits) / (BITS_PER_BYTE * np.maximum(blocks.rows, 1))).max(initial=0)
    )
    if row_bytes > STORED_MOST:
        raise InputError(
            f"a load of rows of {row_bytes} stored bytes: its field holds at most {STORED_MOST}; nearest: a smaller "
            f"array than {hw.dim}x{hw.dim}, narrower weights, or no compression of this operator"
        )


def _sizes(work: BlockSparseMatmul | PackedMatmul, blocks: Blocks, cut: Cut, hw: Hardware) -> npt.NDArray[np.void]:
    product = work.matmul
    rows, columns, _ = matmul_blocks(product, hw.dim)
    cost = LoadCost(hw)
    values = {
        **product_sizes(product, hw),
        "n": product.n, "k": product.k,
        "blocks_i": rows, "blocks_j": columns, "blocks_q": blocks.shape[0],
        "tile_i": cut.tile[0], "tile_j": cut.tile[1], "tile_q": cut.tile[2], "last_k": cut.counts[2] - 1,
        "c_bits": c_bytes(8, product, hw),
        "index_address": work.index_address, "index_row_bytes": hw.sp_row_bytes,
        "index_kind": blocks.index_kind,
        "stored": blocks.stored_bits is not None, "circulant": blocks.circulant, "value_bits": blocks.value_bits,
        "decode_cycles": hw.decode_cycles, "fetch": blocks.fetch, "depth": blocks.depth,
        "a_group": blocks.a_group(cost.group), "bridge": cost.bridge,
    }  # fmt: skip
    found = np.zeros(1, records.SIZES)
    for name, value in values.items():
        found[name] = value
    return found


def _tables(blocks: Blocks, cut: Cut, sizes: Any) -> records.Tables:
    shape, rows = blocks.shape, int(sizes["blocks_i"])

    def numbers(*of: int, start: int = 0) -> npt.NDArray[np.int64]:
        return np.full(of, start, np.int64)

    none = np.zeros(shape, np.int64)
    return records.Tables(
        mask=blocks.mask, rows=np.ascontiguousarray(blocks.rows, np.int64),
        index_bits=none if blocks.index_bits is None else np.ascontiguousarray(blocks.index_bits, np.int64),
        stored_bits=none if blocks.stored_bits is None else np.ascontiguousarray(blocks.stored_bits, np.int64),
        column_used=blocks.mask.any(axis=0), a_needed=cut.a_needed,
        a_local=numbers(rows, shape[0]), b_local=numbers(*shape),
        ready_a=numbers(rows, shape[0]), ready_b=numbers(*shape), ready_c=numbers(rows, shape[1]),
        column_end=numbers(shape[1]), slot_pairs_a=numbers(len(cut.a_slots)), slot_pairs_b=numbers(len(cut.b_slots)),
        half_stores=numbers(2), last_read=numbers(len(cut.b_slots), start=-1),
        index_at=numbers(cut.counts[1], cut.counts[2], start=-1),
        stored_at=numbers(*shape, start=-1), stored_count=numbers(*shape), index_loads=numbers(0, INDEX_FIELDS),
    )  # fmt: skip


def _room(blocks: Blocks, cut: Cut) -> tuple[int, int, int]:
    """Return a bound of the items of each stream; of pairs and stores the most that a plan can have."""
    tile, steps = cut.tile, cut.steps
    i, j, q = (np.minimum((steps[:, axis] + 1) * tile[axis], limit) - steps[:, axis] * tile[axis]
               for axis, limit in enumerate((cut.blocks_i, blocks.shape[1], blocks.shape[0])))  # fmt: skip
    begins, ends = steps[:, 2] == 0, steps[:, 2] == cut.counts[2] - 1
    index = 2 * cut.index_rows + 2
    loads = (i * j + 1) * begins + q * i * steps[:, 5] + (q * j + index) * steps[:, 6]
    stop = np.minimum((steps[:, 2] + 1) * tile[2], blocks.shape[0])
    there = cut.block_sums[steps[:, 1], stop] - cut.block_sums[steps[:, 1], steps[:, 2] * tile[2]]
    return int(loads.sum()), int((there * i).sum()), int((i * j * ends).sum())
