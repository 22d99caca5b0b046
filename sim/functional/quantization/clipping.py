"""From the values of a tensor to the magnitude that its largest integer stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional.quantization.recipe import Recipe

Array = npt.NDArray[Any]

SHRINKS = np.geomspace(1.0, 0.1, 24)
"""Fractions of the largest magnitude that are tried for the smallest mean square error."""


def clip(values: Array, largest: float, top: int, recipe: Recipe) -> float:
    """Return the magnitude that is stored as ``top``; larger values saturate.

    ``largest``: the largest magnitude, of all values of the calibration, not only of ``values``.
    """
    if recipe.clip == "max" or largest == 0:
        return largest
    if recipe.clip == "percentile":
        return float(np.quantile(np.abs(values), recipe.percentile / 100)) or largest
    flat = values.astype(np.float64).reshape(-1)
    return float(largest * min(SHRINKS, key=lambda part: _error(flat, largest * part / top, top)))


def _error(values: Array, scale: float, top: int) -> float:
    """Return the sum of squared differences that rounding and saturation make."""
    return float(((np.clip(np.rint(values / scale), -top, top) * scale - values) ** 2).sum())
