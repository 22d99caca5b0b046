"""Least scales at which the machine's int32 arithmetic does not overflow: resolution is lost, not correctness."""

from __future__ import annotations

import math

import numpy as np

INT32 = 2**31 - 1
MARGIN = 1.05
GELU_RESERVE = 1.5
"""Margin of sums: coarsely quantised weights exceed the calibrated maximum, and an overflow would change the sign."""

ENERGY_RESERVE = 2.0
"""Margin of variances: other rows than those of the calibration may have twice the variance."""

# of the integer polynomials (papers.md 6): exp(0) = EXP0 / scale**2, GELU(x) = GELU1 * |x| / scale**3 at most
EXP0 = 1.353**2 + 0.344 / 0.3585
GELU1 = 2 * 2 / 0.2888


def softmax(columns: int) -> float:
    """Return the smallest scale of the scores at which a row's sum of exponentials fits int32."""
    return MARGIN * math.sqrt(EXP0 * columns / INT32)


def gelu(largest: float) -> float:
    """Return the smallest scale of GELU's input at which its result fits int32 for inputs up to ``largest``."""
    return float(MARGIN * np.cbrt(GELU_RESERVE * GELU1 * max(largest, 1.0) / INT32))


def variance(energy: float) -> float:
    """Return the smallest scale at which a row's sum of squared deviations, ``energy`` in real units, fits int32."""
    return MARGIN * math.sqrt(ENERGY_RESERVE * max(energy, 0.0) / INT32)
