"""State of the convolution loop: configuration per slot, derived sizes, the five machines and their pipelines.

Source: LoopConv.scala.
"""

import numpy as np

from sim.core.jit import njit
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT

BIAS = 0
WEIGHTS = 1
INPUT = 2
EX = 3
ST = 4

ACCUMULATOR, ACCUMULATE = int(ACCUMULATOR_BIT), int(ACCUMULATE_BIT)

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
        ("head", "i8"),  # slot of the older loop
        ("ld_used", "i8"),  # commands emitted and not completed: loads
        ("ex_used", "i8"),  # executes
        ("st_used", "i8"),  # stores
        ("half", "i8", (5,)),  # accumulator row at which the next job of bias, execute, store begins
        ("configured", "i8", (2,)),  # 1: the slot holds a loop
        ("running", "i8", (2,)),  # 1: a machine has taken its job
        ("started", "i8", (2, 5)),  # by machine: it has taken this loop
        ("completed", "i8", (2, 5)),  # by machine: it has emitted all of it
        ("dram", "i8", (2, 5)),  # DRAM addresses by machine
        *[(name, "i8", (2,)) for name in _PER_SLOT],
        # machines: state 0 idle, 1 config, 2 working (execute: 2 preload, 3 compute; store: 2 mvout, 3..5 pooling)
        ("state", "i8", (5,)),  # as above
        ("slot", "i8", (5,)),  # loop slot of its job
        ("first", "i8", (5,)),  # first local row of its operand
        ("batch", "i8", (5,)),  # iterators: image
        ("row", "i8", (5,)),  # output or input row
        ("column", "i8", (5,)),  # output or input column
        ("channel", "i8", (5,)),  # output or input channel
        ("krow", "i8", (5,)),  # kernel row
        ("kcol", "i8", (5,)),  # kernel column
        ("kernel_channel", "i8", (5,)),  # input channel of the kernel
        ("fresh", "i8"),  # the next compute brings new weights
        # two-stage pipelines
        ("pipe_n", "i8", (5,)),  # commands in the pipeline
        ("pipe_head", "i8", (5,)),  # index of the older
        ("pipe_t", "i8", (5, 2)),  # cycle from which it can leave
        ("pipe_funct", "i8", (5, 2)),  # command number
        ("pipe_rs1", "i8", (5, 2)),  # first operand
        ("pipe_rs2", "i8", (5, 2)),  # second operand
        # decisions of this cycle
        ("job", "i8", (5,)),  # slot whose job the machine takes, -1 none
        ("done", "i8", (5,)),  # 1: it has emitted all of its loop
        ("blocked", "i8", (5,)),  # 1: its pipeline is full
        ("loads_emitted", "i8"),  # loads in this cycle
        ("computes_emitted", "i8"),  # executes in this cycle
        ("funct", "i8"),  # command being made
        ("rs1", "i8"),  # its first operand
        ("rs2", "i8"),  # its second operand
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
    s = m.loop_conv
    p = m.p
    q = s.slot[which]
    s.batch[which] = 0
    s.row[which] = 0
    s.column[which] = 0
    s.channel[which] = 0
    s.krow[which] = 0
    s.kcol[which] = 0
    s.kernel_channel[which] = 0
    half = p.sp_rows // 2
    if which == INPUT:
        s.row[which] = -halved(s.upad[q], s.dilated[q])
        s.column[which] = -halved(s.lpad[q], s.dilated[q])
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
