"""State of the convolution loop: configuration per slot, derived sizes, the five machines and their pipelines.

Source: LoopConv.scala.
"""

import numpy as np

from sim.core.jit import njit

BIAS = 0
WEIGHTS = 1
INPUT = 2
EX = 3
ST = 4

SIGN = 1 << 31

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
        ("job", "i8", (5,)),
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
def least(a, b):
    """The smaller of two."""
    return a if a < b else b


@njit
def halved(x, dilated):
    """Half, rounded up, when the input is dilated."""
    return (x + dilated) >> dilated


@njit
def derive(s, q, dim):
    """Sizes that follow from the configured ones."""
    t = s.dilated[q]
    krows = s.krows[q] + (s.dilation[q] - 1) * (s.krows[q] - 1)
    kcols = s.kcols[q] + (s.dilation[q] - 1) * (s.kcols[q] - 1)
    irows = s.orows[q] * s.stride[q] + krows - 1
    icols = s.ocols[q] * s.stride[q] + kcols - 1
    s.irows_real[q] = halved(irows - s.upad[q] - s.dpad[q], t)
    s.icols_real[q] = halved(icols - s.lpad[q] - s.rpad[q], t)
    s.irows[q] = irows
    s.icols[q] = icols
    if t:
        s.irows[q] = s.irows_real[q] + halved(s.upad[q], t) + halved(s.dpad[q], t)
        s.icols[q] = s.icols_real[q] + halved(s.lpad[q], t) + halved(s.rpad[q], t)
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
        s.row[which] = -halved(s.upad[q], s.dilated[q])
        s.col[which] = -halved(s.lpad[q], s.dilated[q])
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
