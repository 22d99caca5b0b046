"""Store controller: mvout commands become one request per local row and block; configuration of the store path.

Source: StoreController.scala. Request order: rows, blocks inside. Pooling: for each output pixel the taps of its
window. The command completes when the last local row was read, long before DRAM has it.
"""

import numpy as np

from sim.core.fields import config_kind, get, local_address, normaliser_pass, operand_cols, operand_rows
from sim.core.jit import njit
from sim.core.params import NEVER, plus
from sim.core.units import controller, mvout
from sim.core.units.controller import IDLE, SENDING_ROWS, WAITING_FOR_DMA
from sim.isa import codes
from sim.isa.layouts import NORM_FIRST, ST_FIRST, ST_SECOND

GARBAGE = 0xFFFFFFFF

DTYPE = np.dtype(
    [
        *controller.QUEUE,
        ("row", "i8"),  # next row
        ("block", "i8"),  # next block of that row
        ("stride", "i8"),  # bytes from one row in DRAM to the next
        ("activation", "i8"),  # 0 none, 1 ReLU, 2 LayerNorm, 3 GELU, 4 softmax
        ("stats", "i8"),  # statistic of the normaliser
        ("pool_stride", "i8"),  # 0: no pooling
        ("pool_size", "i8"),  # side of the window
        ("pool_out_dim", "i8"),  # columns of the pooled image in DRAM
        ("porows", "i8"),  # pooled rows
        ("pocols", "i8"),  # pooled columns
        ("orows", "i8"),  # rows of the image
        ("ocols", "i8"),  # columns of the image
        ("upad", "i8"),  # padding above
        ("lpad", "i8"),  # padding to the left
        ("porow", "i8"),  # pooled row
        ("pocol", "i8"),  # pooled column
        ("wrow", "i8"),  # row in the window
        ("wcol", "i8"),  # column in the window
        *controller.TRACKER,
    ]
)


@njit
def _configure(m, rs1, rs2):
    s = m.store
    if config_kind(rs1) == codes.CONFIG_NORM:
        if m.p.has_norm:
            if get(rs1, NORM_FIRST.statistics_only) == 0:
                s.activation = get(rs1, NORM_FIRST.activation_high) << 2 | (s.activation & 3)
            s.stats = get(rs1, NORM_FIRST.statistics)
        return
    s.stride = get(rs2, ST_SECOND.stride_bytes)
    s.activation = get(rs1, ST_FIRST.activation)
    s.pool_size = get(rs1, ST_FIRST.pool_size)
    s.pool_stride = get(rs1, ST_FIRST.pool_stride)
    if s.pool_stride or s.pool_size:
        s.pool_out_dim = get(rs1, ST_FIRST.out_dim)
        s.orows = get(rs1, ST_FIRST.out_rows)
        s.ocols = get(rs1, ST_FIRST.out_cols)
    if s.pool_stride:
        s.porows = get(rs1, ST_FIRST.pooled_rows)
        s.pocols = get(rs1, ST_FIRST.pooled_cols)
        s.upad = get(rs1, ST_FIRST.upper_padding)
        s.lpad = get(rs1, ST_FIRST.left_padding)


@njit
def _offer(now, m, rs1, rs2, blocks):
    """Offer the current row to the DMA; True if it is taken."""
    s = m.store
    p = m.p
    if not mvout.can_accept(now, m):
        return False
    local = local_address(rs2)
    cols = operand_cols(rs2) & p.cols_mask
    pooling = p.has_pool and s.pool_stride > 0
    flat = s.pool_size > 0 and not pooling
    store = 1
    if pooling:
        orow = s.porow * s.pool_stride + s.wrow - s.upad
        ocol = s.pocol * s.pool_stride + s.wcol - s.lpad
        address = plus(p, local, orow * s.ocols + ocol)
        if orow < 0 or ocol < 0 or orow >= s.orows or ocol >= s.ocols:
            address = GARBAGE
        store = 1 if s.wrow == s.pool_size - 1 and s.wcol == s.pool_size - 1 else 0
    else:
        address = plus(p, local, s.block * p.dim + s.row)
        store = 1 if s.block == blocks - 1 else 0
    if pooling or flat:
        vaddr = rs1 + (s.porow * s.pool_out_dim + s.pocol) * s.stride
    else:
        vaddr = rs1 + s.row * s.stride
    last = s.block == blocks - 1
    norm = normaliser_pass(local) if p.has_norm else 0
    if not last:
        # an earlier block of a row only accumulates its statistic
        if norm == 2:
            norm = 1
        elif norm == 4:
            norm = 3
        elif norm == 7:
            norm = 6
    length = (cols - 1) % p.dim + 1 if last else p.dim
    mvout.accept(m, vaddr, address, length, norm, store)
    return True


@njit
def _next(m, rows, blocks):
    """Advance to the next row request; True after the command's last one."""
    s = m.store
    p = m.p
    if p.has_pool and s.pool_stride > 0:
        s.wcol += 1
        if s.wcol == s.pool_size:
            s.wcol = 0
            s.wrow += 1
            if s.wrow == s.pool_size:
                s.wrow = 0
                s.pocol += 1
                if s.pocol == s.pocols:
                    s.pocol = 0
                    s.porow += 1
                    if s.porow == s.porows:
                        s.porow = 0
                        return True
        return False
    if s.pool_size > 0:
        s.pocol += 1
        if s.pocol >= s.ocols:
            s.pocol = 0
            s.porow += 1
            if s.porow >= s.orows:
                s.porow = 0
        s.row += 1
        if s.row == s.orows * s.ocols:
            s.row = 0
            return True
        return False
    s.block += 1
    if s.block == blocks:
        s.block = 0
        s.row += 1
        if s.row == rows:
            s.row = 0
            return True
    return False


@njit
def step(now, m):
    """One cycle of the store controller. Returns the wake."""
    return _cycle(now, m) if m.store.queue_n > 0 else NEVER


@njit
def _requests(m, rows, blocks):
    """Make the row requests of the current command."""
    s = m.store
    if m.p.has_pool and s.pool_stride > 0:
        return s.porows * s.pocols * s.pool_size * s.pool_size
    return s.orows * s.ocols if s.pool_size > 0 else rows * blocks


@njit
def _at_start(m):
    """True if the iterators are at the beginning of a command."""
    s = m.store
    pooling = m.p.has_pool and s.pool_stride > 0
    return (
        s.row == 0 and s.block == 0 and (not pooling or (s.porow == 0 and s.pocol == 0 and s.wrow == 0 and s.wcol == 0))
    )


@njit
def _cycle(now, m):
    s = m.store
    p = m.p
    h = s.queue_head
    rs1 = s.queue_rs1[h]
    rs2 = s.queue_rs2[h]
    if s.queue_funct[h] == codes.CONFIG:
        _configure(m, rs1, rs2)
        controller.pop(now, m, s)
        return now + 1
    rows = operand_rows(rs2) & p.rows_mask
    blocks = ((operand_cols(rs2) & p.cols_mask) + p.dim - 1) // p.dim
    acted = False
    fired = False
    ended = False
    if s.state == IDLE:
        if controller.allocate(m, s, _requests(m, rows, blocks)):
            acted = True
            fired = _offer(now, m, rs1, rs2, blocks)
            s.state = SENDING_ROWS if fired else WAITING_FOR_DMA
            if fired:
                _next(m, rows, blocks)
    elif s.state == WAITING_FOR_DMA:
        fired = _offer(now, m, rs1, rs2, blocks)
        if fired:
            s.state = SENDING_ROWS
            _next(m, rows, blocks)
    else:
        ended = _at_start(m)  # one request only: it was made in an earlier state
        if not ended:
            fired = _offer(now, m, rs1, rs2, blocks)
            ended = fired and _next(m, rows, blocks)
    if ended:
        controller.pop(now, m, s)
    return now + 1 if acted or fired or ended else NEVER


@njit
def busy(m):
    """True if a command is queued or in flight."""
    return controller.busy(m.store)


def reset(m):
    """State after reset."""
    controller.reset(m.store)


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    controller.canonise(m.store, now)


def describe(m):
    """Describe what a stopped controller waits for."""
    return controller.describe("store", m.store)
