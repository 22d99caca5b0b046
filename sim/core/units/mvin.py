"""The way of loaded rows into local memory: beat merger, scalers, pixel repeater, zero writer, write ports.

Sources: BeatMerger.scala, VectorScalarMultiplier.scala, PixelRepeater.scala, ZeroWriter.scala and the write side of
Scratchpad.scala. Two scalers stand side by side: `s` for input-width rows (it ends in the pixel repeater), `w` for
accumulator-width rows. A row on the way is two packed integers (see `pack0`, `pack1`).

Priority at a bank: mesh result, then `s`, then `w`, then zeros; one response to the load controller per cycle.
"""

import numpy as np

from sim.core.events import Event
from sim.core.fields import accumulates, is_acc
from sim.core.jit import njit
from sim.core.params import NEVER, sp_bank
from sim.core.units import accumulator, load
from sim.core.units.port import take
from sim.core.units.reader import free_xact
from sim.core.units.scaler import SCALER, advance, drop, occupied, out_ready, pack0, pack1, peek, placed, timed

E_SPW = int(Event.SPAD_WRITE_ROWS)

DTYPE = np.dtype(
    [
        # beat merger: the transaction being merged
        ("g_valid", "i8"),
        ("g_read", "i8"),
        ("g_sent", "i8"),
        ("g_total", "i8"),  # bytes of the request
        ("g_shift", "i8"),
        ("g_bytes", "i8"),  # useful bytes
        ("g_off", "i8"),
        ("g_row", "i8"),  # bytes of a local row
        ("g_addr", "i8"),
        ("g_stride", "i8"),
        ("g0", "i8"),
        ("g1", "i8"),
        ("d_t", "i8"),  # the decoder gives its next row from this cycle on
        ("s", SCALER),
        ("w", SCALER),
        ("r_valid", "i8"),  # pixel repeater behind `s`
        ("r0", "i8"),
        ("r1", "i8"),
        ("z_valid", "i8"),  # zero writer
        ("z_addr", "i8"),
        ("z_cols", "i8"),
        ("z_stride", "i8"),
        ("z_col", "i8"),
        ("z_cmd", "i8"),
        ("z_bytes", "i8"),
        ("z_pix", "i8"),
        ("busy", "i8"),  # 0: no row anywhere behind the merger and the zero writer's input
        ("y_valid", "i8"),  # its pixel repeater
        ("y0", "i8"),
        ("y1", "i8"),
    ]
)


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
    """Address of the copy a pixel repeater is about to write, or -1 when it would fall below its half.

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
        return -1
    return address - pixels


@njit
def step_write(now, m):
    """Rows at the write ports, then everything behind them that moves up. Returns the wake."""
    return _write(now, m) if m.mv.busy or m.full else NEVER


@njit
def _write(now, m):
    p = m.p
    v = m.mv
    acted = False
    s_out = out_ready(now, m, v.s, p.mvin_latency, p.mvin_units)
    s0 = 0
    s1 = 0
    if p.first_layer:
        have = v.r_valid == 1
        if have:
            s0 = v.r0
            s1 = v.r1
    else:
        have = s_out
        if have:
            s0, s1 = peek(v.s, p.mvin_latency, p.mvin_units)
            s0 = placed(m, s0, s1)
            s1 = s1 & ~(0xFF << 16)
    under = False
    s_valid = False
    s_acc = 0
    s_last = 0
    address = 0
    if have:
        address = _repeated(m, s0, s1)
        under = address < 0
        s_valid = not under
        s_acc = is_acc(s0)
        s_last = (s0 >> 35) & 1 if ((s1 >> 16) & 0xFF) == 0 else 0
    w_valid = out_ready(now, m, v.w, p.mvin_acc_latency, -1)
    w0 = 0
    w1 = 0
    if w_valid:
        w0, w1 = peek(v.w, p.mvin_acc_latency, -1)
        w0 = placed(m, w0, w1)
    # the last row of a burst answers too (burst.py)
    spad_last = (s_valid and s_last == 1 and s_acc == 0) or m.burst.last_t == now

    # `s` at the ports
    s_fire = False
    if s_valid:
        if s_acc:
            s_fire = accumulator.dma_write(now, m, address, (s0 >> 33) & 1)
        else:
            s_fire = _write_spad(now, m, address)
        if s_fire and s_last:
            _respond(now, m, s0, s1)
    # `w`: only when `s` does not go to the accumulator, and never beside a response of `s`
    w_fire = False
    if w_valid and not (s_valid and s_acc) and not spad_last:
        w_fire = accumulator.dma_write(now, m, w0 & 0xFFFFFFFF, (w0 >> 33) & 1)
        if w_fire and (w0 >> 35) & 1:
            _respond(now, m, w0, w1)
    # zeros come last, and wait while one of the others ends a transaction
    z_valid = False
    z0 = 0
    z1 = 0
    z_under = False
    z_address = 0
    zv = v.y_valid == 1 if p.first_layer else v.z_valid == 1
    if zv:
        if p.first_layer:
            z0 = v.y0
            z1 = v.y1
        else:
            z0, z1 = _zero_row(m)
            z1 = z1 & ~(0xFF << 16)
        # the zero writer keeps the whole address: in the accumulator every copy falls on the same row
        z_address = z0 & 0xFFFFFFFF if is_acc(z0) else _repeated(m, z0, z1)
        z_under = z_address < 0
        z_valid = not z_under
    z_fire = False
    if z_valid and not (s_valid and s_last) and not spad_last and not (w_valid and (w0 >> 35) & 1):
        if is_acc(z_address):
            if not (s_valid and s_acc) and not w_valid:
                z_fire = accumulator.dma_write(now, m, z_address, accumulates(z_address))
            elif not accumulator.same_bank(m, address if s_valid and s_acc else w0 & 0xFFFFFFFF, z_address):
                z_fire = accumulator.dma_write(now, m, z_address, accumulates(z_address))
        else:
            z_fire = _write_spad(now, m, z_address)
        if z_fire and (z0 >> 35) & 1 and ((z1 >> 16) & 0xFF) == 0:
            _respond(now, m, z0, z1)

    # pixel repeater of `s`, then the scaler behind it
    popped = False
    if p.first_layer:
        space = v.r_valid == 0
        if s_fire or under:
            acted = True
            if (v.r1 >> 16) & 0xFF:
                v.r1 -= 1 << 16
            else:
                v.r_valid = 0
                space = True
        if s_out and space:
            a0, a1 = peek(v.s, p.mvin_latency, p.mvin_units)
            v.r0 = placed(m, a0, a1)
            v.r1 = a1 - (1 << 16)
            v.r_valid = 1
            drop(now, v.s, p.mvin_latency, p.mvin_units)
            popped = True
    elif s_fire:
        drop(now, v.s, p.mvin_latency, p.mvin_units)
        popped = True
    acted = acted or popped
    if advance(now, m, v.s, p.mvin_latency, p.mvin_units, popped):
        acted = True
    if w_fire:
        drop(now, v.w, p.mvin_acc_latency, -1)
        acted = True
    if advance(now, m, v.w, p.mvin_acc_latency, -1, w_fire):
        acted = True
    if _zeros(now, m, z_fire, z_under):
        acted = True
    if acted:
        v.busy = 1 if v.r_valid or v.y_valid or v.z_valid or occupied(v.s) or occupied(v.w) else 0
        return now + 1
    # an accumulating row may have been refused because its address is still in the write pipeline
    wake = timed(now, v.s, p.mvin_latency, p.mvin_units, accumulator.wake(now, m))
    return timed(now, v.w, p.mvin_acc_latency, -1, wake)


@njit
def _zero_row(m):
    """The row of zeros the zero writer offers, packed."""
    p = m.p
    v = m.mv
    block = v.z_col // p.dim
    address = (v.z_addr & ~p.addr_mask) | ((v.z_addr + v.z_stride * block) & p.addr_mask)
    last = 1 if v.z_col + p.dim >= v.z_cols else 0
    return pack0(address, 0, 1, last, 0, v.z_cmd), pack1(0, v.z_pix, 0, v.z_bytes)


@njit
def _zeros(now, m, fired, under):
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


@njit
def step_merge(now, m):
    """Beat merger: rows out to a scaler queue, beats in from the bus. Returns the wake."""
    return _merge(now, m) if m.mv.g_valid + m.port.reader_in.n + m.full > 0 else NEVER


@njit
def _merge(now, m):
    v = m.mv
    x = m.rd
    acted = False
    wake = NEVER
    ready = v.g_valid == 0
    sent_at_start = v.g_sent
    read_at_start = v.g_read
    if v.g_valid:
        useful = v.g_read - v.g_shift
        if useful < 0:
            useful = 0
        if useful > v.g_bytes:
            useful = v.g_bytes
        if useful > v.g_sent and (useful - v.g_sent >= v.g_row or useful == v.g_bytes):
            wide = (v.g0 >> 36) & 1
            n = v.w.q_n if wide else v.s.q_n
            pop_t = v.w.q_pop_t if wide else v.s.q_pop_t
            if pop_t == now:
                n += 1
            stored = (v.g0 >> 37) & 1
            if n < 2 and stored and v.d_t > now:
                wake = v.d_t
            elif n < 2:
                acted = True
                step = v.g_row
                if v.g_sent == 0:
                    step -= v.g_off
                following = v.g_sent + step
                if following > v.g_bytes:
                    following = v.g_bytes
                if stored:
                    v.d_t = now + m.p.decode_cycles
                    if v.g_bytes - following < v.g_row:
                        # what is left belongs to a row that the next request completes; the last one leaves nothing
                        following = v.g_bytes
                address = v.g_addr + v.g_stride * ((v.g_off + v.g_sent) // v.g_row)
                ends = following == v.g_bytes
                a0 = (v.g0 & ~0xFFFFFFFF) | (v.g0 & 0x80000000) | (address & m.p.addr_mask)
                if ends:
                    a0 = a0 | 1 << 35
                v.busy = 1
                if wide:
                    v.w.q0[v.w.q_n] = a0
                    v.w.q1[v.w.q_n] = v.g1
                    v.w.q_n += 1
                else:
                    v.s.q0[v.s.q_n] = a0
                    v.s.q1[v.s.q_n] = v.g1
                    v.s.q_n += 1
                v.g_sent = following
                if ends and v.g_read == v.g_total:
                    v.g_valid = 0
                    ready = True
        if v.g_valid and read_at_start == v.g_total and sent_at_start == v.g_bytes:
            v.g_valid = 0
            acted = True
    b = m.port.reader_in
    if b.n > 0 and now < m.burst.free_t:  # it merges a burst
        wake = now + 1
    elif b.n > 0:
        xact = b.arg[0]
        if ready:
            v.g_valid = 1
            v.g_read = m.p.beat_bytes
            v.g_sent = 0
            v.g_total = x.x_total[xact]
            v.g_shift = x.x_shift[xact]
            v.g_bytes = x.x_bytes[xact]
            v.g_off = x.x_off[xact]
            v.g_row = x.x_row[xact]
            v.g_addr = x.x_addr[xact] & m.p.addr_mask
            v.g_stride = x.x_stride[xact]
            v.g0 = x.x0[xact]
            v.g1 = x.x1[xact]
            if b.last[0]:
                free_xact(now, m, xact)
            take(b, now)
            acted = True
        elif v.g_valid and read_at_start != v.g_total:
            v.g_read += m.p.beat_bytes
            if b.last[0]:
                free_xact(now, m, xact)
            take(b, now)
            if sent_at_start == v.g_bytes and v.g_read == v.g_total:
                v.g_valid = 0
            acted = True
    if acted:
        return now + 1
    return wake
