"""Records and tables of a walk over the steps of a sampled product (`sampled`)."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

SIZES = np.dtype(
    [(name, "i8") for name in (
        "dim", "m", "keys", "width", "windows", "outputs", "resident", "key_blocks", "acc_half",
        "a_address", "a_stride", "b_address", "b_stride", "c_address", "c_stride", "d_address", "d_stride",
        "a_bits", "b_bits", "c_bits", "d_bits", "word_bits", "row_elements", "index_address", "index_row_bits",
        "index_bits", "line_bytes", "group", "group_acc", "norm_elements", "norm_cycles", "norm_shift", "statistics",
        "biased", "row_bias", "full_c", "low_d", "scale_bits",
    )]
)  # fmt: skip
"""Sizes in elements (m, keys, width, row_elements, norm_elements), blocks (key_blocks, groups) or accumulator rows
(acc_half); strides in elements; bits of an element in memory; bits of index of a row and of a streamed sub-row.
``line_bytes``: of a scratchpad row. ``norm_cycles``: of a store through the normaliser beyond one per block;
``norm_shift``: where its command lies in a local address; ``statistics``: its registers."""

STATE = np.dtype([(name, "i8") for name in ("loads", "weights", "chunks", "groups", "stores", "stride_bytes",
                                             "biased_tile", "biased_loads", "a_parts", "b_parts")])  # fmt: skip
"""Entries so far by array of `Met`, and parts so far of either side; the stride of the third load state; the tile whose
bias was loaded last, and the loads that bring it."""

STEP, ROWS, A, A_COLS, C, C_ROWS, C_COLS, LOADS = range(8)
"""Fields of a chunk, a piece that one compute streams: its step, sub-rows, local address and columns of A, local
address, rows and columns of C that its results may go to, loads before it."""

Met = namedtuple("Met", "loads waits weights chunks groups stores")
"""What a walk writes. ``loads``, ``stores``: ITEM arrays. ``waits``: by load the step whose computes and the tile two
behind the one whose stores come first (-1: none). ``weights``: int64[., 4] local address, columns, rows, loads that
bring it. ``chunks``: int64[., 8]. ``groups``: int64[., 3] step, weights and chunks of what is preloaded together."""

Counts = namedtuple("Counts", "counts before longest")
"""Sub-rows by row and window, those in the windows before, and those of the fullest row of each block of rows."""

Slots = namedtuple("Slots", "a_parts b_parts a_local a_loads a_read b_loads")
"""By part: first row, the step that used last what lay there (-1: none), slot. By slot and block: where A lies, loads
that bring it; the row of A streamed last; loads that bring a block of B with its neighbours (-1: not yet)."""

Walk = namedtuple("Walk", "sizes cost state shape slots met passes columns outputs streamed")
"""What all functions share: records, tables, what is written, commands of the softmax's passes; of the step at hand its
first and last packed columns by block of rows, its accumulator rows before each block, and its chunks at its first
feature."""

Step = namedtuple("Step", "number rows features windows a_part b_part tile")
"""Blocks of rows, features and windows (first, behind the last), numbers of the parts and of the tile of C."""

Moved = namedtuple("Moved", "dram local cols rows bits")
"""Elements of ``bits`` that a load brings: from a DRAM address (0: zeros) to a local one."""

Wait = namedtuple("Wait", "step tile")
"""See ``waits`` of `Met`."""
