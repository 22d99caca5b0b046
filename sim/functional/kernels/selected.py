"""Operand selection: elements of the array select their activation from a wide feed by an index (docs/SPARSITY.md).

The index is loaded by load state 2 into scratchpad rows before its blocks. A preload of the block right after such rows
begins to read them, later preloads continue; each packed row has one number per column (its place in a window of
activations) and, unless every window has as many rows, the number of its window.
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import fused
from sim.functional.kernels.fields import LOAD
from sim.functional.kernels.rows import as_element, clashed, garble, row_of, seen
from sim.functional.kernels.words import INTEGER


@njit
def note_index(m, address, local, rows, cols, stride):  # type: ignore[no-untyped-def]
    """Store the bytes of loaded index rows, and the start of the blocks after them."""
    blocks = (cols + m.fixed.dim - 1) // m.fixed.dim
    keep_index(m, address, local, rows, blocks, stride)
    first = row_of(m, local, 0)
    start = m.selector.start_of[first]
    if start < 0:
        start = first
        if m.selector.end_of[first] >= 0:
            m.selector.start_of[m.selector.end_of[first]] = -1
    else:
        m.selector.start_of[first] = -1
    end = first + rows * blocks
    m.selector.start_of[end] = start
    m.selector.end_of[start] = end


@njit
def keep_index(m, address, local, rows, blocks, stride):  # type: ignore[no-untyped-def]
    """Store the bytes of loaded index rows."""
    row_bytes = m.selector.index_bytes.shape[1]
    for r in range(rows):
        for b in range(blocks):
            at = address - m.fixed.base + r * stride + b * row_bytes
            row = row_of(m, local, r + b * m.fixed.dim)
            for i in range(row_bytes):
                m.selector.index_bytes[row, i] = m.dram.int8[at + i] if 0 <= at + i < m.dram.int8.shape[0] else 0


@njit
def begin_index(m, address, rows):  # type: ignore[no-untyped-def]
    """Return the bit at which the index of a block of ``rows`` packed rows begins, and advance past it."""
    row = row_of(m, address, 0)
    if m.selector.start_of[row] >= 0:
        m.unit.selector.cursor = m.selector.start_of[row] * m.selector.index_bytes.shape[1] * 8
    at = m.unit.selector.cursor
    m.unit.selector.cursor += rows * (m.fixed.dim * m.unit.selector.place_bits + m.unit.selector.window_bits)
    return at


@njit
def packed_row(m, target, rows):  # type: ignore[no-untyped-def]
    """Return the number of packed rows of K for accumulator row ``target`` before these ``rows``.

    With as many rows in every window the index does not name windows: the array counts.
    """
    if m.unit.selector.keep == 0:
        return np.int64(0)
    at = row_of(m, target, 0)
    before = m.selector.rows_done[at]
    m.selector.rows_done[at] = (before + rows) % m.unit.selector.total
    return before


@njit
def index_seen(m, at, rows):  # type: ignore[no-untyped-def]
    """Changes so far in the scratchpad rows that hold an index of ``rows`` packed rows."""
    return index_rows_seen(m, at, rows * (m.fixed.dim * m.unit.selector.place_bits + m.unit.selector.window_bits))


@njit
def index_rows_seen(m, at, bits):  # type: ignore[no-untyped-def]
    """Changes so far in the scratchpad rows that hold ``bits`` of index from bit ``at`` of the scratchpad on."""
    row_bits = m.selector.index_bytes.shape[1] * 8
    first = at // row_bits
    return seen(m, first, 0, 1, (at + bits - 1) // row_bits - first + 1 if bits else 0, LOAD)


@njit
def take_bits(m, at, count):  # type: ignore[no-untyped-def]
    """``count`` bits of the index from bit ``at`` of the scratchpad on."""
    value = np.int64(0)
    row_bytes = m.selector.index_bytes.shape[1]
    for i in range(count):
        byte = (at + i) >> 3
        value |= ((np.int64(m.selector.index_bytes[byte // row_bytes, byte % row_bytes]) >> ((at + i) & 7)) & 1) << i
    return value


@njit
def read_index(m, picks, at, rows, first_row):  # type: ignore[no-untyped-def]
    """Set picks[rows, dim] to the activation of the feed for each weight of a block.

    ``first_row``: as `packed_row`.
    """
    unit = m.unit.selector
    for r in range(rows):
        window = (first_row + r) // unit.keep % unit.windows if unit.keep else 0
        for c in range(m.fixed.dim):
            picks[r, c] = take_bits(m, at, unit.place_bits)
            at += unit.place_bits
        if unit.window_bits:
            window = take_bits(m, at, unit.window_bits)
            at += unit.window_bits
        for c in range(m.fixed.dim):
            picks[r, c] += window * unit.window


@njit
def begin_feed(m, s, address, stride, rows):  # type: ignore[no-untyped-def]
    """Record the number of changes so far in the rows of each block of the wide feed."""
    for f in range(m.unit.selector.fetch):
        m.selector.fed[s, f] = seen(m, address, f * m.fixed.dim, stride, rows, LOAD)


@njit
def feed_clashed(m, s, address, stride, rows, depth):  # type: ignore[no-untyped-def]
    """True if another queue wrote a block of the feed from which one of the weights takes an activation."""
    dim, weights, picks = m.fixed.dim, m.array.weights, m.selector.chosen
    for f in range(m.unit.selector.fetch):
        used = False
        for k in range(min(depth, dim)):
            for c in range(dim):
                used = used or (weights[k, c] != 0 and picks[k, c] // dim == f)
        if used:
            now = seen(m, address, f * dim, stride, rows, LOAD)
            if clashed(m, m.commands[s].number, m.selector.fed[s, f], now):
                return True
    return False


@njit
def multiply_selected(m, out, address, stride, rows, depth, bad):  # type: ignore[no-untyped-def]
    """out += selected activations x the weights in the array, packed row after packed row."""
    dim, weights, picks = m.fixed.dim, m.array.weights, m.selector.chosen
    for r in range(min(rows, dim)):
        for k in range(min(depth, dim)):
            for c in range(dim):
                weight = weights[k, c]
                if weight == 0:
                    continue
                pick = min(picks[k, c], m.unit.selector.fetch * dim - 1)
                a = m.spad[row_of(m, address, r * stride + pick // dim * dim), pick % dim]
                if bad:
                    a = garble(m, a)
                if m.fixed.element != INTEGER:
                    out[r, c] = as_element(m, fused(a, weight, out[r, c]))
                else:
                    out[r, c] += a * weight
