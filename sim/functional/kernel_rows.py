"""Local rows: addresses, who has them in motion, and what a clash between two queues leaves behind."""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.functional.arithmetic import encode_float, wrap32

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
def _mark_of(m, address, offset):  # type: ignore[no-untyped-def]
    """Place of a row in ``m.marks``: the accumulator's rows follow the scratchpad's."""
    return row_of(m, address, offset) + is_acc(address) * m.spad.shape[0]


@njit
def disturb(m, address, offset, stride, count, writer, step):  # type: ignore[no-untyped-def]
    """``count`` rows begin (step 1) or end (step -1) to be written by a command of queue ``writer``."""
    for r in range(count):
        row = _mark_of(m, address, offset + r * stride)
        m.marks[writer, 0, row] += step
        m.marks[writer, 1, row] += 1


@njit
def seen(m, address, offset, stride, count, writer):  # type: ignore[no-untyped-def]
    """Number of changes so far in ``count`` rows by one queue, or -1 when it has one of them in motion."""
    total = np.int64(0)
    for r in range(count):
        row = _mark_of(m, address, offset + r * stride)
        if m.marks[writer, 0, row] > 0:
            return np.int64(-1)
        total += m.marks[writer, 1, row]
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
def add(m, row, lane, value):  # type: ignore[no-untyped-def]
    """Add to an accumulator element: int32 wraps, float32 rounds once."""
    if m.p[6]:
        m.acc[row, lane] = np.float32(np.float32(m.acc[row, lane]) + np.float32(value))
    else:
        m.acc[row, lane] = wrap32(np.int64(m.acc[row, lane]) + np.int64(value))


@njit
def as_element(m, value):  # type: ignore[no-untyped-def]
    """``value`` rounded to the machine's floating-point element type."""
    if m.p[6] == 2:
        return np.float64(m.lut[encode_float(np.float64(value), m.p[17], m.p[18])])
    return np.float64(np.float32(value))
