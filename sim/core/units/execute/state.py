"""State of the execute controller: transpose unroller, command queue, the command being performed, control queue.

Source: ExecuteController.scala, TransposePreloadUnroller.scala, MultiHeadedQueue.scala.
"""

import numpy as np

from sim.core.fields import get
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import RING
from sim.isa import codes
from sim.isa.layouts import EX_FIRST

WAITING = 0
COMPUTE = 1
FLUSH = 2
FLUSHING = 3

STATES = ("waiting for commands", "firing rows", "asking for a flush", "flushing")

SINGLE_PRELOAD = 1
OVERLAPPED = 2
SINGLE_COMPUTE = 3

GARBAGE = 0xFFFFFFFF
ENTRIES = 16

DTYPE = np.dtype(
    [
        # transpose unroller
        ("unroller_n", "i8"),  # commands in the unroller, at most 2
        ("unroller_pop_t", "i8"),  # cycle in which the last one left it
        ("unroller_funct", "i8", (2,)),  # command numbers
        ("unroller_rs1", "i8", (2,)),  # first operands
        ("unroller_rs2", "i8", (2,)),  # second operands
        ("unroller_slot", "i8", (2,)),  # reservation station slots
        ("unroller_state", "i8"),  # 0 idle, 1 first compute, 2 second preload
        ("unroller_transposed", "i8"),  # 1: B is transposed, pairs are unrolled
        # execute queue
        ("queue_n", "i8"),  # commands queued
        ("queue_head", "i8"),  # index of the oldest
        ("queue_popped", "i8"),  # commands dropped in cycle `queue_pop_t`
        ("queue_pop_t", "i8"),  # last cycle in which commands were dropped
        ("queue_funct", "i8", (RING,)),  # ring of command numbers
        ("queue_rs1", "i8", (RING,)),  # ring of first operands
        ("queue_rs2", "i8", (RING,)),  # ring of second operands
        ("queue_slot", "i8", (RING,)),  # ring of reservation station slots, -1 none
        ("state", "i8"),  # WAITING, COMPUTE, FLUSH or FLUSHING
        ("kind", "i8"),  # SINGLE_PRELOAD, OVERLAPPED or SINGLE_COMPUTE
        # configuration
        ("weight_stationary", "i8"),  # 1 weight-stationary, 0 output-stationary
        ("illegal", "i8"),  # 1: two operands configured for the single transposer; the RTL then flushes forever
        ("a_transpose", "i8"),  # 1: A goes through the transposer
        ("bd_transpose", "i8"),  # 1: B (weight-stationary: D) does
        ("a_stride", "i8"),  # local rows from one row of A to the next
        # the command being performed
        ("total", "i8"),  # rows of the command
        ("row", "i8"),  # row whose operands fire next
        ("pace_t", "i8"),  # the next row fires no earlier
        ("done", "i8"),  # operands fired for the present row: 1 A, 2 B, 4 D
        ("a_on", "i8"),  # operand is being read (started and not garbage)
        ("b_on", "i8"),  # the same of B
        ("d_on", "i8"),  # the same of D
        ("a_addr", "i8"),  # local address of row 0 of A
        ("b_addr", "i8"),  # of B
        ("d_addr", "i8"),  # of D
        ("a_rows", "i8"),  # rows of A that are not zero padding
        ("b_rows", "i8"),  # of B
        ("d_rows", "i8"),  # of D
        ("a_cols", "i8"),  # columns of A
        ("b_cols", "i8"),  # of B
        ("d_cols", "i8"),  # of D
        ("c_addr", "i8"),  # local address of the result
        ("c_rows", "i8"),  # rows of the result that are kept
        ("c_slot", "i8"),  # reservation station slot of the preload, -1 none
        ("pending_first", "i8"),  # completed commands that wait for the completion port, -1 none
        ("pending_second", "i8"),  # of the second operand of an overlapped pair
        # control queue
        ("entry_n", "i8"),  # entries on their way to the mesh
        ("entry_head", "i8"),  # index of the oldest
        ("entry_fires", "i8", (ENTRIES,)),  # operands fired with the entry: 1 A, 2 B, 4 D
        ("entry_first", "i8", (ENTRIES,)),  # 1: first row of its command
        ("entry_ready_t", "i8", (ENTRIES,)),  # cycle from which its row is there
        ("entry_total", "i8", (ENTRIES,)),  # rows of its command
        ("entry_slot", "i8", (ENTRIES,)),  # slot of its preload, -1 none
        ("entry_address", "i8", (ENTRIES,)),  # local address of its result
        ("entry_rows", "i8", (ENTRIES,)),  # rows of its result that are kept
        # the run (execute_run): its next cycle, cycles left, rows read in each, banks that a write would use
        ("run_t", "i8"),  # next cycle of the run
        ("run_n", "i8"),  # cycles left
        (
            "run_taken",
            "i8",
        ),  # index (from 1) of the run's cycle in which the array takes its next request; not positive: none
        ("run_reads", "i8"),  # operand rows read in each cycle
        ("run_weights", "i8"),  # 1: one of them is of D
        ("run_a", "i8"),  # scratchpad bank of A
        ("run_b", "i8"),  # of B
        ("run_d", "i8"),  # of D
        # reason for a stall of the controller in this cycle, for the cause of the cycle
        ("stalled", "i8"),  # 1: an operand row was refused by its bank
        ("row_fed", "i8"),  # 1: a row entered the array
        ("firing", "i8"),  # 1: a row is being fired, or the next one waits for its pace
    ]
)


@njit
def pop(now, x, k):
    """Drop the first k commands of the queue."""
    x.queue_head = (x.queue_head + k) % RING
    x.queue_n -= k
    x.queue_popped = k
    x.queue_pop_t = now


@njit
def unrolls(now, m):
    """True if a command entered the execute queue in this cycle, or one can and there is room."""
    x = m.execute
    return x.unroller_pop_t == now or (x.unroller_n > 0 and x.queue_n < m.p.exq and not _lacks_compute(x))


@njit
def _lacks_compute(x):
    """True if a preload of a transposed B waits in the unroller for its compute."""
    first = x.unroller_state == 0 and x.unroller_funct[0] == codes.PRELOAD
    return first and x.unroller_transposed != 0 and x.unroller_n < 2


@njit
def unroll(now, m):
    """Move one command through the transpose unroller into the execute queue. True if one moved."""
    x = m.execute
    p = m.p
    if x.unroller_n == 0:
        return False
    n = x.queue_n + (x.queue_popped if x.queue_pop_t == now else 0)
    if n >= p.exq:
        return False
    funct = x.unroller_funct[0]
    rs1 = x.unroller_rs1[0]
    rs2 = x.unroller_rs2[0]
    slot = x.unroller_slot[0]
    keep = False
    if x.unroller_state == 0 and funct == codes.PRELOAD:
        if _lacks_compute(x):
            return False
        if x.unroller_transposed and x.unroller_funct[1] == codes.COMPUTE_PRELOADED:
            rs2 = (rs2 & ~GARBAGE) | GARBAGE
            slot = -1
            keep = True
            x.unroller_state = 1
    elif x.unroller_state == 1:
        funct = codes.COMPUTE_ACCUMULATED
        rs1 = x.unroller_rs1[1]
        rs2 = x.unroller_rs2[1]
        slot = -1
        keep = True
        x.unroller_state = 2
    elif x.unroller_state == 2:
        rs1 = (rs1 & ~GARBAGE) | GARBAGE
        x.unroller_state = 0
    if funct == codes.CONFIG and not get(rs1, EX_FIRST.strides_only):
        stationary = p.dataflow == 1 or get(rs1, EX_FIRST.weight_stationary)
        x.unroller_transposed = 1 if stationary and get(rs1, EX_FIRST.transpose_b) else 0
    i = (x.queue_head + x.queue_n) % RING
    x.queue_funct[i] = funct
    x.queue_rs1[i] = rs1
    x.queue_rs2[i] = rs2
    x.queue_slot[i] = slot
    x.queue_n += 1
    if not keep:
        x.unroller_funct[0] = x.unroller_funct[1]
        x.unroller_rs1[0] = x.unroller_rs1[1]
        x.unroller_rs2[0] = x.unroller_rs2[1]
        x.unroller_slot[0] = x.unroller_slot[1]
        x.unroller_n -= 1
        x.unroller_pop_t = now
    return True


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    _canonise_queues(m.execute, now)
    _canonise_command(m.execute)


@njit
def _canonise_queues(x, now):
    """Command queues and control queue."""
    for i in range(x.unroller_n, 2):
        x.unroller_funct[i] = 0
        x.unroller_rs1[i] = 0
        x.unroller_rs2[i] = 0
        x.unroller_slot[i] = 0
    x.unroller_pop_t = recent(x.unroller_pop_t, now, 0)
    for ring in (x.queue_funct, x.queue_rs1, x.queue_rs2, x.queue_slot):
        straighten(ring, x.queue_head, x.queue_n, RING)
    x.queue_head = 0
    x.queue_pop_t = recent(x.queue_pop_t, now, 0)
    if x.queue_pop_t == LONG_AGO:
        x.queue_popped = 0
    for ring in (
        x.entry_fires,
        x.entry_first,
        x.entry_ready_t,
        x.entry_total,
        x.entry_slot,
        x.entry_address,
        x.entry_rows,
    ):
        straighten(ring, x.entry_head, x.entry_n, ENTRIES)
    x.entry_head = 0
    x.pace_t = due(x.pace_t, now)
    for i in range(x.entry_n):
        x.entry_ready_t[i] = due(x.entry_ready_t[i], now)


@njit
def _canonise_command(x):
    """Normal form of the current command; between commands no unit reads the last one."""
    x.stalled = 0
    x.row_fed = 0
    x.firing = 0
    x.run_t = 0
    x.run_taken = 0
    x.run_reads = 0
    x.run_weights = 0
    x.run_a = 0
    x.run_b = 0
    x.run_d = 0
    if x.state == COMPUTE:
        return
    x.kind = 0
    x.total = 0
    x.row = 0
    x.done = 0
    x.a_on = 0
    x.b_on = 0
    x.d_on = 0
    x.a_addr = 0
    x.b_addr = 0
    x.d_addr = 0
    x.a_rows = 0
    x.b_rows = 0
    x.d_rows = 0
    x.a_cols = 0
    x.b_cols = 0
    x.d_cols = 0
    x.c_addr = 0
    x.c_rows = 0
    x.c_slot = -1


def reset(m):
    """State after reset."""
    x = m.execute
    x.pending_first = -1
    x.pending_second = -1
    x.weight_stationary = 1 if m.p.dataflow == 1 else 0
    x.queue_pop_t = LONG_AGO
    x.unroller_pop_t = LONG_AGO


def describe(m):
    """Describe what a stopped execute controller waits for."""
    x = m.execute
    text = f"execute: {STATES[int(x.state)]}, {x.queue_n} commands queued, {x.entry_n} rows on their way to the mesh"
    if x.illegal:
        text += "\nexecute: config_ex asks for two operands from the one transposer; the array flushes for ever"
    return text
