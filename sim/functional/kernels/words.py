"""Elements in DRAM of other widths than the array's own: read, narrowed to the type multiplied, written."""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import decode_float, encode_float

INTEGER, SINGLE, SMALL = range(3)
"""Kinds of element."""

C = 3
"""The row of ``m.operands`` for stores; the others are load states."""


@njit
def element_bytes(m, which, count):  # type: ignore[no-untyped-def]
    """Bytes of ``count`` adjacent elements of an operand."""
    return (count * m.operands[which].bits + 7) >> 3


@njit
def _raw(m, at, bits):  # type: ignore[no-untyped-def]
    """Return the ``bits`` of DRAM beginning at bit ``at``.

    Elements do not straddle bytes unless they consist of whole bytes.
    """
    first = at >> 3
    if bits < 8:
        return (np.int64(m.dram.int8[first]) >> (at & 7)) & ((1 << bits) - 1)
    value = np.int64(0)
    for i in range(bits >> 3):
        value |= (np.int64(m.dram.int8[first + i]) & 0xFF) << (8 * i)
    return value


@njit
def _put_raw(m, at, bits, value):  # type: ignore[no-untyped-def]
    first = at >> 3
    if bits < 8:
        mask = ((1 << bits) - 1) << (at & 7)
        byte = (np.int64(m.dram.int8[first]) & 0xFF & ~mask) | ((value << (at & 7)) & mask)
        m.dram.int8[first] = byte - 256 if byte >= 128 else byte
        return
    for i in range(bits >> 3):
        byte = (value >> (8 * i)) & 0xFF
        m.dram.int8[first + i] = byte - 256 if byte >= 128 else byte


@njit
def value_of(m, operand, raw):  # type: ignore[no-untyped-def]
    """An element from its bits."""
    bits = operand.bits
    if operand.memory.kind == INTEGER:
        return np.float64(raw - (np.int64(1) << bits) if raw >> (bits - 1) else raw)
    if operand.memory.kind == SINGLE:
        m.bits[0] = raw
        return np.float64(m.bits.view(np.float32)[0])
    return decode_float(raw, operand.memory.exponent_bits, operand.memory.fraction_bits)


@njit
def rounded(value, element):  # type: ignore[no-untyped-def]
    """Return ``value`` as the nearest element of a type: integers half to even and saturated (not a number: 0)."""
    if element.kind == INTEGER:
        return 0.0 if np.isnan(value) else np.float64(min(max(np.rint(value), element.low), element.high))
    if element.kind == SINGLE:
        return np.float64(np.float32(value))
    bits = encode_float(value, element.exponent_bits, element.fraction_bits)
    return decode_float(bits, element.exponent_bits, element.fraction_bits)


@njit
def narrow_line(m, which, count):  # type: ignore[no-untyped-def]
    """Convert m.line[:count] to the type that is multiplied; count the changed elements."""
    inside = m.operands[which].inside
    for i in range(count):
        value = rounded(np.float64(m.line[i]), inside)
        if value != m.line[i]:
            m.tally.narrowed += 1
        m.line[i] = value


@njit
def inside_of(m, address, count, which):  # type: ignore[no-untyped-def]
    """Return how many of ``count`` elements beginning at a DRAM address are in the image."""
    at = address - m.fixed.base
    return max(0, min(count, (m.dram.int8.shape[0] - at) * 8 // m.operands[which].bits)) if at >= 0 else 0


@njit
def read_words(m, address, count, which):  # type: ignore[no-untyped-def]
    """Set m.line[:count] to elements of an operand in DRAM; 0 outside the image."""
    bits = m.operands[which].bits
    at = (address - m.fixed.base) * 8
    inside = inside_of(m, address, count, which)
    m.tally.outside_reads += count - inside
    m.line[inside:count] = 0.0
    for i in range(inside):
        m.line[i] = value_of(m, m.operands[which], _raw(m, at + i * bits, bits))


@njit
def write_words(m, address, count):  # type: ignore[no-untyped-def]
    """Write m.line[:count] to elements of C in DRAM; elements outside the image are counted and dropped."""
    operand = m.operands[C]
    bits = operand.bits
    at = (address - m.fixed.base) * 8
    inside = inside_of(m, address, count, C)
    m.tally.outside_writes += count - inside
    for i in range(inside):
        value = rounded(np.float64(m.line[i]), operand.memory)
        if operand.memory.kind == INTEGER:
            raw = np.int64(value)
        elif operand.memory.kind == SINGLE:
            m.bits.view(np.float32)[0] = value
            raw = np.int64(m.bits[0])
        else:
            raw = np.int64(encode_float(value, operand.memory.exponent_bits, operand.memory.fraction_bits))
        _put_raw(m, at + i * bits, bits, raw)
