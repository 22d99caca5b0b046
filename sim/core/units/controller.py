"""What load and store controller share: a command queue and a tracker of commands (DMACommandTracker.scala)."""

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import RING
from sim.isa import codes

SLOTS = 64  # most commands tracked

QUEUE = [
    ("q_n", "i8"),
    ("q_head", "i8"),
    ("q_pop_t", "i8"),  # cycle in which the last command left the queue
    ("q_funct", "i8", (RING,)),
    ("q_rs1", "i8", (RING,)),
    ("q_rs2", "i8", (RING,)),
    ("q_slot", "i8", (RING,)),  # slot of the reservation station
    ("state", "i8"),  # 0 waiting for a command, 1 waiting for the DMA, 2 sending rows
    ("cmd", "i8"),  # tracker slot of the present command
]
"""Fields of the queue of issued commands: a ring."""

TRACKER = [
    ("c_valid", "i8", (SLOTS,)),
    ("c_left", "i8", (SLOTS,)),  # load: bytes still to be written; store: rows still to be read
    ("c_slot", "i8", (SLOTS,)),  # slot of the reservation station
    ("c_done_t", "i8", (SLOTS,)),  # cycle from which the command is complete
    ("c_n", "i8"),
    ("c_ready", "i8"),  # commands that are complete, or will be in the next cycle
]
"""Fields of the commands in flight."""

STATES = ("waiting for a command", "waiting for the DMA", "sending rows")


def reset(s):
    """State after reset."""
    s.q_pop_t = LONG_AGO


@njit
def busy(s):
    """A command is queued or in flight."""
    return s.q_n > 0 or s.c_n > 0


def describe(name, s):
    """What a stopped controller waits for, in words."""
    return f"{name} controller: {STATES[int(s.state)]}, {s.q_n} commands queued, {s.c_n} in flight"


@njit
def canonise(s, now):
    """Normal form, clock set back to 0."""
    h = s.q_head
    straighten(s.q_funct, h, s.q_n, RING)
    straighten(s.q_rs1, h, s.q_n, RING)
    straighten(s.q_rs2, h, s.q_n, RING)
    straighten(s.q_slot, h, s.q_n, RING)
    s.q_head = 0
    for i in range(s.q_n):
        if s.q_funct[i] == codes.CONFIG:
            s.q_slot[i] = 0  # a configuration left the reservation station when it was issued
    s.q_pop_t = recent(s.q_pop_t, now, 0)
    if s.state == 0:
        s.cmd = 0
    for k in range(SLOTS):
        if s.c_valid[k]:
            s.c_done_t[k] = due(s.c_done_t[k], now)
        else:
            s.c_left[k] = 0
            s.c_slot[k] = 0
            s.c_done_t[k] = 0
