"""Traffic of the executed commands, counted from the rows and bytes accessed, independently of the timing core.

Requests follow the rule of the DMA (gemmini_machine.md 4.2): of all powers of two from a bus beat to the longest
request the aligned window with most useful bytes, the smallest of equals.
"""

from __future__ import annotations

import numpy as np

from sim.functional.jit import njit

NAMES = (
    "DRAM_READ_REQUESTS",
    "DRAM_READ_BYTES",
    "DRAM_WRITE_REQUESTS",
    "DRAM_WRITE_BYTES",
    "DRAM_WRITE_BYTES_UNMASKED",
    "SPAD_READ_ROWS",
    "SPAD_WRITE_ROWS",
    "ACC_READ_ROWS",
    "ACC_WRITE_ROWS",
    "ACC_ACCUMULATE_ROWS",
    "WEIGHT_ROWS",
    "SCALE_ROWS",
    "NORMALIZE_ROWS",
)
"""Counters of `sim.core.events.Event` that follow from the commands alone."""

COUNTS = np.dtype([(name.lower(), "i8") for name in NAMES])
"""The record ``State.counts``."""


@njit
def _window(m, address, left):  # type: ignore[no-untyped-def]
    """(bytes of the request, useful bytes) of the next request of a row."""
    size = m.fixed.bus_bytes
    best = 0
    useful = -1
    while size <= m.fixed.max_request_bytes:
        got = min(size - address % size, left)
        if got > useful:
            useful = got
            best = size
        size *= 2
    return best, useful


@njit
def count_read(m, address, length, row_bytes):  # type: ignore[no-untyped-def]
    """Count the requests of one row of ``length`` bytes; ``m.pieces``: number of requests for each local row."""
    requested = 0
    m.pieces[: (length - 1) // row_bytes + 1] = 0
    while requested < length:
        size, useful = _window(m, address + requested, length - requested)
        m.counts.dram_read_requests += 1
        m.counts.dram_read_bytes += size
        for block in range(requested // row_bytes, (requested + useful - 1) // row_bytes + 1):
            m.pieces[block] += 1
        requested += useful


@njit
def count_stored(m, address, length, row_bytes):  # type: ignore[no-untyped-def]
    """Count the requests of ``length`` stored bytes and the local rows they fill, ``row_bytes`` each.

    A row is written by the request that completes it, and by each request entirely inside it.
    """
    requested = 0
    while requested < length:
        size, useful = _window(m, address + requested, length - requested)
        m.counts.dram_read_requests += 1
        m.counts.dram_read_bytes += size
        m.counts.spad_write_rows += max(1, (requested % row_bytes + useful) // row_bytes)
        requested += useful


@njit
def count_write(m, address, length):  # type: ignore[no-untyped-def]
    """Count the requests of one stored row of ``length`` bytes."""
    sent = 0
    while sent < length:
        size, useful = _window(m, address + sent, length - sent)
        m.counts.dram_write_requests += 1
        m.counts.dram_write_bytes += size
        m.counts.dram_write_bytes_unmasked += useful
        sent += useful
