"""Store commands of the matmul loop: mvouts in the order j, i, or the row passes of LayerNorm and softmax.

Source: LoopMatmul.scala (LoopMatmulStC).
"""

from sim.core.fields import local_operand, put
from sim.core.jit import njit
from sim.core.units.loop_matmul.state import ACCUMULATOR, FULL_WIDTH, LAYERNORM, PASS, ST, STATISTICS, WORKING
from sim.isa import codes
from sim.isa.commands import PASS_SHIFT
from sim.isa.layouts import NORM_FIRST


@njit
def store(m):
    """Emit an mvout of up to block_len blocks, or the row passes of LayerNorm and softmax."""
    s = m.loop_matmul
    p = m.p
    q = s.slot[ST]
    if s.state[ST] == STATISTICS:
        s.funct = codes.CONFIG
        s.rs1 = put(1, NORM_FIRST.statistics_only) | put(s.norm_statistic, NORM_FIRST.statistics) | codes.CONFIG_NORM
        s.rs2 = 0
        s.state[ST] = PASS
        return
    i = s.i[ST]
    j = s.j[ST]
    j_n = s.bound[q, 1]
    most = 1 if s.full_c[q] else min(j_n, p.block_len)
    blocks = most if j + most <= j_n else j_n - j
    cols = blocks * p.dim - (s.padding[q, 1] if j + blocks >= j_n else 0)
    rows = p.dim - (s.padding[q, 0] if i == s.bound[q, 0] - 1 else 0)
    first = s.first[ST] + (i * j_n + j) * p.dim
    flags = ACCUMULATOR | (FULL_WIDTH if s.full_c[q] else 0)
    elements = (i * s.dram_stride[q, 3] + j) * p.dim
    s.funct = codes.MVOUT
    if s.state[ST] == WORKING:
        offset = elements * (8 * p.acc_bytes if s.full_c[q] else p.c_bits) >> 3
        s.rs2 = local_operand((first & p.addr_mask) | flags, cols, rows)
        _advance_store(s, q, most)
    else:
        row = s.norm_row + s.norm_statistic
        offset = (elements + row * s.dram_stride[q, 3]) * p.c_bits >> 3
        norm = _pass(s.activation[q], s.norm_pass, j + most >= j_n)
        s.rs2 = local_operand(((first + row) & p.addr_mask) | flags | norm << PASS_SHIFT, cols, 1)
        _advance_passes(s, q, most, rows)
    s.rs1 = s.dram[q, 3] + (offset & 0xFFFFFFFF)


@njit
def _pass(activation, command, last):
    """Return the code of the normaliser's pass (NormCmd) over a part of a row; `last`: the last part.

    LayerNorm: sum or mean (1, 2), variance or inverse deviation (3, 4), none. Softmax: maximum (5), sum of exponentials
    or its inverse (6, 7), none.
    """
    if command == 2:
        return 0
    if activation == LAYERNORM:
        return 2 * command + (2 if last else 1)
    return 5 if command == 0 else (7 if last else 6)


@njit
def _advance_store(s, q, most):
    """Advance the store machine: j, i."""
    s.i[ST] += 1
    if s.i[ST] == s.bound[q, 0]:
        s.i[ST] = 0
        s.j[ST] += most
        if s.j[ST] >= s.bound[q, 1]:
            s.j[ST] = 0
            s.state[ST] = 0


@njit
def _advance_passes(s, q, most, rows):
    """Advance under LayerNorm or softmax: i, pair of rows, pass, row of the pair, j."""
    stats = min(2, rows - s.norm_row)
    s.j[ST] += most
    if s.j[ST] < s.bound[q, 1]:
        return
    s.j[ST] = 0
    s.state[ST] = STATISTICS
    s.norm_statistic += 1
    if s.norm_statistic < stats:
        return
    s.norm_statistic = 0
    s.norm_pass += 1
    if s.norm_pass < 3:
        return
    s.norm_pass = 0
    s.norm_row += 2
    if s.norm_row < rows:
        return
    s.norm_row = 0
    s.i[ST] += 1
    if s.i[ST] == s.bound[q, 0]:
        s.i[ST] = 0
        s.state[ST] = 0
