"""Beat merger: beats of one transaction become local rows, which go to the scalers. Source: BeatMerger.scala."""

from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units.port import take
from sim.core.units.reader import free_xact


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
