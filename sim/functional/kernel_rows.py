"""Local rows: addresses, who has them in motion, and what a clash between two queues leaves behind."""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.functional.arithmetic import encode_float, round_float, wrapped
from sim.functional.kernel_words import C_ROW, OWN, read_words, write_words

LD, EX, ST = 0, 1, 2
GARBLED = 0x5A
"""Added to integers (NaN for floats) that were read or written while somebody else had the row in motion."""


@njit
def is_acc(address):  # type: ignore[no-untyped-def]
    """Bit 31 of a local address."""
    return (address >> 31) & 1


@njit
def is_garbage(m, address):  # type: ignore[no-untyped-def]
    """All-ones address: the operand is absent (LocalAddr.scala)."""
    return (address & m.p[5]) == m.p[5]


@njit
def row_of(m, address, offset):  # type: ignore[no-untyped-def]
    """Row of its memory ``offset`` rows behind a local address; addresses wrap (LocalAddr.scala)."""
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
    """``count`` rows begin (step 1) or end (step -1) to be written by a command of queue ``writer``."""
    first, mask = _first_mark(m, address)
    writers, changes = m.marks[writer, 0], m.marks[writer, 1]
    for r in range(count):
        row = first + ((address + offset + r * stride) & mask)
        writers[row] += step
        changes[row] += 1


@njit
def seen(m, address, offset, stride, count, writer):  # type: ignore[no-untyped-def]
    """Number of changes so far in ``count`` rows by one queue, or -1 when it has one of them in motion."""
    first, mask = _first_mark(m, address)
    writers, changes = m.marks[writer, 0], m.marks[writer, 1]
    total = np.int64(0)
    for r in range(count):
        row = first + ((address + offset + r * stride) & mask)
        if writers[row] > 0:
            return np.int64(-1)
        total += changes[row]
    return total


@njit
def clashed(m, command, before, after):  # type: ignore[no-untyped-def]
    """Was the interval disturbed? Notes the command when it was."""
    if before == after and before >= 0:
        return False
    n = m.tally[0]
    if n < m.clashes.shape[0]:
        m.clashes[n] = command
    m.tally[0] += 1
    return True


@njit
def garble(m, value):  # type: ignore[no-untyped-def]
    """What a reader gets of a row in motion."""
    if m.p[6]:
        return np.nan
    return np.float64(value) + GARBLED


@njit
def put_sum(m, row, lane, value, accumulate):  # type: ignore[no-untyped-def]
    """Write or add to an accumulator element: integers wrap at their width, float32 rounds once."""
    if accumulate:
        value = m.acc[row, lane] + value
    m.acc[row, lane] = np.float64(np.float32(value)) if m.p[6] else np.float64(wrapped(np.int64(value), m.p[22]))


@njit
def read_line(m, address, count, wide, state):  # type: ignore[no-untyped-def]
    """m.line[:count] = elements of DRAM for a load state; 0 outside the image (padded rows are loaded too)."""
    if not wide and not m.words[state, OWN]:
        read_words(m, address, count, state)
        return
    line = m.line
    size = m.p[2] if wide else m.p[1]
    at = address - m.base[0]
    inside = max(0, min(count, (m.int8.shape[0] - at) // size)) if at >= 0 and at % size == 0 else 0
    m.tally[2] += count - inside
    line[inside:count] = 0.0
    first = at // size
    if m.p[6] == 0 and size == 1:
        for i in range(inside):
            line[i] = m.int8[first + i]
    elif m.p[6] == 0 and size == 2:
        for i in range(inside):
            line[i] = m.int16[first + i]
    elif m.p[6] == 0:
        for i in range(inside):
            line[i] = m.int32[first + i]
    elif m.p[6] == 2 and not wide:
        for i in range(inside):
            line[i] = m.lut[np.int64(m.uint16[first + i])]
    else:
        for i in range(inside):
            line[i] = m.float32[first + i]


@njit
def write_line(m, address, count, wide):  # type: ignore[no-untyped-def]
    """Elements of DRAM = m.line[:count]; outside the image they are noted and dropped."""
    if not wide and not m.words[C_ROW, OWN]:
        write_words(m, address, count)
        return
    line = m.line
    size = m.p[2] if wide else m.p[1]
    at = address - m.base[0]
    inside = max(0, min(count, (m.int8.shape[0] - at) // size)) if at >= 0 and at % size == 0 else 0
    m.tally[3] += count - inside
    first = at // size
    if m.p[6] == 0 and size == 1:
        for i in range(inside):
            m.int8[first + i] = np.int64(line[i])
    elif m.p[6] == 0 and size == 2:
        for i in range(inside):
            m.int16[first + i] = np.int64(line[i])
    elif m.p[6] == 0:
        for i in range(inside):
            m.int32[first + i] = np.int64(line[i])
    elif m.p[6] == 2 and not wide:
        for i in range(inside):
            m.uint16[first + i] = encode_float(line[i], m.p[17], m.p[18])
    else:
        for i in range(inside):
            m.float32[first + i] = line[i]


@njit
def garble_line(m, count):  # type: ignore[no-untyped-def]
    """What a reader gets of rows in motion, in place."""
    for i in range(count):
        m.line[i] = garble(m, m.line[i])


@njit
def as_element(m, value):  # type: ignore[no-untyped-def]
    """``value`` rounded to the machine's floating-point element type."""
    if m.p[6] == 2:
        return round_float(value, m.p[17], m.p[18], m.lut)
    return np.float64(np.float32(value))
