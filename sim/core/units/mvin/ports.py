"""Loaded rows at the write ports of the local memories: three offers and one arbiter.

Sources: VectorScalarMultiplier.scala, PixelRepeater.scala, ZeroWriter.scala and the write side of Scratchpad.scala.
There are two parallel scalers: `s` for rows of input width (it ends in the pixel repeater), `w` for rows of accumulator
width.

Priority at a bank: mesh result, then `s`, then `w`, then zeros. Only one of them may end a transaction in a cycle, as
the load controller takes one response a cycle; and only one goes to an accumulator bank.
"""

from sim.core.events import Event
from sim.core.fields import accumulates, is_acc, local_address
from sim.core.jit import njit
from sim.core.params import NEVER, sp_bank
from sim.core.units import accumulator, load
from sim.core.units.scaler import advance, drop, occupied, out_ready, pack0, pack1, peek, placed, timed

E_SPW = int(Event.SPAD_WRITE_ROWS)

NO_ROW = -1
BELOW = -2
"""Instead of an address: nothing is offered; a copy below its half of the scratchpad is dropped."""


@njit
def _respond(now, m, w0, w1):
    load.returned(now, m, (w0 >> 40) & 0xFF, w1 >> 40)


@njit
def _write_spad(now, m, address):
    """Try to write one scratchpad row from the DMA side; the mesh has priority."""
    bank = sp_bank(m.p, address)
    if m.ports.sp_write_t[bank] == now:
        return False
    m.ports.sp_write_t[bank] = now
    m.count[E_SPW] += 1
    return True


@njit
def _repeated(m, w0, w1):
    """Return the address of the copy that a pixel repeater writes next, or BELOW if it is below its half.

    The reader passes a row number without the accumulator bit, so the repeater treats rows of both memories as
    scratchpad rows (Scratchpad.scala: reader.io.req.bits.spaddr).
    """
    p = m.p
    address = w0 & 0xFFFFFFFF
    pixels = (w1 >> 16) & 0xFF
    if pixels == 0:
        return address
    row = address & p.addr_mask
    floor = 0 if row & (p.sp_rows - 1) < p.sp_rows // 2 else p.sp_rows // 2
    if row < floor + pixels:
        return BELOW
    return address - pixels


@njit
def _pixels_left(w1):
    """Return the copies of a row that a pixel repeater still has to write."""
    return (w1 >> 16) & 0xFF


@njit
def _ends(w0):
    """Return 1 for the last row of its transaction."""
    return (w0 >> 35) & 1


@njit
def _input_row(now, m):
    """Return the row that `s` offers: its address (or NO_ROW, BELOW) and its two words."""
    p = m.p
    v = m.mvin
    if p.first_layer:
        if v.repeat_valid == 0:
            return NO_ROW, 0, 0
        return _repeated(m, v.repeat_target, v.repeat_shape), v.repeat_target, v.repeat_shape
    if not out_ready(now, m, v.narrow, p.mvin_latency, p.mvin_units):
        return NO_ROW, 0, 0
    w0, w1 = peek(v.narrow, p.mvin_latency, p.mvin_units)
    w0 = placed(m, w0, w1)
    w1 = w1 & ~(0xFF << 16)
    return _repeated(m, w0, w1), w0, w1


@njit
def _wide_row(now, m):
    """Return the row that `w` offers: its address (or NO_ROW) and its two words."""
    p = m.p
    if not out_ready(now, m, m.mvin.wide, p.mvin_acc_latency, -1):
        return NO_ROW, 0, 0
    w0, w1 = peek(m.mvin.wide, p.mvin_acc_latency, -1)
    w0 = placed(m, w0, w1)
    return local_address(w0), w0, w1


@njit
def _zero_row(m):
    """Return the next row of the zero writer, packed."""
    p = m.p
    v = m.mvin
    block = v.zero_col // p.dim
    address = (v.zero_address & ~p.addr_mask) | ((v.zero_address + v.zero_stride * block) & p.addr_mask)
    last = 1 if v.zero_col + p.dim >= v.zero_cols else 0
    return pack0(address, 0, 1, last, 0, v.zero_command), pack1(0, v.zero_pixels, 0, v.zero_bytes)


@njit
def _row_of_zeros(m):
    """Return the row that the zero writer offers: its address (or NO_ROW, BELOW) and its two words."""
    p = m.p
    v = m.mvin
    if p.first_layer:
        if v.zero_repeat_valid == 0:
            return NO_ROW, 0, 0
        w0 = v.zero_repeat_target
        w1 = v.zero_repeat_shape
    else:
        if v.zero_valid == 0:
            return NO_ROW, 0, 0
        w0, w1 = _zero_row(m)
        w1 = w1 & ~(0xFF << 16)
    # the zero writer keeps the whole address: in the accumulator every copy is written to the same row
    return (local_address(w0) if is_acc(w0) else _repeated(m, w0, w1)), w0, w1


@njit
def step_write(now, m):
    """Step rows at the write ports, then everything behind them. Returns the wake."""
    return _write(now, m) if m.mvin.busy or m.full else NEVER


@njit
def _write(now, m):
    """The arbiter: each offer is written unless an earlier one excludes it."""
    s_at, s0, s1 = _input_row(now, m)
    w_at, w0, w1 = _wide_row(now, m)
    z_at, z0, z1 = _row_of_zeros(m)
    s_acc = s_at >= 0 and is_acc(s0) == 1
    s_ends = s_at >= 0 and _ends(s0) == 1 and _pixels_left(s1) == 0
    w_ends = w_at >= 0 and _ends(w0) == 1
    # the last row of a burst answers too (leap/burst.py)
    spad_ends = (s_ends and not s_acc) or m.burst.last_t == now

    s_fires = False
    if s_at >= 0:
        if s_acc:
            s_fires = accumulator.dma_write(now, m, s_at, (s0 >> 33) & 1)
        else:
            s_fires = _write_spad(now, m, s_at)
        if s_fires and s_ends:
            _respond(now, m, s0, s1)
    w_fires = False
    if w_at >= 0 and not s_acc and not spad_ends:
        w_fires = accumulator.dma_write(now, m, w_at, (w0 >> 33) & 1)
        if w_fires and w_ends:
            _respond(now, m, w0, w1)
    z_fires = False
    if z_at >= 0 and not s_ends and not spad_ends and not w_ends:
        if not is_acc(z_at):
            z_fires = _write_spad(now, m, z_at)
        elif not (s_acc or w_at >= 0) or not accumulator.same_bank(m, s_at if s_acc else w_at, z_at):
            z_fires = accumulator.dma_write(now, m, z_at, accumulates(z_at))
        if z_fires and _ends(z0) and _pixels_left(z1) == 0:
            _respond(now, m, z0, z1)
    return _advance(now, m, s_fires, s_at == BELOW, w_fires, z_fires, z_at == BELOW)


@njit
def _advance(now, m, s_fires, s_below, w_fires, z_fires, z_below):
    """Advance the rows behind the ports. Returns the wake."""
    p = m.p
    v = m.mvin
    popped, acted = _advance_repeater(now, m, s_fires, s_below)
    if advance(now, m, v.narrow, p.mvin_latency, p.mvin_units, popped):
        acted = True
    if w_fires:
        drop(now, v.wide, p.mvin_acc_latency, -1)
        acted = True
    if advance(now, m, v.wide, p.mvin_acc_latency, -1, w_fires):
        acted = True
    if _advance_zeros(now, m, z_fires, z_below):
        acted = True
    if acted:
        v.busy = (
            1 if v.repeat_valid or v.zero_repeat_valid or v.zero_valid or occupied(v.narrow) or occupied(v.wide) else 0
        )
        return now + 1
    # an accumulating row may have been refused because its address is still in the write pipeline
    wake = timed(now, v.narrow, p.mvin_latency, p.mvin_units, accumulator.wake(now, m))
    return timed(now, v.wide, p.mvin_acc_latency, -1, wake)


@njit
def _advance_repeater(now, m, fired, below):
    """Advance the pixel repeater of `s`, or its scaler if there is none.

    Returns (a row left the scaler, anything moved).
    """
    p = m.p
    v = m.mvin
    if not p.first_layer:
        if fired:
            drop(now, v.narrow, p.mvin_latency, p.mvin_units)
        return fired, fired
    acted = fired or below
    space = v.repeat_valid == 0
    if acted:
        if _pixels_left(v.repeat_shape):
            v.repeat_shape -= 1 << 16
        else:
            v.repeat_valid = 0
            space = True
    if not space or not out_ready(now, m, v.narrow, p.mvin_latency, p.mvin_units):
        return False, acted
    w0, w1 = peek(v.narrow, p.mvin_latency, p.mvin_units)
    v.repeat_target = placed(m, w0, w1)
    v.repeat_shape = w1 - (1 << 16)
    v.repeat_valid = 1
    drop(now, v.narrow, p.mvin_latency, p.mvin_units)
    return True, True


@njit
def _advance_zeros(now, m, fired, under):
    """Advance the zero writer and its pixel repeater."""
    p = m.p
    v = m.mvin
    acted = False
    if p.first_layer:
        space = v.zero_repeat_valid == 0
        if fired or under:
            acted = True
            if (v.zero_repeat_shape >> 16) & 0xFF:
                v.zero_repeat_shape -= 1 << 16
            else:
                v.zero_repeat_valid = 0
                space = True
        go = v.zero_valid == 1 and space
        if go:
            z0, z1 = _zero_row(m)
            v.zero_repeat_target = z0
            v.zero_repeat_shape = z1 - (1 << 16)
            v.zero_repeat_valid = 1
    else:
        go = fired
    if go:
        acted = True
        v.zero_col += p.dim
        if v.zero_col >= v.zero_cols:
            v.zero_valid = 0
    return acted
