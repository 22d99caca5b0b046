"""Records and tables of a walk over the tiles of a block-sparse product (`fill`)."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

SIZES = np.dtype(
    [(name, "i8") for name in (
        "dim", "m", "n", "k", "blocks_i", "blocks_j", "blocks_q", "tile_i", "tile_j", "tile_q", "last_k", "acc_half",
        "a_address", "a_stride", "b_address", "b_stride", "c_address", "c_stride", "d_address", "d_stride",
        "a_bits", "b_bits", "c_bits", "d_bits", "word_bits", "index_address", "index_kind", "index_row_bytes",
        "stored", "circulant", "value_bits", "decode_cycles", "fetch", "depth", "group", "group_acc", "a_group",
        "bridge", "biased", "row_bias", "full_c", "low_d", "scale_bits",
    )]
)  # fmt: skip
"""Sizes in elements (m, n, k), blocks (blocks_*, tile_*) or accumulator rows (acc_half); strides in elements; bits of
an element in memory. ``index_kind``: 0 none, 1 a bitmap, 2 bits of each block. ``last_k``: number of the last tile
along K. ``depth``, ``fetch``: elements of K, and rows, that come in together."""

NO_INDEX, BITMAP, BITS = range(3)

PRODUCT = np.dtype(
    [(name, "i8") for name in (
        "blocks_i", "blocks_j", "blocks_q", "dim", "a_group", "bridge", "bank_rows", "sp_rows", "index_kind",
        "index_row_bytes",
    )] + [("store_cycles", "f8"), ("shared_slowdown", "f8")]
)  # fmt: skip
"""A product to be cut: sizes in blocks, groups and bridged gaps of loads of A, rows of a scratchpad bank and of all,
the index as in `SIZES`; cycles of a row of a block on its way out, and how much slower computes are that share a bank
with loads."""

Sums = namedtuple("Sums", "needs_a blocks index load_cycles")
"""Of parts of B of one width, by tile column: which blocks of A are needed; blocks, bits of index and cycles of loads
below each row of blocks."""

STATE = np.dtype([(name, "i8") for name in ("loads", "pairs", "stores", "stride_bytes", "index_end", "stored_end",
                                             "index_loads")])  # fmt: skip
"""Items so far by stream; the stride of the third load state; ends of what has been placed in DRAM, in bytes and lines;
index loads noted."""

Tables = namedtuple(
    "Tables",
    "mask rows index_bits stored_bits column_used a_needed a_local b_local ready_a ready_b ready_c column_end "
    "slot_pairs_a slot_pairs_b half_stores last_read index_at stored_at stored_count index_loads",
)
"""Arrays by block: which blocks of B there are and their rows; local addresses; loads that bring each operand; pairs so
far that write each column; pairs behind which a slot, stores behind which half of the accumulator is free again; the
block preloaded last from a slot; places in DRAM; index loads (tile j, tile q, DRAM address, blocks, rows, local row).
"""

Walk = namedtuple("Walk", "sizes cost state tables loads pairs stores")
"""What all functions of a walk share: a record each of `SIZES`, `COST`, `STATE`; the tables; the three streams."""

Tile = namedtuple("Tile", "numbers rows columns depths part load_a load_b slot_a slot_b half")
"""A step: the tile's numbers along i, j and q; its blocks (first, behind the last) of each; its part of A; whether the
parts of A and B are loaded; the slots they are in; the half of the accumulator."""

Moved = namedtuple("Moved", "dram local cols rows bits")
"""Elements of ``bits`` that a load brings: from a DRAM address (0: zeros) to a local one."""
