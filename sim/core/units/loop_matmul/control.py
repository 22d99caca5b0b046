"""The hardware matmul loop: two loop slots, five small state machines that emit commands, one command per cycle.

Source: LoopMatmul.scala. Each machine takes the next slot's job as soon as it has *emitted* its present one; a slot is
released when all five have emitted everything. Everything is decided on the state at the start of the cycle. The
commands themselves are in loop_emit.
"""

from sim.core.fields import loop_adds, loop_dimension
from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units.cmdqueue import can_push, pop, push
from sim.core.units.loop_matmul import emit as loop_emit
from sim.core.units.loop_matmul.emit import EX, LAYERNORM, LDA, LDB, LDD, SOFTMAX, ST, a_start, b_end, emit
from sim.isa import codes

DTYPE = loop_emit.DTYPE


@njit
def busy(m):
    """A loop is configured."""
    return m.lm.configured[0] + m.lm.configured[1] > 0


@njit
def _accept(m, which, q):
    """A machine takes the job of slot q."""
    s = m.lm
    s.state[which] = 1
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
        s.first[which] = s.d_half
        if moves:
            s.d_half = half - s.d_half
    elif which == EX:
        s.first[which] = s.x_half
        if moves:
            s.x_half = half - s.x_half
    else:
        s.first[which] = q * half if s.resadd else s.s_half
        if moves:
            s.s_half = half - s.s_half
        s.state[which] = 2 if s.act[q] == LAYERNORM or s.act[q] == SOFTMAX else 1
        s.ln_row = 0
        s.ln_cmd = 0
        s.ln_stat = 0


@njit
def _configure(m, q, funct, rs1, rs2):
    """One of the six commands that describe a loop."""
    s = m.lm
    if funct == codes.LOOP_WS_BOUNDS:
        for n in range(3):
            s.pad[q, n] = loop_dimension(rs1, n)
            s.bound[q, n] = loop_dimension(rs2, n)
    elif funct == codes.LOOP_WS_ADDRESSES_AB or funct == codes.LOOP_WS_ADDRESSES_DC:
        n = 0 if funct == codes.LOOP_WS_ADDRESSES_AB else 2
        s.dram[q, n] = rs1
        s.dram[q, n + 1] = rs2
    elif funct == codes.LOOP_WS_STRIDES_AB or funct == codes.LOOP_WS_STRIDES_DC:
        n = 0 if funct == codes.LOOP_WS_STRIDES_AB else 2
        s.dstride[q, n] = rs1
        s.dstride[q, n + 1] = rs2
    else:
        s.accumulate[q] = rs1 & 1
        s.full_c[q] = (rs1 >> 1) & 1
        s.low_d[q] = (rs1 >> 2) & 1
        s.act[q] = (rs1 >> 8) & 7
        s.a_id[q] = (rs1 >> 18) & 3
        s.b_id[q] = (rs1 >> 16) & 3
        s.a_t[q] = rs2 & 1
        s.b_t[q] = (rs2 >> 1) & 1
        s.resadd = loop_adds(rs2)
        s.configured[q] = 1


@njit
def step(now, m):
    """One cycle of the matmul unroller. Returns the wake."""
    s = m.lm
    fe = m.fe
    acted = False
    configured = s.configured[0] + s.configured[1] > 0
    to = 1 - s.head if s.configured[s.head] else s.head
    free = s.configured[to] == 0
    if configured:
        # a cycle that changed nothing is repeated only after a completion or a configuration
        if not s.still or m.full:
            acted = _run(now, m)
        elif not s.quiet and can_push(fe.unrolled, now):
            acted = _emit(m)
    if m.rs.told_t == now:
        s.quiet = 0
        s.ld_used -= m.rs.told[1, 0]
        s.ex_used -= m.rs.told[1, 1]
        s.st_used -= m.rs.told[1, 2]
    q = fe.mat
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
            push(fe.unrolled, funct, q.rs1[0], q.rs2[0], q.src[0])
            pop(q, now)
            acted = True
    if acted:
        return now + 1
    return NEVER


@njit
def _run(now, m):
    """A cycle with a loop configured. True when anything changed."""
    s = m.lm
    fe = m.fe
    acted = False
    head = s.head
    # the state at the start of the cycle decides who takes a job and who has finished
    idle_a = s.state[LDA] == 0
    idle_b = s.state[LDB] == 0
    idle_d = s.state[LDD] == 0
    idle_x = s.state[EX] == 0
    idle_s = s.state[ST] == 0
    slot_a = s.slot[LDA]
    slot_b = s.slot[LDB]
    slot_d = s.slot[LDD]
    slot_x = s.slot[EX]
    slot_s = s.slot[ST]
    release = s.running[head] == 1
    if release:
        for n in range(5):
            if s.completed[head, n] == 0:
                release = False
    take_a = _wants(s, head, LDA) if idle_a else -1
    take_b = _wants(s, head, LDB) if idle_b else -1
    take_d = _wants(s, head, LDD) if idle_d else -1
    take_x = _wants(s, head, EX) if idle_x else -1
    if take_x >= 0 and s.started[take_x, LDA] + s.started[take_x, LDB] + s.started[take_x, LDD] < 3:
        take_x = -1
    take_s = _wants(s, head, ST) if idle_s else -1
    if take_s >= 0 and not s.resadd and s.started[take_s, EX] == 0:
        take_s = -1
    done_a = idle_a and s.running[slot_a] == 1 and s.started[slot_a, LDA] == 1
    done_b = idle_b and s.running[slot_b] == 1 and s.started[slot_b, LDB] == 1
    done_d = idle_d and s.running[slot_d] == 1 and s.started[slot_d, LDD] == 1
    done_x = idle_x and s.running[slot_x] == 1 and s.started[slot_x, EX] == 1
    done_s = idle_s and s.running[slot_s] == 1 and s.started[slot_s, ST] == 1

    null_a = not idle_a and s.dram[slot_a, 0] == 0
    null_b = not idle_b and s.dram[slot_b, 1] == 0
    null_d = not idle_d and s.dram[slot_d, 2] == 0
    null_s = not idle_s and s.dram[slot_s, 3] == 0
    skip_x = not idle_x and s.adds[EX] == 1
    s.still = 1
    emitted = can_push(fe.unrolled, now) and _emit(m)
    if null_a:
        s.state[LDA] = 0
        acted = True
    if null_b:
        s.state[LDB] = 0
        acted = True
    if null_d:
        s.state[LDD] = 0
        acted = True
    if null_s:
        s.state[ST] = 0
        acted = True
    if skip_x:
        s.state[EX] = 0
        acted = True

    if done_a and s.completed[slot_a, LDA] == 0:
        s.completed[slot_a, LDA] = 1
        acted = True
    if done_b and s.completed[slot_b, LDB] == 0:
        s.completed[slot_b, LDB] = 1
        acted = True
    if done_d and s.completed[slot_d, LDD] == 0:
        s.completed[slot_d, LDD] = 1
        acted = True
    if done_x and s.completed[slot_x, EX] == 0:
        s.completed[slot_x, EX] = 1
        acted = True
    if done_s and s.completed[slot_s, ST] == 0:
        s.completed[slot_s, ST] = 1
        acted = True
    if take_a >= 0:
        _accept(m, LDA, take_a)
        acted = True
    if take_b >= 0:
        _accept(m, LDB, take_b)
        acted = True
    if take_d >= 0:
        _accept(m, LDD, take_d)
        acted = True
    if take_x >= 0:
        _accept(m, EX, take_x)
        acted = True
    if take_s >= 0:
        _accept(m, ST, take_s)
        acted = True
    if release:
        s.configured[head] = 0
        s.running[head] = 0
        s.started[head, :] = 0
        s.completed[head, :] = 0
        s.head = 1 - head
        acted = True
    if acted:
        s.still = 0
        s.quiet = 0
    return acted or emitted


@njit
def _emit(m):
    """Let one command through to the reservation station, if a machine has one. True when it went."""
    s = m.lm
    which = emit(m)
    s.quiet = 1 if which < 0 else 0
    if which < 0:
        return False
    push(m.fe.unrolled, s.funct, s.rs1, s.rs2, 1)
    if s.state[which] == 0:
        s.still = 0  # that was the machine's last command
    return True


@njit
def _wants(s, head, which):
    """Slot whose job this machine may take: the head's, or the tail's once the head's was started; -1 none."""
    q = 1 - head if s.started[head, which] else head
    if s.configured[q] and s.started[q, which] == 0:
        return q
    return -1
