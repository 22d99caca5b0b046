"""Operand selection: elements of the array pick their activation from a wide feed by an index (docs/SPARSITY.md).

The index comes by load state 2 into scratchpad rows in front of the blocks it belongs to. A preload of the block right
behind such rows begins to draw on them, the preloads behind it go on; each packed row has one number per column (its
place in a window of activations) and, unless every window has as many rows, the number of its window.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.functional.arithmetic import fused
from sim.functional.kernel_rows import LD, as_element, clashed, garble, row_of, seen

WINDOW, KEEP, FETCH, WINDOWS, PLACE_BITS, WINDOW_BITS, TOTAL, CURSOR = range(3, 11)
"""Places in ``m.unit``."""


@njit
def note_index(m, address, local, rows, cols, stride):  # type: ignore[no-untyped-def]
    """Index rows have arrived: keep their bytes, and where the blocks behind them begin."""
    blocks = (cols + m.p[0] - 1) // m.p[0]
    keep_index(m, address, local, rows, blocks, stride)
    first = row_of(m, local, 0)
    start = m.start_of[first]
    if start < 0:
        start = first
        if m.end_of[first] >= 0:
            m.start_of[m.end_of[first]] = -1
    else:
        m.start_of[first] = -1
    end = first + rows * blocks
    m.start_of[end] = start
    m.end_of[start] = end


@njit
def keep_index(m, address, local, rows, blocks, stride):  # type: ignore[no-untyped-def]
    """Keep the bytes of index rows that have arrived."""
    row_bytes = m.raw.shape[1]
    for r in range(rows):
        for b in range(blocks):
            at = address - m.base[0] + r * stride + b * row_bytes
            row = row_of(m, local, r + b * m.p[0])
            for i in range(row_bytes):
                m.raw[row, i] = m.int8[at + i] if 0 <= at + i < m.int8.shape[0] else 0


@njit
def begin_index(m, address, rows):  # type: ignore[no-untyped-def]
    """Return the bit at which the index of a block of ``rows`` packed rows begins, and go on behind it."""
    row = row_of(m, address, 0)
    if m.start_of[row] >= 0:
        m.unit[CURSOR] = m.start_of[row] * m.raw.shape[1] * 8
    at = m.unit[CURSOR]
    m.unit[CURSOR] += rows * (m.p[0] * m.unit[PLACE_BITS] + m.unit[WINDOW_BITS])
    return at


@njit
def packed_row(m, target, rows):  # type: ignore[no-untyped-def]
    """Return how many packed rows of K the block at accumulator row ``target`` has had before these ``rows``.

    With as many rows in every window the index does not name windows: the array counts.
    """
    if m.unit[KEEP] == 0:
        return np.int64(0)
    at = row_of(m, target, 0)
    before = m.rows_done[at]
    m.rows_done[at] = (before + rows) % m.unit[TOTAL]
    return before


@njit
def index_seen(m, at, rows):  # type: ignore[no-untyped-def]
    """Changes so far in the scratchpad rows that hold an index of ``rows`` packed rows."""
    return index_rows_seen(m, at, rows * (m.p[0] * m.unit[PLACE_BITS] + m.unit[WINDOW_BITS]))


@njit
def index_rows_seen(m, at, bits):  # type: ignore[no-untyped-def]
    """Changes so far in the scratchpad rows that hold ``bits`` of index from bit ``at`` of the scratchpad on."""
    row_bits = m.raw.shape[1] * 8
    first = at // row_bits
    return seen(m, first, 0, 1, (at + bits - 1) // row_bits - first + 1 if bits else 0, LD)


@njit
def take_bits(m, at, count):  # type: ignore[no-untyped-def]
    """``count`` bits of the index from bit ``at`` of the scratchpad on."""
    value = np.int64(0)
    row_bytes = m.raw.shape[1]
    for i in range(count):
        byte = (at + i) >> 3
        value |= ((np.int64(m.raw[byte // row_bytes, byte % row_bytes]) >> ((at + i) & 7)) & 1) << i
    return value


@njit
def read_index(m, picks, at, rows, first_row):  # type: ignore[no-untyped-def]
    """picks[rows, dim] = which activation of the feed each weight of a block multiplies.

    ``first_row``: as `packed_row`.
    """
    unit = m.unit
    for r in range(rows):
        window = (first_row + r) // unit[KEEP] % unit[WINDOWS] if unit[KEEP] else 0
        for c in range(m.p[0]):
            picks[r, c] = take_bits(m, at, unit[PLACE_BITS])
            at += unit[PLACE_BITS]
        if unit[WINDOW_BITS]:
            window = take_bits(m, at, unit[WINDOW_BITS])
            at += unit[WINDOW_BITS]
        for c in range(m.p[0]):
            picks[r, c] += window * unit[WINDOW]


@njit
def begin_feed(m, s, address, stride, rows):  # type: ignore[no-untyped-def]
    """Note what the rows of each block of the wide feed have seen so far."""
    for f in range(m.unit[FETCH]):
        m.fed[s, f] = seen(m, address, f * m.p[0], stride, rows, LD)


@njit
def feed_clashed(m, s, weights, picks, address, stride, rows, depth):  # type: ignore[no-untyped-def]
    """Was a block disturbed that a weight draws on? Others of the feed may be anybody's."""
    dim = m.p[0]
    for f in range(m.unit[FETCH]):
        used = False
        for k in range(min(depth, dim)):
            for c in range(dim):
                used = used or (weights[k, c] != 0 and picks[k, c] // dim == f)
        if used and clashed(m, m.snap[s, 0], m.fed[s, f], seen(m, address, f * dim, stride, rows, LD)):
            return True
    return False


@njit
def multiply_selected(m, out, weights, picks, address, stride, rows, depth, bad):  # type: ignore[no-untyped-def]
    """out += selected activations x weights, packed row after packed row."""
    dim = m.p[0]
    for r in range(min(rows, dim)):
        for k in range(min(depth, dim)):
            for c in range(dim):
                weight = weights[k, c]
                if weight == 0:
                    continue
                pick = min(picks[k, c], m.unit[FETCH] * dim - 1)
                a = m.spad[row_of(m, address, r * stride + pick // dim * dim), pick % dim]
                if bad:
                    a = garble(m, a)
                if m.p[6]:
                    out[r, c] = as_element(m, fused(a, weight, out[r, c]))
                else:
                    out[r, c] += a * weight
