"""Records of the executor's state: every number that a kernel reads or writes, by name.

All integers have 64 bits, so that no field needs a conversion in compiled code.
"""

from __future__ import annotations

import numpy as np


def _record(names: str) -> np.dtype[np.void]:
    return np.dtype([(name, "i8") for name in names.split()])


FIXED = np.dtype(
    [
        ("dim", "i8"),  # rows and columns of the array
        ("input_bytes", "i8"),  # of an element in the scratchpad
        ("acc_bytes", "i8"),  # of an element in the accumulator
        ("acc_bits", "i8"),
        ("lowest", "i8"),  # integer that a scratchpad element holds
        ("highest", "i8"),
        ("garbage_address", "i8"),  # local address of an absent operand
        ("element", "i8"),  # INTEGER, SINGLE or SMALL (`words`): kind of the array's elements
        ("exponent_bits", "i8"),  # of the array's elements, where they are floats
        ("fraction_bits", "i8"),
        ("pixel_copies", "i8"),  # 1: loads repeat pixels (features.first_layer_optimizations)
        ("columns_mask", "i8"),  # of the columns field of a load or store
        ("rows_mask", "i8"),  # of its rows field
        ("decodes", "i8"),  # 1: loads have a field of stored bytes, which a decoder expands
        ("scales_inputs", "i8"),  # 1: loads into the scratchpad have a scaler
        ("scales_sums", "i8"),  # 1: loads of accumulator type have a scaler
        ("scales_at_store", "i8"),  # 1: stores from the accumulator have a scaler
        ("bus_bytes", "i8"),  # smallest request
        ("max_request_bytes", "i8"),  # largest request
        ("ignores_d", "i8"),  # 1: a weight-stationary compute has no D (array.hardcode_d_to_garbage)
        ("max_pool", "i8"),  # 1: stores can pool
        ("normalizes", "i8"),  # 1: the machine has the normaliser
        ("largest_sum", "i8"),  # magnitude that the array's results hold (docs/NUMBERS.md)
        ("inverse_deviation", "i8"),  # 1: LayerNorm scales by 1/deviation, as the RTL; 0: divides, as the C library
        ("base", "i8"),  # DRAM address of the first byte of the image
    ]
)
"""Constants of one machine."""

LOAD_CONFIG = np.dtype(
    [
        ("stride", "i8"),  # bytes in DRAM from row to row
        ("scale", "i8"),  # bits of a float32
        ("shrink", "i8"),  # 1: rows for the accumulator lie in DRAM in input type
        ("block_stride", "i8"),  # local rows from one block of columns to the next
        ("pixels", "i8"),  # copies of each row
    ]
)
"""Registers of config_ld, for each load state."""

EXECUTE_CONFIG = _record("weight_stationary a_transposed b_transposed a_stride c_stride shift activation")
"""Registers of config_ex; strides in local rows, ``b_transposed`` also for D."""

STORE_CONFIG = np.dtype(
    [
        ("stride", "i8"),  # bytes in DRAM from row to row
        ("activation", "i8"),
        ("scale", "i8"),  # bits of a float32
        ("pool_size", "i8"),
        ("pool_stride", "i8"),
        ("out_dim", "i8"),  # rows of DRAM from one image row to the next
        ("pooled_rows", "i8"),
        ("pooled_cols", "i8"),
        ("out_rows", "i8"),  # of the image before pooling
        ("out_cols", "i8"),
        ("upper_padding", "i8"),
        ("left_padding", "i8"),
        ("register", "i8"),  # of the normaliser
        ("qb", "i8"),  # constants of the integer polynomials
        ("qc", "i8"),
        ("qln2", "i8"),
        ("qln2_inverse", "i8"),
    ]
)
"""Registers of config_st and config_norm."""

COMMAND = np.dtype(
    [
        ("number", "i8"),  # row of the timeline
        ("load", LOAD_CONFIG),  # registers at issue
        ("execute", EXECUTE_CONFIG),
        ("store", STORE_CONFIG),
        ("load_state", "i8"),
        ("wide", "i8"),  # 1: a load of accumulator type
        ("operand", "i8"),  # rs1 of a preload
        ("partner", "i8"),  # slot of the preload that a compute belongs to
        ("staged", "i8"),  # 1: the weights of a preload have been read
        ("done", "i8"),  # 1: the product of a preload has been made
        # number of changes of rows at issue (`rows.changes`); -1: one of them was being written
        ("seen_target", "i8"),  # destination of a load, result of a preload
        ("seen_first", "i8"),  # A of a compute, B or D of a preload
        ("seen_second", "i8"),  # B or D of a compute
        ("seen_index", "i8"),  # index of packed weights
        ("seen_loads", "i8"),  # of a store, by loads
        ("seen_computes", "i8"),  # of a store, by computes
        ("index_bit", "i8"),  # first bit of a preload's index in the scratchpad
        ("packed_row", "i8"),  # packed rows of K before those of a preload
        ("chunk", "i8"),  # sub-rows that a compute of a sampled product streams
        ("weights", "i8"),  # number of a preload's weights in a sampled product
        ("first_weights", "i8"),  # weights that a compute of a sampled product switches to
        ("end_weights", "i8"),
    ]
)
"""A command between issue and completion."""

ROW_MARK = _record("writers changes")
"""Marks of a local row: commands that are writing it, and number of begins and ends."""

NORMAL = np.dtype(
    [
        ("sum", "i8"),
        ("count", "i8"),
        ("mean", "i8"),
        ("deviation", "i8"),
        ("largest", "i8"),
        ("open", "i8"),  # 1: a pass has begun
        ("factor", "f4"),  # of softmax: largest result / sum of exponentials
    ]
)
"""One register of the normaliser."""

TALLY = np.dtype(
    [
        ("clashes", "i8"),
        ("overflows", "i8"),
        ("outside_reads", "i8"),
        ("outside_writes", "i8"),
        ("beyond_array", "i8"),
        ("narrowed", "i8"),
    ]
)
"""Counts for `sim.functional.machine.Execution`."""

ELEMENT = _record("kind exponent_bits fraction_bits low high")
"""A type of elements: INTEGER, SINGLE or SMALL; the range of an integer."""

OPERAND = np.dtype(
    [
        ("own", "i8"),  # 1: in DRAM it has the type of the array's elements
        ("bits", "i8"),  # of an element in DRAM
        ("memory", ELEMENT),  # type in DRAM
        ("narrows", "i8"),  # 1: the type that is multiplied does not hold every value of the type in DRAM
        ("inside", ELEMENT),  # type that is multiplied
    ]
)
"""Storage of one operand in DRAM (`sim.functional.words`)."""

DECODER = _record("size table")
"""Of expanding loads: bits, entries or block of the format; DRAM address of a codebook."""

SELECTOR = _record("window keep fetch windows place_bits window_bits total cursor")
"""Of operand selection (`sim.functional.unit.Selector`); ``cursor``: bit of the scratchpad at which the index of the
next block begins."""

SAMPLER = _record("packed in_line keep group place_bits outputs next_chunk staged first held")
"""Of sampled products (`sim.functional.unit.Sampler`): format of the index.

The next chunk, weights preloaded so far, the first of the next set, weights in the current set.
"""

UNIT = np.dtype([("form", "i8"), ("decoder", DECODER), ("selector", SELECTOR), ("sampler", SAMPLER)])
"""Units for sparse and compressed weights; ``form``: which of them is in use (`sim.functional.unit`)."""

STRIP = _record("address row col")
"""A load of circulants: DRAM address, and its first row and column within a circulant."""

SUB_ROW = np.dtype(
    [
        ("a_offset", "i8"),  # local rows from the command's A
        ("c_offset", "i8"),  # local rows from the command's C
        ("adds", "i8"),  # OVER, AS_COMMANDED or ONTO (`sampled`)
        ("index_bit", "i8"),  # first bit of its window's index in the scratchpad
        ("number", "i8"),  # among the sub-rows of its window
        ("width", "i8"),  # elements in the window
    ]
)
"""A sub-row, which an array of sampled products streams in one cycle.

At most DIM chosen elements of one row in one window.
"""
