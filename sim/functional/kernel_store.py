"""Stores: config_st, config_norm, mvout with scale, activation, normaliser passes and pooling.

Sources: gemmini_machine.md 2.2, 4.3, 5.6, 8.1; arithmetic of gemmini.h (see `arithmetic`). Softmax ignores the output
scale: its factor is 127 / sum (gemmini.h, matmul_cpu).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.functional.arithmetic import (
    fits32,
    integer_exp,
    integer_gelu,
    integer_sqrt,
    scaled,
    truncating_divide,
    wrap32,
)
from sim.functional.counts import ACC_READ_ROWS, NORMALIZE_ROWS, SCALE_ROWS, SPAD_READ_ROWS, count_write
from sim.functional.kernel_rows import EX, LD, clashed, garble, is_acc, row_of, seen, store_element

# fields of the store configuration; a snapshot holds them from place 1
STRIDE, ACT, SCALE, POOL_SIZE, POOL_STRIDE, OUT_DIM, POROWS, POCOLS, OROWS, OCOLS, UPAD, LPAD = range(12)
STAT, QB, QC, QLN2, QLN2_INV = range(12, 17)
SEEN0, SEEN1 = 20, 21
KEEP = 0xFFFFFFFF
RELU, LAYERNORM, IGELU, SOFTMAX = 1, 2, 3, 4
SUM, MEAN, VARIANCE, INV_STDDEV, MAX, SUM_EXP, INV_SUM_EXP = range(1, 8)
# statistics of one normaliser register
N_SUM, N_COUNT, N_MEAN, N_STDDEV, N_MAX, N_OPEN = range(6)


@njit
def _signed(bits):  # type: ignore[no-untyped-def]
    return wrap32(bits & 0xFFFFFFFF)


@njit
def configure_store(m, rs1, rs2):  # type: ignore[no-untyped-def]
    """config_st and config_norm."""
    x = m.st
    if rs1 & 3 == 3:
        x[STAT] = (rs1 >> 8) & 1
        if (rs1 >> 17) & 1 == 0:
            x[ACT] = ((rs1 >> 16) & 1) << 2 | (x[ACT] & 3)
            x[QLN2_INV if (rs1 >> 18) & 1 else QLN2] = _signed(rs1 >> 32)
            x[QB] = _signed(rs2)
            x[QC] = _signed(rs2 >> 32)
        return
    x[STRIDE] = rs2 & 0xFFFFFFFF
    x[ACT] = (rs1 >> 2) & 3
    if (rs2 >> 32) & KEEP != KEEP:
        x[SCALE] = (rs2 >> 32) & KEEP
    x[POOL_SIZE] = (rs1 >> 6) & 3
    x[POOL_STRIDE] = (rs1 >> 4) & 3 if m.p[15] else 0
    if x[POOL_SIZE]:
        x[OUT_DIM] = (rs1 >> 24) & 0xFF
        x[OROWS] = (rs1 >> 48) & 0xFF
        x[OCOLS] = (rs1 >> 56) & 0xFF
    if x[POOL_STRIDE]:
        x[POROWS] = (rs1 >> 32) & 0xFF
        x[POCOLS] = (rs1 >> 40) & 0xFF
        x[UPAD] = (rs1 >> 8) & 3
        x[LPAD] = (rs1 >> 10) & 3


@njit
def _shape(m, x, rs2):  # type: ignore[no-untyped-def]
    cols = (rs2 >> 32) & m.p[8]
    rows = (rs2 >> 48) & m.p[9]
    if x[POOL_SIZE]:
        rows = x[OROWS] * x[OCOLS]
    return cols, rows, (cols + m.p[0] - 1) // m.p[0]


@njit
def _seen(m, x, rs2, writer):  # type: ignore[no-untyped-def]
    _, rows, blocks = _shape(m, x, rs2)
    total = np.int64(0)
    for b in range(blocks):
        part = seen(m, rs2 & 0xFFFFFFFF, b * m.p[0], 1, rows, writer)
        if part < 0:
            return np.int64(-1)
        total += part
    return total


@njit
def begin_store(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """Note the configuration and what the rows have seen so far."""
    snap = m.snap[s]
    snap[1 : 1 + m.st.shape[0]] = m.st
    snap[SEEN0] = _seen(m, m.st, rs2, LD)
    snap[SEEN1] = _seen(m, m.st, rs2, EX)


@njit
def end_store(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """The last row was read: everything goes to DRAM."""
    x = m.snap[s, 1:]
    bad = clashed(m, m.snap[s, 0], m.snap[s, SEEN0], _seen(m, x, rs2, LD))
    bad = clashed(m, m.snap[s, 0], m.snap[s, SEEN1], _seen(m, x, rs2, EX)) or bad
    local = rs2 & 0xFFFFFFFF
    cols, rows, blocks = _shape(m, x, rs2)
    full = is_acc(local) and (local >> 29) & 1
    size = m.p[2] if full else m.p[1]
    m.bits[0] = x[SCALE]
    scale = m.bits.view(np.float32)[0]
    norm = (local >> 26) & 7 if m.p[16] and is_acc(local) else 0
    if norm:
        m.counts[ACC_READ_ROWS] += rows * blocks
        m.counts[NORMALIZE_ROWS] += rows * blocks
        for r in range(rows):
            _statistics(m, x, local, r, cols, norm, bad)
        return
    if x[POOL_STRIDE]:
        _pool(m, x, rs1, local, cols, scale, bad)
        return
    m.counts[ACC_READ_ROWS if is_acc(local) else SPAD_READ_ROWS] += rows * blocks
    if is_acc(local):
        m.counts[SCALE_ROWS] += rows * blocks
        m.normals[x[STAT], N_OPEN] = 0
    for r in range(rows):
        place = r
        if x[POOL_SIZE]:
            place = (r // x[OCOLS]) * x[OUT_DIM] + r % x[OCOLS]
        sink = rs1 + place * x[STRIDE]
        count_write(m, sink, cols * size)
        for col in range(cols):
            row = row_of(m, local, r + (col // m.p[0]) * m.p[0])
            store_element(m, sink + col * size, _value(m, x, local, row, col % m.p[0], scale, bad), full)


@njit
def _value(m, x, local, row, lane, scale, bad):  # type: ignore[no-untyped-def]
    """One stored element as a double: a scratchpad element, a full sum, or a scaled and activated sum."""
    if not is_acc(local):
        value = np.float64(m.spad[row, lane])
        return garble(m, value) if bad else value
    value = np.float64(m.acc[row, lane])
    if bad:
        value = garble(m, value)
    if (local >> 29) & 1:
        return value
    if m.p[6]:
        value = np.float64(np.float32(value) * scale)
        return max(value, 0.0) if x[ACT] == RELU else value
    q = np.int64(value)
    if x[ACT] == IGELU:
        q = integer_gelu(q, x[QB], x[QC], m.tally[1:])
    elif x[ACT] == LAYERNORM and m.p[16]:
        stat = m.normals[x[STAT]]
        q = np.int64(np.rint(np.float64(wrap32(q - stat[N_MEAN])) / np.float64(stat[N_STDDEV])))
    elif x[ACT] == SOFTMAX and m.p[16]:
        q = _exponential(m, x, q)
        scale = m.factor[x[STAT]]
    result = scaled(q, scale, m.p[3], m.p[4])
    if x[ACT] == RELU and result < 0:
        return 0.0
    return np.float64(result)


@njit
def _exponential(m, x, q):  # type: ignore[no-untyped-def]
    below = wrap32(q - m.normals[x[STAT], N_MAX])
    return integer_exp(below, x[QLN2], x[QLN2_INV], x[QB], x[QC], m.tally[1:])


@njit
def _pool(m, x, rs1, local, cols, scale, bad):  # type: ignore[no-untyped-def]
    """Maximum over windows; taps outside the image are zeros."""
    for porow in range(x[POROWS]):
        for pocol in range(x[POCOLS]):
            sink = rs1 + (porow * x[OUT_DIM] + pocol) * x[STRIDE]
            count_write(m, sink, cols * m.p[1])
            for col in range(cols):
                best = -np.inf
                for tap in range(x[POOL_SIZE] * x[POOL_SIZE]):
                    orow = porow * x[POOL_STRIDE] + tap // x[POOL_SIZE] - x[UPAD]
                    ocol = pocol * x[POOL_STRIDE] + tap % x[POOL_SIZE] - x[LPAD]
                    value = 0.0
                    if 0 <= orow < x[OROWS] and 0 <= ocol < x[OCOLS]:
                        row = row_of(m, local, orow * x[OCOLS] + ocol)
                        value = _value(m, x, local, row, col, scale, bad)
                        if col == 0:
                            m.counts[ACC_READ_ROWS] += 1
                            m.counts[SCALE_ROWS] += 1
                    best = max(best, value)
                store_element(m, sink + col * m.p[1], best, False)


@njit
def _statistics(m, x, local, r, cols, norm, bad):  # type: ignore[no-untyped-def]
    """One pass of a row through the normaliser; the last block of the last chunk ends the statistic."""
    stat = m.normals[x[STAT]]
    overflows = m.tally[1:]
    if norm == MAX and stat[N_OPEN] == 0:
        stat[N_MAX] = -2147483648
    if stat[N_OPEN] == 0:
        stat[N_SUM] = 0
        stat[N_COUNT] = 0
    stat[N_OPEN] = 1
    for col in range(cols):
        row = row_of(m, local, r + (col // m.p[0]) * m.p[0])
        value = np.float64(m.acc[row, col % m.p[0]])
        q = np.int64(garble(m, value) if bad else value)
        if norm in (SUM, MEAN):
            term = q
        elif norm in (VARIANCE, INV_STDDEV):
            off = wrap32(q - stat[N_MEAN])
            term = off * off
        elif norm == MAX:
            stat[N_MAX] = max(stat[N_MAX], q)
            continue
        else:
            term = _exponential(m, x, q)
        if not (fits32(term) and fits32(stat[N_SUM] + term)):
            overflows[0] += 1
        stat[N_SUM] = wrap32(stat[N_SUM] + wrap32(term))
        stat[N_COUNT] += 1
    if norm == MEAN:
        stat[N_MEAN] = truncating_divide(stat[N_SUM], stat[N_COUNT])
    elif norm == INV_STDDEV:
        variance = truncating_divide(stat[N_SUM], stat[N_COUNT])
        # an overflow made it negative: C's root never ends there; counted above
        stat[N_STDDEV] = integer_sqrt(variance) if variance > 0 else 1
    elif norm == INV_SUM_EXP:
        total = np.float32(stat[N_SUM])
        m.factor[x[STAT]] = np.float32(127.0) / total if total != 0 else np.float32(np.inf)
    else:
        return
    stat[N_SUM] = 0
    stat[N_COUNT] = 0
