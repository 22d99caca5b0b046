"""The array: preload, compute, results (gemmini_machine.md 6). A preload and the compute behind it belong together.

Weights are read until the compute is through (without a result: until the preload is), A until the compute is
through; the result is written when the preload completes. Rows and columns beyond the given shape are zeros going in
and are masked coming out (ExecuteController.scala).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.functional.arithmetic import fused, round_float
from sim.functional.counts import (
    ACC_ACCUMULATE_ROWS,
    ACC_WRITE_ROWS,
    SPAD_READ_ROWS,
    SPAD_WRITE_ROWS,
    WEIGHT_ROWS,
)
from sim.functional.kernel_rows import (
    EX,
    LD,
    as_element,
    clashed,
    disturb,
    garble,
    is_acc,
    is_garbage,
    put_sum,
    row_of,
    seen,
)
from sim.functional.kernel_sampled import (
    FIRST,
    HELD,
    NEXT,
    begin_weights,
    keep_weights,
    multiply_sampled,
    scatter,
    stream_seen,
)
from sim.functional.kernel_sampled import STAGED as WEIGHTS
from sim.functional.kernel_select import (
    begin_feed,
    begin_index,
    feed_clashed,
    index_seen,
    multiply_selected,
    packed_row,
    read_index,
)
from sim.functional.unit import SAMPLING, SELECTING

# snapshot: the fields of config_ex; what B, C (or A, BD) had seen; the partner; flags of a preload; of sampled products
# the chunk of a compute, the number of a preload's weights, first and end of the set that a compute switches to
WS, A_T, BD_T, A_STRIDE, C_STRIDE, SHIFT, ACT, SEEN0, SEEN1, PARTNER, STAGED, DONE, INDEX, SEEN2, ROW = range(1, 16)
CHUNK, NUMBER, SET_FIRST, SET_END = range(16, 20)
FIELDS = ACT
RELU = 1
COMPUTE_PRELOADED = 4
WORD = 0xFFFFFFFF


@njit
def configure_execute(m, rs1, rs2):  # type: ignore[no-untyped-def]
    """config_ex; bit 7 keeps everything but the strides."""
    x = m.ex
    if (rs1 >> 7) & 1 == 0:
        x[WS - 1] = (rs1 >> 2) & 1
        x[A_T - 1] = (rs1 >> 8) & 1
        x[BD_T - 1] = (rs1 >> 9) & 1
        x[ACT - 1] = (rs1 >> 3) & 3
        x[SHIFT - 1] = rs2 & 31
    x[A_STRIDE - 1] = (rs1 >> 16) & 0xFFFF
    x[C_STRIDE - 1] = (rs2 >> 48) & 0xFFFF


@njit
def _shape(operand, turned):  # type: ignore[no-untyped-def]
    """(rows, cols) as stored; the fields of a transposed operand give the shape behind the transposer."""
    rows = (operand >> 48) & 0xFFFF
    cols = (operand >> 32) & 0xFFFF
    return (cols, rows) if turned else (rows, cols)


@njit
def _fill(m, out, operand, stride, turned, bad):  # type: ignore[no-untyped-def]
    """out[dim, dim] = the operand, transposed if ``turned``, zeros around it."""
    out[:, :] = 0
    address = operand & WORD
    if is_garbage(m, address):
        return
    rows, cols = _shape(operand, turned)
    for r in range(min(rows, m.p[0])):
        row = row_of(m, address, r * stride)
        for c in range(min(cols, m.p[0])):
            i, j = (c, r) if turned else (r, c)
            if is_acc(address):
                out[i, j] = m.acc[row, c]
            else:
                out[i, j] = m.spad[row, c]
            if bad:
                out[i, j] = garble(m, out[i, j])


@njit
def _seen(m, operand, stride, turned):  # type: ignore[no-untyped-def]
    if is_garbage(m, operand & WORD):
        return np.int64(0)
    rows, _ = _shape(operand, turned)
    return seen(m, operand & WORD, 0, stride, rows, LD)


@njit
def begin_preload(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """From now on the result's rows are in motion."""
    snap = m.snap[s]
    snap[WS : WS + FIELDS] = m.ex
    snap[SEEN0] = _seen(m, rs1, 1, snap[WS] and snap[BD_T])
    c = rs2 & WORD
    if not is_garbage(m, c):
        rows = (rs2 >> 48) & 0xFFFF
        snap[SEEN1] = seen(m, c, 0, snap[C_STRIDE], rows, LD)
        disturb(m, c, 0, snap[C_STRIDE], rows, EX, 1)
    if m.unit[0] == SELECTING and not is_garbage(m, rs1 & WORD):
        depth = (rs1 >> 48) & 0xFFFF
        snap[INDEX] = begin_index(m, rs1 & WORD, depth)
        snap[SEEN2] = index_seen(m, snap[INDEX], depth)
        snap[ROW] = packed_row(m, c, depth)
    elif m.unit[0] == SAMPLING and not is_garbage(m, rs1 & WORD):
        snap[NUMBER] = begin_weights(m, s)
    m.stage_rs1[s] = rs1
    m.pending[0] = s


@njit
def _stage(m, s):  # type: ignore[no-untyped-def]
    """Read B (or, output stationary, D) of the preload in slot ``s``, once."""
    snap = m.snap[s]
    if snap[STAGED]:
        return
    snap[STAGED] = 1
    rs1 = m.stage_rs1[s]
    turned = snap[WS] and snap[BD_T]
    bad = clashed(m, snap[0], snap[SEEN0], _seen(m, rs1, 1, turned))
    _fill(m, m.blocks[0, s], rs1, 1, turned, bad)
    if not is_garbage(m, rs1 & WORD):
        rows, _ = _shape(rs1, turned)
        m.counts[WEIGHT_ROWS] += rows
        m.counts[SPAD_READ_ROWS] += rows
        if m.unit[0] == SELECTING:
            clashed(m, snap[0], snap[SEEN2], index_seen(m, snap[INDEX], rows))
            read_index(m, m.picks[s], snap[INDEX], rows, snap[ROW])
        elif m.unit[0] == SAMPLING:
            keep_weights(m, s, snap[NUMBER])


@njit
def begin_compute(m, s, funct, rs1, rs2):  # type: ignore[no-untyped-def]
    """Its preload is the last one that was issued; of sampled products, one that switches takes all so far."""
    snap = m.snap[s]
    snap[WS : WS + FIELDS] = m.ex
    snap[PARTNER] = m.pending[0]
    if m.unit[0] == SELECTING:
        begin_feed(m, s, rs1 & WORD, snap[A_STRIDE], (rs1 >> 48) & 0xFFFF)
    elif m.unit[0] == SAMPLING:
        snap[CHUNK] = m.unit[NEXT]
        m.unit[NEXT] += 1
        if funct == COMPUTE_PRELOADED:
            snap[SET_FIRST], snap[SET_END] = m.unit[FIRST], m.unit[WEIGHTS]
            m.unit[FIRST] = m.unit[WEIGHTS]
        snap[SEEN0] = stream_seen(m, snap[CHUNK], rs1 & WORD)
    else:
        snap[SEEN0] = _seen(m, rs1, snap[A_STRIDE], snap[A_T])
    snap[SEEN1] = _seen(m, rs2, 1, snap[BD_T] and not snap[WS])


@njit
def end_compute(m, s, funct, rs1, rs2):  # type: ignore[no-untyped-def]
    """The last row went in: the product is made."""
    snap = m.snap[s]
    partner = snap[PARTNER]
    weights, inside, left, right = m.tiles[0], m.tiles[1], m.tiles[2], m.tiles[3]
    _stage(m, partner)
    fresh = funct == COMPUTE_PRELOADED
    b_turned = snap[BD_T] and not snap[WS]
    selecting = m.unit[0] == SELECTING
    sampling = m.unit[0] == SAMPLING
    bad_a = False
    if sampling:
        bad_a = clashed(m, snap[0], snap[SEEN0], stream_seen(m, snap[CHUNK], rs1 & WORD))
        m.snap[partner, CHUNK] = snap[CHUNK]
        if fresh:
            _switch(m, snap[SET_FIRST], snap[SET_END])
    elif not selecting:
        bad_a = clashed(m, snap[0], snap[SEEN0], _seen(m, rs1, snap[A_STRIDE], snap[A_T]))
    bad_b = clashed(m, snap[0], snap[SEEN1], _seen(m, rs2, 1, b_turned))
    result = m.blocks[1, partner]
    other = rs2 | WORD if m.p[14] and snap[WS] else rs2
    if snap[WS]:
        if fresh:
            weights[:, :] = m.blocks[0, partner]
            m.chosen[:, :] = m.picks[partner]
        _fill(m, result, other, 1, False, bad_b)
        if sampling:
            multiply_sampled(m, result, snap[CHUNK], rs1 & WORD, _shape(rs1, False)[1], bad_a)
        elif selecting:
            rows, depth = _shape(rs1, False)
            bad_a = feed_clashed(m, s, weights, m.chosen, rs1 & WORD, snap[A_STRIDE], rows, depth)
            multiply_selected(m, result, weights, m.chosen, rs1 & WORD, snap[A_STRIDE], rows, depth, bad_a)
        else:
            _fill(m, left, rs1, snap[A_STRIDE], snap[A_T], bad_a)
            _multiply(m, result, left, weights, m.p[6])
    else:
        if fresh:
            inside[:, :] = m.blocks[0, partner]
        _fill(m, left, rs1, snap[A_STRIDE], snap[A_T], bad_a)
        _fill(m, right, other, 1, b_turned, bad_b)
        _multiply(m, inside, left, right, min(m.p[6], 1))  # sums stay in accumulator type ...
        for r in range(m.p[0]):
            for c in range(m.p[0]):
                result[r, c] = _shifted(m, inside[r, c], snap[SHIFT])  # ... and leave in that of the array
    m.snap[partner, DONE] = 1
    reads = 0
    if not is_garbage(m, rs1 & WORD):
        reads += _shape(rs1, snap[A_T])[0]
    if not is_garbage(m, other & WORD):
        reads += _shape(other, b_turned)[0]
    # a transposed B makes the unroller send A through twice (TransposePreloadUnroller.scala)
    m.counts[SPAD_READ_ROWS] += 2 * reads if snap[WS] and snap[BD_T] and fresh else reads


@njit
def _switch(m, first, end):  # type: ignore[no-untyped-def]
    """The weights preloaded since the last switch are those at work from now on."""
    m.unit[HELD] = end - first
    for number in range(first, end):
        ring = number % m.second.shape[0]
        if not m.second_there[ring]:
            _stage(m, m.second_slot[ring])
        m.resident[number - first] = m.second[ring]


@njit
def _shifted(m, value, shift):  # type: ignore[no-untyped-def]
    """What leaves an output-stationary element: shifted right, half to even (PE.scala); floats have no shift."""
    if m.p[6]:
        return as_element(m, value)
    return value if shift == 0 else np.rint(value / (1 << shift))


@njit
def _multiply(m, out, left, right, kind):  # type: ignore[no-untyped-def]
    """out += left x right; k in the order of the array's rows. Floats (``kind`` > 0): one rounding per step,

    to float32 (1) or to the machine's 16-bit type (2).
    """
    dim = m.p[0]
    exponent_bits, fraction_bits, table = m.p[17], m.p[18], m.lut  # a call with all of ``m`` takes longer than the sum
    for r in range(dim):
        for k in range(dim):
            a = left[r, k]
            if kind == 2:
                for c in range(dim):
                    out[r, c] = round_float(fused(a, right[k, c], out[r, c]), exponent_bits, fraction_bits, table)
            elif kind == 1:
                for c in range(dim):
                    out[r, c] = np.float64(np.float32(fused(a, right[k, c], out[r, c])))
            elif a != 0:
                for c in range(dim):
                    out[r, c] += a * right[k, c]


@njit
def end_preload(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """The last row of the result came out."""
    snap = m.snap[s]
    _stage(m, s)
    c = rs2 & WORD
    if is_garbage(m, c):
        return
    rows = (rs2 >> 48) & 0xFFFF
    cols = (rs2 >> 32) & 0xFFFF
    now = seen(m, c, 0, snap[C_STRIDE], rows, LD)
    bad = clashed(m, snap[0], snap[SEEN1] if snap[DONE] else -1, now)
    disturb(m, c, 0, snap[C_STRIDE], rows, EX, -1)
    accumulate = (c >> 30) & 1
    result = m.blocks[1, s]
    if m.unit[0] == SAMPLING:
        scatter(m, result, snap[CHUNK], c, cols, bad)
        return
    for r in range(min(rows, m.p[0])):
        row = row_of(m, c, r * snap[C_STRIDE])
        for col in range(min(cols, m.p[0])):
            if bad:
                result[r, col] = garble(m, result[r, col])
            if abs(result[r, col]) > m.p[19]:
                m.tally[4] += 1
            if is_acc(c):
                put_sum(m, row, col, result[r, col], accumulate)
            else:
                m.spad[row, col] = _clipped(m, result[r, col], snap[ACT])
    if is_acc(c):
        m.counts[ACC_WRITE_ROWS] += rows
        if accumulate:
            m.counts[ACC_ACCUMULATE_ROWS] += rows
    else:
        m.counts[SPAD_WRITE_ROWS] += rows


@njit
def _clipped(m, value, activation):  # type: ignore[no-untyped-def]
    """A sum as an element of the scratchpad: saturated, then the ReLU of config_ex (ExecuteController.scala)."""
    if activation == RELU and value < 0:
        return 0.0
    if m.p[6]:
        return as_element(m, value)
    return np.float64(min(max(value, m.p[3]), m.p[4]))
