"""The hardware convolution loop: five machines that emit the commands of one convolution tile.

Source: LoopConv.scala. Frame as in the matmul loop (two slots, emission counters), with these differences: fixed
priority store > execute > bias > weights > input; each machine's commands pass a two-stage elastic pipeline; load
machines configure their load state first; execute starts when all loads of its slot are emitted, and meanwhile the
loads of the other slot wait; stores start when all computes are emitted. The commands themselves: emit.py and
execute.py.
"""

from sim.core.fields import get
from sim.core.jit import njit
from sim.core.normal import due, straighten
from sim.core.params import NEVER
from sim.core.units import unroller
from sim.core.units.cmdqueue import can_push, pop, push
from sim.core.units.loop_conv import emit as conv_emit
from sim.core.units.loop_conv import execute as conv_execute
from sim.core.units.loop_conv import state as conv_state
from sim.core.units.loop_conv.state import BIAS, EX, INPUT, ST, WEIGHTS
from sim.isa import codes
from sim.isa.layouts import (
    CONV_1_FIRST,
    CONV_1_SECOND,
    CONV_2_FIRST,
    CONV_2_SECOND,
    CONV_3_FIRST,
    CONV_3_SECOND,
    CONV_4_FIRST,
    CONV_4_SECOND,
    CONV_FIRST,
    CONV_SECOND,
)  # fmt: skip

STAGES = 2
CONVOLUTION = 2  # origin of its commands (cmdqueue.py)

DTYPE = conv_state.DTYPE

PRIORITY = (ST, EX, BIAS, WEIGHTS, INPUT)


@njit
def busy(m):
    """True if a loop is configured."""
    return m.loop_conv.configured[0] + m.loop_conv.configured[1] > 0


@njit
def _idle(s, which):
    return s.state[which] == 0 and s.pipe_n[which] == 0


@njit
def _configure(m, q, funct, rs1, rs2):
    """One of the seven commands that describe a convolution tile."""
    s = m.loop_conv
    p = m.p
    if funct == codes.LOOP_CONV_WS_1:
        s.out_channels[q] = get(rs1, CONV_1_FIRST.out_channels)
        s.in_channels[q] = get(rs1, CONV_1_FIRST.in_channels)
        s.in_row_dim[q] = get(rs1, CONV_1_FIRST.in_rows)
        s.batch_size[q] = get(rs1, CONV_1_FIRST.batch)
        s.stride[q] = get(rs2, CONV_1_SECOND.stride)
        s.out_col_dim[q] = get(rs2, CONV_1_SECOND.out_cols)
        s.pool_out_row_dim[q] = get(rs2, CONV_1_SECOND.pooled_rows)
        s.out_row_dim[q] = get(rs2, CONV_1_SECOND.out_rows)
    elif funct == codes.LOOP_CONV_WS_2:
        s.kernel_dim[q] = get(rs1, CONV_2_FIRST.kernel)
        s.pool_out_col_dim[q] = get(rs1, CONV_2_FIRST.pooled_cols)
        s.pool_size[q] = get(rs1, CONV_2_FIRST.pool_size) if p.has_pool else 1
        s.pool_stride[q] = get(rs1, CONV_2_FIRST.pool_stride) if p.has_pool else 1
        s.batches[q] = get(rs2, CONV_2_SECOND.batches)
        s.porows[q] = get(rs2, CONV_2_SECOND.porows)
        s.pocols[q] = get(rs2, CONV_2_SECOND.pocols)
        s.ochs[q] = get(rs2, CONV_2_SECOND.pochs)
    elif funct == codes.LOOP_CONV_WS_3:
        s.krows[q] = get(rs1, CONV_3_FIRST.krows)
        s.kcols[q] = get(rs1, CONV_3_FIRST.kcols)
        s.kchs[q] = get(rs1, CONV_3_FIRST.kchs)
        s.lpad[q] = get(rs1, CONV_3_FIRST.lpad)
        s.rpad[q] = get(rs2, CONV_3_SECOND.rpad)
        s.upad[q] = get(rs2, CONV_3_SECOND.upad)
        s.dpad[q] = get(rs2, CONV_3_SECOND.dpad)
        s.plpad[q] = get(rs2, CONV_3_SECOND.plpad)
        s.in_col_dim[q] = get(rs2, CONV_3_SECOND.in_cols)
    elif funct == codes.LOOP_CONV_WS_4:
        s.orows[q] = get(rs1, CONV_4_FIRST.orows)
        s.pupad[q] = get(rs1, CONV_4_FIRST.pupad)
        s.dilation[q] = get(rs1, CONV_4_FIRST.kernel_dilation)
        s.in_stride[q] = get(rs2, CONV_4_SECOND.in_stride)
        s.weight_stride[q] = get(rs2, CONV_4_SECOND.weight_stride)
        s.out_stride[q] = get(rs2, CONV_4_SECOND.out_stride)
        s.ocols[q] = get(rs2, CONV_4_SECOND.ocols)
    elif funct == codes.LOOP_CONV_WS_5:
        s.dram[q, WEIGHTS] = rs1
        s.dram[q, ST] = rs2
    elif funct == codes.LOOP_CONV_WS_6:
        s.dram[q, BIAS] = rs1
        s.dram[q, INPUT] = rs2
    else:
        _configure_run(m, q, rs1, rs2)


@njit
def _configure_run(m, q, rs1, rs2):
    """The last command: orders of the tensors, modes, halves of the scratchpad."""
    s = m.loop_conv
    p = m.p
    train = p.has_training
    s.no_bias[q] = get(rs1, CONV_FIRST.no_bias)
    s.wrot180[q] = get(rs1, CONV_FIRST.wrot180) & train
    s.trans_output[q] = get(rs1, CONV_FIRST.trans_output_1203) & train
    s.trans_weight_1203[q] = get(rs1, CONV_FIRST.trans_weight_1203) & train
    s.trans_weight_0132[q] = get(rs1, CONV_FIRST.trans_weight_0132) & train
    s.trans_input[q] = get(rs1, CONV_FIRST.trans_input_3120) & train
    s.depthwise[q] = get(rs1, CONV_FIRST.depthwise)
    pixels = get(rs1, CONV_FIRST.pixels_per_row)
    s.pixels[q] = pixels if p.first_layer and pixels > 0 else 1
    s.b_half[q] = get(rs1, CONV_FIRST.weight_half)
    s.a_half[q] = get(rs1, CONV_FIRST.input_half)
    s.no_pool[q] = 1 if not p.has_pool or get(rs2, CONV_SECOND.no_pool) else 0
    s.downsample[q] = get(rs2, CONV_SECOND.downsample)
    s.dilated[q] = get(rs2, CONV_SECOND.input_dilated) & train
    s.activation[q] = get(rs2, CONV_SECOND.activation)
    conv_state.derive(s, q, p.dim)
    s.configured[q] = 1


@njit
def _wants(s, head, which):
    """Return the slot whose job this machine may take, -1 none."""
    return unroller.next_job(s, head, which) if _idle(s, which) else -1


@njit
def _accept(m, which, q):
    s = m.loop_conv
    s.slot[which] = q
    s.running[q] = 1
    s.started[q, which] = 1
    half = m.p.acc_rows // 2
    if which == BIAS or which == EX or which == ST:
        s.first[which] = s.half[which]
        if s.dram[q, ST] != 0:
            s.half[which] = half - s.half[which]
    conv_state.begin(m, which)


@njit
def _feed(now, m, which, popped):
    """Put a machine's next command into its pipeline. True if its state changed."""
    s = m.loop_conv
    q = s.slot[which]
    if s.state[which] == 0:
        return False
    if which != EX and s.dram[q, which] == 0:
        s.state[which] = 0
        return True
    if which == EX:
        if conv_execute.skips(s):
            conv_execute.advance_execute(m, True)
            return True
        if not s.loads_emitted:
            return False
    elif which == ST:
        if not s.computes_emitted:
            return False
    elif s.blocked[which]:
        return False
    if s.pipe_n[which] >= STAGES:
        return False
    conv_emit.command(m, which)
    i = (s.pipe_head[which] + s.pipe_n[which]) % STAGES
    s.pipe_funct[which, i] = s.funct
    s.pipe_rs1[which, i] = s.rs1
    s.pipe_rs2[which, i] = s.rs2
    s.pipe_t[which, i] = now + STAGES
    s.pipe_n[which] += 1
    return True


@njit
def _emit(now, m):
    """Let the arbiter pass one command. Returns the machine of that command, or -1."""
    s = m.loop_conv
    p = m.p
    for n in range(5):
        which = PRIORITY[n]
        if s.pipe_n[which] > 0 and s.pipe_t[which, s.pipe_head[which]] <= now:
            full = s.loads_used >= p.rs_ld
            if which == EX:
                full = s.executes_used >= p.rs_ex
            elif which == ST:
                full = s.stores_used >= p.rs_st
            if not full:
                h = s.pipe_head[which]
                push(m.front.matmul, s.pipe_funct[which, h], s.pipe_rs1[which, h], s.pipe_rs2[which, h], CONVOLUTION)
                s.pipe_head[which] = (h + 1) % STAGES
                s.pipe_n[which] -= 1
                if which == EX:
                    s.executes_used += 1
                elif which == ST:
                    s.stores_used += 1
                else:
                    s.loads_used += 1
                return which
    return -1


@njit
def _run(now, m):
    """A cycle with a loop configured; decisions use the state at its start. True if anything changed."""
    s = m.loop_conv
    head = s.head
    acted = False
    release = s.running[head] == 1
    for n in range(5):
        if s.completed[head, n] == 0:
            release = False
        s.job[n] = _wants(s, head, n)
        q = s.slot[n]
        s.done[n] = 1 if _idle(s, n) and s.running[q] == 1 and s.started[q, n] == 1 else 0
    q = s.job[EX]
    if q >= 0 and s.started[q, BIAS] + s.started[q, INPUT] + s.started[q, WEIGHTS] < 3:
        s.job[EX] = -1
    q = s.job[ST]
    if q >= 0 and s.started[q, EX] == 0:
        s.job[ST] = -1
    x = s.slot[EX]
    s.loads_emitted = 1
    waiting = s.started[x, EX] == 1 and s.completed[x, EX] == 0
    loads_done = s.completed[x, BIAS] + s.completed[x, INPUT] + s.completed[x, WEIGHTS] == 3
    for n in range(3):
        if s.slot[n] == x and not _idle(s, n):
            s.loads_emitted = 0
        s.blocked[n] = 1 if waiting and not loads_done and s.slot[n] != x else 0
    s.computes_emitted = 1 if s.slot[ST] != x or _idle(s, EX) else 0

    went = -1
    if can_push(m.front.matmul, now):
        went = _emit(now, m)
    if went >= 0:
        acted = True
    for n in range(5):
        if _feed(now, m, n, went == n):
            acted = True
        if s.done[n] and s.completed[s.slot[n], n] == 0:
            s.completed[s.slot[n], n] = 1
            acted = True
    for n in range(5):
        if s.job[n] >= 0:
            _accept(m, n, s.job[n])
            acted = True
    if release:
        unroller.release(s, head)
        acted = True
    return acted


@njit
def _has_work(now, m):
    """True with a loop, uncompleted commands of one, or a command to accept or pass on."""
    s = m.loop_conv
    if busy(m) or s.loads_used + s.executes_used + s.stores_used > 0:
        return True
    q = m.front.conv
    return q.n > 0 and (can_push(m.front.matmul, now) or codes.LOOP_CONV_WS <= q.funct[0] <= codes.LOOP_CONV_WS_6)


@njit
def step(now, m):
    """One cycle of the convolution unroller. Returns the wake."""
    return _cycle(now, m) if m.full or _has_work(now, m) else NEVER


@njit
def _cycle(now, m):
    s = m.loop_conv
    fe = m.front
    acted = False
    wake = NEVER
    configured = s.configured[0] + s.configured[1] > 0
    to = unroller.free_slot(s)
    free = s.configured[to] == 0
    if configured:
        acted = _run(now, m)
        for n in range(5):
            if s.pipe_n[n] > 0:
                due = s.pipe_t[n, s.pipe_head[n]]
                if now < due < wake:
                    wake = due
    if m.station.completions_t == now:
        unroller.count_completions(m, s, CONVOLUTION)
    q = fe.conv
    if q.n > 0:
        funct = q.funct[0]
        if codes.LOOP_CONV_WS <= funct <= codes.LOOP_CONV_WS_6:
            if free:
                _configure(m, to, funct, q.rs1[0], q.rs2[0])
                pop(q, now)
                acted = True
        elif not configured and can_push(fe.matmul, now):
            push(fe.matmul, funct, q.rs1[0], q.rs2[0], q.source[0])
            pop(q, now)
            acted = True
    if acted:
        return now + 1
    return wake


@njit
def canonise(m, now):
    """Normal form: the command of this cycle and its decisions are recomputed."""
    s = m.loop_conv
    s.funct = 0
    s.rs1 = 0
    s.rs2 = 0
    s.job[:] = 0
    s.done[:] = 0
    s.blocked[:] = 0
    s.loads_emitted = 0
    s.computes_emitted = 0
    for n in range(5):
        straighten(s.pipe_funct[n], s.pipe_head[n], s.pipe_n[n], STAGES)
        straighten(s.pipe_rs1[n], s.pipe_head[n], s.pipe_n[n], STAGES)
        straighten(s.pipe_rs2[n], s.pipe_head[n], s.pipe_n[n], STAGES)
        straighten(s.pipe_t[n], s.pipe_head[n], s.pipe_n[n], STAGES)
        for i in range(s.pipe_n[n]):
            s.pipe_t[n, i] = due(s.pipe_t[n, i], now)
        s.pipe_head[n] = 0
