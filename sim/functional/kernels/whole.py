"""Rows of sums leaving the accumulator, a whole matrix at a time: the same values as `store` and `normalise`.

For products whose sums are known already (`sim.functional.products`); each element goes through the same functions of
`arithmetic` in the same order.
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import entry
from sim.functional.kernels.arithmetic import (
    fits32,
    integer_exp,
    integer_gelu,
    integer_sqrt,
    scaled,
    truncating_divide,
    wrap32,
)
from sim.functional.kernels.fields import RELU

LARGEST_RESULT = 127
"""Value of 1 in the integer softmax (gemmini.h)."""


@entry
def scale_rows(sums, out, scale, activation, low, high):  # type: ignore[no-untyped-def]
    """out = sums, scaled, rounded and saturated; then ReLU."""
    for r in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            value = scaled(sums[r, c], scale, low, high)
            out[r, c] = 0 if activation == RELU and value < 0 else value


@entry
def gelu_rows(sums, out, scale, qb, qc, low, high, tally):  # type: ignore[no-untyped-def]
    """out = the integer GELU of sums, scaled."""
    for r in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            out[r, c] = scaled(integer_gelu(np.int64(sums[r, c]), qb, qc, tally), scale, low, high)


@entry
def softmax_rows(sums, out, constants, low, high, tally):  # type: ignore[no-untyped-def]
    """out = the integer softmax of each row. ``constants``: qln2, its inverse, qb and qc (`polynomial_constants`)."""
    qln2, qln2_inverse, qb, qc = constants
    for r in range(sums.shape[0]):
        largest = np.int64(sums[r, 0])
        for c in range(1, sums.shape[1]):
            largest = max(largest, np.int64(sums[r, c]))
        total = np.int64(0)
        for c in range(sums.shape[1]):
            term = integer_exp(wrap32(np.int64(sums[r, c]) - largest), qln2, qln2_inverse, qb, qc, tally)
            if not (fits32(term) and fits32(total + term)):
                tally.overflows += 1
            total = wrap32(total + wrap32(term))
        whole = np.float32(total)
        factor = np.float32(min(LARGEST_RESULT, high)) / whole if whole != 0 else np.float32(np.inf)
        for c in range(sums.shape[1]):
            raised = integer_exp(wrap32(np.int64(sums[r, c]) - largest), qln2, qln2_inverse, qb, qc, tally)
            out[r, c] = scaled(raised, factor, low, high)


@entry
def layernorm_rows(sums, out, scale, low, high, tally):  # type: ignore[no-untyped-def]
    """out = each row minus its mean, times the scale over its deviation, rounded as in the RTL."""
    cols = sums.shape[1]
    for r in range(sums.shape[0]):
        total = np.int64(0)
        for c in range(cols):
            term = np.int64(sums[r, c])
            if not fits32(total + term):
                tally.overflows += 1
            total = wrap32(total + term)
        mean = truncating_divide(total, cols)
        total = np.int64(0)
        for c in range(cols):
            off = wrap32(np.int64(sums[r, c]) - mean)
            term = off * off
            if not (fits32(term) and fits32(total + term)):
                tally.overflows += 1
            total = wrap32(total + wrap32(term))
        variance = truncating_divide(total, cols)
        deviation = integer_sqrt(variance) if variance > 0 else np.int64(1)
        if deviation == 0:
            tally.overflows += cols
            deviation = np.int64(1)
        factor = np.float32(np.float32(1.0) / np.float32(deviation)) * scale
        for c in range(cols):
            out[r, c] = scaled(wrap32(np.int64(sums[r, c]) - mean), factor, low, high)
