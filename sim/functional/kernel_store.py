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
from sim.functional.kernel_rows import EX, LD, clashed, garble, is_acc, row_of, seen, write_line
from sim.functional.kernel_sampled import NO_SCORE
from sim.functional.kernel_words import C_ROW, HIGH, LOW, element_bytes
from sim.functional.unit import SAMPLING

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
    length = cols * m.p[2] if full else element_bytes(m, C_ROW, cols)
    m.bits[0] = x[SCALE]
    scale = np.float32(1.0) if m.p[21] else m.bits.view(np.float32)[0]
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
        count_write(m, sink, length)
        for b in range(blocks):
            _take(m, x, local, row_of(m, local, r + b * m.p[0]), b * m.p[0], min(m.p[0], cols - b * m.p[0]), scale, bad)
        write_line(m, sink, cols, full)


@njit
def _take(m, x, local, row, at, lanes, scale, bad):  # type: ignore[no-untyped-def]
    """m.line[at : at + lanes] = what a row gives: scratchpad elements, full sums, or scaled and activated sums."""
    out = m.line[at : at + lanes]
    for lane in range(lanes):
        value = m.acc[row, lane] if is_acc(local) else m.spad[row, lane]
        out[lane] = garble(m, value) if bad else value
    if not is_acc(local) or (local >> 29) & 1:
        return
    low, high = m.words[C_ROW, LOW], m.words[C_ROW, HIGH]
    if m.p[6]:
        for lane in range(lanes):
            value = np.float64(np.float32(out[lane]) * scale)
            out[lane] = 0.0 if x[ACT] == RELU and value < 0 else value
    elif x[ACT] == IGELU:
        for lane in range(lanes):
            out[lane] = scaled(integer_gelu(np.int64(out[lane]), x[QB], x[QC], m.tally), scale, low, high)
    elif x[ACT] == LAYERNORM and m.p[16]:
        mean, deviation = m.normals[x[STAT], N_MEAN], np.float64(m.normals[x[STAT], N_STDDEV])
        if deviation == 0.0:  # no pass has made this statistic: counted as an overflow, and left undivided
            m.tally[1] += 1
            deviation = np.float64(1.0)
        if m.p[20]:
            factor = np.float32(np.float32(1.0) / np.float32(deviation)) * scale
            for lane in range(lanes):
                out[lane] = scaled(wrap32(np.int64(out[lane]) - mean), factor, low, high)
        else:
            for lane in range(lanes):
                whole = np.rint(np.float64(wrap32(np.int64(out[lane]) - mean)) / deviation)
                out[lane] = scaled(whole, scale, low, high)
    elif x[ACT] == SOFTMAX and m.p[16]:
        factor, top = m.factor[x[STAT]], m.normals[x[STAT], N_MAX]
        sampled = m.unit[0] == SAMPLING
        for lane in range(lanes):
            if sampled and out[lane] == NO_SCORE:
                out[lane] = 0
                continue
            below = wrap32(np.int64(out[lane]) - top)
            exponential = integer_exp(below, x[QLN2], x[QLN2_INV], x[QB], x[QC], m.tally)
            out[lane] = scaled(exponential, factor, low, high)
    else:
        for lane in range(lanes):
            value = scaled(out[lane], scale, low, high)
            out[lane] = 0 if x[ACT] == RELU and value < 0 else value


@njit
def _pool(m, x, rs1, local, cols, scale, bad):  # type: ignore[no-untyped-def]
    """Maximum over windows of one block of channels; taps outside the image are zeros."""
    lanes = min(cols, m.p[0])
    best = np.empty(lanes)
    for porow in range(x[POROWS]):
        for pocol in range(x[POCOLS]):
            sink = rs1 + (porow * x[OUT_DIM] + pocol) * x[STRIDE]
            count_write(m, sink, element_bytes(m, C_ROW, cols))
            best[:] = -np.inf
            for tap in range(x[POOL_SIZE] * x[POOL_SIZE]):
                orow = porow * x[POOL_STRIDE] + tap // x[POOL_SIZE] - x[UPAD]
                ocol = pocol * x[POOL_STRIDE] + tap % x[POOL_SIZE] - x[LPAD]
                if 0 <= orow < x[OROWS] and 0 <= ocol < x[OCOLS]:
                    _take(m, x, local, row_of(m, local, orow * x[OCOLS] + ocol), 0, lanes, scale, bad)
                    m.counts[ACC_READ_ROWS] += 1
                    m.counts[SCALE_ROWS] += 1
                else:
                    m.line[:lanes] = 0.0
                for lane in range(lanes):
                    best[lane] = max(best[lane], m.line[lane])
            m.line[:lanes] = best
            write_line(m, sink, lanes, False)


@njit
def _statistics(m, x, local, r, cols, norm, bad):  # type: ignore[no-untyped-def]
    """One pass of a row through the normaliser; the last block of the last chunk ends the statistic."""
    stat = m.normals[x[STAT]]
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
        if q == NO_SCORE and m.unit[0] == SAMPLING:
            continue
        if norm in (SUM, MEAN):
            term = q
        elif norm in (VARIANCE, INV_STDDEV):
            off = wrap32(q - stat[N_MEAN])
            term = off * off
        elif norm == MAX:
            stat[N_MAX] = max(stat[N_MAX], q)
            continue
        else:
            below = wrap32(q - stat[N_MAX])
            term = integer_exp(below, x[QLN2], x[QLN2_INV], x[QB], x[QC], m.tally)
        if not (fits32(term) and fits32(stat[N_SUM] + term)):
            m.tally[1] += 1
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
        most = np.float32(min(127, m.words[C_ROW, HIGH]))  # of fewer bits than 8: their largest number
        m.factor[x[STAT]] = most / total if total != 0 else np.float32(np.inf)
    else:
        return
    stat[N_SUM] = 0
    stat[N_COUNT] = 0
