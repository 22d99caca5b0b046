"""Beat merger: beats of one transaction become local rows, which go to the scalers. Source: BeatMerger.scala."""

from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units.reader import free_xact
from sim.core.units.tilelink import take


@njit
def step_merge(now, m):
    """Beat merger: rows out to a scaler queue, beats in from the bus. Returns the wake."""
    return _merge(now, m) if m.mvin.merge_valid + m.port.reader_in.n + m.full > 0 else NEVER


@njit
def _merge(now, m):
    v = m.mvin
    x = m.reader
    acted = False
    wake = NEVER
    ready = v.merge_valid == 0
    sent_at_start = v.merge_sent
    read_at_start = v.merge_read
    if v.merge_valid:
        useful = v.merge_read - v.merge_shift
        if useful < 0:
            useful = 0
        if useful > v.merge_useful:
            useful = v.merge_useful
        if useful > v.merge_sent and (useful - v.merge_sent >= v.merge_row_bytes or useful == v.merge_useful):
            wide = (v.merge_target >> 36) & 1
            n = v.wide.queue_n if wide else v.narrow.queue_n
            pop_t = v.wide.queue_pop_t if wide else v.narrow.queue_pop_t
            if pop_t == now:
                n += 1
            stored = (v.merge_target >> 37) & 1
            if n < 2 and stored and v.decoded_t > now:
                wake = v.decoded_t
            elif n < 2:
                acted = True
                step = v.merge_row_bytes
                if v.merge_sent == 0:
                    step -= v.merge_offset
                following = v.merge_sent + step
                if following > v.merge_useful:
                    following = v.merge_useful
                if stored:
                    v.decoded_t = now + m.p.decode_cycles
                    if v.merge_useful - following < v.merge_row_bytes:
                        # what is left belongs to a row that the next request completes; the last one leaves nothing
                        following = v.merge_useful
                address = v.merge_address + v.merge_stride * ((v.merge_offset + v.merge_sent) // v.merge_row_bytes)
                ends = following == v.merge_useful
                a0 = (v.merge_target & ~0xFFFFFFFF) | (v.merge_target & 0x80000000) | (address & m.p.addr_mask)
                if ends:
                    a0 = a0 | 1 << 35
                v.busy = 1
                if wide:
                    v.wide.queue_target[v.wide.queue_n] = a0
                    v.wide.queue_shape[v.wide.queue_n] = v.merge_shape
                    v.wide.queue_n += 1
                else:
                    v.narrow.queue_target[v.narrow.queue_n] = a0
                    v.narrow.queue_shape[v.narrow.queue_n] = v.merge_shape
                    v.narrow.queue_n += 1
                v.merge_sent = following
                if ends and v.merge_read == v.merge_total:
                    v.merge_valid = 0
                    ready = True
        if v.merge_valid and read_at_start == v.merge_total and sent_at_start == v.merge_useful:
            v.merge_valid = 0
            acted = True
    b = m.port.reader_in
    if b.n > 0 and now < m.burst.free_t:  # it merges a burst
        wake = now + 1
    elif b.n > 0:
        xact = b.arg[0]
        if ready:
            v.merge_valid = 1
            v.merge_read = m.p.beat_bytes
            v.merge_sent = 0
            v.merge_total = x.id_total_bytes[xact]
            v.merge_shift = x.id_shift[xact]
            v.merge_useful = x.id_useful_bytes[xact]
            v.merge_offset = x.id_offset[xact]
            v.merge_row_bytes = x.id_row_bytes[xact]
            v.merge_address = x.id_address[xact] & m.p.addr_mask
            v.merge_stride = x.id_block_stride[xact]
            v.merge_target = x.id_target[xact]
            v.merge_shape = x.id_shape[xact]
            if b.last[0]:
                free_xact(now, m, xact)
            take(b, now)
            acted = True
        elif v.merge_valid and read_at_start != v.merge_total:
            v.merge_read += m.p.beat_bytes
            if b.last[0]:
                free_xact(now, m, xact)
            take(b, now)
            if sent_at_start == v.merge_useful and v.merge_read == v.merge_total:
                v.merge_valid = 0
            acted = True
    if acted:
        return now + 1
    return wake
