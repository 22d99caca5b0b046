"""Loads: config_ld, mvin with its scale, repeats, pixel copies and accumulation (gemmini_machine.md 2.2, 4.2)."""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.functional.arithmetic import scaled
from sim.functional.counts import ACC_ACCUMULATE_ROWS, ACC_WRITE_ROWS, SPAD_WRITE_ROWS, count_read, count_stored
from sim.functional.kernel_decode import decode
from sim.functional.kernel_rows import (
    EX,
    LD,
    as_element,
    clashed,
    disturb,
    garble_line,
    is_acc,
    put_sum,
    read_line,
    row_of,
    seen,
)
from sim.functional.kernel_select import keep_index, note_index
from sim.functional.kernel_words import BITS, INSIDE, KIND, LOW, NARROWS, element_bytes, narrow_line
from sim.functional.unit import SAMPLING, SELECTING
from sim.isa.commands import STORED_SHIFT

IDENTITY_SCALE = 0x3F800000
STORED_MOST = 0x7F
FP16_FRACTION = 10
INDEX_STATE = 2
"""The load state that brings the index of packed weights (`sim.lower.sparse.stream`)."""

# snapshot of the load state: stride, scale bits, shrink, block stride, pixels, wide; then what the rows had seen
STRIDE, SCALE, SHRINK, BLOCK_STRIDE, PIXELS, WIDE, SEEN = 1, 2, 3, 4, 5, 6, 7


@njit
def configure_load(m, rs1, rs2):  # type: ignore[no-untyped-def]
    """config_ld: one of the load states."""
    x = m.ld[(rs1 >> 3) & 3]
    x[0] = rs2
    x[1] = (rs1 >> 32) & 0xFFFFFFFF
    x[2] = (rs1 >> 2) & 1
    x[3] = (rs1 >> 16) & 0xFFFF
    pixels = (rs1 >> 8) & 0xFF
    x[4] = pixels if pixels > 0 and m.p[7] else 1


@njit
def _shape(m, rs2):  # type: ignore[no-untyped-def]
    cols = (rs2 >> 32) & m.p[8]
    return cols, (rs2 >> 48) & m.p[9], (cols + m.p[0] - 1) // m.p[0]


@njit
def _copies(m, snap, local, offset, zeros):  # type: ignore[no-untyped-def]
    """Rows that one loaded row fills: pixel copies go upwards, not beyond the start of the scratchpad's half.

    The reader hands rows on without the accumulator bit: those of input width for the accumulator are copied by the
    scratchpad's rule, too (Scratchpad.scala). Rows of accumulator width do not pass the repeater, and zeros for the
    accumulator stay on one row.
    """
    if is_acc(local) and (snap[WIDE] or zeros):
        return np.int64(1)
    row = row_of(m, local, offset)
    half = m.spad.shape[0] // 2
    return min(snap[PIXELS], row - (0 if row & (m.spad.shape[0] - 1) < half else half) + 1)


@njit
def begin_load(m, s, funct, rs1, rs2):  # type: ignore[no-untyped-def]
    """The destination is in motion from now on."""
    state = 1 if funct == 1 else (INDEX_STATE if funct == 14 else 0)
    snap = m.snap[s]
    m.ld_state[s] = state
    snap[STRIDE : STRIDE + 5] = m.ld[state]
    local = rs2 & 0xFFFFFFFF
    snap[WIDE] = 1 if is_acc(local) and snap[SHRINK] == 0 else 0
    _, rows, blocks = _shape(m, rs2)
    for b in range(blocks):
        back = _copies(m, snap, local, b * snap[BLOCK_STRIDE], rs1 == 0) - 1
        first = b * snap[BLOCK_STRIDE] - back
        count = rows + back
        was = seen(m, local, first, 1, count, EX)
        snap[SEEN] = -1 if was < 0 or snap[SEEN] < 0 else snap[SEEN] + was
        disturb(m, local, first, 1, count, LD, 1)


@njit
def _scale_line(m, wide, acc, count, scale, state):  # type: ignore[no-untyped-def]
    """The mvin scaler: floats are multiplied; integers are too, rounded and saturated, but int32 rows pass.

    What goes to the accumulator keeps the range it has in memory, what is multiplied gets that of its type.

    A scale is rounded to the elements of the row (all scalers of fp16 have it in fp16), the product once.
    """
    line = m.line
    bounds = LOW if acc or not m.words[state, NARROWS] else INSIDE + LOW - KIND
    low, high = m.words[state, bounds], m.words[state, bounds + 1]
    if m.p[6] == 2 and (not wide or m.p[18] == FP16_FRACTION):
        scale = np.float32(as_element(m, scale))
    for i in range(count):
        if m.p[6]:
            product = np.float64(line[i]) * np.float64(scale)
            line[i] = np.float64(np.float32(product)) if wide else as_element(m, product)
        elif not wide:
            line[i] = scaled(line[i], scale, low, high)


@njit
def end_load(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """Bytes arrive: the rows are written and no longer in motion."""
    snap = m.snap[s]
    dim = m.p[0]
    local = rs2 & 0xFFFFFFFF
    cols, rows, blocks = _shape(m, rs2)
    now = np.int64(0)
    for b in range(blocks):
        back = _copies(m, snap, local, b * snap[BLOCK_STRIDE], rs1 == 0) - 1
        first = b * snap[BLOCK_STRIDE] - back
        count = rows + back
        was = seen(m, local, first, 1, count, EX)
        now = np.int64(-1) if was < 0 or now < 0 else now + was
        disturb(m, local, first, 1, count, LD, -1)
    bad = clashed(m, snap[0], snap[SEEN], now)
    acc = is_acc(local)
    accumulate = acc and (local >> 30) & 1
    wide = snap[WIDE]
    has_scale = m.p[11] if wide else m.p[10]
    m.bits[0] = snap[SCALE] if has_scale and rs1 != 0 else IDENTITY_SCALE
    identity = m.bits[0] == IDENTITY_SCALE
    scale = m.bits.view(np.float32)[0]
    state = m.ld_state[s]
    stored = (rs2 >> STORED_SHIFT) & STORED_MOST
    if stored:
        decode(m, rs1, rows, cols)
    for r in range(rows):
        if stored:
            m.line[:cols] = m.decoded[r, :cols]
        elif rs1 == 0:
            m.line[:cols] = 0.0
        else:
            read_line(m, rs1 + r * snap[STRIDE], cols, wide, state)
        if not identity:
            _scale_line(m, wide, acc, cols, scale, state)
        if m.words[state, NARROWS] and not acc:
            narrow_line(m, state, cols)
        if bad:
            garble_line(m, cols)
        for b in range(blocks):
            offset = r + b * snap[BLOCK_STRIDE]
            row = row_of(m, local, offset)
            lanes = min(dim, cols - b * dim)
            for pixel in range(_copies(m, snap, local, offset, rs1 == 0)):
                for lane in range(min(lanes, dim - pixel * cols)):
                    value = m.line[b * dim + lane]
                    if acc:
                        put_sum(m, row - pixel, pixel * cols + lane, value, accumulate)
                    else:
                        m.spad[row - pixel, pixel * cols + lane] = value
    if m.unit[0] == SELECTING and not acc and state == INDEX_STATE:
        note_index(m, rs1, local, rows, cols, snap[STRIDE])
    elif m.unit[0] == SAMPLING and not acc and state == INDEX_STATE:
        keep_index(m, rs1, local, rows, blocks, snap[STRIDE])
    _count(m, snap, rs1, rs2, rows, cols, blocks, state, acc, accumulate)


@njit
def _count(m, snap, rs1, rs2, rows, cols, blocks, state, acc, accumulate):  # type: ignore[no-untyped-def]
    """Bytes asked for and local rows written: a row that several requests fill is written by each of them."""
    local = rs2 & 0xFFFFFFFF
    stored = (rs2 >> STORED_SHIFT) & STORED_MOST
    if stored:
        count_stored(m, rs1, stored * rows * blocks, stored)
        return
    repeated = rs1 != 0 and snap[STRIDE] == 0
    length = cols * m.p[2] if snap[WIDE] else element_bytes(m, state, cols)
    row_bytes = m.p[0] * m.p[2] if snap[WIDE] else m.p[0] * m.words[state, BITS] >> 3
    for r in range(rows):
        if rs1 == 0:
            m.pieces[:blocks] = 1
        elif r == 0 or not repeated:
            count_read(m, rs1 + r * snap[STRIDE], length, row_bytes)
        for b in range(blocks):
            if acc:
                copies = snap[PIXELS] if rs1 == 0 else _copies(m, snap, local, r + b * snap[BLOCK_STRIDE], False)
                writes = m.pieces[b] * copies
                m.counts[ACC_WRITE_ROWS] += writes
                if accumulate:
                    m.counts[ACC_ACCUMULATE_ROWS] += writes
            else:
                copies = _copies(m, snap, local, r + b * snap[BLOCK_STRIDE], rs1 == 0)
                m.counts[SPAD_WRITE_ROWS] += m.pieces[b] * copies
