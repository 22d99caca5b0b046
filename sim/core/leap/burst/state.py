"""Record of the bursts under way."""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import BANKS, NEVER, RING
from sim.core.units.reader import REQUESTS

BEATS = 16  # largest number of beats of a burst
BEATS_OUT = 64  # largest number of bursts (for a timeline: beats) on the wires

DTYPE = np.dtype(
    [
        ("enabled", "i8"),  # 1: this run makes bursts
        ("prevented", "i8"),  # 1: the program sends results to the scratchpad, which have priority over loaded rows
        ("due_t", "i8"),  # cycle of the next event of `settle`
        # bursts (for a timeline: single beats) that have not left the wires yet: last cycle << 6, beats << 1,
        # 1 where the burst ends
        ("wire_n", "i8"),  # bursts on the wires
        ("wire_head", "i8"),  # index of the oldest
        ("wire_burst", "i8", (BEATS_OUT,)),  # packed as above
        ("busy_t", "i8"),  # cycle of the last of them
        # requests on their way to the memory: cycles in which it takes them
        ("sent_n", "i8"),  # requests on their way
        ("sent_head", "i8"),  # index of the oldest
        ("sent_t", "i8", (REQUESTS,)),  # cycle in which the memory takes it
        # cycles in which the last beats reached port buffer, reader's buffer and merger
        ("port_t", "i8"),  # last beat in the port's buffer
        ("buffer_t", "i8"),  # last beat in the reader's buffer
        ("buffer_before_t", "i8"),  # the one before it
        ("merged_t", "i8"),  # last beat in the merger
        ("merged_before_t", "i8"),  # the one before it
        ("free_t", "i8"),  # cycle from which the merger takes the next request
        # last beats on their way to the merger: cycle, transaction id
        ("ends_n", "i8"),  # requests whose last beat is to come
        ("ends_head", "i8"),  # index of the oldest
        ("ends_t", "i8", (RING,)),  # cycle in which the merger has it
        ("ends_id", "i8", (RING,)),  # transaction
        # rows on their way to their banks, one per cycle: cycle of the first, count, bank, 1 if the last of them is the
        # last of a request
        ("rows_n", "i8"),  # runs of rows
        ("rows_head", "i8"),  # index of the oldest
        ("rows_t", "i8", (RING,)),  # cycle of its next row
        ("rows_count", "i8", (RING,)),  # rows left
        ("rows_bank", "i8", (RING,)),  # scratchpad bank
        ("rows_last", "i8", (RING,)),  # 1: its last row ends a request
        ("bank_t", "i8", (BANKS,)),  # last cycle in which one of them enters this bank
        ("row_t", "i8"),  # cycle in which the last one was written, and the last of a request
        ("last_t", "i8"),  # the last one that ended a request
    ]
)


@njit
def packed(cycle, beats, ends):
    """Pack an entry of `wire_burst`: cycle of its last beat, number of beats, 1 if the request ends."""
    return cycle << 6 | beats << 1 | ends


@njit
def cycle_of(entry):
    """Cycle of the last beat of an entry of `wire_burst`."""
    return entry >> 6


@njit
def beats_of(entry):
    """Beats of an entry of `wire_burst`."""
    return (entry >> 1) & 31


def reset(m):
    """State after reset: no burst under way, none before."""
    for field in (
        "busy_t",
        "port_t",
        "buffer_t",
        "buffer_before_t",
        "merged_t",
        "merged_before_t",
        "free_t",
        "row_t",
        "last_t",
    ):
        m.burst[field] = LONG_AGO
    m.burst.due_t = NEVER


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    f = m.burst
    straighten(f.wire_burst, f.wire_head, f.wire_n, BEATS_OUT)
    straighten(f.sent_t, f.sent_head, f.sent_n, REQUESTS)
    straighten(f.ends_t, f.ends_head, f.ends_n, RING)
    straighten(f.ends_id, f.ends_head, f.ends_n, RING)
    for ring in (f.rows_t, f.rows_count, f.rows_bank, f.rows_last):
        straighten(ring, f.rows_head, f.rows_n, RING)
    f.wire_head = 0
    f.sent_head = 0
    f.ends_head = 0
    f.rows_head = 0
    for i in range(f.sent_n):
        f.sent_t[i] -= now
    for i in range(f.wire_n):
        f.wire_burst[i] -= now << 6
    for i in range(f.ends_n):
        f.ends_t[i] -= now
    for i in range(f.rows_n):
        f.rows_t[i] -= now
    f.due_t = due(f.due_t, now)
    for bank in range(BANKS):
        f.bank_t[bank] = recent(f.bank_t[bank], now, 0)
    f.busy_t = recent(f.busy_t, now, 0)
    f.port_t = recent(f.port_t, now, 0)
    f.buffer_t = recent(f.buffer_t, now, 0)
    f.buffer_before_t = recent(f.buffer_before_t, now, 0)
    f.merged_t = recent(f.merged_t, now, 0)
    f.merged_before_t = recent(f.merged_before_t, now, 0)
    f.free_t = recent(f.free_t, now, 0)
    f.row_t = LONG_AGO
    f.last_t = LONG_AGO
