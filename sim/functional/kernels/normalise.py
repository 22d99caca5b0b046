"""The normaliser: passes that collect a row's statistics, and rows normalised with them (gemmini_machine.md 8.1).

Softmax ignores the output scale: its factor is 127 / sum (gemmini.h, matmul_cpu).
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import fits32, integer_exp, integer_sqrt, scaled, truncating_divide, wrap32
from sim.functional.kernels.fields import (
    INVERSE_DEVIATION,
    INVERSE_SUM_EXP,
    LARGEST,
    MEAN,
    SUM,
    VARIANCE,
)
from sim.functional.kernels.rows import garble, row_of
from sim.functional.kernels.sampled import NO_SCORE
from sim.functional.kernels.words import C
from sim.functional.unit import SAMPLING

LOWEST_INT32 = -2147483648


@njit
def layernorm_lanes(m, config, out, scale):  # type: ignore[no-untyped-def]
    """Normalise elements of a row by the mean and deviation of its register, in place."""
    normal = m.normals[config.register]
    low, high = m.operands[C].memory.low, m.operands[C].memory.high
    mean, deviation = normal.mean, np.float64(normal.deviation)
    if deviation == 0.0:  # no pass has computed this statistic: counted as an overflow, and not divided
        m.tally.overflows += 1
        deviation = np.float64(1.0)
    if m.fixed.inverse_deviation:
        factor = np.float32(np.float32(1.0) / np.float32(deviation)) * scale
        for lane in range(out.shape[0]):
            out[lane] = scaled(wrap32(np.int64(out[lane]) - mean), factor, low, high)
    else:
        for lane in range(out.shape[0]):
            whole = np.rint(np.float64(wrap32(np.int64(out[lane]) - mean)) / deviation)
            out[lane] = scaled(whole, scale, low, high)


@njit
def softmax_lanes(m, config, out):  # type: ignore[no-untyped-def]
    """Compute the softmax of elements of a row, with the largest score and the factor of its register, in place."""
    normal = m.normals[config.register]
    low, high = m.operands[C].memory.low, m.operands[C].memory.high
    sampled = m.unit.form == SAMPLING
    for lane in range(out.shape[0]):
        if sampled and out[lane] == NO_SCORE:
            out[lane] = 0
            continue
        below = wrap32(np.int64(out[lane]) - normal.largest)
        exponential = integer_exp(below, config.qln2, config.qln2_inverse, config.qb, config.qc, m.tally)
        out[lane] = scaled(exponential, normal.factor, low, high)


@njit
def statistics(m, config, local, r, cols, norm, bad):  # type: ignore[no-untyped-def]
    """One pass of a row through the normaliser; the last block of the last chunk ends the statistic."""
    normal = m.normals[config.register]
    if norm == LARGEST and normal.open == 0:
        normal.largest = LOWEST_INT32
    if normal.open == 0:
        normal.sum = 0
        normal.count = 0
    normal.open = 1
    for col in range(cols):
        row = row_of(m, local, r + (col // m.fixed.dim) * m.fixed.dim)
        value = np.float64(m.acc[row, col % m.fixed.dim])
        q = np.int64(garble(m, value) if bad else value)
        if q == NO_SCORE and m.unit.form == SAMPLING:
            continue
        if norm in (SUM, MEAN):
            term = q
        elif norm in (VARIANCE, INVERSE_DEVIATION):
            off = wrap32(q - normal.mean)
            term = off * off
        elif norm == LARGEST:
            normal.largest = max(normal.largest, q)
            continue
        else:
            below = wrap32(q - normal.largest)
            term = integer_exp(below, config.qln2, config.qln2_inverse, config.qb, config.qc, m.tally)
        if not (fits32(term) and fits32(normal.sum + term)):
            m.tally.overflows += 1
        normal.sum = wrap32(normal.sum + wrap32(term))
        normal.count += 1
    _end_statistic(m, normal, norm)


@njit
def _end_statistic(m, normal, norm):  # type: ignore[no-untyped-def]
    """The last pass of a statistic turns its sum into the mean, the deviation or the factor of softmax."""
    if norm == MEAN:
        normal.mean = truncating_divide(normal.sum, normal.count)
    elif norm == INVERSE_DEVIATION:
        variance = truncating_divide(normal.sum, normal.count)
        # an overflow made it negative: C's root never ends there; counted above
        normal.deviation = integer_sqrt(variance) if variance > 0 else 1
    elif norm == INVERSE_SUM_EXP:
        total = np.float32(normal.sum)
        most = np.float32(min(127, m.operands[C].memory.high))  # of fewer bits than 8: their largest number
        normal.factor = most / total if total != 0 else np.float32(np.inf)
    else:
        return
    normal.sum = 0
    normal.count = 0
