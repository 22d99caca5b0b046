"""Beat merger: beats of one transaction become local rows, which go to the scalers. Source: BeatMerger.scala."""

from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units.reader import free_xact
from sim.core.units.scaler import append
from sim.core.units.tilelink import take


@njit
def step_merge(now, m):
    """Beat merger: rows out to a scaler queue, beats in from the bus. Returns the wake."""
    return _merge(now, m) if m.mvin.merge_valid + m.port.reader_in.n + m.full > 0 else NEVER


@njit
def _merge(now, m):
    v = m.mvin
    sent = v.merge_sent == v.merge_useful
    read = v.merge_read == v.merge_total
    free = v.merge_valid == 0
    acted = False
    wake = NEVER
    if v.merge_valid:
        acted, wake = _row_out(now, m)
        free = v.merge_valid == 0
        if v.merge_valid and read and sent:
            v.merge_valid = 0
            acted = True
    b = m.port.reader_in
    if b.n > 0 and now < m.burst.free_t:  # it merges a burst
        wake = now + 1
    elif b.n > 0 and (free or (v.merge_valid and not read)):
        if free:
            _begin(m, b.arg[0])
        else:
            v.merge_read += m.p.beat_bytes
            if sent and v.merge_read == v.merge_total:
                v.merge_valid = 0
        if b.last[0]:
            free_xact(now, m, b.arg[0])
        take(b, now)
        acted = True
    return now + 1 if acted else wake


@njit
def _begin(m, xact):
    """The first beat of a transaction: its sizes and addresses come from the reader."""
    v = m.mvin
    x = m.reader
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


@njit
def _row_out(now, m):
    """Pass a complete local row to its scaler. Returns (a row was passed, cycle that it waits for)."""
    v = m.mvin
    useful = min(max(v.merge_read - v.merge_shift, 0), v.merge_useful)
    left = useful - v.merge_sent
    if left <= 0 or (left < v.merge_row_bytes and useful != v.merge_useful):
        return False, NEVER
    wide = (v.merge_target >> 36) & 1
    n = v.wide.queue_n if wide else v.narrow.queue_n
    pop_t = v.wide.queue_pop_t if wide else v.narrow.queue_pop_t
    if pop_t == now:
        n += 1
    if n >= 2:
        return False, NEVER
    stored = (v.merge_target >> 37) & 1
    if stored and v.decoded_t > now:
        return False, v.decoded_t
    step = v.merge_row_bytes
    if v.merge_sent == 0:
        step -= v.merge_offset
    following = min(v.merge_sent + step, v.merge_useful)
    if stored:
        v.decoded_t = now + m.p.decode_cycles
        if v.merge_useful - following < v.merge_row_bytes:
            # the rest belongs to a row that the next request completes; the last request leaves nothing
            following = v.merge_useful
    address = v.merge_address + v.merge_stride * ((v.merge_offset + v.merge_sent) // v.merge_row_bytes)
    ends = following == v.merge_useful
    target = (v.merge_target & ~0xFFFFFFFF) | (v.merge_target & 0x80000000) | (address & m.p.addr_mask)
    if ends:
        target = target | 1 << 35
    v.busy = 1
    if wide:
        append(v.wide, target, v.merge_shape)
    else:
        append(v.narrow, target, v.merge_shape)
    v.merge_sent = following
    if ends and v.merge_read == v.merge_total:
        v.merge_valid = 0
    return True, NEVER
