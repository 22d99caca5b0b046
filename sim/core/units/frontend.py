"""The program as the accelerator receives it: one command at a time, at the CPU's pace, with fences; the first queues.

Source: Controller.scala (raw command queue), the measurement set-up (a command is offered as early as the port and its
`gap` allow; a fence waits for the first idle cycle, the next command is offered one cycle later).
"""

import numpy as np

from sim.core import address
from sim.core.events import Event
from sim.core.jit import njit
from sim.core.normal import due
from sim.core.params import NEVER
from sim.core.units import cmdqueue, loop_conv, loop_matmul, mvout, reader, reservation, writer
from sim.isa import codes

E_COMMANDS = int(Event.COMMANDS)

DTYPE = np.dtype(
    [
        ("place", "i8"),  # next command of the program
        # periodic clock: program position up to which to run, or number of execute commands; first cycle after it;
        # marks of
        # DRAM addresses count from `origin` (-1: no marks)
        ("stop", "i8"),  # place at which the engine stops
        ("stop_ex", "i8"),  # execute commands after which it stops
        ("stop_t", "i8"),  # first cycle after the stop
        ("limit_t", "i8"),  # last cycle in which the program may become idle; beyond it the run is stopped
        ("origin", "i8"),  # place from which marks count
        ("start_t", "i8"),  # cycle in which the engine continues after a pause
        ("offer_t", "i8"),  # earliest cycle of the next offer
        ("waits", "i8"),  # 1: at a fence
        ("stalled", "i8"),  # 1: a command is offered and refused
        ("idle_t", "i8"),  # the idle cycle that ended the program
        ("sections", "i8"),  # fences passed
        # the next command, copied from the program: passing an array to a unit costs more than the unit
        ("fetch", "i8"),  # 1: the next command is to be copied
        ("left", "i8"),  # commands from it on
        ("funct", "i8"),  # its number
        ("rs1", "i8"),  # first operand
        ("rs2", "i8"),  # second operand
        ("gap", "i8"),  # cycles behind the one before
        ("next_funct", "i8"),  # number of the one behind it
        ("next_gap", "i8"),  # its gap
        ("raw", cmdqueue.DTYPE),  # queue behind the RoCC port
        ("conv", cmdqueue.DTYPE),  # queue in front of the convolution unroller
        ("matmul", cmdqueue.DTYPE),  # queue in front of the matmul unroller
        ("unrolled", cmdqueue.DTYPE),  # queue in front of the reservation station
        ("as_came", "i8"),  # 1: `matmul` held a piece of the program when the state was saved (places.py)
    ]
)


@njit
def busy(m):
    """The accelerator's busy wire (Controller.scala)."""
    fe = m.front
    if fe.raw.n + fe.conv.n + fe.matmul.n + fe.unrolled.n > 0:
        return True
    if loop_conv.busy(m) or loop_matmul.busy(m) or reservation.busy(m):
        return True
    return mvout.busy(m) or writer.busy(m) or reader.busy(m)


@njit
def fetch(m, program):
    """Copy the next command, and the needed fields of the one after it, into the record."""
    fe = m.front
    fe.fetch = 0
    fe.left = program.shape[0] - fe.place
    if fe.left > 0:
        c = program[fe.place]
        fe.funct = c.funct
        fe.rs1 = c.rs1
        fe.rs2 = c.rs2
        if fe.origin >= 0:
            operands = address.holds(c.funct)
            if operands:
                fe.rs1 = address.marked(c.rs1, 0, fe.place - fe.origin)
            if operands > 1:
                fe.rs2 = address.marked(c.rs2, 1, fe.place - fe.origin)
        fe.gap = c.gap
    if fe.left > 1:
        fe.next_funct = program[fe.place + 1].funct
        fe.next_gap = program[fe.place + 1].gap


@njit
def fell_idle(now, m):
    """True at a fence, or after the last command, if the accelerator was idle at the start of the cycle."""
    fe = m.front
    return fe.waits == 1 and fe.offer_t <= now and not busy(m)


@njit
def resume(now, m, program, sections):
    """Record the idle cycle and continue after the fence, one cycle later; several fences in a row count once."""
    fe = m.front
    fe.waits = 0
    fe.idle_t = now
    if fe.sections < sections.shape[0]:
        sections[fe.sections] = now
    fe.sections += 1
    while fe.place < program.shape[0] and program[fe.place].funct == codes.FENCE:
        fe.place += 1
    fe.offer_t = now + 1
    fetch(m, program)


@njit
def step(now, m):
    """Move the raw queue's head, then let the CPU offer its next command. Returns the wake."""
    fe = m.front
    acted = False
    if fe.raw.n > 0 and cmdqueue.can_push(fe.conv, now):
        cmdqueue.push(fe.conv, fe.raw.funct[0], fe.raw.rs1[0], fe.raw.rs2[0], 0)
        cmdqueue.pop(fe.raw, now)
        acted = True
    wake = NEVER
    fe.stalled = 0
    if fe.waits:
        if fe.offer_t > now:
            wake = fe.offer_t
    elif fe.left > 0:
        if fe.offer_t > now:
            wake = fe.offer_t
        elif cmdqueue.can_push(fe.raw, now):
            cmdqueue.push(fe.raw, fe.funct, fe.rs1, fe.rs2, 0)
            m.count[E_COMMANDS] += 1
            fe.place += 1
            fe.fetch = 1
            acted = True
            if fe.left == 1:
                fe.waits = 1
                fe.offer_t = now + fe.gap + 1
            elif fe.next_funct == codes.FENCE:
                # the fence itself is issued at the CPU's rate, and samples the busy wire one cycle later
                fe.waits = 1
                fe.offer_t = now + fe.next_gap + 1
            else:
                fe.offer_t = now + fe.next_gap
        else:
            fe.stalled = 1
    if acted:
        return now + 1
    return wake


@njit
def canonise(m, now):
    """Normal form, clock set back to 0. Fields copied from the program are copied again."""
    fe = m.front
    cmdqueue.canonise(fe.raw, now)
    cmdqueue.canonise(fe.conv, now)
    cmdqueue.canonise(fe.matmul, now)
    cmdqueue.canonise(fe.unrolled, now)
    fe.offer_t = due(fe.offer_t, now)
    fe.stalled = 0
    fe.idle_t = 0
    fe.sections = 0
    fe.fetch = 0
    fe.left = 0
    fe.funct = 0
    fe.rs1 = 0
    fe.rs2 = 0
    fe.gap = 0
    fe.next_funct = 0
    fe.next_gap = 0
    fe.stop_t = 0


def reset(m):
    """State after reset: at the first command, without a stop, and without marks on addresses."""
    m.front.origin = -1
    m.front.stop = NEVER
    m.front.stop_ex = NEVER
    m.front.limit_t = NEVER
    for queue in ("raw", "conv", "matmul", "unrolled"):
        cmdqueue.reset(m.front[queue])


def describe(m, program_length):
    """Describe what a stopped front end waits for."""
    waits = "waiting at a fence" if m.front.waits else "next command pending"
    queued = m.front.raw.n + m.front.conv.n + m.front.matmul.n + m.front.unrolled.n
    return f"front end: {m.front.place} of {program_length} commands accepted, {waits}; queued {queued}"
