"""State of the convolution loop: configuration per slot, derived sizes, the five machines and their pipelines.

Source: LoopConv.scala.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.units import unroller
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT

BIAS = 0
WEIGHTS = 1
INPUT = 2
EX = 3
ST = 4

ACCUMULATOR, ACCUMULATE = int(ACCUMULATOR_BIT), int(ACCUMULATE_BIT)

DTYPE = np.dtype(
    [
        ("head", "i8"),  # slot of the older loop
        ("loads_used", "i8"),  # commands emitted and not completed: loads
        ("executes_used", "i8"),  # executes
        ("stores_used", "i8"),  # stores
        ("half", "i8", (5,)),  # accumulator row at which the next job of bias, execute, store begins
        ("configured", "i8", (2,)),  # 1: the slot holds a loop
        ("running", "i8", (2,)),  # 1: a machine has taken its job
        ("started", "i8", (2, 5)),  # by machine: it has taken this loop
        ("completed", "i8", (2, 5)),  # by machine: it has emitted all of it
        ("dram", "i8", (2, 5)),  # DRAM addresses by machine
        # sizes by slot, in elements, of the tensors in DRAM
        ("batch_size", "i8", (2,)),  # images of the whole input
        ("in_channels", "i8", (2,)),  # channels of the whole input
        ("in_row_dim", "i8", (2,)),  # rows of the whole input
        ("in_col_dim", "i8", (2,)),  # columns of the whole input
        ("in_stride", "i8", (2,)),  # from one pixel of the input to the next
        ("out_channels", "i8", (2,)),  # channels of the whole output
        ("out_row_dim", "i8", (2,)),  # rows of the whole output
        ("out_col_dim", "i8", (2,)),  # columns of the whole output
        ("out_stride", "i8", (2,)),  # from one pixel of the output to the next
        ("pool_out_row_dim", "i8", (2,)),  # rows of the whole pooled output
        ("pool_out_col_dim", "i8", (2,)),  # columns of the whole pooled output
        ("kernel_dim", "i8", (2,)),  # side of the kernel
        ("weight_stride", "i8", (2,)),  # from one input channel of the weights to the next
        # the part that this loop computes
        ("batches", "i8", (2,)),  # images
        ("orows", "i8", (2,)),  # output rows
        ("ocols", "i8", (2,)),  # output columns
        ("ochs", "i8", (2,)),  # output channels
        ("krows", "i8", (2,)),  # kernel rows
        ("kcols", "i8", (2,)),  # kernel columns
        ("kchs", "i8", (2,)),  # input channels
        ("upad", "i8", (2,)),  # rows of zeros above
        ("dpad", "i8", (2,)),  # rows of zeros below
        ("lpad", "i8", (2,)),  # columns of zeros to the left
        ("rpad", "i8", (2,)),  # columns of zeros to the right
        ("stride", "i8", (2,)),  # input rows and columns from one output to the next
        ("dilation", "i8", (2,)),  # input rows and columns from one kernel element to the next
        ("downsample", "i8", (2,)),  # 1: of the input every second row and column is loaded
        ("dilated", "i8", (2,)),  # 1: zeros stand between the rows and columns of the input
        ("porows", "i8", (2,)),  # pooled rows
        ("pocols", "i8", (2,)),  # pooled columns
        ("pool_size", "i8", (2,)),  # side of the pooling window
        ("pool_stride", "i8", (2,)),  # outputs from one window to the next
        ("pupad", "i8", (2,)),  # padding of the pooling above
        ("plpad", "i8", (2,)),  # padding of the pooling to the left
        ("no_pool", "i8", (2,)),  # 1: the output is stored unpooled
        ("no_bias", "i8", (2,)),  # 1: zeros in place of a bias
        ("activation", "i8", (2,)),  # 0 none, 1 ReLU
        ("pixels", "i8", (2,)),  # pixels of the input that share a row of the array
        ("depthwise", "i8", (2,)),  # 1: each channel has a kernel of its own
        ("wrot180", "i8", (2,)),  # 1: the kernel is turned by 180 degrees
        ("trans_input", "i8", (2,)),  # 1: the input's order of dimensions is 3, 1, 2, 0
        ("trans_output", "i8", (2,)),  # 1: the output's is 1, 2, 0, 3
        ("trans_weight_1203", "i8", (2,)),  # 1: the weights' is 1, 2, 0, 3
        ("trans_weight_0132", "i8", (2,)),  # 1: the weights' is 0, 1, 3, 2
        ("a_half", "i8", (2,)),  # half of the scratchpad for the input: 1, 2; 0 by slot
        ("b_half", "i8", (2,)),  # half of the scratchpad for the weights
        # derived of these
        ("irows", "i8", (2,)),  # input rows with their padding
        ("icols", "i8", (2,)),  # input columns with their padding
        ("irows_real", "i8", (2,)),  # input rows in DRAM
        ("icols_real", "i8", (2,)),  # input columns in DRAM
        ("weight_rows", "i8", (2,)),  # local rows of all weights
        ("input_block_rows", "i8", (2,)),  # local rows from one block of input channels to the next
        ("weight_block_rows", "i8", (2,)),  # local rows from one block of the weights to the next
        ("bias_block_rows", "i8", (2,)),  # local rows from one block of output channels to the next
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
        ("fresh", "i8"),  # 1: the next compute uses new weights
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
    """Compute the sizes derived from the configured ones."""
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
    s.input_block_rows[q] = count * (s.irows[q] >> d) * (s.icols[q] >> d)
    s.bias_block_rows[q] = s.batches[q] * s.orows[q] * s.ocols[q]
    if s.trans_weight_0132[q]:
        s.weight_block_rows[q] = s.krows[q] * s.kcols[q] * s.ochs[q]
        s.weight_rows[q] = (s.kchs[q] + dim - 1) // dim * s.weight_block_rows[q]
    else:
        s.weight_block_rows[q] = s.krows[q] * s.kcols[q] * s.kchs[q]
        s.weight_rows[q] = (s.ochs[q] + dim - 1) // dim * s.weight_block_rows[q]


@njit
def begin(m, which):
    """Start a machine's job."""
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
    if which == INPUT:
        s.row[which] = -halved(s.upad[q], s.dilated[q])
        s.column[which] = -halved(s.lpad[q], s.dilated[q])
        s.first[which] = unroller.a_start(p, s.a_half[q], q)
        s.state[which] = 1
    elif which == WEIGHTS:
        s.first[which] = unroller.b_end(p, s.b_half[q], q) - s.weight_rows[q]
        s.state[which] = 1
    elif which == BIAS:
        s.state[which] = 1
    elif which == EX:
        s.state[which] = 1 if s.trans_input[q] else 2
        s.fresh = 1
    else:
        s.state[which] = 2 if s.no_pool[q] else 3
