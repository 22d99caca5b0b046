"""Products with a block-sparse B: zero blocks cost no load, no preload and no compute.

Without a given tile the cut and the loop order are chosen by `sim.lower.sparse.plan`. Per tile, each row k of B is
loaded as runs of adjacent non-zero blocks, of A only the columns that some block of B needs; per non-zero block one
preload and one compute per row of output blocks. Columns of C without any block are zeroed from address 0 (or hold the
bias). The cut: `sim.lower.sparse.plan`; the order in which commands are offered: `sim.lower.sparse.merge`.

The block index is loaded, too: a bitmap, one bit per block of B, column by column
of blocks, each column padded to whole bytes (`index_bytes`). The columns of a part of B are loaded as scratchpad rows
before the part's blocks, every time the part is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import GARBAGE_ADDRESS, Funct, Program
from sim.isa.fields import local_address, operand_rows
from sim.lower import matmul
from sim.lower.encode import Stream
from sim.lower.sparse.blocks import BITS_PER_BYTE, Blocks, block_sparse, column_bytes, packed
from sim.lower.sparse.cost import BlockSums
from sim.lower.sparse.plan import Cut, PlanSearch
from sim.lower.sparse.stream import Filled, filled
from sim.lower.tiling import blocks_of, matmul_blocks, matmul_tile, tile_counts
from sim.lower.work import BlockSparseMatmul, Matmul, PackedMatmul, SparseItem


def index_bytes(mask: Sequence[Sequence[bool]]) -> int:
    """Return the bytes of the block index of a mask of k_blocks rows and j_blocks columns."""
    return len(mask[0]) * column_bytes(len(mask)) if mask else 0


def check(work: BlockSparseMatmul | PackedMatmul, hw: Hardware) -> None:
    """Raise InputError for fields that the explicit program does not support, beyond the rules of dense products."""
    product = work.matmul
    matmul.check(product, hw)
    _, blocks_j, blocks_k = matmul_blocks(product, hw.dim)
    problems = FORMS[type(work)].problems(work, (blocks_k, blocks_j), hw)
    if product.transpose_a or product.transpose_b:
        problems.append("blocks of transposed operands are not skipped; store A and B untransposed")
    if product.dataflow != "WS":
        problems.append(f"dataflow {product.dataflow}: zero blocks are skipped with WS only")
    if product.activation in ("layernorm", "softmax"):
        problems.append(f"activation {product.activation!r} needs whole rows of C; run it as a separate operator")
    if problems:
        where = f"block-sparse matmul {product.m}x{product.n}x{product.k}: "
        raise InputError([where + problem for problem in problems])


def _mask_problems(work: BlockSparseMatmul, wanted: tuple[int, int], hw: Hardware) -> list[str]:
    shape = (len(work.mask), len(work.mask[0]) if work.mask else 0)
    if shape == wanted and all(len(row) == wanted[1] for row in work.mask):
        return []
    return [f"mask of {shape[0]}x{shape[1]} blocks; B has {wanted[0]}x{wanted[1]} blocks of {hw.dim}"]


def _rows_problems(work: PackedMatmul, wanted: tuple[int, int], hw: Hardware) -> list[str]:
    _, blocks_j = wanted
    groups, most = blocks_of(work.matmul.k, work.depth), work.fetch_rows * hw.dim
    problems = []
    if len(work.rows) != groups or any(len(row) != blocks_j for row in work.rows):
        problems.append(f"packed rows of {len(work.rows)} groups; B has {groups} of {work.depth}, {blocks_j} columns")
    elif not 0 <= min(map(min, work.rows)) <= max(map(max, work.rows)) <= most:
        problems.append(f"packed rows of a group must be 0 to {most}")
    if work.fetch_rows > hw.sparsity.fetch_rows:
        problems.append(f"fetch_rows {work.fetch_rows}; this array takes {hw.sparsity.fetch_rows} at a time")
    return problems


class Form(NamedTuple):
    """B of one kind of work item: its blocks, and their problems for a B with the given number of blocks."""

    blocks: Callable[[Any, Hardware], Blocks]
    problems: Callable[[Any, tuple[int, int], Hardware], list[str]]


FORMS: dict[type[SparseItem], Form] = {
    BlockSparseMatmul: Form(block_sparse, _mask_problems),
    PackedMatmul: Form(packed, _rows_problems),
}


def describe(work: BlockSparseMatmul | PackedMatmul, hw: Hardware) -> Blocks:
    """Return the blocks of B that the machine loads and computes."""
    return FORMS[type(work)].blocks(work, hw)


def layout(work: PackedMatmul, hw: Hardware) -> Filled:
    """Return the DRAM addresses of the loads of a packed product, at which `sim.functional.weights` writes the data.

    Raises InputError as `lower_blocksparse`.
    """
    check(work, hw)
    return _filled(work, describe(work, hw), hw)


def lower_blocksparse(work: BlockSparseMatmul | PackedMatmul, hw: Hardware) -> Program:
    """Return the program; a mask without a zero block gives the ordinary dense program.

    Raises InputError if the machine, the library or the explicit program refuses the item.
    """
    check(work, hw)
    blocks = describe(work, hw)
    if blocks.dense:
        return matmul.lower_matmul(work.matmul, hw)
    stream = Stream(hw)
    matmul.emit_config(stream, work.matmul, hw)
    stream.emit_packed(_filled(work, blocks, hw).streams.merged(hw))
    stream.fence()
    return stream.program()


def _filled(work: BlockSparseMatmul | PackedMatmul, blocks: Blocks, hw: Hardware) -> Filled:
    return filled(work, blocks, _cut(work.matmul, BlockSums(blocks, hw), hw), hw)


def _cut(work: Matmul, profile: BlockSums, hw: Hardware) -> Cut:
    blocks_i, blocks_j, _ = matmul_blocks(work, hw.dim)
    search = PlanSearch(blocks_i, profile, hw)
    if work.tile is None:
        cut = search.best()
    else:
        tile = matmul_tile(work, hw)
        tile = (tile[0], tile[1], profile.blocks.whole(tile[2]))
        matmul.check_tiles(work, tile_counts((blocks_i, blocks_j, profile.blocks.shape[0]), tile))
        cut = search.cut(tile, work.loop_order)
    if cut is None:
        raise InputError(
            f"block-sparse matmul {work.m}x{work.n}x{work.k}: tile "
            f"{work.tile or 'auto'} and its block index do not fit {hw.sp_rows} "
            "scratchpad rows; take a smaller K or J"
        )
    return cut


def packed_counters(work: PackedMatmul, program: Program, hw: Hardware, counters: Mapping[str, int]) -> dict[str, int]:
    """Return the timing core's counters with the scratchpad rows that a packed product reads beyond those it counts."""
    return {**counters, "SPAD_READ_ROWS": counters["SPAD_READ_ROWS"] + packed_reads(work, program, hw)}


def packed_reads(work: PackedMatmul, program: Program, hw: Hardware) -> int:
    """Return the scratchpad rows that a packed product reads beyond those the timing core counts.

    The core counts one row per cycle of the feed; a feed of several rows reads the others at the same time from the
    same wide port. The index of a block of weights is read at the same time as the block.
    """
    if work.stored_bits is not None:
        return 0
    funct, operand = program["funct"], program["rs1"]
    rows = operand_rows(operand)
    computes = (funct == Funct.COMPUTE_PRELOADED) | (funct == Funct.COMPUTE_ACCUMULATED)
    loads = (funct == Funct.PRELOAD) & (local_address(operand) != GARBAGE_ADDRESS)
    row_bits = BITS_PER_BYTE * hw.sp_row_bytes
    index = -(-rows[loads] * work.row_index_bits // row_bits)
    return int(rows[computes].sum()) * (work.fetch_rows - 1) + int(np.sum(index))
