"""Common parts of load and store controllers: a command queue and a tracker of commands (DMACommandTracker.scala)."""

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import NEVER, RING
from sim.isa import codes

SLOTS = 64  # largest number of commands tracked

QUEUE = [
    ("queue_n", "i8"),  # commands queued
    ("queue_head", "i8"),  # index of the oldest
    ("queue_pop_t", "i8"),  # cycle in which the last command left the queue
    ("queue_funct", "i8", (RING,)),  # ring of command numbers
    ("queue_rs1", "i8", (RING,)),  # ring of first operands
    ("queue_rs2", "i8", (RING,)),  # ring of second operands
    ("queue_slot", "i8", (RING,)),  # slot of the reservation station
    ("state", "i8"),  # 0 waiting for a command, 1 waiting for the DMA, 2 sending rows
    ("present", "i8"),  # tracker slot of the present command
]
"""Fields of the queue of issued commands: a ring."""

TRACKER = [
    ("tracked", "i8", (SLOTS,)),  # 1: the entry holds a command
    ("tracked_left", "i8", (SLOTS,)),  # load: bytes still to be written; store: rows still to be read
    ("tracked_slot", "i8", (SLOTS,)),  # slot of the reservation station
    ("tracked_done_t", "i8", (SLOTS,)),  # cycle from which the command is complete
    ("tracked_n", "i8"),  # commands in flight
    ("tracked_ready", "i8"),  # commands that are complete, or will be in the next cycle
]
"""Fields of the commands in flight."""

IDLE, WAITING_FOR_DMA, SENDING_ROWS = range(3)
STATES = ("waiting for a command", "waiting for the DMA", "sending rows")
"""Values of `state`, the same in LoadController.scala and StoreController.scala."""


def reset(s):
    """State after reset."""
    s.queue_pop_t = LONG_AGO


@njit
def had_room(now, s, entries):
    """True if the queue had room at the start of this cycle."""
    return s.queue_n + (1 if s.queue_pop_t == now else 0) < entries


@njit
def push(s, funct, rs1, rs2, slot):
    """Append a command issued from a slot of the reservation station."""
    i = (s.queue_head + s.queue_n) % RING
    s.queue_funct[i] = funct
    s.queue_rs1[i] = rs1
    s.queue_rs2[i] = rs2
    s.queue_slot[i] = slot
    s.queue_n += 1


@njit
def pop(now, m, s):
    """Remove the current command from the queue; the reservation station sees the free place in the next cycle."""
    s.state = IDLE
    s.queue_head = (s.queue_head + 1) % RING
    s.queue_n -= 1
    s.queue_pop_t = now
    m.station.news_t = now + 1


@njit
def allocate(m, s, left):
    """Track the command at the head of the queue: `left` bytes (store: rows) to come. False: the tracker is full."""
    if s.tracked_n >= m.p.n_cmds:
        return False
    place = 0
    while s.tracked[place]:
        place += 1
    s.tracked[place] = 1
    s.tracked_n += 1
    s.tracked_left[place] = left
    s.tracked_slot[place] = s.queue_slot[s.queue_head]
    s.tracked_done_t[place] = NEVER
    s.present = place
    return True


@njit
def busy(s):
    """True if a command is queued or in flight."""
    return s.queue_n > 0 or s.tracked_n > 0


def describe(name, s):
    """Describe what a stopped controller waits for."""
    return f"{name} controller: {STATES[int(s.state)]}, {s.queue_n} commands queued, {s.tracked_n} in flight"


@njit
def canonise(s, now):
    """Normal form, clock set back to 0."""
    h = s.queue_head
    straighten(s.queue_funct, h, s.queue_n, RING)
    straighten(s.queue_rs1, h, s.queue_n, RING)
    straighten(s.queue_rs2, h, s.queue_n, RING)
    straighten(s.queue_slot, h, s.queue_n, RING)
    s.queue_head = 0
    for i in range(s.queue_n):
        if s.queue_funct[i] == codes.CONFIG:
            s.queue_slot[i] = 0  # a configuration left the reservation station when it was issued
    s.queue_pop_t = recent(s.queue_pop_t, now, 0)
    if s.state == IDLE:
        s.present = 0
    for k in range(SLOTS):
        if s.tracked[k]:
            s.tracked_done_t[k] = due(s.tracked_done_t[k], now)
        else:
            s.tracked_left[k] = 0
            s.tracked_slot[k] = 0
            s.tracked_done_t[k] = 0
