"""Products of chosen elements: each PE holds several weights, and an index names the weight of a streamed value.

Preloads fill a second set of weights while the first is in use; the compute that switches makes it the first
(`sim.lower.sparse.sampled`). A compute streams *sub-rows*: at most DIM chosen elements of one row in one window of
weights. The order of rows, windows and sub-rows is in ``m.sampler.chunks`` and ``.subs`` (made by
`sim.functional.sampled`); the weight of a value is read from the index in the scratchpad.
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import INT32_MIN, fused
from sim.functional.kernels.fields import LOAD, accumulates
from sim.functional.kernels.rows import as_element, copy_block, garble, put_sum, row_of, seen
from sim.functional.kernels.selected import index_rows_seen, take_bits
from sim.functional.kernels.words import INTEGER

OVER, AS_COMMANDED, ONTO = range(3)
"""A row's sum replaces the contents; follows the command; or is added, as later sums of one window."""

NO_SCORE = INT32_MIN
"""Value in the accumulator for a column that a row did not choose: the normaliser leaves it out."""


@njit
def begin_weights(m, s):  # type: ignore[no-untyped-def]
    """Return the number of a preload's weights: they go to the second set."""
    number = m.unit.sampler.staged
    m.unit.sampler.staged += 1
    ring = number % m.sampler.second.shape[0]
    m.sampler.second_slot[ring] = s
    m.sampler.second_read[ring] = 0
    return number


@njit
def keep_weights(m, s, number):  # type: ignore[no-untyped-def]
    """Record that the weights of slot ``s`` have been read."""
    ring = number % m.sampler.second.shape[0]
    copy_block(m.sampler.second[ring], m.array.staged[s])
    m.sampler.second_read[ring] = 1


@njit
def choose(m, sub):  # type: ignore[no-untyped-def]
    """m.sampler.lanes[dim] = the element of its window that each place of a sub-row holds, -1 where there is none."""
    unit, lanes, depth, dim = m.unit.sampler, m.sampler.lanes, m.sampler.depth, m.fixed.dim
    lanes[:] = -1
    if unit.packed:
        for lane in range(min(dim, sub.width)):
            place = take_bits(m, sub.index_bit + lane * unit.place_bits, unit.place_bits)
            lanes[lane] = lane // unit.keep * unit.group + place
        return
    depth[:] = 0
    for element in range(sub.width):
        if take_bits(m, sub.index_bit + element, 1):
            place = 0 if unit.in_line else element % dim
            before = depth[place]
            depth[place] += 1
            if unit.in_line and before // dim == sub.number:
                lanes[before % dim] = element
            elif not unit.in_line and before == sub.number:
                lanes[place] = element


@njit
def stream_seen(m, chunk, a):  # type: ignore[no-untyped-def]
    """Changes so far in the rows of A that a chunk streams, and in their index; -1: one of them is being written."""
    total = np.int64(0)
    bits = m.unit.sampler.place_bits if m.unit.sampler.packed else 1
    for i in range(m.sampler.chunks[chunk], m.sampler.chunks[chunk + 1]):
        sub = m.sampler.subs[i]
        for part in (seen(m, a, sub.a_offset, 1, 1, LOAD), index_rows_seen(m, sub.index_bit, sub.width * bits)):
            if part < 0:
                return np.int64(-1)
            total += part
    return total


@njit
def multiply_sampled(m, out, chunk, a, cols, bad):  # type: ignore[no-untyped-def]
    """out[sub-row, column] = the result of each sub-row of a chunk; NO_SCORE where no element was chosen."""
    unit, dim = m.unit.sampler, m.fixed.dim
    first = m.sampler.chunks[chunk]
    out[:, :] = 0
    for r in range(m.sampler.chunks[chunk + 1] - first):
        sub = m.sampler.subs[first + r]
        row = row_of(m, a, sub.a_offset)
        choose(m, sub)
        for lane in range(dim):
            element = m.sampler.lanes[lane]
            block = element // dim
            if element < 0 or block >= unit.held:
                if unit.outputs:
                    out[r, lane] = NO_SCORE
                continue
            weights = m.sampler.resident[block]
            if unit.outputs:
                for k in range(min(cols, dim)):
                    value = garble(m, m.spad[row, k]) if bad else m.spad[row, k]
                    out[r, lane] += value * weights[k, element % dim]
            elif lane < cols:
                value = garble(m, m.spad[row, lane]) if bad else m.spad[row, lane]
                for c in range(dim):
                    if m.fixed.element != INTEGER:
                        out[r, c] = as_element(m, fused(value, weights[element % dim, c], out[r, c]))
                    else:
                        out[r, c] += value * weights[element % dim, c]


@njit
def scatter(m, result, chunk, c, cols, bad):  # type: ignore[no-untyped-def]
    """Write results to the accumulator rows that the index names."""
    commanded = accumulates(c)
    first = m.sampler.chunks[chunk]
    for r in range(m.sampler.chunks[chunk + 1] - first):
        sub = m.sampler.subs[first + r]
        row = row_of(m, c, sub.c_offset)
        adds = commanded if sub.adds == AS_COMMANDED else sub.adds == ONTO
        for col in range(min(cols, m.fixed.dim)):
            value = result[r, col]
            if m.unit.sampler.outputs and value == NO_SCORE:
                if not adds:
                    m.acc[row, col] = NO_SCORE
                continue
            if abs(value) > m.fixed.largest_sum:
                m.tally.beyond_array += 1
            put_sum(m, row, col, garble(m, value) if bad else value, adds)
        m.counts.acc_write_rows += 1
        m.counts.acc_accumulate_rows += commanded
