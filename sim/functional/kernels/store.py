"""Stores: config_st, config_norm, mvout with scale, activation and pooling; `normalise` has the normaliser's passes.

Sources: gemmini_machine.md 2.2, 4.3, 5.6, 8.1; arithmetic of gemmini.h (see `arithmetic`).
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import integer_gelu, scaled
from sim.functional.kernels.counts import count_write
from sim.functional.kernels.fields import (
    CONFIG_NORM,
    EXECUTE,
    IGELU,
    KEEP_SCALE,
    LAYERNORM,
    LOAD,
    RELU,
    SOFTMAX,
    config_kind,
    full_width,
    get,
    is_acc,
    local_address,
    normaliser_pass,
    operand_cols,
    operand_rows,
    signed,
)
from sim.functional.kernels.normalise import layernorm_lanes, softmax_lanes, statistics
from sim.functional.kernels.rows import clashed, garble, row_of, seen, write_line
from sim.functional.kernels.words import INTEGER, C, element_bytes
from sim.isa.layouts import NORM_FIRST, NORM_SECOND, ST_FIRST, ST_SECOND


@njit
def configure_store(m, rs1, rs2):  # type: ignore[no-untyped-def]
    """config_st and config_norm."""
    config = m.registers.store
    if config_kind(rs1) == CONFIG_NORM:
        config.register = get(rs1, NORM_FIRST.statistics) & 1
        if get(rs1, NORM_FIRST.statistics_only) == 0:
            config.activation = get(rs1, NORM_FIRST.activation_high) << 2 | (config.activation & 3)
            if get(rs1, NORM_FIRST.second_constant):
                config.qln2_inverse = signed(get(rs1, NORM_FIRST.constant))
            else:
                config.qln2 = signed(get(rs1, NORM_FIRST.constant))
            config.qb = signed(get(rs2, NORM_SECOND.qb))
            config.qc = signed(get(rs2, NORM_SECOND.qc))
        return
    config.stride = get(rs2, ST_SECOND.stride_bytes)
    config.activation = get(rs1, ST_FIRST.activation)
    scale = get(rs2, ST_SECOND.scale)
    if scale != KEEP_SCALE:
        config.scale = scale
    config.pool_size = get(rs1, ST_FIRST.pool_size)
    config.pool_stride = get(rs1, ST_FIRST.pool_stride) if m.fixed.max_pool else 0
    if config.pool_size:
        config.out_dim = get(rs1, ST_FIRST.out_dim)
        config.out_rows = get(rs1, ST_FIRST.out_rows)
        config.out_cols = get(rs1, ST_FIRST.out_cols)
    if config.pool_stride:
        config.pooled_rows = get(rs1, ST_FIRST.pooled_rows)
        config.pooled_cols = get(rs1, ST_FIRST.pooled_cols)
        config.upper_padding = get(rs1, ST_FIRST.upper_padding)
        config.left_padding = get(rs1, ST_FIRST.left_padding)


@njit
def _shape(m, config, rs2):  # type: ignore[no-untyped-def]
    """(columns, rows, blocks of columns)."""
    cols = operand_cols(rs2) & m.fixed.columns_mask
    rows = operand_rows(rs2) & m.fixed.rows_mask
    if config.pool_size:
        rows = config.out_rows * config.out_cols
    return cols, rows, (cols + m.fixed.dim - 1) // m.fixed.dim


@njit
def _seen(m, config, rs2, writer):  # type: ignore[no-untyped-def]
    """Changes by a queue so far in the rows that a store reads."""
    _, rows, blocks = _shape(m, config, rs2)
    total = np.int64(0)
    for b in range(blocks):
        part = seen(m, local_address(rs2), b * m.fixed.dim, 1, rows, writer)
        if part < 0:
            return np.int64(-1)
        total += part
    return total


@njit
def begin_store(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """Begin a store: record the configuration and the number of changes so far in the rows that are read."""
    command = m.commands[s]
    command.store = m.registers.store
    command.seen_loads = _seen(m, command.store, rs2, LOAD)
    command.seen_computes = _seen(m, command.store, rs2, EXECUTE)


@njit
def end_store(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """End a store: write all rows to DRAM."""
    command = m.commands[s]
    config = command.store
    bad = clashed(m, command.number, command.seen_loads, _seen(m, config, rs2, LOAD))
    bad = clashed(m, command.number, command.seen_computes, _seen(m, config, rs2, EXECUTE)) or bad
    local = local_address(rs2)
    cols, rows, blocks = _shape(m, config, rs2)
    wide = is_acc(local) and full_width(local)
    length = cols * m.fixed.acc_bytes if wide else element_bytes(m, C, cols)
    m.bits[0] = config.scale
    scale = m.bits.view(np.float32)[0] if m.fixed.scales_at_store else np.float32(1.0)
    norm = normaliser_pass(local) if m.fixed.normalizes and is_acc(local) else 0
    if norm:
        m.counts.acc_read_rows += rows * blocks
        m.counts.normalize_rows += rows * blocks
        for r in range(rows):
            statistics(m, config, local, r, cols, norm, bad)
        return
    if config.pool_stride:
        _pool(m, config, rs1, local, cols, scale, bad)
        return
    if is_acc(local):
        m.counts.acc_read_rows += rows * blocks
        m.counts.scale_rows += rows * blocks
        m.normals[config.register].open = 0
    else:
        m.counts.spad_read_rows += rows * blocks
    for r in range(rows):
        place = r
        if config.pool_size:
            place = (r // config.out_cols) * config.out_dim + r % config.out_cols
        target = rs1 + place * config.stride
        count_write(m, target, length)
        for b in range(blocks):
            first = b * m.fixed.dim
            _read_row(m, config, local, row_of(m, local, r + first), first, min(m.fixed.dim, cols - first), scale, bad)
        write_line(m, target, cols, wide)


@njit
def _read_row(m, config, local, row, at, lanes, scale, bad):  # type: ignore[no-untyped-def]
    """Set m.line[at : at + lanes] to a local row.

    Scratchpad elements, sums at full width, or scaled and activated sums.
    """
    out = m.line[at : at + lanes]
    for lane in range(lanes):
        value = m.acc[row, lane] if is_acc(local) else m.spad[row, lane]
        out[lane] = garble(m, value) if bad else value
    if not is_acc(local) or full_width(local):
        return
    activation = config.activation
    low, high = m.operands[C].memory.low, m.operands[C].memory.high
    if m.fixed.element != INTEGER:
        for lane in range(lanes):
            value = np.float64(np.float32(out[lane]) * scale)
            out[lane] = 0.0 if activation == RELU and value < 0 else value
    elif activation == IGELU:
        for lane in range(lanes):
            out[lane] = scaled(integer_gelu(np.int64(out[lane]), config.qb, config.qc, m.tally), scale, low, high)
    elif activation == LAYERNORM and m.fixed.normalizes:
        layernorm_lanes(m, config, out, scale)
    elif activation == SOFTMAX and m.fixed.normalizes:
        softmax_lanes(m, config, out)
    else:
        for lane in range(lanes):
            value = scaled(out[lane], scale, low, high)
            out[lane] = 0 if activation == RELU and value < 0 else value


@njit
def _pool(m, config, rs1, local, cols, scale, bad):  # type: ignore[no-untyped-def]
    """Maximum over windows of one block of channels; taps outside the image are zeros."""
    lanes = min(cols, m.fixed.dim)
    best = np.empty(lanes)
    for pooled_row in range(config.pooled_rows):
        for pooled_col in range(config.pooled_cols):
            target = rs1 + (pooled_row * config.out_dim + pooled_col) * config.stride
            count_write(m, target, element_bytes(m, C, cols))
            best[:] = -np.inf
            for tap in range(config.pool_size * config.pool_size):
                row = pooled_row * config.pool_stride + tap // config.pool_size - config.upper_padding
                col = pooled_col * config.pool_stride + tap % config.pool_size - config.left_padding
                if 0 <= row < config.out_rows and 0 <= col < config.out_cols:
                    read = row_of(m, local, row * config.out_cols + col)
                    _read_row(m, config, local, read, 0, lanes, scale, bad)
                    m.counts.acc_read_rows += 1
                    m.counts.scale_rows += 1
                else:
                    m.line[:lanes] = 0.0
                for lane in range(lanes):
                    best[lane] = max(best[lane], m.line[lane])
            for lane in range(lanes):
                m.line[lane] = best[lane]
            write_line(m, target, lanes, False)
