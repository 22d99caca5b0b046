"""Elements in DRAM of other widths than the array's own: read, narrowed to what is multiplied, written (`words`)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sim.functional.arithmetic import encode_float

OWN, BITS, KIND, EXPONENT, FRACTION, LOW, HIGH, NARROWS = range(8)
INSIDE = NARROWS + 1
"""Fields of an operand; the type multiplied has its kind, exponent, fraction, lowest, highest from INSIDE on."""

INTEGER, SINGLE, SMALL = range(3)
"""Kinds of element."""

C_ROW = 3
"""The row of ``m.words`` for what is stored; the others are load states."""


@njit
def element_bytes(m, which, count):  # type: ignore[no-untyped-def]
    """Bytes of ``count`` adjacent elements of an operand."""
    return (count * m.words[which, BITS] + 7) >> 3


@njit
def _raw(m, at, bits):  # type: ignore[no-untyped-def]
    """The ``bits`` of DRAM from bit ``at`` on; elements never straddle bytes unless they are made of whole ones."""
    first = at >> 3
    if bits < 8:
        return (np.int64(m.int8[first]) >> (at & 7)) & ((1 << bits) - 1)
    value = np.int64(0)
    for i in range(bits >> 3):
        value |= (np.int64(m.int8[first + i]) & 0xFF) << (8 * i)
    return value


@njit
def _put_raw(m, at, bits, value):  # type: ignore[no-untyped-def]
    first = at >> 3
    if bits < 8:
        mask = ((1 << bits) - 1) << (at & 7)
        byte = (np.int64(m.int8[first]) & 0xFF & ~mask) | ((value << (at & 7)) & mask)
        m.int8[first] = byte - 256 if byte >= 128 else byte
        return
    for i in range(bits >> 3):
        byte = (value >> (8 * i)) & 0xFF
        m.int8[first + i] = byte - 256 if byte >= 128 else byte


@njit
def value_of(m, word, raw):  # type: ignore[no-untyped-def]
    """An element from its bits."""
    bits = word[BITS]
    if word[KIND] == INTEGER:
        return np.float64(raw - (np.int64(1) << bits) if raw >> (bits - 1) else raw)
    if word[KIND] == SINGLE:
        m.bits[0] = raw
        return np.float64(m.bits.view(np.float32)[0])
    return decode_float(raw, word[EXPONENT], word[FRACTION])


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
def rounded(value, kind, exponent_bits, fraction_bits, low, high):  # type: ignore[no-untyped-def]
    """``value`` as the nearest element of a type: integers half to even and saturated (not a number: 0)."""
    if kind == INTEGER:
        return 0.0 if np.isnan(value) else np.float64(min(max(np.rint(value), low), high))
    if kind == SINGLE:
        return np.float64(np.float32(value))
    return decode_float(encode_float(value, exponent_bits, fraction_bits), exponent_bits, fraction_bits)


@njit
def narrow_line(m, which, count):  # type: ignore[no-untyped-def]
    """m.line[:count] as the type that is multiplied; what changes is counted."""
    word = m.words[which]
    for i in range(count):
        value = rounded(
            np.float64(m.line[i]), word[INSIDE], word[INSIDE + 1], word[INSIDE + 2], word[INSIDE + 3], word[INSIDE + 4]
        )
        if value != m.line[i]:
            m.tally[5] += 1
        m.line[i] = value


@njit
def inside_of(m, address, count, which):  # type: ignore[no-untyped-def]
    """How many of ``count`` elements from a DRAM address on lie in the image."""
    at = address - m.base[0]
    return max(0, min(count, (m.int8.shape[0] - at) * 8 // m.words[which, BITS])) if at >= 0 else 0


@njit
def read_words(m, address, count, which):  # type: ignore[no-untyped-def]
    """m.line[:count] = elements of an operand in DRAM; 0 outside the image."""
    bits = m.words[which, BITS]
    at = (address - m.base[0]) * 8
    inside = inside_of(m, address, count, which)
    m.tally[2] += count - inside
    m.line[inside:count] = 0.0
    for i in range(inside):
        m.line[i] = value_of(m, m.words[which], _raw(m, at + i * bits, bits))


@njit
def write_words(m, address, count):  # type: ignore[no-untyped-def]
    """Elements of C in DRAM = m.line[:count]; outside the image they are noted and dropped."""
    word = m.words[C_ROW]
    bits = word[BITS]
    at = (address - m.base[0]) * 8
    inside = inside_of(m, address, count, C_ROW)
    m.tally[3] += count - inside
    for i in range(inside):
        value = rounded(np.float64(m.line[i]), word[KIND], word[EXPONENT], word[FRACTION], word[LOW], word[HIGH])
        if word[KIND] == INTEGER:
            raw = np.int64(value)
        elif word[KIND] == SINGLE:
            m.bits.view(np.float32)[0] = value
            raw = np.int64(m.bits[0])
        else:
            raw = np.int64(encode_float(value, word[EXPONENT], word[FRACTION]))
        _put_raw(m, at + i * bits, bits, raw)
