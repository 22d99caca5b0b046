"""State of the execute controller: transpose unroller, command queue, the command being performed, control queue.

Source: ExecuteController.scala, TransposePreloadUnroller.scala, MultiHeadedQueue.scala.
"""

import numpy as np

from sim.core.fields import ex_strides_only, ex_transpose_b, ex_weight_stationary
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import RING
from sim.isa import codes

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
        ("u_n", "i8"),
        ("u_pop_t", "i8"),
        ("u_funct", "i8", (2,)),
        ("u_rs1", "i8", (2,)),
        ("u_rs2", "i8", (2,)),
        ("u_slot", "i8", (2,)),
        ("u_state", "i8"),  # 0 idle, 1 first compute, 2 second preload
        ("u_transposed", "i8"),
        # execute queue
        ("q_n", "i8"),
        ("q_head", "i8"),
        ("q_popped", "i8"),
        ("q_pop_t", "i8"),
        ("q_funct", "i8", (RING,)),
        ("q_rs1", "i8", (RING,)),
        ("q_rs2", "i8", (RING,)),
        ("q_slot", "i8", (RING,)),
        ("state", "i8"),
        ("kind", "i8"),
        # configuration
        ("ws", "i8"),
        ("illegal", "i8"),  # 1: two operands configured for the one transposer; the RTL then flushes for ever
        ("a_transpose", "i8"),
        ("bd_transpose", "i8"),
        ("a_stride", "i8"),
        # the command being performed
        ("total", "i8"),
        ("row", "i8"),
        ("pace_t", "i8"),  # the next row fires no earlier
        ("done", "i8"),  # operands fired for the present row: 1 A, 2 B, 4 D
        ("a_on", "i8"),  # operand is being read (started and not garbage)
        ("b_on", "i8"),
        ("d_on", "i8"),
        ("a_addr", "i8"),
        ("b_addr", "i8"),
        ("d_addr", "i8"),
        ("a_rows", "i8"),
        ("b_rows", "i8"),
        ("d_rows", "i8"),
        ("a_cols", "i8"),
        ("b_cols", "i8"),
        ("d_cols", "i8"),
        ("c_addr", "i8"),
        ("c_rows", "i8"),
        ("c_slot", "i8"),
        ("pend0", "i8"),  # completed commands that wait for the completion port, -1 none
        ("pend1", "i8"),
        # control queue
        ("e_n", "i8"),
        ("e_head", "i8"),
        ("e_fires", "i8", (ENTRIES,)),
        ("e_first", "i8", (ENTRIES,)),
        ("e_t", "i8", (ENTRIES,)),
        ("e_total", "i8", (ENTRIES,)),
        ("e_slot", "i8", (ENTRIES,)),
        ("e_addr", "i8", (ENTRIES,)),
        ("e_rows", "i8", (ENTRIES,)),
        # the run (execute_run): its next cycle, cycles left, rows read in each, banks that a write would take away
        ("run_t", "i8"),
        ("run_n", "i8"),
        ("run_taken", "i8"),  # the array takes its next request in this of them, counted from 1; not positive: in none
        ("run_reads", "i8"),
        ("run_weights", "i8"),
        ("run_a", "i8"),
        ("run_b", "i8"),
        ("run_d", "i8"),
        # what held the controller back this cycle, for the cause of the cycle
        ("stalled", "i8"),  # 1: an operand row was refused by its bank
        ("fed", "i8"),  # 1: a row entered the array
        ("fire", "i8"),
    ]
)


@njit
def pop(now, x, k):
    """Drop the first k commands of the queue."""
    x.q_head = (x.q_head + k) % RING
    x.q_n -= k
    x.q_popped = k
    x.q_pop_t = now


@njit
def unrolls(now, m):
    """A command went to the execute queue in this cycle, or one waits and there is room."""
    return m.ex.u_pop_t == now or (m.ex.u_n > 0 and m.ex.q_n < m.p.exq)


@njit
def unroll(now, m):
    """One command through the transpose unroller into the execute queue. True when one went."""
    x = m.ex
    p = m.p
    if x.u_n == 0:
        return False
    n = x.q_n + (x.q_popped if x.q_pop_t == now else 0)
    if n >= p.exq:
        return False
    funct = x.u_funct[0]
    rs1 = x.u_rs1[0]
    rs2 = x.u_rs2[0]
    slot = x.u_slot[0]
    keep = False
    if x.u_state == 0 and funct == codes.PRELOAD:
        if x.u_transposed:
            if x.u_n < 2:
                return False
            if x.u_funct[1] == codes.COMPUTE_PRELOADED:
                rs2 = (rs2 & ~GARBAGE) | GARBAGE
                slot = -1
                keep = True
                x.u_state = 1
    elif x.u_state == 1:
        funct = codes.COMPUTE_ACCUMULATED
        rs1 = x.u_rs1[1]
        rs2 = x.u_rs2[1]
        slot = -1
        keep = True
        x.u_state = 2
    elif x.u_state == 2:
        rs1 = (rs1 & ~GARBAGE) | GARBAGE
        x.u_state = 0
    if funct == codes.CONFIG and not ex_strides_only(rs1):
        x.u_transposed = 1 if (p.dataflow == 1 or ex_weight_stationary(rs1)) and ex_transpose_b(rs1) else 0
    i = (x.q_head + x.q_n) % RING
    x.q_funct[i] = funct
    x.q_rs1[i] = rs1
    x.q_rs2[i] = rs2
    x.q_slot[i] = slot
    x.q_n += 1
    if not keep:
        x.u_funct[0] = x.u_funct[1]
        x.u_rs1[0] = x.u_rs1[1]
        x.u_rs2[0] = x.u_rs2[1]
        x.u_slot[0] = x.u_slot[1]
        x.u_n -= 1
        x.u_pop_t = now
    return True


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    _canonise_queues(m.ex, now)
    _canonise_command(m.ex)


@njit
def _canonise_queues(x, now):
    """Command queues and control queue."""
    for i in range(x.u_n, 2):
        x.u_funct[i] = 0
        x.u_rs1[i] = 0
        x.u_rs2[i] = 0
        x.u_slot[i] = 0
    x.u_pop_t = recent(x.u_pop_t, now, 0)
    for ring in (x.q_funct, x.q_rs1, x.q_rs2, x.q_slot):
        straighten(ring, x.q_head, x.q_n, RING)
    x.q_head = 0
    x.q_pop_t = recent(x.q_pop_t, now, 0)
    if x.q_pop_t == LONG_AGO:
        x.q_popped = 0
    for ring in (x.e_fires, x.e_first, x.e_t, x.e_total, x.e_slot, x.e_addr, x.e_rows):
        straighten(ring, x.e_head, x.e_n, ENTRIES)
    x.e_head = 0
    x.pace_t = due(x.pace_t, now)
    for i in range(x.e_n):
        x.e_t[i] = due(x.e_t[i], now)


@njit
def _canonise_command(x):
    """The command being performed; between commands no unit reads the last one."""
    x.stalled = 0
    x.fed = 0
    x.fire = 0
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
    x = m.ex
    x.pend0 = -1
    x.pend1 = -1
    x.ws = 1 if m.p.dataflow == 1 else 0
    x.q_pop_t = LONG_AGO
    x.u_pop_t = LONG_AGO


def describe(m):
    """What a stopped execute controller waits for, in words."""
    x = m.ex
    text = f"execute: {STATES[int(x.state)]}, {x.q_n} commands queued, {x.e_n} rows on their way to the mesh"
    if x.illegal:
        text += "\nexecute: config_ex asks for two operands from the one transposer; the array flushes for ever"
    return text
