"""Loads: config_ld, mvin with its scale, repeats, pixel copies and accumulation (gemmini_machine.md 2.2, 4.2)."""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import scaled
from sim.functional.kernels.counts import count_read, count_stored
from sim.functional.kernels.decode import decode
from sim.functional.kernels.fields import (
    EXECUTE,
    LOAD,
    MVIN2,
    MVIN3,
    accumulates,
    get,
    is_acc,
    local_address,
    operand_cols,
    operand_rows,
    stored_bytes,
)
from sim.functional.kernels.rows import (
    as_element,
    clashed,
    disturb,
    garble_line,
    put_sum,
    read_line,
    row_of,
    seen,
)
from sim.functional.kernels.selected import keep_index, note_index
from sim.functional.kernels.words import INTEGER, SMALL, element_bytes, narrow_line
from sim.functional.unit import SAMPLING, SELECTING
from sim.isa.layouts import LD_FIRST

IDENTITY_SCALE = 0x3F800000
"""Bits of 1.0 as a float32."""

FP16_FRACTION = 10
INDEX_STATE = 2
"""The load state of the index of packed weights (`sim.lower.sparse.stream`)."""


@njit
def configure_load(m, rs1, rs2):  # type: ignore[no-untyped-def]
    """config_ld: one of the load states."""
    config = m.registers.load[get(rs1, LD_FIRST.state)]
    config.stride = rs2
    config.scale = get(rs1, LD_FIRST.scale)
    config.shrink = get(rs1, LD_FIRST.shrinks)
    config.block_stride = get(rs1, LD_FIRST.block_stride)
    pixels = get(rs1, LD_FIRST.pixels)
    config.pixels = pixels if pixels > 0 and m.fixed.pixel_copies else 1


@njit
def _shape(m, rs2):  # type: ignore[no-untyped-def]
    """(columns, rows, blocks of columns)."""
    cols = operand_cols(rs2) & m.fixed.columns_mask
    return cols, operand_rows(rs2) & m.fixed.rows_mask, (cols + m.fixed.dim - 1) // m.fixed.dim


@njit
def _copies(m, command, local, offset, zeros):  # type: ignore[no-untyped-def]
    """Return the rows written for one loaded row.

    Pixel copies go upwards, not beyond the start of the scratchpad's half.

    The reader passes rows on without the accumulator bit: rows of input width for the accumulator are copied by the
    scratchpad's rule, too (Scratchpad.scala). Rows of accumulator width do not pass the repeater, and zeros for the
    accumulator fill one row.
    """
    if is_acc(local) and (command.wide or zeros):
        return np.int64(1)
    row = row_of(m, local, offset)
    half = m.spad.shape[0] // 2
    return min(command.load.pixels, row - (0 if row & (m.spad.shape[0] - 1) < half else half) + 1)


@njit
def _target_seen(m, command, rs1, rs2, step):  # type: ignore[no-untyped-def]
    """Return the number of changes by the array so far in the rows that a load fills.

    Mark them as begun (1) or ended (-1).
    """
    local = local_address(rs2)
    _, rows, blocks = _shape(m, rs2)
    total = np.int64(0)
    for b in range(blocks):
        back = _copies(m, command, local, b * command.load.block_stride, rs1 == 0) - 1
        first = b * command.load.block_stride - back
        count = rows + back
        part = seen(m, local, first, 1, count, EXECUTE)
        total = np.int64(-1) if part < 0 or total < 0 else total + part
        disturb(m, local, first, 1, count, LOAD, step)
    return total


@njit
def begin_load(m, s, funct, rs1, rs2):  # type: ignore[no-untyped-def]
    """Begin a load: from now on the destination is being written."""
    state = 1 if funct == MVIN2 else (INDEX_STATE if funct == MVIN3 else 0)
    command = m.commands[s]
    command.load_state = state
    command.load = m.registers.load[state]
    command.wide = 1 if is_acc(local_address(rs2)) and command.load.shrink == 0 else 0
    command.seen_target = _target_seen(m, command, rs1, rs2, 1)


@njit
def _scale_line(m, wide, acc, count, scale, state):  # type: ignore[no-untyped-def]
    """The mvin scaler: floats are multiplied; integers too, rounded and saturated; int32 rows pass unchanged.

    Rows for the accumulator keep the range of their type in memory; rows that are multiplied are saturated to that of
    their type.

    A scale is rounded to the elements of the row (all scalers of fp16 have it in fp16), the product once.
    """
    line = m.line
    operand = m.operands[state]
    own_range = acc or not operand.narrows
    low = operand.memory.low if own_range else operand.inside.low
    high = operand.memory.high if own_range else operand.inside.high
    if m.fixed.element == SMALL and (not wide or m.fixed.fraction_bits == FP16_FRACTION):
        scale = np.float32(as_element(m, scale))
    for i in range(count):
        if m.fixed.element != INTEGER:
            product = np.float64(line[i]) * np.float64(scale)
            line[i] = np.float64(np.float32(product)) if wide else as_element(m, product)
        elif not wide:
            line[i] = scaled(line[i], scale, low, high)


@njit
def end_load(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """End a load: write the rows."""
    command = m.commands[s]
    state, wide = command.load_state, command.wide
    local = local_address(rs2)
    cols, rows, blocks = _shape(m, rs2)
    bad = clashed(m, command.number, command.seen_target, _target_seen(m, command, rs1, rs2, -1))
    acc = is_acc(local)
    has_scale = m.fixed.scales_sums if wide else m.fixed.scales_inputs
    m.bits[0] = command.load.scale if has_scale and rs1 != 0 else IDENTITY_SCALE
    identity = m.bits[0] == IDENTITY_SCALE
    scale = m.bits.view(np.float32)[0]
    stored = stored_bytes(rs2) if m.fixed.decodes else 0
    if stored:
        decode(m, rs1, rows, cols)
    for r in range(rows):
        if stored:
            for c in range(cols):
                m.line[c] = m.decoder.rows[r, c]
        elif rs1 == 0:
            m.line[:cols] = 0.0
        else:
            read_line(m, rs1 + r * command.load.stride, cols, wide, state)
        if not identity:
            _scale_line(m, wide, acc, cols, scale, state)
        if m.operands[state].narrows and not acc:
            narrow_line(m, state, cols)
        if bad:
            garble_line(m, cols)
        _write_row(m, command, rs1, local, r, cols)
    if m.unit.form == SELECTING and not acc and state == INDEX_STATE:
        note_index(m, rs1, local, rows, cols, command.load.stride)
    elif m.unit.form == SAMPLING and not acc and state == INDEX_STATE:
        keep_index(m, rs1, local, rows, blocks, command.load.stride)
    _count(m, command, rs1, rs2)


@njit
def _write_row(m, command, rs1, local, r, cols):  # type: ignore[no-untyped-def]
    """Write m.line[:cols] to row ``r`` of each block of columns, and to its pixel copies."""
    dim = m.fixed.dim
    acc = is_acc(local)
    accumulate = acc and accumulates(local)
    for b in range((cols + dim - 1) // dim):
        offset = r + b * command.load.block_stride
        row = row_of(m, local, offset)
        lanes = min(dim, cols - b * dim)
        for pixel in range(_copies(m, command, local, offset, rs1 == 0)):
            for lane in range(min(lanes, dim - pixel * cols)):
                value = m.line[b * dim + lane]
                if acc:
                    put_sum(m, row - pixel, pixel * cols + lane, value, accumulate)
                else:
                    m.spad[row - pixel, pixel * cols + lane] = value


@njit
def _count(m, command, rs1, rs2):  # type: ignore[no-untyped-def]
    """Count bytes requested and local rows written: a row that several requests fill is written by each of them."""
    local, load, state = local_address(rs2), command.load, command.load_state
    cols, rows, blocks = _shape(m, rs2)
    stored = stored_bytes(rs2) if m.fixed.decodes else 0
    if stored:
        count_stored(m, rs1, stored * rows * blocks, stored)
        return
    acc = is_acc(local)
    repeated = rs1 != 0 and load.stride == 0
    length = cols * m.fixed.acc_bytes if command.wide else element_bytes(m, state, cols)
    row_bytes = m.fixed.dim * m.fixed.acc_bytes if command.wide else m.fixed.dim * m.operands[state].bits >> 3
    for r in range(rows):
        if rs1 == 0:
            m.pieces[:blocks] = 1
        elif r == 0 or not repeated:
            count_read(m, rs1 + r * load.stride, length, row_bytes)
        for b in range(blocks):
            if acc:
                copies = load.pixels if rs1 == 0 else _copies(m, command, local, r + b * load.block_stride, False)
                writes = m.pieces[b] * copies
                m.counts.acc_write_rows += writes
                if accumulates(local):
                    m.counts.acc_accumulate_rows += writes
            else:
                copies = _copies(m, command, local, r + b * load.block_stride, rs1 == 0)
                m.counts.spad_write_rows += m.pieces[b] * copies
