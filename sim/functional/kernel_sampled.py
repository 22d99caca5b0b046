"""Products of chosen elements: each PE holds several weights, and an index says which one a streamed value meets.

Preloads fill a second set of weights while the first is at work; the compute that switches makes it the first
(`sim.lower.sparse.sampled`). What a compute streams are *sub-rows*, at most DIM chosen elements of one row in one
window of weights. Which row, window and sub-row comes when, the sequencer knows (``m.chunks``, ``m.subs``; made by
`sim.functional.sampled`); which weight a value meets is read from the index in the scratchpad.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.functional.arithmetic import INT32_MIN, fused
from sim.functional.counts import ACC_ACCUMULATE_ROWS, ACC_WRITE_ROWS
from sim.functional.kernel_rows import LD, as_element, garble, put_sum, row_of, seen
from sim.functional.kernel_select import index_rows_seen, take_bits

FORM, REACH, KEEP, GROUP, PLACE_BITS, OUTPUTS, NEXT, STAGED, FIRST, HELD = range(1, 11)
"""Places in ``m.unit``: how the index is read; then the chunk that comes next, weights so far, those of the next set,
weights in the first set."""

BITS, PLACES = 0, 1
"""Forms of the index: a bit per element; the place of each kept value among GROUP."""

PE, LINE = 0, 1

A_OFFSET, C_OFFSET, ADDS, INDEX, NUMBER, WIDTH = range(6)
"""Fields of a sub-row: local rows from the command's A and C to its own, what it adds to, first bit of its window's
index in the scratchpad, its number in the window, elements in the window."""

OVER, AS_TOLD, ONTO = range(3)
"""A row's first sum goes over what lies there; as the command says; what follows in one window is added."""

NO_SCORE = INT32_MIN
"""In the accumulator, where a row has no choice for a column: the normaliser leaves it out."""


@njit
def begin_weights(m, s):  # type: ignore[no-untyped-def]
    """Return the number of a preload's weights: they go to the second set."""
    number = m.unit[STAGED]
    m.unit[STAGED] += 1
    ring = number % m.second.shape[0]
    m.second_slot[ring] = s
    m.second_there[ring] = 0
    return number


@njit
def keep_weights(m, s, number):  # type: ignore[no-untyped-def]
    """The weights of slot ``s`` have been read."""
    ring = number % m.second.shape[0]
    m.second[ring] = m.blocks[0, s]
    m.second_there[ring] = 1


@njit
def choose(m, sub):  # type: ignore[no-untyped-def]
    """m.lanes[dim] = the element of its window that each place of a sub-row holds, -1 where there is none."""
    dim, at, number = m.p[0], sub[INDEX], sub[NUMBER]
    m.lanes[:] = -1
    if m.unit[FORM] == PLACES:
        keep, group, bits = m.unit[KEEP], m.unit[GROUP], m.unit[PLACE_BITS]
        for lane in range(min(dim, sub[WIDTH])):
            m.lanes[lane] = lane // keep * group + take_bits(m, at + lane * bits, bits)
        return
    m.depth[:] = 0
    for element in range(sub[WIDTH]):
        if take_bits(m, at + element, 1):
            place = 0 if m.unit[REACH] == LINE else element % dim
            before = m.depth[place]
            m.depth[place] += 1
            if m.unit[REACH] == LINE and before // dim == number:
                m.lanes[before % dim] = element
            elif m.unit[REACH] == PE and before == number:
                m.lanes[place] = element


@njit
def stream_seen(m, chunk, a):  # type: ignore[no-untyped-def]
    """Changes so far in the rows of A that a chunk streams, and in those of their index; -1: one is in motion."""
    total = np.int64(0)
    bits = m.unit[PLACE_BITS] if m.unit[FORM] == PLACES else 1
    for i in range(m.chunks[chunk], m.chunks[chunk + 1]):
        sub = m.subs[i]
        for part in (seen(m, a, sub[A_OFFSET], 1, 1, LD), index_rows_seen(m, sub[INDEX], sub[WIDTH] * bits)):
            if part < 0:
                return np.int64(-1)
            total += part
    return total


@njit
def multiply_sampled(m, out, chunk, a, cols, bad):  # type: ignore[no-untyped-def]
    """out[sub-row, column] = what leaves the array for each sub-row of a chunk; NO_SCORE where nothing was chosen."""
    dim = m.p[0]
    out[:, :] = 0
    for r in range(m.chunks[chunk + 1] - m.chunks[chunk]):
        sub = m.subs[m.chunks[chunk] + r]
        row = row_of(m, a, sub[A_OFFSET])
        choose(m, sub)
        for lane in range(dim):
            element = m.lanes[lane]
            block = element // dim
            if element < 0 or block >= m.unit[HELD]:
                if m.unit[OUTPUTS]:
                    out[r, lane] = NO_SCORE
                continue
            weights = m.resident[block]
            if m.unit[OUTPUTS]:
                for k in range(min(cols, dim)):
                    value = garble(m, m.spad[row, k]) if bad else m.spad[row, k]
                    out[r, lane] += value * weights[k, element % dim]
            elif lane < cols:
                value = garble(m, m.spad[row, lane]) if bad else m.spad[row, lane]
                for c in range(dim):
                    if m.p[6]:
                        out[r, c] = as_element(m, fused(value, weights[element % dim, c], out[r, c]))
                    else:
                        out[r, c] += value * weights[element % dim, c]


@njit
def scatter(m, result, chunk, c, cols, bad):  # type: ignore[no-untyped-def]
    """Results go to the accumulator rows that the index says."""
    told = (c >> 30) & 1
    for r in range(m.chunks[chunk + 1] - m.chunks[chunk]):
        sub = m.subs[m.chunks[chunk] + r]
        row = row_of(m, c, sub[C_OFFSET])
        adds = told if sub[ADDS] == AS_TOLD else sub[ADDS] == ONTO
        for col in range(min(cols, m.p[0])):
            value = result[r, col]
            if m.unit[OUTPUTS] and value == NO_SCORE:
                if not adds:
                    m.acc[row, col] = NO_SCORE
                continue
            if abs(value) > m.p[19]:
                m.tally[4] += 1
            put_sum(m, row, col, garble(m, value) if bad else value, adds)
        m.counts[ACC_WRITE_ROWS] += 1
        m.counts[ACC_ACCUMULATE_ROWS] += told
