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
def put_sum(m, row, lane, value, accumulate):  # type: ignore[no-untyped-def]
    """Write or add to an accumulator element: int32 wraps, float32 rounds once."""
    if accumulate:
        value = m.acc[row, lane] + value
    m.acc[row, lane] = np.float64(np.float32(value)) if m.p[6] else np.float64(wrap32(np.int64(value)))


@njit
def load_element(m, address, wide):  # type: ignore[no-untyped-def]
    """One element of DRAM; 0 outside the image (padded rows are loaded too)."""
    at = address - m.base[0]
    size = m.p[2] if wide else m.p[1]
    if at < 0 or at + size > m.int8.shape[0] or at % size:
        m.tally[2] += 1
        return 0.0
    if m.p[6] == 0:
        if size == 1:
            return np.float64(m.int8[at])
        return np.float64(m.int16[at // 2]) if size == 2 else np.float64(m.int32[at // 4])
    if m.p[6] == 2 and not wide:
        return np.float64(m.lut[np.int64(m.uint16[at // 2])])
    return np.float64(m.float32[at // 4])


@njit
def store_element(m, address, value, wide):  # type: ignore[no-untyped-def]
    """Write one element to DRAM; outside the image it is noted and dropped."""
    at = address - m.base[0]
    size = m.p[2] if wide else m.p[1]
    if at < 0 or at + size > m.int8.shape[0] or at % size:
        m.tally[3] += 1
    elif m.p[6] == 0:
        if size == 1:
            m.int8[at] = np.int64(value)
        elif size == 2:
            m.int16[at // 2] = np.int64(value)
        else:
            m.int32[at // 4] = np.int64(value)
    elif m.p[6] == 2 and not wide:
        m.uint16[at // 2] = encode_float(value, m.p[17], m.p[18])
    else:
        m.float32[at // 4] = value


@njit
def as_element(m, value):  # type: ignore[no-untyped-def]
    """``value`` rounded to the machine's floating-point element type."""
    if m.p[6] == 2:
        return np.float64(m.lut[encode_float(np.float64(value), m.p[17], m.p[18])])
    return np.float64(np.float32(value))
