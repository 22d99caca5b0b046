"""Preload, compute and results of the array (gemmini_machine.md 6). A compute belongs to the preload before it.

Weights are read until the compute has ended (without a result: until the preload has), A until the compute has
ended; the result is written when the preload completes. Rows and columns beyond the given shape enter as zeros and
are masked on their way out (ExecuteController.scala).
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.fields import (
    COMPUTE_PRELOADED,
    EXECUTE,
    LOAD,
    RELU,
    accumulates,
    get,
    is_acc,
    local_address,
    operand_cols,
    operand_rows,
)
from sim.functional.kernels.multiply import multiply, shifted
from sim.functional.kernels.rows import (
    as_element,
    clashed,
    copy_block,
    disturb,
    garble,
    is_garbage,
    put_sum,
    row_of,
    seen,
)
from sim.functional.kernels.sampled import begin_weights, keep_weights, multiply_sampled, scatter, stream_seen
from sim.functional.kernels.selected import (
    begin_feed,
    begin_index,
    feed_clashed,
    index_seen,
    multiply_selected,
    packed_row,
    read_index,
)
from sim.functional.kernels.words import INTEGER
from sim.functional.unit import SAMPLING, SELECTING
from sim.isa.layouts import EX_FIRST, EX_SECOND


@njit
def configure_execute(m, rs1, rs2):  # type: ignore[no-untyped-def]
    """config_ex; bit 7 keeps everything but the strides."""
    config = m.registers.execute
    if get(rs1, EX_FIRST.strides_only) == 0:
        config.weight_stationary = get(rs1, EX_FIRST.weight_stationary)
        config.a_transposed = get(rs1, EX_FIRST.transpose_a)
        config.b_transposed = get(rs1, EX_FIRST.transpose_b)
        config.activation = get(rs1, EX_FIRST.activation)
        config.shift = get(rs2, EX_SECOND.shift)
    config.a_stride = get(rs1, EX_FIRST.a_stride)
    config.c_stride = get(rs2, EX_SECOND.c_stride)


@njit
def _shape(operand, turned):  # type: ignore[no-untyped-def]
    """(rows, cols) as stored; the fields of a transposed operand give the shape behind the transposer."""
    rows, cols = operand_rows(operand), operand_cols(operand)
    return (cols, rows) if turned else (rows, cols)


@njit
def _fill(m, out, operand, stride, turned, bad):  # type: ignore[no-untyped-def]
    """Set out[dim, dim] to the operand, transposed if ``turned``, with zeros around it."""
    out[:, :] = 0
    address = local_address(operand)
    if is_garbage(m, address):
        return
    rows, cols = _shape(operand, turned)
    for r in range(min(rows, m.fixed.dim)):
        row = row_of(m, address, r * stride)
        for c in range(min(cols, m.fixed.dim)):
            i, j = (c, r) if turned else (r, c)
            if is_acc(address):
                out[i, j] = m.acc[row, c]
            else:
                out[i, j] = m.spad[row, c]
            if bad:
                out[i, j] = garble(m, out[i, j])


@njit
def _seen(m, operand, stride, turned):  # type: ignore[no-untyped-def]
    """Return the number of changes by loads so far in the rows of an operand."""
    if is_garbage(m, local_address(operand)):
        return np.int64(0)
    rows, _ = _shape(operand, turned)
    return seen(m, local_address(operand), 0, stride, rows, LOAD)


@njit
def begin_preload(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """Begin a preload: from now on the rows of the result are being written."""
    command = m.commands[s]
    command.execute = m.registers.execute
    config = command.execute
    command.seen_first = _seen(m, rs1, 1, config.weight_stationary and config.b_transposed)
    c = local_address(rs2)
    if not is_garbage(m, c):
        rows = operand_rows(rs2)
        command.seen_target = seen(m, c, 0, config.c_stride, rows, LOAD)
        disturb(m, c, 0, config.c_stride, rows, EXECUTE, 1)
    if m.unit.form == SELECTING and not is_garbage(m, local_address(rs1)):
        depth = operand_rows(rs1)
        command.index_bit = begin_index(m, local_address(rs1), depth)
        command.seen_index = index_seen(m, command.index_bit, depth)
        command.packed_row = packed_row(m, c, depth)
    elif m.unit.form == SAMPLING and not is_garbage(m, local_address(rs1)):
        command.weights = begin_weights(m, s)
    command.operand = rs1
    m.registers.preload = s


@njit
def _stage(m, s):  # type: ignore[no-untyped-def]
    """Read B (or, output stationary, D) of the preload in slot ``s``, once."""
    command = m.commands[s]
    if command.staged:
        return
    command.staged = 1
    rs1 = command.operand
    turned = command.execute.weight_stationary and command.execute.b_transposed
    bad = clashed(m, command.number, command.seen_first, _seen(m, rs1, 1, turned))
    _fill(m, m.array.staged[s], rs1, 1, turned, bad)
    if not is_garbage(m, local_address(rs1)):
        rows, _ = _shape(rs1, turned)
        m.counts.weight_rows += rows
        m.counts.spad_read_rows += rows
        if m.unit.form == SELECTING:
            clashed(m, command.number, command.seen_index, index_seen(m, command.index_bit, rows))
            read_index(m, m.selector.picks[s], command.index_bit, rows, command.packed_row)
        elif m.unit.form == SAMPLING:
            keep_weights(m, s, command.weights)


@njit
def begin_compute(m, s, funct, rs1, rs2):  # type: ignore[no-untyped-def]
    """Begin a compute.

    Its preload is the last one issued; in sampled products a compute that switches takes all so far.
    """
    command = m.commands[s]
    command.execute = m.registers.execute
    config = command.execute
    command.partner = m.registers.preload
    if m.unit.form == SELECTING:
        begin_feed(m, s, local_address(rs1), config.a_stride, operand_rows(rs1))
    elif m.unit.form == SAMPLING:
        sampler = m.unit.sampler
        command.chunk = sampler.next_chunk
        sampler.next_chunk += 1
        if funct == COMPUTE_PRELOADED:
            command.first_weights, command.end_weights = sampler.first, sampler.staged
            sampler.first = sampler.staged
        command.seen_first = stream_seen(m, command.chunk, local_address(rs1))
    else:
        command.seen_first = _seen(m, rs1, config.a_stride, config.a_transposed)
    command.seen_second = _seen(m, rs2, 1, config.b_transposed and not config.weight_stationary)


@njit
def end_compute(m, s, funct, rs1, rs2):  # type: ignore[no-untyped-def]
    """End a compute: after its last row the product is computed."""
    command = m.commands[s]
    config = command.execute
    partner = command.partner
    _stage(m, partner)
    fresh = funct == COMPUTE_PRELOADED
    b_turned = config.b_transposed and not config.weight_stationary
    bad_a = False
    if m.unit.form == SAMPLING:
        bad_a = clashed(m, command.number, command.seen_first, stream_seen(m, command.chunk, local_address(rs1)))
        m.commands[partner].chunk = command.chunk
        if fresh:
            _switch(m, command.first_weights, command.end_weights)
    elif m.unit.form != SELECTING:
        now = _seen(m, rs1, config.a_stride, config.a_transposed)
        bad_a = clashed(m, command.number, command.seen_first, now)
    bad_b = clashed(m, command.number, command.seen_second, _seen(m, rs2, 1, b_turned))
    other = rs2 | 0xFFFFFFFF if m.fixed.ignores_d and config.weight_stationary else rs2
    if config.weight_stationary:
        if fresh:
            copy_block(m.array.weights, m.array.staged[partner])
            copy_block(m.selector.chosen, m.selector.picks[partner])
        _fill(m, m.array.results[partner], other, 1, False, bad_b)
        _multiply_weights(m, s, m.array.results[partner], rs1, bad_a)
    else:
        _multiply_inside(m, command, fresh, rs1, other, bad_a, bad_b)
    m.commands[partner].done = 1
    reads = 0
    if not is_garbage(m, local_address(rs1)):
        reads += _shape(rs1, config.a_transposed)[0]
    if not is_garbage(m, local_address(other)):
        reads += _shape(other, b_turned)[0]
    # a transposed B makes the unroller send A through twice (TransposePreloadUnroller.scala)
    twice = config.weight_stationary and config.b_transposed and fresh
    m.counts.spad_read_rows += 2 * reads if twice else reads


@njit
def _multiply_weights(m, s, result, rs1, bad):  # type: ignore[no-untyped-def]
    """result += A x the weights in the array, of the compute in slot ``s``."""
    command = m.commands[s]
    a, stride, weights = local_address(rs1), command.execute.a_stride, m.array.weights
    if m.unit.form == SAMPLING:
        multiply_sampled(m, result, command.chunk, a, operand_cols(rs1), bad)
    elif m.unit.form == SELECTING:
        rows, depth = _shape(rs1, False)
        bad = feed_clashed(m, s, a, stride, rows, depth)
        multiply_selected(m, result, a, stride, rows, depth, bad)
    else:
        _fill(m, m.array.left, rs1, stride, command.execute.a_transposed, bad)
        multiply(m, result, m.array.left, weights, m.fixed.element)


@njit
def _multiply_inside(m, command, fresh, rs1, rs2, bad_a, bad_b):  # type: ignore[no-untyped-def]
    """Output stationary: the sums inside += A x B, in accumulator type; they leave in the type of the array."""
    config = command.execute
    if fresh:
        copy_block(m.array.sums, m.array.staged[command.partner])
    _fill(m, m.array.left, rs1, config.a_stride, config.a_transposed, bad_a)
    _fill(m, m.array.right, rs2, 1, config.b_transposed, bad_b)
    multiply(m, m.array.sums, m.array.left, m.array.right, min(m.fixed.element, 1))
    result = m.array.results[command.partner]
    for r in range(m.fixed.dim):
        for c in range(m.fixed.dim):
            result[r, c] = shifted(m, m.array.sums[r, c], config.shift)


@njit
def _switch(m, first, end):  # type: ignore[no-untyped-def]
    """Switch to the weights preloaded since the last switch."""
    m.unit.sampler.held = end - first
    for number in range(first, end):
        ring = number % m.sampler.second.shape[0]
        if not m.sampler.second_read[ring]:
            _stage(m, m.sampler.second_slot[ring])
        copy_block(m.sampler.resident[number - first], m.sampler.second[ring])


@njit
def end_preload(m, s, rs1, rs2):  # type: ignore[no-untyped-def]
    """End a preload: the last row of the result has left the array."""
    command = m.commands[s]
    stride = command.execute.c_stride
    _stage(m, s)
    c = local_address(rs2)
    if is_garbage(m, c):
        return
    rows, cols = operand_rows(rs2), operand_cols(rs2)
    now = seen(m, c, 0, stride, rows, LOAD)
    bad = clashed(m, command.number, command.seen_target if command.done else -1, now)
    disturb(m, c, 0, stride, rows, EXECUTE, -1)
    result = m.array.results[s]
    if m.unit.form == SAMPLING:
        scatter(m, result, command.chunk, c, cols, bad)
        return
    for r in range(min(rows, m.fixed.dim)):
        row = row_of(m, c, r * stride)
        for col in range(min(cols, m.fixed.dim)):
            if bad:
                result[r, col] = garble(m, result[r, col])
            if abs(result[r, col]) > m.fixed.largest_sum:
                m.tally.beyond_array += 1
            if is_acc(c):
                put_sum(m, row, col, result[r, col], accumulates(c))
            else:
                m.spad[row, col] = _clipped(m, result[r, col], command.execute.activation)
    if is_acc(c):
        m.counts.acc_write_rows += rows
        if accumulates(c):
            m.counts.acc_accumulate_rows += rows
    else:
        m.counts.spad_write_rows += rows


@njit
def _clipped(m, value, activation):  # type: ignore[no-untyped-def]
    """Return a sum as an element of the scratchpad: saturated, then the ReLU of config_ex (ExecuteController.scala)."""
    if activation == RELU and value < 0:
        return 0.0
    if m.fixed.element != INTEGER:
        return as_element(m, value)
    return np.float64(min(max(value, m.fixed.lowest), m.fixed.highest))
