"""Record of the reservation station, and the timeline that it writes.

The cycles in which each command entered, issued, completed.

Source: ReservationStation.scala.
"""

import numpy as np

from sim.core.events import Cause, Event
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent, straighten
from sim.isa.commands import Funct

LD = 0
EX = 1
ST = 2
"""Classes of commands, each with a table of its own."""

SLOTS = 64  # entries per class; dependences are one 64-bit mask per class

DTYPE = np.dtype(
    [
        ("n", "i8", (3,)),  # valid entries per class
        ("freed_t", "i8", (3,)),  # last cycle in which an entry was freed
        ("freed_n", "i8", (3,)),  # entries freed in that cycle
        ("live", "i8", (3,)),  # mask of valid slots
        ("wait_n", "i8", (3,)),  # not yet issued, in order
        ("wait_head", "i8", (3,)),  # index of the oldest
        ("waiting", "i8", (3, SLOTS)),  # ring of their slots
        ("funct", "i8", (3, SLOTS)),  # command number
        ("rs1", "i8", (3, SLOTS)),  # first operand
        ("rs2", "i8", (3, SLOTS)),  # second operand
        ("source", "i8", (3, SLOTS)),  # 0 program, 1 matmul loop, 2 convolution loop
        ("row", "i8", (3, SLOTS)),  # row of the timeline
        ("deps", "i8", (3, SLOTS, 3)),  # by class: mask of the slots waited for
        # operand ranges (dependences.py): [., 0] = opa (a destination when a_dst), [., 1] = opb
        ("first", "i8", (3, 2, SLOTS)),  # first row of the range
        ("behind", "i8", (3, 2, SLOTS)),  # row behind it
        ("a_dst", "i8", (3, SLOTS)),  # 1: operand 0 is written
        ("solitary", "i8"),  # the newest execute command is a preload without its compute
        # configuration tracked at allocation
        ("a_stride", "i8"),  # local rows from one row of A to the next
        ("c_stride", "i8"),  # of C
        ("a_transpose", "i8"),  # 1: A is transposed
        ("block_stride", "i8", (4,)),  # by load state: rows from block to block
        ("pixels", "i8", (4,)),  # by load state: copies of a row
        ("pooling", "i8"),  # 1: stores pool
        # completions reported to the unrollers in this cycle: [source 1 matmul, 2 convolution][class]
        ("completions", "i8", (3, 3)),  # completions in cycle `completions_t`
        ("completions_t", "i8"),  # cycle of the last completion
        ("ex_done", "i8"),  # ex slot that completes this cycle, -1 none
        # events of entries in this cycle, for the timeline
        ("logging", "i8"),  # 1: a timeline is written
        ("log_n", "i8"),  # events of this cycle
        ("log_what", "i8", (8,)),  # ALLOCATED, ISSUED or COMPLETED
        ("log_class", "i8", (8,)),  # class
        ("log_slot", "i8", (8,)),  # slot
        ("log_row", "i8", (8,)),  # row of the timeline
        ("rows", "i8"),  # timeline rows begun
        # position of row 0 and cycle 0 of this record in the timeline (the periodic clock resets both)
        ("origin_row", "i8"),  # timeline row of row 0
        ("origin_t", "i8"),  # cycle of the run that is cycle 0 here
        ("news_t", "i8"),  # cycle in which the load or store controller has a completion or a free place
        ("progress_t", "i8"),  # last cycle in which a command or a beat on the bus moved
    ]
)

# Counters that the timeline reads at each completion: activity over time, exact, at no cost to other runs.
SEEN = (
    Event.BUS_READ_BEATS,
    Event.BUS_WRITE_BEATS,
    Event.MESH_INPUT_ROWS,
    Event.SPAD_READ_ROWS,
    Event.SPAD_WRITE_ROWS,
    Event.ACC_READ_ROWS,
    Event.ACC_WRITE_ROWS,
)
SEEN_COUNTERS = tuple(int(event) for event in SEEN)

TIMELINE = np.dtype(
    [
        ("queue", "i8"),  # class: 0 load, 1 execute, 2 store
        ("funct", "i8"),  # command number
        ("rs1", "i8"),  # first operand
        ("rs2", "i8"),  # second operand
        ("t_alloc", "i8"),  # cycle in which it entered the station
        ("t_issue", "i8"),  # cycle in which its controller got it
        ("t_complete", "i8"),  # cycle in which it completed, -1 never
        ("seen", "i8", (len(SEEN),)),  # counters at completion, in the order of SEEN
        ("why", "i8", (len(Cause),)),  # cycles by cause before completion
    ]
)

ALLOCATED = 0
ISSUED = 1
COMPLETED = 2


@njit
def note(r, c, slot, what):
    """Record an event of this cycle for the timeline."""
    if r.logging:
        i = r.log_n
        r.log_what[i] = what
        r.log_class[i] = c
        r.log_slot[i] = slot
        r.log_row[i] = r.row[c, slot]
        r.log_n = i + 1


@njit
def record(now, m, times):
    """Write the events of this cycle into the timeline (as far as it has room)."""
    r = m.station
    for i in range(r.log_n):
        row = r.log_row[i] + r.origin_row
        if row < times.shape[0]:
            t = times[row]
            if r.log_what[i] == ISSUED:
                t.t_issue = now + r.origin_t
            elif r.log_what[i] == COMPLETED:
                t.t_complete = now + r.origin_t
                for k in range(len(SEEN_COUNTERS)):
                    t.seen[k] = m.count[SEEN_COUNTERS[k]]
                for k in range(m.cause.shape[0]):
                    t.why[k] = m.cause[k]
            else:
                c = r.log_class[i]
                s = r.log_slot[i]
                t.queue = c
                t.funct = r.funct[c, s]
                t.rs1 = r.rs1[c, s]
                t.rs2 = r.rs2[c, s]
                t.t_alloc = now + r.origin_t
                t.t_issue = -1
                t.t_complete = -1
    r.log_n = 0


@njit
def canonise(m, now):
    """Normal form, clock set back to 0.

    Ranges of issued commands are kept, as later commands are compared with them.
    """
    r = m.station
    for c in range(3):
        straighten(r.waiting[c], r.wait_head[c], r.wait_n[c], SLOTS)
        r.wait_head[c] = 0
        r.freed_t[c] = recent(r.freed_t[c], now, 0)
        if r.freed_t[c] == LONG_AGO:
            r.freed_n[c] = 0
        waits = 0
        for k in range(r.wait_n[c]):
            waits |= 1 << r.waiting[c, k]
        for s in range(SLOTS):
            if not (waits >> s) & 1:
                r.funct[c, s] = 0
                r.rs1[c, s] = 0
                r.rs2[c, s] = 0
                r.deps[c, s, :] = 0
            if not (r.live[c] >> s) & 1:
                r.source[c, s] = 0
                r.row[c, s] = 0
                r.a_dst[c, s] = 0
                r.first[c, :, s] = 0
                r.behind[c, :, s] = 0
            else:
                r.row[c, s] -= r.rows
    r.rows = 0
    r.completions[:, :] = 0
    r.completions_t = LONG_AGO
    r.log_n = 0
    r.log_what[:] = 0
    r.log_class[:] = 0
    r.log_slot[:] = 0
    r.log_row[:] = 0
    r.news_t = recent(r.news_t, now, 0)
    r.progress_t -= now


def reset(m):
    """State after reset."""
    r = m.station
    r.completions_t = LONG_AGO
    r.news_t = LONG_AGO
    r.freed_t[:] = LONG_AGO
    r.ex_done = -1
    r.pixels[:] = 1


def describe(m):
    """Describe what the next command of each class waits for."""
    return "\n".join(f"reservation station {name}: {_head(m.station, c)}" for c, name in enumerate(CLASSES))


CLASSES = ("ld", "ex", "st")


def _head(r, c):
    if r.n[c] == 0:
        return "empty"
    if r.wait_n[c] == 0:
        return f"{r.n[c]} issued, none waiting"
    slot = r.waiting[c, r.wait_head[c] % SLOTS]
    waits = [f"{int(r.deps[c, slot, d]).bit_count()} {CLASSES[d]}" for d in range(3) if r.deps[c, slot, d] != 0]
    name = Funct(int(r.funct[c, slot])).name.lower()
    return f"{r.n[c]} entries, next to issue: {name}, waits for {' and '.join(waits) or 'its controller'}"
