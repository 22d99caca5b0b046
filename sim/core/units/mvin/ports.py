"""Loaded rows at the write ports of the local memories: three offers and one arbiter.

Sources: VectorScalarMultiplier.scala, PixelRepeater.scala, ZeroWriter.scala and the write side of Scratchpad.scala. Two
scalers stand side by side: `s` for rows of input width (it ends in the pixel repeater), `w` for rows of accumulator
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
"""In place of an address: nothing is offered; a copy that would fall below its half of the scratchpad is dropped."""


@njit
def _respond(now, m, w0, w1):
    load.returned(now, m, (w0 >> 40) & 0xFF, w1 >> 40)


@njit
def _write_spad(now, m, address):
    """Try to write one scratchpad row from the DMA side; the mesh goes first."""
    bank = sp_bank(m.p, address)
    if m.ports.sp_write_t[bank] == now:
        return False
    m.ports.sp_write_t[bank] = now
    m.count[E_SPW] += 1
    return True


@njit
def _repeated(m, w0, w1):
    """Address of the copy a pixel repeater is about to write, or BELOW when it would fall below its half.

    The reader hands on a row number without the accumulator bit, so the repeater takes rows of either memory for
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
    """Copies that a pixel repeater has still to write of a row."""
    return (w1 >> 16) & 0xFF


@njit
def _ends(w0):
    """1: the last row of its transaction."""
    return (w0 >> 35) & 1


@njit
def _input_row(now, m):
    """The row that `s` offers: its address (or NO_ROW, BELOW) and its two words."""
    p = m.p
    v = m.mv
    if p.first_layer:
        if v.r_valid == 0:
            return NO_ROW, 0, 0
        return _repeated(m, v.r0, v.r1), v.r0, v.r1
    if not out_ready(now, m, v.s, p.mvin_latency, p.mvin_units):
        return NO_ROW, 0, 0
    w0, w1 = peek(v.s, p.mvin_latency, p.mvin_units)
    w0 = placed(m, w0, w1)
    w1 = w1 & ~(0xFF << 16)
    return _repeated(m, w0, w1), w0, w1


@njit
def _wide_row(now, m):
    """The row that `w` offers: its address (or NO_ROW) and its two words."""
    p = m.p
    if not out_ready(now, m, m.mv.w, p.mvin_acc_latency, -1):
        return NO_ROW, 0, 0
    w0, w1 = peek(m.mv.w, p.mvin_acc_latency, -1)
    w0 = placed(m, w0, w1)
    return local_address(w0), w0, w1


@njit
def _zero_row(m):
    """The row of zeros that the zero writer makes next, packed."""
    p = m.p
    v = m.mv
    block = v.z_col // p.dim
    address = (v.z_addr & ~p.addr_mask) | ((v.z_addr + v.z_stride * block) & p.addr_mask)
    last = 1 if v.z_col + p.dim >= v.z_cols else 0
    return pack0(address, 0, 1, last, 0, v.z_cmd), pack1(0, v.z_pix, 0, v.z_bytes)


@njit
def _row_of_zeros(m):
    """The row that the zero writer offers: its address (or NO_ROW, BELOW) and its two words."""
    p = m.p
    v = m.mv
    if p.first_layer:
        if v.y_valid == 0:
            return NO_ROW, 0, 0
        w0 = v.y0
        w1 = v.y1
    else:
        if v.z_valid == 0:
            return NO_ROW, 0, 0
        w0, w1 = _zero_row(m)
        w1 = w1 & ~(0xFF << 16)
    # the zero writer keeps the whole address: in the accumulator every copy falls on the same row
    return (local_address(w0) if is_acc(w0) else _repeated(m, w0, w1)), w0, w1


@njit
def step_write(now, m):
    """Rows at the write ports, then everything behind them that moves up. Returns the wake."""
    return _write(now, m) if m.mv.busy or m.full else NEVER


@njit
def _write(now, m):
    """The arbiter: each offer is written unless one before it is in its way."""
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
    """Rows behind the ports move up. Returns the wake."""
    p = m.p
    v = m.mv
    popped, acted = _advance_repeater(now, m, s_fires, s_below)
    if advance(now, m, v.s, p.mvin_latency, p.mvin_units, popped):
        acted = True
    if w_fires:
        drop(now, v.w, p.mvin_acc_latency, -1)
        acted = True
    if advance(now, m, v.w, p.mvin_acc_latency, -1, w_fires):
        acted = True
    if _advance_zeros(now, m, z_fires, z_below):
        acted = True
    if acted:
        v.busy = 1 if v.r_valid or v.y_valid or v.z_valid or occupied(v.s) or occupied(v.w) else 0
        return now + 1
    # an accumulating row may have been refused because its address is still in the write pipeline
    wake = timed(now, v.s, p.mvin_latency, p.mvin_units, accumulator.wake(now, m))
    return timed(now, v.w, p.mvin_acc_latency, -1, wake)


@njit
def _advance_repeater(now, m, fired, below):
    """The pixel repeater of `s`, or its scaler where there is none. Returns (a row left the scaler, anything moved)."""
    p = m.p
    v = m.mv
    if not p.first_layer:
        if fired:
            drop(now, v.s, p.mvin_latency, p.mvin_units)
        return fired, fired
    acted = fired or below
    space = v.r_valid == 0
    if acted:
        if _pixels_left(v.r1):
            v.r1 -= 1 << 16
        else:
            v.r_valid = 0
            space = True
    if not space or not out_ready(now, m, v.s, p.mvin_latency, p.mvin_units):
        return False, acted
    w0, w1 = peek(v.s, p.mvin_latency, p.mvin_units)
    v.r0 = placed(m, w0, w1)
    v.r1 = w1 - (1 << 16)
    v.r_valid = 1
    drop(now, v.s, p.mvin_latency, p.mvin_units)
    return True, True


@njit
def _advance_zeros(now, m, fired, under):
    """Advance the zero writer and its pixel repeater."""
    p = m.p
    v = m.mv
    acted = False
    if p.first_layer:
        space = v.y_valid == 0
        if fired or under:
            acted = True
            if (v.y1 >> 16) & 0xFF:
                v.y1 -= 1 << 16
            else:
                v.y_valid = 0
                space = True
        go = v.z_valid == 1 and space
        if go:
            z0, z1 = _zero_row(m)
            v.y0 = z0
            v.y1 = z1 - (1 << 16)
            v.y_valid = 1
    else:
        go = fired
    if go:
        acted = True
        v.z_col += p.dim
        if v.z_col >= v.z_cols:
            v.z_valid = 0
    return acted
