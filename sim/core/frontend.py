"""The program as the accelerator receives it: one command at a time, at the CPU's pace, with fences; the first queues.

Source: Controller.scala (raw command queue), the measurement set-up (a command is offered as early as the port and its
`gap` allow; a fence waits for the first idle cycle, the next command is offered one cycle later).
"""

import numpy as np
from numba import njit

from sim.core import cmdqueue, loop_conv, loop_matmul, mvout, reservation, writer
from sim.core.events import Event
from sim.core.params import NEVER

E_COMMANDS = int(Event.COMMANDS)
E_STALL = int(Event.COMMAND_STALL_CYCLES)
FENCE = 1000

DTYPE = np.dtype(
    [
        ("pc", "i8"),
        ("offer_t", "i8"),  # earliest cycle of the next offer
        ("waits", "i8"),  # 1: at a fence
        ("stalled", "i8"),  # 1: a command is offered and refused
        ("idle_t", "i8"),  # the idle cycle that ended the program
        ("sections", "i8"),
        ("raw", cmdqueue.DTYPE),
        ("conv", cmdqueue.DTYPE),
        ("mat", cmdqueue.DTYPE),
        ("unrolled", cmdqueue.DTYPE),
    ]
)


@njit
def busy(m):
    """The accelerator's busy wire (Controller.scala)."""
    fe = m.fe
    if fe.raw.n + fe.conv.n + fe.mat.n + fe.unrolled.n > 0:
        return True
    if loop_conv.busy(m) or loop_matmul.busy(m) or reservation.busy(m):
        return True
    return mvout.busy(m) or writer.busy(m) or m.rd.used > 0


@njit
def check_idle(now, m, program, sections):
    """At a fence (or behind the last command): has the accelerator fallen idle? Judged on the start of the cycle."""
    fe = m.fe
    if not fe.waits or fe.offer_t > now or busy(m):
        return False
    fe.waits = 0
    fe.idle_t = now
    if fe.sections < sections.shape[0]:
        sections[fe.sections] = now
    fe.sections += 1
    # several fences in a row count once
    while fe.pc < program.shape[0] and program[fe.pc].funct == FENCE:
        fe.pc += 1
    fe.offer_t = now + 1
    return True


@njit
def step(now, m, program, count):
    """The raw queue's head moves on, then the CPU offers its next command. Returns the wake."""
    fe = m.fe
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
    elif fe.pc < program.shape[0]:
        if fe.offer_t > now:
            wake = fe.offer_t
        elif cmdqueue.can_push(fe.raw, now):
            c = program[fe.pc]
            cmdqueue.push(fe.raw, c.funct, c.rs1, c.rs2, 0)
            count[E_COMMANDS] += 1
            fe.pc += 1
            acted = True
            if fe.pc == program.shape[0]:
                fe.waits = 1
                fe.offer_t = now + c.gap + 1
            elif program[fe.pc].funct == FENCE:
                # the fence itself comes at the CPU's pace, and looks at the wire one cycle later
                fe.waits = 1
                fe.offer_t = now + program[fe.pc].gap + 1
            else:
                fe.offer_t = now + program[fe.pc].gap
        else:
            fe.stalled = 1
    if acted:
        return now + 1
    return wake
