"""The hardware matmul loop: two loop slots, five small state machines that emit commands, one command per cycle.

Source: LoopMatmul.scala. Each machine takes the next slot's job as soon as it has *emitted* its present one; a slot is
released when all five have emitted everything. All decisions use the state at the start of the cycle. The
commands themselves: emit.py, store.py.
"""

from sim.core.fields import get, loop_dimension
from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units import unroller
from sim.core.units.cmdqueue import can_push, pop, push
from sim.core.units.loop_matmul import state as loop_state
from sim.core.units.loop_matmul.emit import a_start, b_end, emit
from sim.core.units.loop_matmul.state import (
    EX,
    LAYERNORM,
    LDA,
    LDB,
    LDD,
    SOFTMAX,
    ST,
    STATISTICS,
    WORKING,
)
from sim.isa import codes
from sim.isa.layouts import LOOP_FIRST, LOOP_SECOND

DTYPE = loop_state.DTYPE
MATMUL = 1  # origin of its commands (cmdqueue.py)
ENDS, COMPLETES, TAKES, TO_SLOT_1 = 1, 2, 4, 8


@njit
def busy(m):
    """True if a loop is configured."""
    return m.loop_matmul.configured[0] + m.loop_matmul.configured[1] > 0


@njit
def _accept(m, which, q):
    """Let a machine take the job of slot q."""
    s = m.loop_matmul
    s.state[which] = WORKING
    s.slot[which] = q
    s.i[which] = 0
    s.j[which] = 0
    s.k[which] = 0
    s.running[q] = 1
    s.started[q, which] = 1
    s.adds[which] = s.resadd
    half = m.p.acc_rows // 2
    moves = s.dram[q, 3] != 0
    if which == LDA:
        s.first[which] = q * half if s.resadd else a_start(m, q)
    elif which == LDB:
        s.first[which] = q * half if s.resadd else b_end(m, q) - s.bound[q, 2] * s.bound[q, 1] * m.p.dim
    elif which == LDD:
        s.first[which] = s.load_d_half
        if moves:
            s.load_d_half = half - s.load_d_half
    elif which == EX:
        s.first[which] = s.execute_half
        if moves:
            s.execute_half = half - s.execute_half
    else:
        s.first[which] = q * half if s.resadd else s.store_half
        if moves:
            s.store_half = half - s.store_half
        s.state[which] = STATISTICS if s.activation[q] == LAYERNORM or s.activation[q] == SOFTMAX else WORKING
        s.norm_row = 0
        s.norm_pass = 0
        s.norm_statistic = 0


@njit
def _configure(m, q, funct, rs1, rs2):
    """One of the six commands that describe a loop."""
    s = m.loop_matmul
    if funct == codes.LOOP_WS_BOUNDS:
        for n in range(3):
            s.padding[q, n] = loop_dimension(rs1, n)
            s.bound[q, n] = loop_dimension(rs2, n)
    elif funct == codes.LOOP_WS_ADDRESSES_AB or funct == codes.LOOP_WS_ADDRESSES_DC:
        n = 0 if funct == codes.LOOP_WS_ADDRESSES_AB else 2
        s.dram[q, n] = rs1
        s.dram[q, n + 1] = rs2
    elif funct == codes.LOOP_WS_STRIDES_AB or funct == codes.LOOP_WS_STRIDES_DC:
        n = 0 if funct == codes.LOOP_WS_STRIDES_AB else 2
        s.dram_stride[q, n] = rs1
        s.dram_stride[q, n + 1] = rs2
    else:
        s.accumulate[q] = get(rs1, LOOP_FIRST.accumulate)
        s.full_c[q] = get(rs1, LOOP_FIRST.full_c)
        s.low_d[q] = get(rs1, LOOP_FIRST.low_d)
        s.activation[q] = get(rs1, LOOP_FIRST.activation)
        s.a_half[q] = get(rs1, LOOP_FIRST.a_half)
        s.b_half[q] = get(rs1, LOOP_FIRST.b_half)
        s.transpose_a[q] = get(rs2, LOOP_SECOND.transpose_a)
        s.transpose_b[q] = get(rs2, LOOP_SECOND.transpose_b)
        s.resadd = get(rs2, LOOP_SECOND.residual)
        s.configured[q] = 1


@njit
def step(now, m):
    """One cycle of the matmul unroller. Returns the wake."""
    s = m.loop_matmul
    fe = m.front
    acted = False
    configured = s.configured[0] + s.configured[1] > 0
    to = unroller.free_slot(s)
    free = s.configured[to] == 0
    if configured:
        # a cycle that changed nothing is repeated only after a completion or a configuration
        if not s.still or m.full:
            acted = _run(now, m)
        elif not s.quiet and can_push(fe.unrolled, now):
            acted = _emit(m)
    if m.station.completions_t == now:
        s.quiet = 0
        unroller.count_completions(m, s, MATMUL)
    q = fe.matmul
    if q.n > 0:
        funct = q.funct[0]
        if codes.LOOP_WS <= funct <= codes.LOOP_WS_STRIDES_DC:
            if free:
                _configure(m, to, funct, q.rs1[0], q.rs2[0])
                s.quiet = 0
                s.still = 0
                pop(q, now)
                acted = True
        elif not configured and can_push(fe.unrolled, now):
            push(fe.unrolled, funct, q.rs1[0], q.rs2[0], q.source[0])
            pop(q, now)
            acted = True
    if acted:
        return now + 1
    return NEVER


@njit
def _run(now, m):
    """A cycle with a loop configured. True if anything changed.

    Whether a machine ends, has completed its loop or takes the next one depends on the state at the start of the cycle.
    """
    s = m.loop_matmul
    head = s.head
    marks = _judged(s, head, LDA) | _judged(s, head, LDB) | _judged(s, head, LDD)
    marks |= _judged(s, head, EX) | _judged(s, head, ST)
    done = s.completed[head, LDA] + s.completed[head, LDB] + s.completed[head, LDD]
    release = s.running[head] == 1 and done + s.completed[head, EX] + s.completed[head, ST] == unroller.MACHINES
    s.still = 1
    emitted = can_push(m.front.unrolled, now) and _emit(m)
    if marks:
        _carry_out(m, marks, LDA)
        _carry_out(m, marks, LDB)
        _carry_out(m, marks, LDD)
        _carry_out(m, marks, EX)
        _carry_out(m, marks, ST)
    if release:
        unroller.release(s, head)
    if marks or release:
        s.still = 0
        s.quiet = 0
        return True
    return emitted


@njit
def _judged(s, head, which):
    """Return the changes of a machine in this cycle as four bits: ends, completes, takes a loop, slot of that loop."""
    q = s.slot[which]
    if s.state[which]:
        marks = ENDS if _has_nothing(s, which, q) else 0
    else:
        marks = COMPLETES if s.running[q] and s.started[q, which] and not s.completed[q, which] else 0
        to = _wants(s, head, which)
        if to >= 0:
            marks |= TAKES | (TO_SLOT_1 if to else 0)
    return marks << 4 * which


@njit
def _carry_out(m, marks, which):
    """Change a machine as `_judged` decided at the start of the cycle."""
    s = m.loop_matmul
    marks >>= 4 * which
    if marks & ENDS:
        s.state[which] = 0
    if marks & COMPLETES:
        s.completed[s.slot[which], which] = 1
    if marks & TAKES:
        _accept(m, which, 1 if marks & TO_SLOT_1 else 0)


@njit
def _has_nothing(s, which, q):
    """1 when the machine's job needs no command: its operand has no address, or there is nothing to multiply."""
    if which == EX:
        return s.adds[EX]
    return 1 if s.dram[q, 3 if which == ST else which] == 0 else 0


@njit
def _emit(m):
    """Pass one command to the reservation station, if a machine has one. True if it was accepted."""
    s = m.loop_matmul
    which = emit(m)
    s.quiet = 1 if which < 0 else 0
    if which < 0:
        return False
    push(m.front.unrolled, s.funct, s.rs1, s.rs2, MATMUL)
    if s.state[which] == 0:
        s.still = 0  # that was the machine's last command
    return True


@njit
def _wants(s, head, which):
    """Return the slot whose job this machine may take, -1 none.

    The execute machine follows the three loads; the store follows the execute machine, or the loads in a residual
    addition.
    """
    q = unroller.next_job(s, head, which)
    if q < 0:
        return -1
    if which == EX and s.started[q, LDA] + s.started[q, LDB] + s.started[q, LDD] < 3:
        return -1
    if which == ST and not s.resadd and s.started[q, EX] == 0:
        return -1
    return q


@njit
def canonise(m, now):
    """Normal form: the command of this cycle is recomputed."""
    m.loop_matmul.funct = 0
    m.loop_matmul.rs1 = 0
    m.loop_matmul.rs2 = 0


def reset(m, phase):
    """State after reset, except for the next slot, which hardware carries over between programs."""
    m.loop_matmul.head = phase


def describe(m):
    """Describe what a stopped loop waits for."""
    s = m.loop_matmul
    return (
        f"matmul loop: slots configured {s.configured[0]}{s.configured[1]}, "
        f"emitted and not completed ld {s.loads_used} ex {s.executes_used} st {s.stores_used}"
    )
