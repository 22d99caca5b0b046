"""The commands of the matmul loop's load and execute machines, and the arbiter between all five.

Source: LoopMatmul.scala, WeightedArbiter.scala. Store > execute > load D > load A or B; between A and B the one that is
behind in k. Order of each machine, outer to inner: A k, i; B k, j; D j, i; execute k, j, i; store j, i (store.py).
"""

from sim.core.fields import local_operand
from sim.core.jit import njit
from sim.core.units import unroller
from sim.core.units.loop_matmul.state import ACCUMULATE, ACCUMULATOR, EX, LAYERNORM, LDA, LDB, LDD, SOFTMAX, ST
from sim.core.units.loop_matmul.store import store
from sim.isa import codes


@njit
def _load_ab(m, which):
    """Emit the command of the A or B machine at its current position."""
    s = m.loop_matmul
    p = m.p
    q = s.slot[which]
    t = s.transpose_a[q] if which == LDA else s.transpose_b[q]
    if which == LDA:
        # A is I x K; in a residual addition I x J
        rows_n, row_pad, row = s.bound[q, 0], s.padding[q, 0], s.i[which]
        if s.adds[which]:
            cols_n, col_pad = s.bound[q, 1], s.padding[q, 1]
        else:
            cols_n, col_pad = s.bound[q, 2], s.padding[q, 2]
        col = s.k[which]
        address, stride = s.dram[q, 0], s.dram_stride[q, 0]
    else:
        if s.adds[which]:
            rows_n, row_pad = s.bound[q, 0], s.padding[q, 0]
        else:
            rows_n, row_pad = s.bound[q, 2], s.padding[q, 2]
        row = s.k[which]
        cols_n, col_pad, col = s.bound[q, 1], s.padding[q, 1], s.j[which]
        address, stride = s.dram[q, 1], s.dram_stride[q, 1]
    if t:
        rows_n, cols_n = cols_n, rows_n
        row_pad, col_pad = col_pad, row_pad
        row, col = col, row
    most = min(cols_n, p.block_len)
    blocks = most if col + most <= cols_n else cols_n - col
    cols = blocks * p.dim - (col_pad if col + blocks >= cols_n else 0)
    rows = p.dim
    if which == LDA and row == rows_n - 1:
        rows -= row_pad
    offset = (row * stride + col) * p.dim * (p.a_bits if which == LDA else p.b_bits) >> 3
    local = s.first[which] + (row * cols_n + col) * p.dim
    if s.adds[which]:
        local = (local & p.addr_mask) | ACCUMULATOR | (ACCUMULATE if which == LDB else 0)
    else:
        local = local & p.addr_mask
    s.funct = codes.MVIN if which == LDA else codes.MVIN2
    s.rs1 = address + (offset & 0xFFFFFFFF)
    s.rs2 = local_operand(local, cols, rows)


@njit
def _advance_ab(m, which):
    """Advance the A or B machine: the block dimension of its rows innermost."""
    s = m.loop_matmul
    p = m.p
    q = s.slot[which]
    if which == LDA:
        inner_n = s.bound[q, 0]
        outer_n = s.bound[q, 1] if s.adds[which] else s.bound[q, 2]
        t = s.transpose_a[q]
        most = min(inner_n if t else outer_n, p.block_len)
        s.i[which] += most if t else 1
        if s.i[which] >= inner_n:
            s.i[which] = 0
            s.k[which] += 1 if t else most
            if s.k[which] >= outer_n:
                s.k[which] = 0
                s.state[which] = 0
    else:
        inner_n = s.bound[q, 1]
        outer_n = s.bound[q, 0] if s.adds[which] else s.bound[q, 2]
        t = s.transpose_b[q]
        most = min(outer_n if t else inner_n, p.block_len)
        s.j[which] += 1 if t else most
        if s.j[which] >= inner_n:
            s.j[which] = 0
            s.k[which] += most if t else 1
            if s.k[which] >= outer_n:
                s.k[which] = 0
                s.state[which] = 0


@njit
def _load_d(m):
    s = m.loop_matmul
    p = m.p
    q = s.slot[LDD]
    i = s.i[LDD]
    j = s.j[LDD]
    most = min(s.bound[q, 1], p.block_len if s.low_d[q] else p.block_len_acc)
    blocks = most if j + most <= s.bound[q, 1] else s.bound[q, 1] - j
    cols = blocks * p.dim - (s.padding[q, 1] if j + blocks >= s.bound[q, 1] else 0)
    rows = p.dim - (s.padding[q, 0] if i == s.bound[q, 0] - 1 else 0)
    offset = (i * s.dram_stride[q, 2] + j) * p.dim * (p.word_bits if s.low_d[q] else 8 * p.acc_bytes) >> 3
    local = ((s.first[LDD] + (i * s.bound[q, 1] + j) * p.dim) & p.addr_mask) | ACCUMULATOR
    s.funct = codes.MVIN3
    s.rs1 = s.dram[q, 2] + (offset & 0xFFFFFFFF)
    s.rs2 = local_operand(local, cols, rows)
    s.i[LDD] += 1
    if s.i[LDD] >= s.bound[q, 0]:
        s.i[LDD] = 0
        s.j[LDD] += most
        if s.j[LDD] >= s.bound[q, 1]:
            s.j[LDD] = 0
            s.state[LDD] = 0


@njit
def _execute(m):
    """Emit preload, then compute, of the current block; order k, j, i."""
    s = m.loop_matmul
    p = m.p
    q = s.slot[EX]
    i = s.i[EX]
    j = s.j[EX]
    k = s.k[EX]
    i_n = s.bound[q, 0]
    j_n = s.bound[q, 1]
    k_n = s.bound[q, 2]
    pad_i = s.padding[q, 0] if i == i_n - 1 else 0
    pad_j = s.padding[q, 1] if j == j_n - 1 else 0
    pad_k = s.padding[q, 2] if k == k_n - 1 else 0
    dim = p.dim
    if s.state[EX] == 1:
        b = j * k_n + k if s.transpose_b[q] else k * j_n + j
        local = p.garbage_mask
        if i == 0:
            local = (b_end(m, q) - k_n * j_n * dim + b * dim) & p.addr_mask
        c = ((s.first[EX] + (i * j_n + j) * dim) & p.addr_mask) | ACCUMULATOR
        if s.accumulate[q] or k != 0:
            c |= ACCUMULATE
        s.funct = codes.PRELOAD
        s.rs1 = local_operand(local, dim - pad_j, dim - pad_k)
        s.rs2 = local_operand(c, dim - pad_j, dim - pad_i)
        s.state[EX] = 2
        return
    a = k * i_n + i if s.transpose_a[q] else i * k_n + k
    local = (a_start(m, q) + a * dim) & p.addr_mask
    s.funct = codes.COMPUTE_PRELOADED if i == 0 else codes.COMPUTE_ACCUMULATED
    s.rs1 = local_operand(local, dim - pad_k, dim - pad_i)
    s.rs2 = local_operand(p.garbage_mask, dim, dim)
    s.state[EX] = 1
    s.i[EX] += 1
    if s.i[EX] == i_n:
        s.i[EX] = 0
        s.j[EX] += 1
        if s.j[EX] == j_n:
            s.j[EX] = 0
            s.k[EX] += 1
            if s.k[EX] == k_n:
                s.k[EX] = 0
                s.state[EX] = 0


@njit
def a_start(m, q):
    """Return the first scratchpad row of A."""
    return unroller.a_start(m.p, m.loop_matmul.a_half[q], q)


@njit
def b_end(m, q):
    """Return the row after the last row of B."""
    return unroller.b_end(m.p, m.loop_matmul.b_half[q], q)


@njit
def _execute_may(s):
    """True if the loads of the current block's operands have been emitted (not: completed)."""
    q = s.slot[EX]
    i = s.i[EX]
    j = s.j[EX]
    k = s.k[EX]
    ka = s.k[LDA]
    a_done = s.slot[LDA] != q or s.state[LDA] == 0
    b_done = s.slot[LDB] != q or s.state[LDB] == 0
    d_done = s.slot[LDD] != q or s.state[LDD] == 0
    a_ahead = a_done or ka > k or (ka == k and s.i[LDA] > i)
    b_ahead = b_done or s.k[LDB] > k or (ka == k and s.j[LDB] > j)
    return a_ahead and b_ahead and d_done


@njit
def _store_may(m):
    """True if all commands that compute the blocks to be stored have been emitted."""
    s = m.loop_matmul
    q = s.slot[ST]
    j = s.j[ST]
    i = s.i[ST]
    j_n = s.bound[q, 1]
    most = 1 if s.full_c[q] else min(j_n, m.p.block_len)
    blocks = most if j + most <= j_n else j_n - j
    # the current register selects the machine that the store follows; the register at the start of its job, how it
    # follows
    if s.resadd:
        done = (s.slot[LDA] != q or s.state[LDA] == 0) and (s.slot[LDB] != q or s.state[LDB] == 0)
        at_i, at_j, at_k = s.k[LDB], s.j[LDB], 0
    else:
        done = s.slot[EX] != q or s.state[EX] == 0
        at_i, at_j, at_k = s.i[EX], s.j[EX], s.k[EX]
    if done:
        return True
    if s.adds[ST]:
        return at_i > i or (at_i == i and at_j >= j + blocks)
    if s.activation[q] == LAYERNORM or s.activation[q] == SOFTMAX or at_k != s.bound[q, 2] - 1:
        return False
    return at_j >= j + blocks or (at_j == j + blocks - 1 and at_i > i)


@njit
def _choose_ab(m):
    """Return which of the load machines A and B is next."""
    s = m.loop_matmul
    a_idle = s.state[LDA] == 0
    b_idle = s.state[LDB] == 0
    same = s.slot[LDA] == s.slot[LDB]
    force_a = not same and s.slot[LDA] == s.head
    force_b = not same and s.slot[LDB] == s.head
    if s.resadd:
        force_a = same and not a_idle
        force_b = force_b or a_idle
    if force_a:
        return LDA
    if force_b:
        return LDB
    if a_idle:
        return LDB
    if b_idle:
        return LDA
    if s.k[LDA] > s.k[LDB] or (s.k[LDB] == 0 and s.j[LDB] == 0):
        return LDB
    return LDA


@njit
def emit(m):
    """Return the machine whose command the arbiter passes, and which advances; -1 if none has a valid one."""
    s = m.loop_matmul
    p = m.p
    q = s.slot[ST]
    if s.state[ST] and s.stores_used < p.rs_st and s.dram[q, 3] != 0 and _store_may(m):
        store(m)
        s.stores_used += 1
        return ST
    if s.state[EX] and s.executes_used < p.rs_ex and not s.adds[EX] and _execute_may(s):
        _execute(m)
        s.executes_used += 1
        return EX
    if s.loads_used >= p.rs_ld:
        return -1
    q = s.slot[LDD]
    if s.state[LDD] and s.dram[q, 2] != 0:
        _load_d(m)
        s.loads_used += 1
        return LDD
    which = _choose_ab(m)
    q = s.slot[which]
    if s.state[which] and s.dram[q, which] != 0:
        _load_ab(m, which)
        _advance_ab(m, which)
        s.loads_used += 1
        return which
    return -1
