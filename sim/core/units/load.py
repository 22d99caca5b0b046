"""Load controller: mvin commands become row requests to the DMA reader or the zero writer.

Source: LoadController.scala, DMACommandTracker.scala. At most `n_cmds` commands are tracked; a command takes its slot
and offers row 0 in the same cycle, then one row per cycle.
"""

import numpy as np

from sim.core.fields import (
    get,
    is_acc,
    local_address,
    operand_cols,
    operand_rows,
    stored_bytes,
)
from sim.core.jit import njit
from sim.core.params import NEVER, load_bits, packed_bytes
from sim.core.units import controller, reader
from sim.core.units.controller import IDLE, SENDING_ROWS, WAITING_FOR_DMA
from sim.isa import codes
from sim.isa.layouts import LD_FIRST

STATES = 4  # load states that a program can address (rs1[4:3])

DTYPE = np.dtype(
    [
        *controller.QUEUE,
        ("row", "i8"),  # next row
        ("stride", "i8", (STATES,)),  # by state: bytes from one row in DRAM to the next
        ("identity", "i8", (STATES,)),  # 1: scale 1.0
        ("shrink", "i8", (STATES,)),  # 1: rows for the accumulator come in input type
        ("block_stride", "i8", (STATES,)),  # local rows from one block to the next
        ("pixels", "i8", (STATES,)),  # copies of each row
        *controller.TRACKER,
    ]
)

IDENTITY_SCALE = 0x3F800000  # 1.0 as float32: the scaler passes such rows


@njit
def returned(now, m, cmd, n_bytes):
    """Report bytes of a command written to local memory; the tracker sees the sum in the next cycle."""
    s = m.load
    s.tracked_left[cmd] -= n_bytes
    if s.tracked_left[cmd] == 0:
        s.tracked_done_t[cmd] = now + 1
        s.tracked_ready += 1


@njit
def completed(now, m):
    """Return the lowest tracker slot whose command is complete, or -1."""
    s = m.load
    if s.tracked_ready + m.full == 0:
        return -1
    for i in range(m.p.n_cmds):
        if s.tracked[i] and s.tracked_done_t[i] <= now:
            return i
    return -1


@njit
def next_done(now, m):
    """Return the next cycle in which a command will be complete, as far as known."""
    s = m.load
    t = NEVER
    if s.tracked_ready > 0:
        for i in range(m.p.n_cmds):
            if s.tracked[i] and now < s.tracked_done_t[i] < t:
                t = s.tracked_done_t[i]
    return t


@njit
def _state_of(funct):
    if funct == codes.MVIN2:
        return 1
    if funct == codes.MVIN3:
        return 2
    return 0


@njit
def _local_rows(p, rs2):
    """Return the local rows filled by the blocks of an mvin."""
    return ((operand_cols(rs2) & p.cols_mask) + p.dim - 1) // p.dim * (operand_rows(rs2) & p.rows_mask)


@njit
def _stored(p, rs2):
    """Return the bytes of DRAM that the decoder expands to a local row; 0: the load moves rows unchanged.

    Without a decoder the bits belong to the number of rows, as in the RTL.
    """
    return stored_bytes(rs2) if p.has_decoder else 0


@njit
def _offer(now, m, rs1, rs2, i, rows):
    """Offer the current row; True if the DMA or the zero writer takes it."""
    s = m.load
    p = m.p
    local = local_address(rs2)
    cols = operand_cols(rs2) & p.cols_mask
    row_address = (local & ~p.addr_mask) | ((local + s.row) & p.addr_mask)
    acc = is_acc(local)
    wide = 1 if acc and s.shrink[i] == 0 else 0
    stored = _stored(p, rs2)
    bits = load_bits(p, i)
    repeats = 0
    if s.stride[i] == 0 and rs1 != 0 and not stored:
        repeats = (operand_rows(rs2) & p.rows_mask) - 1
    if rs1 == 0:
        v = m.mvin
        if v.zero_valid:
            return False
        v.zero_valid = 1
        v.busy = 1
        v.zero_address = row_address
        v.zero_cols = cols
        v.zero_stride = s.block_stride[i]
        v.zero_col = 0
        v.zero_command = s.present
        v.zero_pixels = s.pixels[i]
        v.zero_bytes = cols * p.acc_bytes if acc else packed_bytes(cols, bits)
        return True
    if not reader.can_accept(m):
        return False
    address = row_address & (0x80000000 | p.addr_mask)
    w0 = address | ((local >> 30) & 1) << 33 | s.identity[i] << 34 | wide << 36 | s.present << 40
    w1 = repeats | (1 if wide else s.pixels[i]) << 16 | (cols & 0xFFFF) << 24
    if stored:
        # one request for all bytes of the blocks; each local row takes its share of them, one row after the other
        reader.accept(m, rs1, w0 | 1 << 37, w1, stored * _local_rows(p, rs2), stored, 1)
    elif wide:
        reader.accept(m, rs1 + s.row * s.stride[i], w0, w1, cols * p.acc_bytes, p.dim * p.acc_bytes, s.block_stride[i])
    else:
        length, row_bytes = packed_bytes(cols, bits), p.dim * bits >> 3
        reader.accept(m, rs1 + s.row * s.stride[i], w0, w1, length, row_bytes, s.block_stride[i])
    return True


@njit
def step(now, m):
    """One cycle of the load controller. Returns the wake."""
    return _cycle(now, m) if m.load.queue_n > 0 else NEVER


@njit
def _configure(m, rs1, rs2):
    """CONFIG_LD sets one load state."""
    s = m.load
    i = get(rs1, LD_FIRST.state)
    s.stride[i] = rs2
    s.identity[i] = 1 if get(rs1, LD_FIRST.scale) == IDENTITY_SCALE else 0
    s.shrink[i] = get(rs1, LD_FIRST.shrinks)
    s.block_stride[i] = get(rs1, LD_FIRST.block_stride)
    pixels = get(rs1, LD_FIRST.pixels)
    s.pixels[i] = pixels if pixels > 0 and m.p.first_layer else 1


@njit
def _track(now, m, rs2, i, rows):
    """Give the command a place in the tracker, with the bytes that its rows will report. False if all are in use."""
    s = m.load
    p = m.p
    stored = _stored(p, rs2)
    if stored:
        left = stored * _local_rows(p, rs2)
    else:
        cols = operand_cols(rs2) & p.cols_mask
        wide = is_acc(rs2) and s.shrink[i] == 0
        left = rows * (cols * p.acc_bytes if wide else packed_bytes(cols, load_bits(p, i)))
    if not controller.allocate(m, s, left):
        return False
    if left == 0:
        s.tracked_done_t[s.present] = now + 1
        s.tracked_ready += 1
    return True


@njit
def _cycle(now, m):
    s = m.load
    p = m.p
    h = s.queue_head
    funct = s.queue_funct[h]
    rs1 = s.queue_rs1[h]
    rs2 = s.queue_rs2[h]
    if funct == codes.CONFIG:
        _configure(m, rs1, rs2)
        controller.pop(now, m, s)
        return now + 1
    if rs1 != 0 and (s.state == WAITING_FOR_DMA or s.row > 0) and not reader.can_accept(m):
        return NEVER
    i = _state_of(funct)
    rows = operand_rows(rs2) & p.rows_mask
    if (s.stride[i] == 0 or _stored(p, rs2)) and rs1 != 0:
        rows = 1
    acted = False
    fired = False
    ended = False
    if s.state == IDLE:
        if _track(now, m, rs2, i, rows):
            acted = True
            fired = _offer(now, m, rs1, rs2, i, rows)
            s.state = SENDING_ROWS if fired else WAITING_FOR_DMA
    elif s.state == WAITING_FOR_DMA:
        fired = _offer(now, m, rs1, rs2, i, rows)
        if fired:
            s.state = SENDING_ROWS
    else:
        ended = s.row == 0  # one row only: it was offered in an earlier state
        if not ended:
            fired = _offer(now, m, rs1, rs2, i, rows)
            ended = fired and s.row == rows - 1
    if fired:
        s.row += 1
        if s.row == rows:
            s.row = 0
    if ended:
        controller.pop(now, m, s)
        return now + 1
    waits = s.state == SENDING_ROWS and s.row > 0 and rs1 != 0 and p.l2_sets == 0 and not reader.can_accept(m)
    return now + 1 if (acted or fired) and not waits else NEVER


@njit
def busy(m):
    """True if a command is queued or in flight."""
    return controller.busy(m.load)


def reset(m):
    """State after reset."""
    controller.reset(m.load)


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    controller.canonise(m.load, now)


def describe(m):
    """Describe what a stopped controller waits for."""
    return controller.describe("load", m.load)
