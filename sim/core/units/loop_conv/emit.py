"""Load and store commands of the convolution loop.

Source: LoopConv.scala. Nests, outer to inner: bias b, orow, ocol, och; weights och, krow, kcol, kch; input b, irow,
icol, ich; store b, orow, ocol, och (pooling: b, och).
"""

from sim.core.fields import local_operand, put
from sim.core.jit import njit
from sim.core.units.loop_conv.execute import execute
from sim.core.units.loop_conv.state import ACCUMULATOR, BIAS, EX, INPUT, ST, WEIGHTS, halved, least
from sim.isa import codes
from sim.isa.layouts import LD_FIRST, ST_FIRST, ST_SECOND

IDENTITY = 0x3F800000  # scale 1.0
KEEP_SCALE = 0xFFFFFFFF


@njit
def _load_config(s, which_state, stride, pixels, dram_stride):
    s.funct = codes.CONFIG
    s.rs1 = codes.CONFIG_LD | put(which_state, LD_FIRST.state) | put(pixels, LD_FIRST.pixels)
    s.rs1 |= put(stride, LD_FIRST.block_stride) | put(IDENTITY, LD_FIRST.scale)
    s.rs2 = dram_stride


@njit
def command(m, which):
    """The machine's present command into funct, rs1, rs2; the machine advances."""
    if which == BIAS:
        _bias(m)
    elif which == WEIGHTS:
        _weights(m)
    elif which == INPUT:
        _input(m)
    elif which == EX:
        execute(m)
    else:
        _store(m)


@njit
def _bias(m):
    s = m.loop_conv
    p = m.p
    q = s.slot[BIAS]
    if s.state[BIAS] == 1:
        _load_config(s, 2, s.bias_block_rows[q], 1, 0)
        s.state[BIAS] = 2
        return
    most = least(s.ochs[q], p.block_len_acc * p.dim)
    och = s.channel[BIAS]
    area = s.orows[q] * s.ocols[q]
    local = s.first[BIAS] + (och // p.dim) * s.batches[q] * area + s.batch[BIAS] * area
    local += s.row[BIAS] * s.ocols[q] + s.column[BIAS]
    rows = least(s.ocols[q] - s.column[BIAS], p.dim)
    cols = least(s.ochs[q] - och, most)
    s.funct = codes.MVIN3
    s.rs1 = 0 if s.no_bias[q] else s.dram[q, BIAS] + och * p.acc_bytes
    s.rs2 = local_operand((local & p.addr_mask) | ACCUMULATOR, cols, rows)
    s.channel[BIAS] += most
    if s.channel[BIAS] >= s.ochs[q]:
        s.channel[BIAS] = 0
        if _next_pixels(s, BIAS, q, p.dim):
            s.state[BIAS] = 0


@njit
def _next_pixels(s, which, q, step):
    """Advance to the next row segment of the output; True after the last one."""
    s.column[which] += step
    if s.column[which] >= s.ocols[q]:
        s.column[which] = 0
        s.row[which] += 1
        if s.row[which] >= s.orows[q]:
            s.row[which] = 0
            s.batch[which] += 1
            if s.batch[which] >= s.batches[q]:
                s.batch[which] = 0
                return True
    return False


@njit
def _weights(m):
    s = m.loop_conv
    p = m.p
    q = s.slot[WEIGHTS]
    kd = s.kernel_dim[q]
    if s.state[WEIGHTS] == 1:
        stride = s.weight_stride[q]
        if s.depthwise[q]:
            stride = 1
        elif s.trans_weight_1203[q]:
            stride = kd * kd * s.out_channels[q]
        elif s.trans_weight_0132[q]:
            stride = s.in_channels[q]
        _load_config(s, 1, s.weight_block_rows[q], 1, stride * p.b_bits >> 3)
        s.state[WEIGHTS] = 2
        return
    och = s.channel[WEIGHTS]
    kch = s.kernel_channel[WEIGHTS]
    krow = s.krow[WEIGHTS]
    kcol = s.kcol[WEIGHTS]
    wide = p.block_len * p.dim
    turned = s.trans_weight_0132[q]
    if s.depthwise[q]:
        offset = krow * kd + kcol
    elif s.trans_weight_1203[q]:
        offset = (kch * kd * kd + krow * kd + kcol) * s.out_channels[q] + och
    elif turned:
        offset = (krow * kd * s.out_channels[q] + kcol * s.out_channels[q] + och) * s.in_channels[q] + kch
    else:
        offset = (krow * kd * s.in_channels[q] + kcol * s.in_channels[q] + kch) * s.weight_stride[q] + och
    if turned:
        most = least(s.kchs[q], wide)
        cols = least(s.kchs[q] - kch, most)
        rows = least(s.ochs[q] - och, p.dim)
        local = (kch // p.dim) * s.weight_block_rows[q] + (krow * s.kcols[q] + kcol) * s.ochs[q] + och
    else:
        most = least(s.ochs[q], wide)
        cols = least(s.ochs[q] - och, most)
        rows = least(s.kchs[q] - kch, p.dim)
        local = (och // p.dim) * s.weight_block_rows[q] + (krow * s.kcols[q] + kcol) * s.kchs[q] + kch
    s.funct = codes.MVIN2
    s.rs1 = s.dram[q, WEIGHTS] + ((offset * p.b_bits >> 3) & 0xFFFFFFFF)
    s.rs2 = local_operand((s.first[WEIGHTS] + local) & p.addr_mask, cols, rows)
    s.kernel_channel[WEIGHTS] += most if turned else p.dim
    if s.kernel_channel[WEIGHTS] < s.kchs[q]:
        return
    s.kernel_channel[WEIGHTS] = 0
    s.kcol[WEIGHTS] += 1
    if s.kcol[WEIGHTS] < s.kcols[q]:
        return
    s.kcol[WEIGHTS] = 0
    s.krow[WEIGHTS] += 1
    if s.krow[WEIGHTS] < s.krows[q]:
        return
    s.krow[WEIGHTS] = 0
    s.channel[WEIGHTS] += p.dim if turned else most
    if s.channel[WEIGHTS] >= s.ochs[q]:
        s.state[WEIGHTS] = 0


@njit
def _input(m):
    s = m.loop_conv
    p = m.p
    q = s.slot[INPUT]
    d = s.downsample[q]
    t = s.dilated[q]
    if s.state[INPUT] == 1:
        stride = s.batch_size[q] if s.trans_input[q] else s.in_stride[q]
        _load_config(s, 0, s.input_block_rows[q], s.pixels[q], (stride * p.a_bits >> 3) << d)
        s.state[INPUT] = 2
        return
    wide = p.block_len * p.dim
    turned = s.trans_input[q]
    most = least(s.batches[q] if turned else s.kchs[q], wide)
    b = s.batch[INPUT]
    irow = s.row[INPUT]
    icol = s.column[INPUT]
    ich = s.channel[INPUT]
    upad = halved(s.upad[q], t)
    lpad = halved(s.lpad[q], t)
    rpad = halved(s.rpad[q], t)
    rows_real = s.irows_real[q]
    cols_real = s.icols_real[q]
    zeros = irow < 0 or irow >= rows_real or icol < 0 or icol >= cols_real
    if turned:
        offset = (ich * s.in_col_dim[q] * s.in_row_dim[q] + irow * s.in_col_dim[q] + icol) * s.batches[q] + b
    else:
        offset = (b * s.in_row_dim[q] * s.in_col_dim[q] + irow * s.in_col_dim[q] + icol) * s.in_stride[q] + ich
    wide_cols = s.icols[q] >> d
    place = ((irow + upad) >> d) * wide_cols + ((icol + lpad) >> d)
    area = (s.irows[q] >> d) * wide_cols
    if turned:
        local = (b // p.dim) * s.input_block_rows[q] + ich * area + place
    else:
        local = (ich // p.dim) * s.input_block_rows[q] + b * area + place
    segment = p.dim << d
    if icol < 0:
        pixels = least(-icol, p.dim)
    elif icol >= cols_real:
        pixels = least(cols_real + rpad - icol, p.dim)
    else:
        pixels = least(cols_real - icol, segment)
    count = least((s.batches[q] - b) if turned else (s.kchs[q] - ich), most)
    s.funct = codes.MVIN
    s.rs1 = 0 if zeros else s.dram[q, INPUT] + ((offset * p.a_bits >> 3) & 0xFFFFFFFF)
    s.rs2 = local_operand((s.first[INPUT] + local) & p.addr_mask, count, pixels >> d)
    _advance_input(s, q, pixels, most)


@njit
def _advance_input(s, q, pixels, most):
    """Advance the input machine by `pixels` columns of at most `most` channels (transposed: images)."""
    t = s.dilated[q]
    turned = s.trans_input[q]
    s.channel[INPUT] += 1 if turned else most
    if s.channel[INPUT] < s.kchs[q]:
        return
    s.channel[INPUT] = 0
    s.column[INPUT] += pixels
    if s.column[INPUT] < s.icols_real[q] + halved(s.rpad[q], t):
        return
    s.column[INPUT] = -halved(s.lpad[q], t)
    s.row[INPUT] += 1 << s.downsample[q]
    if s.row[INPUT] < s.irows_real[q] + halved(s.dpad[q], t):
        return
    s.row[INPUT] = -halved(s.upad[q], t)
    s.batch[INPUT] += most if turned else 1
    if s.batch[INPUT] >= s.batches[q]:
        s.state[INPUT] = 0


@njit
def _store(m):
    s = m.loop_conv
    p = m.p
    q = s.slot[ST]
    och = s.channel[ST]
    b = s.batch[ST]
    cols = least(s.ochs[q] - och, p.dim)
    area = s.orows[q] * s.ocols[q]
    local = s.first[ST] + (och // p.dim) * s.batches[q] * area + b * area
    state = s.state[ST]
    if state == 2:
        row = s.row[ST]
        col = s.column[ST]
        if s.trans_output[q]:
            pixel = row * s.out_col_dim[q] * s.batch_size[q] + col * s.batch_size[q] + b
            offset = pixel * s.out_channels[q] + och
        else:
            pixel = b * s.out_row_dim[q] * s.out_col_dim[q] + row * s.out_col_dim[q] + col
            offset = pixel * s.out_stride[q] + och
        rows = least(s.ocols[q] - col, p.dim)
        s.funct = codes.MVOUT
        s.rs1 = s.dram[q, ST] + ((offset * p.c_bits >> 3) & 0xFFFFFFFF)
        s.rs2 = local_operand(((local + row * s.ocols[q] + col) & p.addr_mask) | ACCUMULATOR, cols, rows)
        s.channel[ST] += p.dim
        if s.channel[ST] >= s.ochs[q]:
            s.channel[ST] = 0
            if _next_pixels(s, ST, q, p.dim):
                s.state[ST] = 0
        return
    if state == 4:
        pixel = b * s.pool_out_col_dim[q] * s.pool_out_row_dim[q]
        s.funct = codes.MVOUT
        s.rs1 = s.dram[q, ST] + ((pixel * s.out_stride[q] + och) * p.c_bits >> 3)
        s.rs2 = local_operand((local & p.addr_mask) | ACCUMULATOR, cols, 0)
        s.channel[ST] += p.dim
        if s.channel[ST] >= s.ochs[q]:
            s.channel[ST] = 0
            s.batch[ST] += 1
            if s.batch[ST] >= s.batches[q]:
                s.state[ST] = 5
        return
    s.funct = codes.CONFIG
    s.rs1 = codes.CONFIG_ST | put(s.activation[q], ST_FIRST.activation)
    if state == 3:
        s.rs1 |= put(s.ocols[q], ST_FIRST.out_cols) | put(s.orows[q], ST_FIRST.out_rows)
        s.rs1 |= put(s.pocols[q], ST_FIRST.pooled_cols) | put(s.porows[q], ST_FIRST.pooled_rows)
        s.rs1 |= put(s.pool_out_col_dim[q], ST_FIRST.out_dim)
        s.rs1 |= put(s.plpad[q], ST_FIRST.left_padding) | put(s.pupad[q], ST_FIRST.upper_padding)
        s.rs1 |= put(s.pool_size[q], ST_FIRST.pool_size) | put(s.pool_stride[q], ST_FIRST.pool_stride)
    s.rs2 = put(KEEP_SCALE, ST_SECOND.scale) | put(s.out_stride[q] * p.c_bits >> 3, ST_SECOND.stride_bytes)
    s.state[ST] = 4 if state == 3 else 0
