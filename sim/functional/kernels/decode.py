"""Expanding loads: the bits of each block as `sim.sparsity.masks.codec` packs them, back into rows of elements.

The blocks of one load follow each other bit by bit, lowest bit first; inside a block, row by row.
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.words import SMALL, value_of
from sim.functional.unit import BITMAP, CIRCULANT, CODEBOOK, CSC, CSR, RLE, RUN_BITS

B = 1
"""Load state of weights, and their row in ``m.operands``."""


@njit
def bits_of(m, at, count):  # type: ignore[no-untyped-def]
    """Return ``count`` bits of the DRAM image beginning at bit ``at``; 0 beyond it."""
    value = np.int64(0)
    for i in range(count):
        byte = (at + i) >> 3
        if 0 <= byte < m.dram.int8.shape[0]:
            value |= ((np.int64(m.dram.int8[byte]) >> ((at + i) & 7)) & 1) << i
    return value


@njit
def _value(m, bits):  # type: ignore[no-untyped-def]
    """An element of B from its bits."""
    if m.fixed.element == SMALL and m.operands[B].own:
        return np.float64(m.small_floats[bits])
    return value_of(m, m.operands[B], bits)


@njit
def decode(m, address, rows, cols):  # type: ignore[no-untyped-def]
    """Set m.decoder.rows[:rows, :cols] to the blocks of one expanding load beginning at DRAM ``address``."""
    dim = m.fixed.dim
    width = m.operands[B].bits
    form, size = m.unit.form, m.unit.decoder.size
    at = (address - m.fixed.base) * 8
    m.decoder.rows[:rows, :cols] = 0.0
    if form == CODEBOOK and address == m.unit.decoder.table:
        for i in range(size):
            m.decoder.table[i] = _value(m, bits_of(m, at, width))
            at += width
    if form == CIRCULANT:
        _circulants(m, address, at, rows, cols, width)
        return
    for first in range(0, cols, dim):
        block = m.decoder.rows[:dim, first : first + dim]
        inside = min(dim, cols - first)
        if form == BITMAP:
            at = _bitmap(m, block, at, width)
        elif form == RLE:
            at = _runs(m, block, at, width)
        elif form in (CSR, CSC):
            at = _indexed(m, block, at, width, form == CSC)
        else:
            at = _short(m, block, at, rows, inside, form == CODEBOOK)


@njit
def _bitmap(m, block, at, width):  # type: ignore[no-untyped-def]
    """Decode a bitmap: one bit per element, then the values of set bits."""
    dim = m.fixed.dim
    value_at = at + dim * dim
    for cell in range(dim * dim):
        if bits_of(m, at + cell, 1):
            block[cell // dim, cell % dim] = _value(m, bits_of(m, value_at, width))
            value_at += width
    return value_at


@njit
def _runs(m, block, at, width):  # type: ignore[no-untyped-def]
    """Decode runs: number of zeros, then a value, until all elements are decoded."""
    dim = m.fixed.dim
    cell = 0
    while cell < dim * dim:
        cell += bits_of(m, at, RUN_BITS)
        if cell < dim * dim:
            block[cell // dim, cell % dim] = _value(m, bits_of(m, at + RUN_BITS, width))
        cell += 1
        at += RUN_BITS + width
    return at


@njit
def _bits_for(count):  # type: ignore[no-untyped-def]
    """ceil(log2(count)), at least 1."""
    bits = 1
    while (1 << bits) < count:
        bits += 1
    return bits


@njit
def _indexed(m, block, at, width, by_column):  # type: ignore[no-untyped-def]
    """Decode indexed lines: the end of each line; per value its position in the line and the value."""
    dim = m.fixed.dim
    pointer, place = _bits_for(dim * dim + 1), _bits_for(dim)
    entry = at + dim * pointer
    done = 0
    for line in range(dim):
        end = bits_of(m, at + line * pointer, pointer)
        while done < end:
            other = bits_of(m, entry, place) % dim
            value = _value(m, bits_of(m, entry + place, width))
            if by_column:
                block[other, line] = value
            else:
                block[line, other] = value
            entry += place + width
            done += 1
    return entry


@njit
def _short(m, block, at, rows, cols, shared):  # type: ignore[no-untyped-def]
    """Decode elements of fewer bits: signed, or the index of a shared value."""
    size = _bits_for(m.unit.decoder.size) if shared else m.unit.decoder.size
    for r in range(rows):
        for c in range(cols):
            bits = bits_of(m, at, size)
            if shared:
                block[r, c] = m.decoder.table[bits]
            else:
                block[r, c] = bits - (1 << size) if bits >> (size - 1) else bits
            at += size
    return at


@njit
def _circulants(m, address, at, rows, cols, width):  # type: ignore[no-untyped-def]
    """Decode a window of circulants, one after the other.

    For each its values inside the window, from the lower left corner.

    The position of the window within a circulant is in ``m.decoder.strips``.
    """
    size = m.unit.decoder.size
    strip = m.decoder.strips[np.searchsorted(m.decoder.strips["address"], address)]
    top = 0
    while top < rows:
        high = min(size - (strip.row + top) % size, rows - top)
        left = 0
        while left < cols:
            wide = min(size - (strip.col + left) % size, cols - left)
            count = min(size, high + wide - 1)
            row, col = (strip.row + top) % size, (strip.col + left) % size
            first = 0 if count == size else (col - (row + high - 1)) % size
            for v in range(count):
                value = _value(m, bits_of(m, at, width))
                at += width
                met = (first + v) % size
                for i in range(high):
                    for j in range((met + row + i - col) % size, wide, size):
                        m.decoder.rows[top + i, left + j] = value
            left += wide
        top += high
