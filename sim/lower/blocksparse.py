"""Products with a block-sparse B: zero blocks cost no load, no preload and no compute.

Without a tile of its own the product is cut as `sparseplan` finds best, loop order included. Per tile, each
row k of B comes as runs of adjacent non-zero blocks, of A only the columns that some block of B needs; per
non-zero block one preload and one compute per row of output blocks. Columns of C without any block are
zeroed from address 0 (or hold the bias). How the product is cut: `sparseplan`; in which order commands are
offered: `merge`.

The block index has to be fetched like everything else: a bitmap, one bit per block of B, column by column
of blocks, each column padded to whole bytes (`index_bytes`). The columns of a part of B are loaded as
scratchpad rows in front of the part's blocks, every time the part is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.errors import InputError
from sim.hardware import Hardware
from sim.isa import Program
from sim.lower import matmul
from sim.lower.encode import Stream
from sim.lower.merge import interleave
from sim.lower.sparsecost import Profile
from sim.lower.sparseplan import Cut, choose_cut, column_bytes, make_cut
from sim.lower.sparsestream import Builder
from sim.lower.tiling import matmul_blocks, matmul_tile, tile_counts
from sim.lower.work import BlockSparseMatmul


def index_bytes(mask: Sequence[Sequence[bool]]) -> int:
    """Return the bytes of the block index of a mask of k_blocks rows and j_blocks columns."""
    return len(mask[0]) * column_bytes(len(mask)) if mask else 0


def check(work: BlockSparseMatmul, hw: Hardware) -> None:
    """Raise InputError for what the explicit program cannot do, on top of the rules of dense products."""
    product = work.matmul
    matmul.check(product, hw)
    _, blocks_j, blocks_k = matmul_blocks(product, hw.dim)
    problems = []
    shape = (len(work.mask), len(work.mask[0]) if work.mask else 0)
    if shape != (blocks_k, blocks_j) or any(len(row) != blocks_j for row in work.mask):
        problems.append(f"mask of {shape[0]}x{shape[1]} blocks; B has {blocks_k}x{blocks_j} blocks of {hw.dim}")
    if product.transpose_a or product.transpose_b:
        problems.append("transposed operands are not skipped blockwise; store A and B plainly")
    if product.dataflow != "WS":
        problems.append(f"dataflow {product.dataflow}: zero blocks are skipped with WS only")
    if product.activation in ("layernorm", "softmax"):
        problems.append(f"activation {product.activation!r} needs whole rows of C; run it as an operator of its own")
    if problems:
        where = f"block-sparse matmul {product.m}x{product.n}x{product.k}: "
        raise InputError([where + problem for problem in problems])


def lower_blocksparse(work: BlockSparseMatmul, hw: Hardware) -> Program:
    """Return the program; a mask without a zero block gives the ordinary dense program.

    Raises InputError for what the machine, the library or the explicit program refuses.
    """
    check(work, hw)
    if work.nonzero_blocks == len(work.mask) * len(work.mask[0]):
        return matmul.lower_matmul(work.matmul, hw)
    mask = np.asarray(work.mask, dtype=bool)
    cut = _cut(work, Profile(mask, hw), hw)
    stream = Stream(hw)
    matmul.emit_config(stream, work.matmul, hw)
    interleave(stream, Builder(work, mask, cut, hw).streams(), hw)
    stream.fence()
    return stream.program()


def _cut(work: BlockSparseMatmul, profile: Profile, hw: Hardware) -> Cut:
    rows_blocks = matmul_blocks(work.matmul, hw.dim)[0]
    if work.matmul.tile is None:
        cut = choose_cut(rows_blocks, profile, hw)
    else:
        tile = matmul_tile(work.matmul, hw)
        matmul.check_tiles(work.matmul, tile_counts(matmul_blocks(work.matmul, hw.dim), tile))
        cut = make_cut(tile, work.matmul.loop_order, rows_blocks, profile, hw)
    if cut is None:
        raise InputError(
            f"block-sparse matmul {work.matmul.m}x{work.matmul.n}x{work.matmul.k}: tile "
            f"{work.matmul.tile or 'auto'} and its block index do not fit {hw.sp_rows} "
            "scratchpad rows; take a smaller K or J"
        )
    return cut
