"""The accumulator banks: write pipeline with its adder, accesses blocked by a write in flight, one-row read buffers.

Source: AccumulatorMem.scala. Dual-ported banks: an accumulating write takes the read port in its cycle. Single-ported
banks (chip configurations): sub-banks with a write queue; read-for-accumulate, then queued write, then plain read.
"""

import numpy as np

from sim.core.events import Event
from sim.core.fields import accumulates
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent
from sim.core.params import BANKS, NEVER, acc_bank, acc_row, plus

E_ACCW = int(Event.ACC_WRITE_ROWS)
E_ACCA = int(Event.ACC_ACCUMULATE_ROWS)
E_ACCR = int(Event.ACC_READ_ROWS)

DEPTH = 8  # most stages of the write pipeline (acc_latency)
WRITE_QUEUE = 3  # entries of a sub-bank's write queue (nEntries)
WORDS = 4096  # bit words of 32 rows each: which rows still hold the zeros of reset

DTYPE = np.dtype(
    [
        # the last writes of each bank, newest at `at`
        ("pipe_at", "i8", (BANKS,)),  # index of the newest
        ("pipe_t", "i8", (BANKS, DEPTH)),  # cycle in which the write entered
        ("pipe_row", "i8", (BANKS, DEPTH)),  # row in the bank
        # this cycle's presented write: stamp and accumulate flag
        ("shown_t", "i8", (BANKS,)),  # cycle of the last write presented
        ("shown_acc", "i8", (BANKS,)),  # 1: it accumulates
        ("mesh_t", "i8", (BANKS,)),  # last cycle with a result row
        ("last_t", "i8"),  # newest write of all banks
        # read buffer: cycle from which the row read last is there; NEVER = empty
        ("read_t", "i8", (BANKS,)),  # by bank
        # single-ported: sub-bank write queues (row in sub-bank), accumulate reads of this cycle
        ("queue_n", "i8", (BANKS, 4)),  # writes queued
        ("queue_row", "i8", (BANKS, 4, 4)),  # their rows
        ("lost", "i8"),  # rows that found their queue full: the RTL's assertion fails
        ("rmw_t", "i8", (BANKS, 4)),  # last cycle with a read for accumulation
        ("wen_t", "i8", (BANKS, 4)),  # last cycle with a queued write
        ("same_t", "i8", (BANKS,)),  # cycle in which a DMA write must pause (same sub-bank twice)
        ("same_sub", "i8", (BANKS,)),  # sub-bank of the last accumulating write
        # rows that the array has announced (mesh.announce)
        ("run_t", "i8"),  # cycle of the next announced row
        ("run_n", "i8"),  # announced rows left
        ("run_good", "i8"),  # rows that are kept
        ("run_addr", "i8"),  # local address of row 0 of the result
        ("run_row", "i8"),  # next row of the result
        ("run_stride", "i8"),  # local rows from one to the next
        ("written", "u4", (WORDS,)),  # bit set: the row was written since reset
    ]
)


@njit
def same_bank(m, a, b):
    """True if two accumulator addresses are in one bank."""
    return acc_bank(m.p, a) == acc_bank(m.p, b)


@njit
def _in_flight(m, bank, row, now):
    """True if a write to this row entered the pipeline less than acc_latency + 1 cycles ago (and not in this cycle)."""
    a = m.acc
    for k in range(m.p.acc_latency + 1):
        i = (a.pipe_at[bank] - k) % DEPTH
        t = a.pipe_t[bank, i]
        if t < now and t >= now - m.p.acc_latency and a.pipe_row[bank, i] == row:
            return True
    return False


@njit
def _queued(m, bank, row):
    """True if the row waits in its sub-bank's write queue (single-ported only)."""
    a = m.acc
    sub = row & (m.p.acc_sub_banks - 1)
    for k in range(a.queue_n[bank, sub]):
        if a.queue_row[bank, sub, k] == row:
            return True
    return False


@njit
def holds_data(m, address):
    """True if the row has been written since reset: its values are not known to be zero."""
    row = address & (m.p.acc_rows - 1)
    return row >= 32 * WORDS or (m.acc.written[row >> 5] >> (row & 31)) & 1 == 1


@njit
def _enter(now, m, bank, row, accumulate):
    a = m.acc
    at = bank << m.p.acc_row_bits | row
    if at < 32 * WORDS:
        a.written[at >> 5] |= np.uint32(1 << (at & 31))
    i = (a.pipe_at[bank] + 1) % DEPTH
    a.pipe_at[bank] = i
    a.pipe_t[bank, i] = now
    a.pipe_row[bank, i] = row
    a.last_t = now
    m.count[E_ACCW] += 1
    if accumulate:
        m.count[E_ACCA] += 1
    if m.p.acc_single:
        sub = row & (m.p.acc_sub_banks - 1)
        if accumulate:
            a.rmw_t[bank, sub] = now
            if sub == a.same_sub[bank]:
                a.same_t[bank] = now + 1
            else:
                a.same_sub[bank] = sub


@njit
def wake(now, m):
    """Return the wake: while a write is in the pipeline, the accesses that it blocks change with time alone."""
    arrive(now, m)
    if m.acc.last_t >= now - m.p.acc_latency:
        return now + 1
    return NEVER


@njit
def read_wake(now, m, address):
    """Return the earliest cycle in which a bank may accept a read that it has just refused."""
    a = m.acc
    p = m.p
    bank = acc_bank(p, address)
    if a.read_t[bank] != NEVER:
        return NEVER  # until the last row read is taken
    if a.run_n > 0 and a.run_t == now + 1 and accumulates(a.run_addr) and a.run_good == a.run_n:
        first = plus(p, a.run_addr, a.run_row * a.run_stride)
        last = plus(p, a.run_addr, (a.run_row + a.run_n - 1) * a.run_stride)
        if first <= last and acc_bank(p, first) == bank and acc_bank(p, last) == bank:
            return a.run_t + a.run_n  # results accumulate there every cycle until then
    return wake(now, m)


@njit
def settle(now, m):
    """Single-ported: writes leaving the pipeline this cycle join their sub-bank's queue. Returns the wake."""
    a = m.acc
    p = m.p
    acted = False
    for bank in range(p.acc_banks):
        for sub in range(p.acc_sub_banks):
            if a.queue_n[bank, sub] > 0 and a.rmw_t[bank, sub] != now:
                a.wen_t[bank, sub] = now
                a.queue_n[bank, sub] -= 1
                for k in range(a.queue_n[bank, sub]):
                    a.queue_row[bank, sub, k] = a.queue_row[bank, sub, k + 1]
                acted = True
        for i in range(DEPTH):
            if a.pipe_t[bank, i] == now - p.acc_latency:
                row = a.pipe_row[bank, i]
                sub = row & (p.acc_sub_banks - 1)
                if a.queue_n[bank, sub] < WRITE_QUEUE:
                    a.queue_row[bank, sub, a.queue_n[bank, sub]] = row
                    a.queue_n[bank, sub] += 1
                else:
                    a.lost += 1
                acted = True
    return now + 1 if acted else wake(now, m)


@njit
def expect(m, start, n, address, row, rows, stride):
    """Announce n rows of the array, one per cycle beginning with `start`.

    Result rows beginning with `row`, `rows` of which are kept.
    """
    a = m.acc
    a.run_t = start
    a.run_n = n
    a.run_good = min(n, max(0, rows - row))
    a.run_addr = address
    a.run_row = row
    a.run_stride = stride


@njit
def arrive(now, m):
    """Write the announced rows that are due by now. Rows that have left the pipeline already are only counted."""
    a = m.acc
    k = min(now + 1 - a.run_t, a.run_n)
    if k <= 0:
        return
    good = min(k, a.run_good)
    past = 0 if m.p.has_norm else max(0, min(good, now - m.p.acc_latency - a.run_t))
    accumulate = accumulates(a.run_addr)
    m.count[E_ACCW] += past
    m.count[E_ACCA] += past * accumulate
    for i in range(past, good):
        mesh_write(a.run_t + i, m, plus(m.p, a.run_addr, (a.run_row + i) * a.run_stride), accumulate)
    a.run_t += k
    a.run_row += k
    a.run_n -= k
    a.run_good -= good


@njit
def mesh_write(now, m, address, accumulate):
    """Write a result row of the mesh; never refused."""
    a = m.acc
    bank = acc_bank(m.p, address)
    a.shown_t[bank] = now
    a.shown_acc[bank] = accumulate
    a.mesh_t[bank] = now
    _enter(now, m, bank, acc_row(m.p, address), accumulate)


@njit
def dma_write(now, m, address, accumulate):
    """Offer a loaded row to the accumulator; True if it was written."""
    arrive(now, m)
    a = m.acc
    bank = acc_bank(m.p, address)
    row = acc_row(m.p, address)
    if a.mesh_t[bank] == now or (m.p.acc_single and a.same_t[bank] == now):
        return False
    a.shown_t[bank] = now
    a.shown_acc[bank] = accumulate
    if accumulate:
        if m.p.acc_single:
            if _queued(m, bank, row):
                return False
            # a row that the pipeline refuses has read its sub-bank nevertheless, before any queued write
            a.rmw_t[bank, row & (m.p.acc_sub_banks - 1)] = now
        if _in_flight(m, bank, row, now):
            return False
    _enter(now, m, bank, row, accumulate)
    return True


@njit
def try_read(now, m, address):
    """Offer a read of the store path; True if the bank accepts it. The row is available in the next cycle."""
    arrive(now, m)
    a = m.acc
    p = m.p
    bank = acc_bank(p, address)
    if a.read_t[bank] != NEVER:
        return False
    if a.shown_t[bank] == now and a.shown_acc[bank]:
        return False
    row = acc_row(p, address)
    if _in_flight(m, bank, row, now):
        return False
    if p.acc_single:
        sub = row & (p.acc_sub_banks - 1)
        if a.rmw_t[bank, sub] == now or a.wen_t[bank, sub] == now or _queued(m, bank, row):
            return False
    a.read_t[bank] = now + 1
    m.count[E_ACCR] += 1
    return True


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    a = m.acc
    p = m.p
    for bank in range(BANKS):
        # newest first; writes older than the depth of the pipeline have left it
        t = a.pipe_t[bank].copy()
        row = a.pipe_row[bank].copy()
        for k in range(DEPTH):
            i = (a.pipe_at[bank] - k) % DEPTH
            at = -k % DEPTH
            a.pipe_t[bank, at] = recent(t[i], now, p.acc_latency) if k <= p.acc_latency else LONG_AGO
            a.pipe_row[bank, at] = row[i] if a.pipe_t[bank, at] != LONG_AGO else 0
        a.pipe_at[bank] = 0
        a.shown_t[bank] = LONG_AGO
        a.shown_acc[bank] = 0
        a.mesh_t[bank] = LONG_AGO
        a.read_t[bank] = due(a.read_t[bank], now)
        a.same_t[bank] = recent(a.same_t[bank], now, 0)
        for sub in range(4):
            for k in range(a.queue_n[bank, sub], 4):
                a.queue_row[bank, sub, k] = 0
            a.rmw_t[bank, sub] = LONG_AGO
            a.wen_t[bank, sub] = LONG_AGO
    a.last_t = recent(a.last_t, now, p.acc_latency)
    a.run_t = 0
    a.run_good = 0
    a.run_addr = 0
    a.run_row = 0
    a.run_stride = 0
    if not p.has_norm:
        a.written[:] = 0  # only the normaliser's divisions depend on it


def reset(m, written_rows):
    """State after reset; ``written_rows`` hold data of earlier programs."""
    a = m.acc
    for field in ("pipe_t", "shown_t", "mesh_t", "rmw_t", "wen_t", "same_t"):
        a[field][:] = LONG_AGO
    a.last_t = LONG_AGO
    a.read_t[:] = NEVER
    for row in written_rows:
        a.written[row >> 5] |= np.uint32(1 << (row & 31))
