"""Preload and compute commands of the convolution loop.

Source: LoopConv.scala (LoopConvExecute). Nest, outer to inner: och, krow, kcol, kch, b, orow, ocol.
"""

from sim.core.fields import local_operand, put
from sim.core.jit import njit
from sim.core.units import unroller
from sim.core.units.loop_conv.state import ACCUMULATE, ACCUMULATOR, EX, halved, least
from sim.isa import codes
from sim.isa.layouts import EX_FIRST, EX_SECOND

STRIDE_MOST = 0x7FFF
"""Bits of C's stride that the unroller sets, one fewer than the field has: operands are signed here."""


@njit
def skips(s):
    """True if this position is a hole of a dilated input."""
    q = s.slot[EX]
    if s.state[EX] < 2 or not s.dilated[q]:
        return False
    row = s.krow[EX] * s.dilation[q] + s.row[EX] - s.upad[q]
    col = s.kcol[EX] * s.dilation[q] + s.column[EX] - s.lpad[q]
    return row & 1 == 1 or col & 1 == 1


@njit
def execute(m):
    """Emit preload, then compute, of the current position; new weights are preloaded at the first output segment."""
    s = m.loop_conv
    p = m.p
    q = s.slot[EX]
    if s.state[EX] == 1:
        s.funct = codes.CONFIG
        s.rs1 = put(s.irows[q] * s.icols[q], EX_FIRST.a_stride) | put(1, EX_FIRST.strides_only)
        s.rs2 = put((s.orows[q] * s.ocols[q]) & STRIDE_MOST, EX_SECOND.c_stride)
        s.state[EX] = 2
        return
    t = s.dilated[q]
    d = s.downsample[q]
    och = s.channel[EX]
    kch = s.kernel_channel[EX]
    b = s.batch[EX]
    if s.trans_input[q]:
        rows = least(s.batches[q] - b, p.dim)
    else:
        rows = halved(least(s.ocols[q] - s.column[EX], p.dim << t), t)
    cols = least(s.ochs[q] - och, p.dim)
    depth = least(s.kcols[q] - s.kcol[EX], s.pixels[q]) * least(s.kchs[q] - kch, p.dim)
    if s.state[EX] == 2:
        krow = s.krows[q] - s.krow[EX] - 1 if s.wrot180[q] else s.krow[EX]
        kcol = s.kcols[q] - s.kcol[EX] - 1 if s.wrot180[q] else s.kcol[EX]
        local = p.garbage_mask
        if s.fresh:
            local = unroller.b_end(p, s.b_half[q], q) - s.weight_rows[q]
            if s.trans_weight_0132[q]:
                local += (kch // p.dim) * s.weight_block_rows[q] + (krow * s.kcols[q] + kcol) * s.ochs[q] + och
            else:
                local += (och // p.dim) * s.weight_block_rows[q] + (krow * s.kcols[q] + kcol) * s.kchs[q] + kch
            local = local & p.addr_mask
        area = s.orows[q] * s.ocols[q]
        c = s.first[EX] + (och // p.dim) * s.batches[q] * area + b * area + s.row[EX] * s.ocols[q] + s.column[EX]
        s.funct = codes.PRELOAD
        s.rs1 = local_operand(local, cols, depth)
        s.rs2 = local_operand((c & p.addr_mask) | ACCUMULATOR | ACCUMULATE, cols, rows)
        s.state[EX] = 3
        return
    irow = halved(s.row[EX] * s.stride[q] + s.krow[EX] * s.dilation[q], t)
    icol = halved(s.column[EX] * s.stride[q] + s.kcol[EX] * s.dilation[q], t)
    wide_cols = s.icols[q] >> d
    area = (s.irows[q] >> d) * wide_cols
    start = unroller.a_start(p, s.a_half[q], q)
    if s.trans_input[q]:
        local = start + (b // p.dim) * s.input_block_rows[q] + kch * area
    else:
        local = start + (kch // p.dim) * s.input_block_rows[q] + b * area
    local += (irow >> d) * wide_cols + (icol >> d)
    s.funct = codes.COMPUTE_PRELOADED if s.fresh else codes.COMPUTE_ACCUMULATED
    s.rs1 = local_operand(local & p.addr_mask, depth, rows)
    s.rs2 = local_operand(p.garbage_mask, cols, rows)
    s.fresh = 0
    advance_execute(m, False)


@njit
def advance_execute(m, skipped):
    """Advance the execute machine, ocol innermost."""
    s = m.loop_conv
    p = m.p
    q = s.slot[EX]
    if skipped and s.state[EX] == 2:
        s.state[EX] = 3
        return
    s.state[EX] = 2
    s.column[EX] += 1 if skipped or s.trans_input[q] else p.dim << s.dilated[q]
    if s.column[EX] < s.ocols[q]:
        return
    s.column[EX] = 0
    s.row[EX] += 1
    if s.row[EX] < s.orows[q]:
        return
    s.row[EX] = 0
    s.batch[EX] += p.dim if s.trans_input[q] else 1
    if s.batch[EX] < s.batches[q]:
        return
    s.batch[EX] = 0
    s.fresh = 1
    s.kernel_channel[EX] += p.dim
    if s.kernel_channel[EX] < s.kchs[q]:
        return
    s.kernel_channel[EX] = 0
    s.kcol[EX] += s.pixels[q]
    if s.kcol[EX] < s.kcols[q]:
        return
    s.kcol[EX] = 0
    s.krow[EX] += 1
    if s.krow[EX] < s.krows[q]:
        return
    s.krow[EX] = 0
    s.channel[EX] += p.dim
    if s.channel[EX] >= s.ochs[q]:
        s.state[EX] = 0
