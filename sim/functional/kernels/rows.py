"""Local rows: their addresses, the queues that are writing them, and the values after a conflict."""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit
from sim.functional.kernels.arithmetic import encode_float, round_float, wrapped
from sim.functional.kernels.fields import is_acc
from sim.functional.kernels.words import INTEGER, SMALL, C, read_words, write_words

GARBLED = 0x5A
"""Added to integers (floats become NaN) that are read or written while another queue is writing the row."""


@njit
def is_garbage(m, address):  # type: ignore[no-untyped-def]
    """All-ones address: the operand is absent (LocalAddr.scala)."""
    return (address & m.fixed.garbage_address) == m.fixed.garbage_address


@njit
def row_of(m, address, offset):  # type: ignore[no-untyped-def]
    """Return the row of its memory ``offset`` rows after a local address; addresses wrap (LocalAddr.scala)."""
    if is_acc(address):
        return (address + offset) & (m.acc.shape[0] - 1)
    return (address + offset) & (m.spad.shape[0] - 1)


@njit
def _first_mark(m, address):  # type: ignore[no-untyped-def]
    """(place of a memory's first row in ``m.marks``, mask of its rows): the accumulator follows the scratchpad."""
    if is_acc(address):
        return m.spad.shape[0], m.acc.shape[0] - 1
    return 0, m.spad.shape[0] - 1


@njit
def disturb(m, address, offset, stride, count, writer, step):  # type: ignore[no-untyped-def]
    """Mark ``count`` rows as begun (step 1) or ended (step -1) being written by a command of queue ``writer``."""
    first, mask = _first_mark(m, address)
    for r in range(count):
        mark = m.marks[writer, first + ((address + offset + r * stride) & mask)]
        mark.writers += step
        mark.changes += 1


@njit
def seen(m, address, offset, stride, count, writer):  # type: ignore[no-untyped-def]
    """Return the number of changes so far in ``count`` rows by one queue, or -1 while it is writing one of them."""
    first, mask = _first_mark(m, address)
    total = np.int64(0)
    for r in range(count):
        mark = m.marks[writer, first + ((address + offset + r * stride) & mask)]
        if mark.writers > 0:
            return np.int64(-1)
        total += mark.changes
    return total


@njit
def clashed(m, command, before, after):  # type: ignore[no-untyped-def]
    """True, and recorded, if another queue wrote the rows during the interval of a command."""
    if before == after and before >= 0:
        return False
    n = m.tally.clashes
    if n < m.clashes.shape[0]:
        m.clashes[n] = command
    m.tally.clashes += 1
    return True


@njit
def garble(m, value):  # type: ignore[no-untyped-def]
    """Return the value read from a row that another queue is writing."""
    if m.fixed.element != INTEGER:
        return np.nan
    return np.float64(value) + GARBLED


@njit
def put_sum(m, row, lane, value, accumulate):  # type: ignore[no-untyped-def]
    """Write or add to an accumulator element: integers wrap at their width, float32 rounds once."""
    if accumulate:
        value = m.acc[row, lane] + value
    if m.fixed.element == INTEGER:
        m.acc[row, lane] = np.float64(wrapped(np.int64(value), m.fixed.acc_bits))
    else:
        m.acc[row, lane] = np.float64(np.float32(value))


@njit
def read_line(m, address, count, wide, state):  # type: ignore[no-untyped-def]
    """Set m.line[:count] to elements of DRAM for a load state; 0 outside the image (padded rows are loaded too)."""
    if not wide and not m.operands[state].own:
        read_words(m, address, count, state)
        return
    line = m.line
    size = m.fixed.acc_bytes if wide else m.fixed.input_bytes
    at = address - m.fixed.base
    inside = max(0, min(count, (m.dram.int8.shape[0] - at) // size)) if at >= 0 and at % size == 0 else 0
    m.tally.outside_reads += count - inside
    line[inside:count] = 0.0
    first = at // size
    if m.fixed.element == INTEGER and size == 1:
        for i in range(inside):
            line[i] = m.dram.int8[first + i]
    elif m.fixed.element == INTEGER and size == 2:
        for i in range(inside):
            line[i] = m.dram.int16[first + i]
    elif m.fixed.element == INTEGER:
        for i in range(inside):
            line[i] = m.dram.int32[first + i]
    elif m.fixed.element == SMALL and not wide:
        for i in range(inside):
            line[i] = m.small_floats[np.int64(m.dram.uint16[first + i])]
    else:
        for i in range(inside):
            line[i] = m.dram.float32[first + i]


@njit
def write_line(m, address, count, wide):  # type: ignore[no-untyped-def]
    """Write m.line[:count] to DRAM; elements outside the image are counted and dropped."""
    if not wide and not m.operands[C].own:
        write_words(m, address, count)
        return
    line = m.line
    size = m.fixed.acc_bytes if wide else m.fixed.input_bytes
    at = address - m.fixed.base
    inside = max(0, min(count, (m.dram.int8.shape[0] - at) // size)) if at >= 0 and at % size == 0 else 0
    m.tally.outside_writes += count - inside
    first = at // size
    if m.fixed.element == INTEGER and size == 1:
        for i in range(inside):
            m.dram.int8[first + i] = np.int64(line[i])
    elif m.fixed.element == INTEGER and size == 2:
        for i in range(inside):
            m.dram.int16[first + i] = np.int64(line[i])
    elif m.fixed.element == INTEGER:
        for i in range(inside):
            m.dram.int32[first + i] = np.int64(line[i])
    elif m.fixed.element == SMALL and not wide:
        for i in range(inside):
            m.dram.uint16[first + i] = encode_float(line[i], m.fixed.exponent_bits, m.fixed.fraction_bits)
    else:
        for i in range(inside):
            m.dram.float32[first + i] = line[i]


@njit
def garble_line(m, count):  # type: ignore[no-untyped-def]
    """Garble m.line[:count] in place."""
    for i in range(count):
        m.line[i] = garble(m, m.line[i])


@njit
def as_element(m, value):  # type: ignore[no-untyped-def]
    """``value`` rounded to the machine's floating-point element type."""
    if m.fixed.element == SMALL:
        return round_float(value, m.fixed.exponent_bits, m.fixed.fraction_bits, m.small_floats)
    return np.float64(np.float32(value))


@njit
def copy_block(out, block):  # type: ignore[no-untyped-def]
    """Set out to a block of the same shape.

    Element by element: an array assigned whole would leave the executor to numba (sim.core.linking).
    """
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[r, c] = block[r, c]
