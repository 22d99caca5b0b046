"""The arithmetic of the machine, one element at a time, compiled.

Rounding follows Gemmini's C library (gemmini.h: scale_and_sat, matmul_cpu, resadd_cpu; gemmini_params.h: ACC_SCALE,
MVIN_SCALE), which gives values to the RTL's own tests. Where C and RTL disagree, or C is undefined (the whole list
with reasons: docs/NUMBERS.md):

- Exponential: the RTL of 8c3f992 has a copy of the GELU polynomial instead (papers.md 2). C is followed.
- LayerNorm's last division: C rounds to whole deviations and scales those, the RTL scales the inverse deviation.
`Machine` offers both; mean and variance truncate towards zero in both.
- The array's results are 20 bits wide in the int8 configurations; C has no such limit and is followed; results beyond
20 bits are counted.
- A shift by 32 or more is undefined in C; the hardware shifts everything out, which gives 0.
- int32 sums wrap (C on every machine we know); wraps inside the integer polynomials are counted, not hidden.
- Floating point: a processing element multiplies and adds with one rounding (MulAddRecFN, Arithmetic.scala), rows of
  the array in order. It rounds to the type of the values passed between elements (spatialArrayOutputType,
  PE.scala): that of the inputs on weight-stationary arrays, so 16-bit floats round to 16 bits at every step. In
  output-stationary use the sum stays inside in accumulator type and is rounded when it leaves. Scales of loaded rows
  are taken in the type of the row (`*` of FloatArithmetic).
"""

from __future__ import annotations

import math

import numpy as np

from sim.functional.jit import njit

INT32_MAX = 2147483647
INT32_MIN = -2147483648


@njit
def wrap32(x):  # type: ignore[no-untyped-def]
    """Return the low 32 bits of ``x`` as a signed number."""
    return ((x + 2147483648) & 0xFFFFFFFF) - 2147483648


@njit
def wrapped(x, bits):  # type: ignore[no-untyped-def]
    """Return the low bits of ``x`` as a signed number."""
    half = np.int64(1) << (bits - 1)
    return ((x + half) & (2 * half - 1)) - half


@njit
def fits32(x):  # type: ignore[no-untyped-def]
    """True if ``x`` fits an int32."""
    return INT32_MIN <= x <= INT32_MAX


@njit
def scaled(x, scale, low, high):  # type: ignore[no-untyped-def]
    """ACC_SCALE and MVIN_SCALE: float32 product, round half to even, saturate to [low, high]."""
    y = np.rint(np.float32(np.float32(x) * np.float32(scale)))
    if np.isnan(y):
        return np.int64(0)
    if y > high:
        return np.int64(high)
    if y < low:
        return np.int64(low)
    return np.int64(y)


@njit
def truncating_divide(a, b):  # type: ignore[no-untyped-def]
    """Integer division of C: towards zero."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


@njit
def integer_sqrt(n):  # type: ignore[no-untyped-def]
    """floor(sqrt(n)) of 0 <= n < 2**31 by Newton's method, as int_sqrt of gemmini.h."""
    if n == 0:
        return np.int64(0)
    bits = 0
    x = n
    while x > 0:
        x //= 2
        bits += 1
    before = np.int64(1) << ((bits + 1) // 2)
    while True:
        after = (before + n // before) // 2
        if after >= before:
            return before
        before = after


@njit
def integer_gelu(q, qb, qc, tally):  # type: ignore[no-untyped-def]
    """I-BERT's GELU of an int32 (papers.md 6); results beyond int32 wrap and are counted."""
    sign = -1 if q < 0 else 1
    clipped = min(abs(q), -qb)
    poly = (clipped + qb) * (clipped + qb) + qc
    result = q * wrap32(sign * poly + qc)
    if not (fits32(result) and fits32(poly)):
        tally.overflows += 1
    return wrap32(result)


@njit
def integer_exp(q, qln2, qln2_inv, qb, qc, tally):  # type: ignore[no-untyped-def]
    """I-BERT's exponential of an int32 <= 0 (papers.md 6)."""
    product = -q * qln2_inv
    if not fits32(product):
        tally.overflows += 1
    z = wrap32(product) >> 16
    if z < 0 or z > 31:  # all bits are shifted out
        return np.int64(0)
    base = q + z * qln2 + qb
    value = base * base + qc
    if not fits32(value):
        tally.overflows += 1
    return wrap32(value) >> z


@njit
def fused(a, b, c):  # type: ignore[no-untyped-def]
    """a * b + c of values with at most 26 significant bits, rounded to odd: rounding it to 51 bits or fewer is exact.

    The product is exact in double; the rounding error of the sum (Knuth's two-sum) determines its last bit.
    """
    product = np.float64(a) * np.float64(b)
    total = product + np.float64(c)
    part = total - product
    lost = (product - (total - part)) + (c - part)
    if lost == 0 or not np.isfinite(total):
        return total
    bits = np.float64(total).view(np.int64)
    towards_zero = bits if (lost > 0) == (total > 0) else bits - 1
    return np.int64(towards_zero | 1).view(np.float64)


@njit
def encode_float(x, exponent_bits, fraction_bits):  # type: ignore[no-untyped-def]
    """Bits of ``x`` as a small IEEE float (fp16: 5, 10; bf16: 8, 7), rounded half to even."""
    sign = 1 << (exponent_bits + fraction_bits) if math.copysign(1.0, x) < 0 else 0
    infinity = ((1 << exponent_bits) - 1) << fraction_bits
    if np.isnan(x):
        return infinity | 1 << (fraction_bits - 1)
    size = abs(np.float64(x))
    if size == 0:
        return sign
    if np.isinf(size):
        return sign | infinity
    bias = (1 << (exponent_bits - 1)) - 1
    _, exponent = math.frexp(size)
    exponent = max(exponent - 1, 1 - bias)
    units = np.int64(np.rint(math.ldexp(size, fraction_bits - exponent)))
    # units = 1.fraction * 2**fraction_bits; a carry into the exponent adds up by itself
    bits = units + ((exponent + bias - 1) << fraction_bits)
    return sign | min(bits, infinity)


@njit
def decode_float(raw, exponent_bits, fraction_bits):  # type: ignore[no-untyped-def]
    """The value of a small IEEE float, exactly."""
    sign = -1.0 if raw >> (exponent_bits + fraction_bits) else 1.0
    exponent = (raw >> fraction_bits) & ((1 << exponent_bits) - 1)
    fraction = raw & ((1 << fraction_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        return np.nan if fraction else sign * np.inf
    if exponent:
        fraction += 1 << fraction_bits
    else:
        exponent = 1
    bias = (1 << (exponent_bits - 1)) - 1
    return sign * math.ldexp(np.float64(fraction), exponent - bias - fraction_bits)


@njit
def round_float(x, exponent_bits, fraction_bits, table):  # type: ignore[no-untyped-def]
    """``x`` rounded half to even to a small IEEE float; ``table``: the value of each of its bit patterns."""
    bits = np.float64(x).view(np.int64)
    exponent = ((bits >> 52) & 0x7FF) - 1023
    bias = (1 << (exponent_bits - 1)) - 1
    if 1 - bias <= exponent < bias:  # neither subnormal nor near infinity: cut the fraction in place
        drop = 52 - fraction_bits
        bits += (1 << (drop - 1)) - 1 + ((bits >> drop) & 1)
        return np.int64((bits >> drop) << drop).view(np.float64)
    return np.float64(table[encode_float(np.float64(x), exponent_bits, fraction_bits)])
