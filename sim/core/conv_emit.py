"""The commands of the convolution loop: state of the five machines, their nests and addresses.

Source: LoopConv.scala. Nests, outer to inner: bias b, orow, ocol, och; weights och, krow, kcol, kch; input b, irow,
icol, ich; execute och, krow, kcol, kch, b, orow, ocol; store b, orow, ocol, och (pooling: b, och).
"""

import numpy as np
from numba import njit

BIAS = 0
WEIGHTS = 1
INPUT = 2
EX = 3
ST = 4

SIGN = 1 << 31
IDENTITY = 0x3F800000 << 32  # scale 1.0
KEEP_SCALE = 0xFFFFFFFF

_PER_SLOT = (
    "out_channels", "in_channels", "in_row_dim", "in_col_dim", "batch_size", "stride", "out_col_dim",
    "pool_out_row_dim", "out_row_dim", "kernel_dim", "pool_out_col_dim", "pool_size", "pool_stride", "batches",
    "porows", "pocols", "ochs", "krows", "kcols", "kchs", "lpad", "rpad", "upad", "dpad", "plpad", "orows", "pupad",
    "dilation", "in_stride", "weight_stride", "out_stride", "ocols", "no_bias", "wrot180", "trans_output",
    "trans_weight_1203", "trans_weight_0132", "trans_input", "depthwise", "pixels", "b_id", "a_id", "no_pool",
    "downsample", "dilated", "activation",
    # derived
    "irows", "icols", "irows_real", "icols_real", "input_stride", "weight_rows", "bias_stride", "w_stride",
)  # fmt: skip

DTYPE = np.dtype(
    [
        ("head", "i8"),
        ("ld_used", "i8"),
        ("ex_used", "i8"),
        ("st_used", "i8"),
        ("half", "i8", (5,)),  # accumulator row at which the next job of bias, execute, store begins
        ("configured", "i8", (2,)),
        ("running", "i8", (2,)),
        ("started", "i8", (2, 5)),
        ("completed", "i8", (2, 5)),
        ("dram", "i8", (2, 5)),
        *[(name, "i8", (2,)) for name in _PER_SLOT],
        # machines: state 0 idle, 1 config, 2 working (execute: 2 preload, 3 compute; store: 2 mvout, 3..5 pooling)
        ("state", "i8", (5,)),
        ("slot", "i8", (5,)),
        ("first", "i8", (5,)),
        ("b", "i8", (5,)),
        ("row", "i8", (5,)),
        ("col", "i8", (5,)),
        ("ch", "i8", (5,)),
        ("krow", "i8", (5,)),
        ("kcol", "i8", (5,)),
        ("kch", "i8", (5,)),
        ("fresh", "i8"),  # the next compute brings new weights
        # two-stage pipelines
        ("p_n", "i8", (5,)),
        ("p_head", "i8", (5,)),
        ("p_t", "i8", (5, 2)),
        ("p_funct", "i8", (5, 2)),
        ("p_rs1", "i8", (5, 2)),
        ("p_rs2", "i8", (5, 2)),
        # decisions of this cycle
        ("take", "i8", (5,)),
        ("done", "i8", (5,)),
        ("blocked", "i8", (5,)),
        ("loads_emitted", "i8"),
        ("computes_emitted", "i8"),
        ("funct", "i8"),
        ("rs1", "i8"),
        ("rs2", "i8"),
    ]
)


@njit
def _least(a, b):
    return a if a < b else b


@njit
def _halved(x, dilated):
    return (x + dilated) >> dilated


@njit
def derive(s, q, dim):
    """Sizes that follow from the configured ones."""
    t = s.dilated[q]
    krows = s.krows[q] + (s.dilation[q] - 1) * (s.krows[q] - 1)
    kcols = s.kcols[q] + (s.dilation[q] - 1) * (s.kcols[q] - 1)
    irows = s.orows[q] * s.stride[q] + krows - 1
    icols = s.ocols[q] * s.stride[q] + kcols - 1
    s.irows_real[q] = _halved(irows - s.upad[q] - s.dpad[q], t)
    s.icols_real[q] = _halved(icols - s.lpad[q] - s.rpad[q], t)
    s.irows[q] = irows
    s.icols[q] = icols
    if t:
        s.irows[q] = s.irows_real[q] + _halved(s.upad[q], t) + _halved(s.dpad[q], t)
        s.icols[q] = s.icols_real[q] + _halved(s.lpad[q], t) + _halved(s.rpad[q], t)
    d = s.downsample[q]
    count = s.kchs[q] if s.trans_input[q] else s.batches[q]
    s.input_stride[q] = count * (s.irows[q] >> d) * (s.icols[q] >> d)
    s.bias_stride[q] = s.batches[q] * s.orows[q] * s.ocols[q]
    if s.trans_weight_0132[q]:
        s.w_stride[q] = s.krows[q] * s.kcols[q] * s.ochs[q]
        s.weight_rows[q] = (s.kchs[q] + dim - 1) // dim * s.w_stride[q]
    else:
        s.w_stride[q] = s.krows[q] * s.kcols[q] * s.kchs[q]
        s.weight_rows[q] = (s.ochs[q] + dim - 1) // dim * s.w_stride[q]


@njit
def begin(m, which):
    """A machine starts its job."""
    s = m.lc
    p = m.p
    q = s.slot[which]
    s.b[which] = 0
    s.row[which] = 0
    s.col[which] = 0
    s.ch[which] = 0
    s.krow[which] = 0
    s.kcol[which] = 0
    s.kch[which] = 0
    half = p.sp_rows // 2
    if which == INPUT:
        s.row[which] = -_halved(s.upad[q], s.dilated[q])
        s.col[which] = -_halved(s.lpad[q], s.dilated[q])
        s.first[which] = (s.a_id[q] - 1) * half if s.a_id[q] else q * half
        s.state[which] = 1
    elif which == WEIGHTS:
        s.first[which] = (s.b_id[q] if s.b_id[q] else q + 1) * half - s.weight_rows[q]
        s.state[which] = 1
    elif which == BIAS:
        s.state[which] = 1
    elif which == EX:
        s.state[which] = 1 if s.trans_input[q] else 2
        s.fresh = 1
    else:
        s.state[which] = 2 if s.no_pool[q] else 3


@njit
def _load_config(s, which_state, stride, pixels, dram_stride):
    s.funct = 0
    s.rs1 = IDENTITY | (stride & 0xFFFF) << 16 | (pixels & 0xFF) << 8 | which_state << 3 | 1
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
        _execute(m)
    else:
        _store(m)


@njit
def _bias(m):
    s = m.lc
    p = m.p
    q = s.slot[BIAS]
    if s.state[BIAS] == 1:
        _load_config(s, 2, s.bias_stride[q], 1, 0)
        s.state[BIAS] = 2
        return
    most = _least(s.ochs[q], p.block_len_acc * p.dim)
    och = s.ch[BIAS]
    area = s.orows[q] * s.ocols[q]
    local = s.first[BIAS] + (och // p.dim) * s.batches[q] * area + s.b[BIAS] * area
    local += s.row[BIAS] * s.ocols[q] + s.col[BIAS]
    rows = _least(s.ocols[q] - s.col[BIAS], p.dim)
    cols = _least(s.ochs[q] - och, most)
    s.funct = 14
    s.rs1 = 0 if s.no_bias[q] else s.dram[q, BIAS] + och * p.acc_bytes
    s.rs2 = rows << 48 | cols << 32 | (local & p.addr_mask) | SIGN
    s.ch[BIAS] += most
    if s.ch[BIAS] >= s.ochs[q]:
        s.ch[BIAS] = 0
        if _next_pixels(s, BIAS, q, p.dim):
            s.state[BIAS] = 0


@njit
def _next_pixels(s, which, q, step):
    """Next row segment of the output; True behind the last one."""
    s.col[which] += step
    if s.col[which] >= s.ocols[q]:
        s.col[which] = 0
        s.row[which] += 1
        if s.row[which] >= s.orows[q]:
            s.row[which] = 0
            s.b[which] += 1
            if s.b[which] >= s.batches[q]:
                s.b[which] = 0
                return True
    return False


@njit
def _weights(m):
    s = m.lc
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
        _load_config(s, 1, s.w_stride[q], 1, stride * p.in_bytes)
        s.state[WEIGHTS] = 2
        return
    och = s.ch[WEIGHTS]
    kch = s.kch[WEIGHTS]
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
        most = _least(s.kchs[q], wide)
        cols = _least(s.kchs[q] - kch, most)
        rows = _least(s.ochs[q] - och, p.dim)
        local = (kch // p.dim) * s.w_stride[q] + (krow * s.kcols[q] + kcol) * s.ochs[q] + och
    else:
        most = _least(s.ochs[q], wide)
        cols = _least(s.ochs[q] - och, most)
        rows = _least(s.kchs[q] - kch, p.dim)
        local = (och // p.dim) * s.w_stride[q] + (krow * s.kcols[q] + kcol) * s.kchs[q] + kch
    s.funct = 1
    s.rs1 = s.dram[q, WEIGHTS] + ((offset * p.in_bytes) & 0xFFFFFFFF)
    s.rs2 = rows << 48 | cols << 32 | ((s.first[WEIGHTS] + local) & p.addr_mask)
    s.kch[WEIGHTS] += most if turned else p.dim
    if s.kch[WEIGHTS] < s.kchs[q]:
        return
    s.kch[WEIGHTS] = 0
    s.kcol[WEIGHTS] += 1
    if s.kcol[WEIGHTS] < s.kcols[q]:
        return
    s.kcol[WEIGHTS] = 0
    s.krow[WEIGHTS] += 1
    if s.krow[WEIGHTS] < s.krows[q]:
        return
    s.krow[WEIGHTS] = 0
    s.ch[WEIGHTS] += p.dim if turned else most
    if s.ch[WEIGHTS] >= s.ochs[q]:
        s.state[WEIGHTS] = 0


@njit
def _input(m):
    s = m.lc
    p = m.p
    q = s.slot[INPUT]
    d = s.downsample[q]
    t = s.dilated[q]
    if s.state[INPUT] == 1:
        stride = s.batch_size[q] if s.trans_input[q] else s.in_stride[q]
        _load_config(s, 0, s.input_stride[q], s.pixels[q], (stride * p.in_bytes) << d)
        s.state[INPUT] = 2
        return
    wide = p.block_len * p.dim
    turned = s.trans_input[q]
    most = _least(s.batches[q] if turned else s.kchs[q], wide)
    b = s.b[INPUT]
    irow = s.row[INPUT]
    icol = s.col[INPUT]
    ich = s.ch[INPUT]
    upad = _halved(s.upad[q], t)
    lpad = _halved(s.lpad[q], t)
    rpad = _halved(s.rpad[q], t)
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
        local = (b // p.dim) * s.input_stride[q] + ich * area + place
    else:
        local = (ich // p.dim) * s.input_stride[q] + b * area + place
    segment = p.dim << d
    if icol < 0:
        pixels = _least(-icol, p.dim)
    elif icol >= cols_real:
        pixels = _least(cols_real + rpad - icol, p.dim)
    else:
        pixels = _least(cols_real - icol, segment)
    count = _least((s.batches[q] - b) if turned else (s.kchs[q] - ich), most)
    s.funct = 2
    s.rs1 = 0 if zeros else s.dram[q, INPUT] + ((offset * p.in_bytes) & 0xFFFFFFFF)
    s.rs2 = (pixels >> d) << 48 | count << 32 | ((s.first[INPUT] + local) & p.addr_mask)
    s.ch[INPUT] += 1 if turned else most
    if s.ch[INPUT] < s.kchs[q]:
        return
    s.ch[INPUT] = 0
    s.col[INPUT] += pixels
    if s.col[INPUT] < cols_real + rpad:
        return
    s.col[INPUT] = -lpad
    s.row[INPUT] += 1 << d
    if s.row[INPUT] < rows_real + _halved(s.dpad[q], t):
        return
    s.row[INPUT] = -upad
    s.b[INPUT] += most if turned else 1
    if s.b[INPUT] >= s.batches[q]:
        s.state[INPUT] = 0


@njit
def skips(s):
    """A dilated input has holes: this position meets one."""
    q = s.slot[EX]
    if s.state[EX] < 2 or not s.dilated[q]:
        return False
    row = s.krow[EX] * s.dilation[q] + s.row[EX] - s.upad[q]
    col = s.kcol[EX] * s.dilation[q] + s.col[EX] - s.lpad[q]
    return row & 1 == 1 or col & 1 == 1


@njit
def _execute(m):
    s = m.lc
    p = m.p
    q = s.slot[EX]
    if s.state[EX] == 1:
        s.funct = 0
        s.rs1 = ((s.irows[q] * s.icols[q]) & 0xFFFF) << 16 | 1 << 7
        s.rs2 = ((s.orows[q] * s.ocols[q]) & 0x7FFF) << 48
        s.state[EX] = 2
        return
    t = s.dilated[q]
    d = s.downsample[q]
    och = s.ch[EX]
    kch = s.kch[EX]
    b = s.b[EX]
    if s.trans_input[q]:
        rows = _least(s.batches[q] - b, p.dim)
    else:
        rows = _halved(_least(s.ocols[q] - s.col[EX], p.dim << t), t)
    cols = _least(s.ochs[q] - och, p.dim)
    depth = _least(s.kcols[q] - s.kcol[EX], s.pixels[q]) * _least(s.kchs[q] - kch, p.dim)
    if s.state[EX] == 2:
        krow = s.krows[q] - s.krow[EX] - 1 if s.wrot180[q] else s.krow[EX]
        kcol = s.kcols[q] - s.kcol[EX] - 1 if s.wrot180[q] else s.kcol[EX]
        local = p.garbage_mask
        if s.fresh:
            end = (s.b_id[q] if s.b_id[q] else q + 1) * (p.sp_rows // 2)
            local = end - s.weight_rows[q]
            if s.trans_weight_0132[q]:
                local += (kch // p.dim) * s.w_stride[q] + (krow * s.kcols[q] + kcol) * s.ochs[q] + och
            else:
                local += (och // p.dim) * s.w_stride[q] + (krow * s.kcols[q] + kcol) * s.kchs[q] + kch
            local = local & p.addr_mask
        area = s.orows[q] * s.ocols[q]
        c = s.first[EX] + (och // p.dim) * s.batches[q] * area + b * area + s.row[EX] * s.ocols[q] + s.col[EX]
        s.funct = 6
        s.rs1 = depth << 48 | cols << 32 | local
        s.rs2 = rows << 48 | cols << 32 | (c & p.addr_mask) | SIGN | 1 << 30
        s.state[EX] = 3
        return
    irow = _halved(s.row[EX] * s.stride[q] + s.krow[EX] * s.dilation[q], t)
    icol = _halved(s.col[EX] * s.stride[q] + s.kcol[EX] * s.dilation[q], t)
    wide_cols = s.icols[q] >> d
    area = (s.irows[q] >> d) * wide_cols
    start = (s.a_id[q] - 1) * (p.sp_rows // 2) if s.a_id[q] else q * (p.sp_rows // 2)
    if s.trans_input[q]:
        local = start + (b // p.dim) * s.input_stride[q] + kch * area
    else:
        local = start + (kch // p.dim) * s.input_stride[q] + b * area
    local += (irow >> d) * wide_cols + (icol >> d)
    s.funct = 4 if s.fresh else 5
    s.rs1 = rows << 48 | depth << 32 | (local & p.addr_mask)
    s.rs2 = rows << 48 | cols << 32 | p.garbage_mask
    s.fresh = 0
    advance_execute(m, False)


@njit
def advance_execute(m, skipped):
    """Next position of the execute machine, ocol innermost."""
    s = m.lc
    p = m.p
    q = s.slot[EX]
    if skipped and s.state[EX] == 2:
        s.state[EX] = 3
        return
    s.state[EX] = 2
    s.col[EX] += 1 if skipped or s.trans_input[q] else p.dim << s.dilated[q]
    if s.col[EX] < s.ocols[q]:
        return
    s.col[EX] = 0
    s.row[EX] += 1
    if s.row[EX] < s.orows[q]:
        return
    s.row[EX] = 0
    s.b[EX] += p.dim if s.trans_input[q] else 1
    if s.b[EX] < s.batches[q]:
        return
    s.b[EX] = 0
    s.fresh = 1
    s.kch[EX] += p.dim
    if s.kch[EX] < s.kchs[q]:
        return
    s.kch[EX] = 0
    s.kcol[EX] += s.pixels[q]
    if s.kcol[EX] < s.kcols[q]:
        return
    s.kcol[EX] = 0
    s.krow[EX] += 1
    if s.krow[EX] < s.krows[q]:
        return
    s.krow[EX] = 0
    s.ch[EX] += p.dim
    if s.ch[EX] >= s.ochs[q]:
        s.state[EX] = 0


@njit
def _store(m):
    s = m.lc
    p = m.p
    q = s.slot[ST]
    och = s.ch[ST]
    b = s.b[ST]
    cols = _least(s.ochs[q] - och, p.dim)
    area = s.orows[q] * s.ocols[q]
    local = s.first[ST] + (och // p.dim) * s.batches[q] * area + b * area
    state = s.state[ST]
    if state == 2:
        row = s.row[ST]
        col = s.col[ST]
        if s.trans_output[q]:
            pixel = row * s.out_col_dim[q] * s.batch_size[q] + col * s.batch_size[q] + b
            offset = pixel * s.out_channels[q] + och
        else:
            pixel = b * s.out_row_dim[q] * s.out_col_dim[q] + row * s.out_col_dim[q] + col
            offset = pixel * s.out_stride[q] + och
        rows = _least(s.ocols[q] - col, p.dim)
        s.funct = 3
        s.rs1 = s.dram[q, ST] + ((offset * p.in_bytes) & 0xFFFFFFFF)
        s.rs2 = rows << 48 | cols << 32 | ((local + row * s.ocols[q] + col) & p.addr_mask) | SIGN
        s.ch[ST] += p.dim
        if s.ch[ST] >= s.ochs[q]:
            s.ch[ST] = 0
            if _next_pixels(s, ST, q, p.dim):
                s.state[ST] = 0
        return
    if state == 4:
        pixel = b * s.pool_out_col_dim[q] * s.pool_out_row_dim[q]
        s.funct = 3
        s.rs1 = s.dram[q, ST] + (pixel * s.out_stride[q] + och) * p.in_bytes
        s.rs2 = cols << 32 | (local & p.addr_mask) | SIGN
        s.ch[ST] += p.dim
        if s.ch[ST] >= s.ochs[q]:
            s.ch[ST] = 0
            s.b[ST] += 1
            if s.b[ST] >= s.batches[q]:
                s.state[ST] = 5
        return
    s.funct = 0
    s.rs1 = s.activation[q] << 2 | 2
    if state == 3:
        s.rs1 |= (s.ocols[q] & 0xFF) << 56 | (s.orows[q] & 0xFF) << 48 | (s.pocols[q] & 0xFF) << 40
        s.rs1 |= (s.porows[q] & 0xFF) << 32 | (s.pool_out_col_dim[q] & 0xFF) << 24
        s.rs1 |= (s.plpad[q] & 3) << 10 | (s.pupad[q] & 3) << 8 | (s.pool_size[q] & 3) << 6
        s.rs1 |= (s.pool_stride[q] & 3) << 4
    s.rs2 = KEEP_SCALE << 32 | ((s.out_stride[q] * p.in_bytes) & 0xFFFFFFFF)
    s.state[ST] = 4 if state == 3 else 0
