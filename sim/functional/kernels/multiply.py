"""The multiplications of the array, and the sums that leave it in output-stationary use."""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import fused, round_float
from sim.functional.kernels.rows import as_element
from sim.functional.kernels.words import INTEGER, SINGLE, SMALL


@njit
def shifted(m, value, shift):  # type: ignore[no-untyped-def]
    """Return a sum leaving an output-stationary element: shifted right, half to even (PE.scala); floats unshifted."""
    if m.fixed.element != INTEGER:
        return as_element(m, value)
    return value if shift == 0 else np.rint(value / (1 << shift))


@njit
def multiply(m, out, left, right, element):  # type: ignore[no-untyped-def]
    """out += left x right; k in the order of the array's rows. Floats are rounded once per step.

    ``element``: INTEGER, SINGLE (to float32) or SMALL (to the machine's 16-bit type).
    """
    dim = m.fixed.dim
    # loop-invariant: a call with all of ``m`` takes longer than the sum
    exponent_bits, fraction_bits, table = m.fixed.exponent_bits, m.fixed.fraction_bits, m.small_floats
    for r in range(dim):
        for k in range(dim):
            a = left[r, k]
            if element == SMALL:
                for c in range(dim):
                    out[r, c] = round_float(fused(a, right[k, c], out[r, c]), exponent_bits, fraction_bits, table)
            elif element == SINGLE:
                for c in range(dim):
                    out[r, c] = np.float64(np.float32(fused(a, right[k, c], out[r, c])))
            elif a != 0:
                for c in range(dim):
                    out[r, c] += a * right[k, c]
