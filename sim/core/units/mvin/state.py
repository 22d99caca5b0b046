"""Record of the path of loaded rows: beat merger, two scalers, pixel repeater, zero writer.

A row on the way is two packed integers (`scaler.pack0`, `scaler.pack1`).
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import due
from sim.core.units import scaler
from sim.core.units.scaler import SCALER

DTYPE = np.dtype(
    [
        # beat merger: the transaction being merged
        ("merge_valid", "i8"),  # 1: a transaction is being merged
        ("merge_read", "i8"),  # bytes of its beats so far
        ("merge_sent", "i8"),  # useful bytes in rows handed on
        ("merge_total", "i8"),  # bytes of the request
        ("merge_shift", "i8"),  # bytes before the useful ones
        ("merge_useful", "i8"),  # useful bytes
        ("merge_offset", "i8"),  # bytes of the first local row that came before
        ("merge_row_bytes", "i8"),  # bytes of a local row
        ("merge_address", "i8"),  # local address of its first row
        ("merge_stride", "i8"),  # local rows from one block to the next
        ("merge_target", "i8"),  # address and flags (scaler.pack0)
        ("merge_shape", "i8"),  # repeats, pixels, elements, bytes (scaler.pack1)
        ("decoded_t", "i8"),  # the decoder gives its next row from this cycle on
        ("narrow", SCALER),  # rows of input width
        ("wide", SCALER),  # rows of accumulator width
        ("repeat_valid", "i8"),  # pixel repeater behind `s`
        ("repeat_target", "i8"),  # the row in it (scaler.pack0)
        ("repeat_shape", "i8"),  # (scaler.pack1)
        ("zero_valid", "i8"),  # zero writer
        ("zero_address", "i8"),  # local address of its first row
        ("zero_cols", "i8"),  # columns to be zeroed
        ("zero_stride", "i8"),  # local rows from one block to the next
        ("zero_col", "i8"),  # first column of the next row
        ("zero_command", "i8"),  # tracker slot of the command
        ("zero_bytes", "i8"),  # bytes that the command counts
        ("zero_pixels", "i8"),  # copies of each row
        ("busy", "i8"),  # 0: no row anywhere after the merger and the zero writer's input
        ("zero_repeat_valid", "i8"),  # its pixel repeater
        ("zero_repeat_target", "i8"),  # the row in it (scaler.pack0)
        ("zero_repeat_shape", "i8"),  # (scaler.pack1)
    ]
)


def reset(m):
    """State after reset."""
    scaler.reset(m.mvin.narrow)
    scaler.reset(m.mvin.wide)


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    v = m.mvin
    if not v.merge_valid:
        v.merge_read = 0
        v.merge_sent = 0
        v.merge_total = 0
        v.merge_shift = 0
        v.merge_useful = 0
        v.merge_offset = 0
        v.merge_row_bytes = 0
        v.merge_address = 0
        v.merge_stride = 0
        v.merge_target = 0
        v.merge_shape = 0
    v.decoded_t = due(v.decoded_t, now)
    scaler.canonise(v.narrow, now)
    scaler.canonise(v.wide, now)
    if not v.repeat_valid:
        v.repeat_target = 0
        v.repeat_shape = 0
    if not v.zero_repeat_valid:
        v.zero_repeat_target = 0
        v.zero_repeat_shape = 0
    if not v.zero_valid:
        v.zero_address = 0
        v.zero_cols = 0
        v.zero_stride = 0
        v.zero_col = 0
        v.zero_command = 0
        v.zero_bytes = 0
        v.zero_pixels = 0
