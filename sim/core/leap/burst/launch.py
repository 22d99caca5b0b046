"""Bursts of read beats without contention, each one event: the path from the memory to the bank on the leaping clock.

From the memory's wires a beat goes through two buffers to the merger; the row it completes goes through the scaler and
the pixel repeater to its bank. Rows of the scratchpad in whole beats, or whole rows in a beat, with scale 1 are never
delayed after the merger, and before it only by each other. So the cycle in which the memory offers the first beat
determines all times of the burst. The units on the path are not stepped for it; `settle` applies its events when they
are due. Three beats, one a cycle, each one row, the first offered in cycle t:

    cycle                       t    t+1  t+2  t+3  t+4  t+5
    wires to port buffer        0    1    2                      port_t and busy_t are t+2
    port to reader's buffer          0    1    2                 buffer_t is t+3, buffer_before_t is t+2
    reader's buffer to merger             0    1    2            merged_t is t+4, merged_before_t is t+3
    row out of the merger                      0    1    2       then `_path` cycles to its bank

A burst is visible to other units only by the places that it occupies: the wires, the two buffers and the merger (beats
that follow one by one), its transaction ids, and the banks.
"""

from sim.core.jit import njit
from sim.core.leap.burst.settle import answered
from sim.core.leap.burst.state import BEATS, BEATS_OUT, cycle_of, packed
from sim.core.params import DRAM, RING, SHARED, XACTS, sp_bank
from sim.core.units import load
from sim.core.units.memory.wires import NOTHING
from sim.core.units.scaler import occupied


@njit
def _path(p):
    """Cycles from leaving the merger to the bank: input register, multipliers (a row that passes), repeater."""
    return 2 + (1 if p.mvin_units > 0 else p.mvin_latency) + p.first_layer


@njit
def suits(m):
    """True if only loaded rows are written to the scratchpad, from a private memory without a cache or pages."""
    p = m.p
    if m.burst.prevented or p.l2_sets or p.page_mode or p.memory_model == SHARED:
        return False
    return p.max_bytes // p.beat_bytes <= BEATS


@njit
def _flows(m, xact):
    """True if beats of a request are whole rows or rows whole beats, and go to the scratchpad unchanged and once."""
    p = m.p
    r = m.reader
    w0 = r.id_target[xact]
    w1 = r.id_shape[xact]
    if r.id_useful_bytes[xact] == 0:  # no row and no response: its command counts no bytes and may be complete
        return False
    if (w0 >> 31) & 1 or (w0 >> 36) & 3 or w1 & 0xFFFF:
        return False
    if p.first_layer and (w1 >> 16) & 0xFF != 1:
        return False
    if p.mvin_units > 0 and (w0 >> 34) & 1 == 0:
        return False
    beat = p.beat_bytes
    row = r.id_row_bytes[xact]
    if row < beat:
        if beat % row or r.id_total_bytes[xact] // row > BEATS:
            return False
        return r.id_offset[xact] == 0 and r.id_shift[xact] % row == 0
    return r.id_offset[xact] == 0 and r.id_shift[xact] % beat == 0 and row % beat == 0


@njit
def _free(now, m):
    """True if no beats are stepped one by one, and the memory's next answer, due now, is a read."""
    mem = m.fixed
    v = m.mvin
    if mem.next_beat > now * m.p.read_den:
        return False
    if m.mem.offered != NOTHING or mem.in_burst or (mem.ack_n > 0 and mem.ack_ready_t[mem.ack_head] <= now):
        return False
    if m.port.from_memory.n + m.port.reader_in.n + v.merge_valid > 0:
        return False
    return v.busy == 0 or not (v.repeat_valid or occupied(v.narrow) or occupied(v.wide))


@njit
def begin(now, m):
    """Make a burst of the memory's next read if possible, and of the reads after it that no acknowledge precedes."""
    mem = m.fixed
    if m.burst.enabled and mem.read_n > 0 and mem.read_ready_t[mem.read_head] <= now and m.burst.busy_t < now:
        _begin(now, m)


@njit
def _begin(now, m):
    f = m.burst
    mem = m.fixed
    p = m.p
    if not _free(now, m):
        return
    at = now
    until = now + p.mem_latency
    if p.memory_model == DRAM:
        until = min(until, m.dram.soon_t)  # pending work of the channels comes no sooner
    while True:
        xact = mem.read_id[mem.read_head]
        if not _flows(m, xact):
            break
        _launch(at, m, xact, mem.read_beats[mem.read_head], mem.read_ready_t[mem.read_head] * p.read_den)
        mem.read_head = (mem.read_head + 1) % XACTS
        mem.read_n -= 1
        if mem.read_n == 0 or f.rows_n + BEATS > RING or f.wire_n + BEATS > BEATS_OUT or f.ends_n == RING:
            break
        at = max(max(mem.read_ready_t[mem.read_head], f.busy_t + 1), (mem.next_beat + p.read_den - 1) // p.read_den)
        if at >= until or (mem.ack_n > 0 and mem.ack_ready_t[mem.ack_head] <= at):
            break
    answered(now, m)


@njit
def _launch(at, m, xact, n, ready):
    """Compute all times of the beats and rows of a burst of n beats, the first offered in cycle `at`."""
    f = m.burst
    p = m.p
    r = m.reader
    address = r.id_address[xact] & p.addr_mask
    sent = _smooth(at, m, xact, n, address)
    if sent < 0:
        sent = _beats(at, m, xact, n, ready, address)
    merged = f.merged_t
    # the cycle of the last row is possible, and the one after a beat without a row, but not that after both
    f.free_t = sent if sent > merged else (merged + 1 if sent < merged else merged + 2)
    f.busy_t = f.port_t
    j = (f.ends_head + f.ends_n) % RING
    f.ends_t[j] = merged
    f.ends_id[j] = xact
    f.ends_n += 1
    f.due_t = min(f.due_t, cycle_of(f.wire_burst[f.wire_head]))
    load.returned(sent + _path(p), m, (r.id_target[xact] >> 40) & 0xFF, r.id_shape[xact] >> 40)


@njit
def _smooth(at, m, xact, n, address):
    """Case of one beat per cycle, one row per beat, no contention, one bank.

    Return the cycle of the last row out of the merger, or -1.
    """
    f = m.burst
    p = m.p
    r = m.reader
    beat = p.beat_bytes
    if p.read_num > p.read_den or m.station.logging or r.id_row_bytes[xact] != beat:
        return -1
    if (
        max(f.port_t, f.buffer_before_t) >= at
        or max(f.buffer_t, f.merged_before_t) > at
        or max(f.merged_t + 1, f.free_t) > at + 2
    ):
        return -1
    rows = (r.id_useful_bytes[xact] + beat - 1) // beat
    last = address + r.id_block_stride[xact] * (rows - 1)
    if sp_bank(p, address) != sp_bank(p, last) or last > p.addr_mask:
        return -1
    m.fixed.next_beat = (at + n) * p.read_den
    if n > 1:
        f.buffer_before_t = at + n - 1
        f.merged_before_t = at + n
    else:
        f.buffer_before_t = f.buffer_t
        f.merged_before_t = f.merged_t
    f.port_t = at + n - 1
    f.buffer_t = at + n
    f.merged_t = at + n + 1
    f.wire_burst[(f.wire_head + f.wire_n) % BEATS_OUT] = packed(f.port_t, n, 1)
    f.wire_n += 1
    first = at + 3 + r.id_shift[xact] // beat
    _rows(m, first + _path(p), rows, address, True)
    if p.mvin_units > 0:
        _turn(m, rows)
    return first + rows - 1


@njit
def _beats(at, m, xact, n, ready, address):
    """The same, beat by beat."""
    f = m.burst
    mem = m.fixed
    r = m.reader
    p = m.p
    row_bytes = r.id_row_bytes[xact]
    shift = r.id_shift[xact]
    n_bytes = r.id_useful_bytes[xact]
    path = _path(p)
    done = 0  # bytes of the rows so far
    row = 0
    sent = 0  # cycle in which the last row leaves the merger
    for i in range(n):
        if i > 0:
            at = max(f.port_t + 1, (mem.next_beat + p.read_den - 1) // p.read_den)
        port = max(at, max(f.port_t, f.buffer_before_t) + 1)
        buffer = max(port, max(f.buffer_t, f.merged_before_t)) + 1
        merged = max(buffer, f.merged_t) + 1
        if i == 0:
            merged = max(merged, f.free_t)
        mem.next_beat = max(max(ready, mem.next_beat) + p.read_num, (port + 1) * p.read_den)
        f.port_t = port
        f.buffer_before_t = f.buffer_t
        f.buffer_t = buffer
        f.merged_before_t = f.merged_t
        f.merged_t = merged
        if m.station.logging or i == n - 1:
            ended = 1 if i == n - 1 else 0
            f.wire_burst[(f.wire_head + f.wire_n) % BEATS_OUT] = packed(port, 1 if m.station.logging else n, ended)
            f.wire_n += 1
        useful = (i + 1) * p.beat_bytes - shift
        while done < n_bytes and (useful >= done + row_bytes or useful >= n_bytes):
            done = min(done + row_bytes, n_bytes)
            sent = max(merged, sent) + 1
            _rows(m, sent + path, 1, address + r.id_block_stride[xact] * row, done == n_bytes)
            row += 1
    if p.mvin_units > 0:
        _turn(m, row)
    return sent


@njit
def _turn(m, rows):
    """Advance the scaler's slots, which take turns, past these rows."""
    m.mvin.narrow.tail = (m.mvin.narrow.tail + rows) % 3
    m.mvin.narrow.head = m.mvin.narrow.tail


@njit
def _rows(m, t, n, address, last):
    """Record rows of one bank, the first of which arrives in cycle t; `last`: the last of them ends a request."""
    f = m.burst
    bank = sp_bank(m.p, address)
    f.bank_t[bank] = t + n - 1
    j = (f.rows_head + f.rows_n - 1) % RING
    if f.rows_n > 0 and f.rows_bank[j] == bank and f.rows_last[j] == 0 and f.rows_t[j] + f.rows_count[j] == t:
        f.rows_count[j] += n
    else:
        j = (f.rows_head + f.rows_n) % RING
        f.rows_t[j] = t
        f.rows_count[j] = n
        f.rows_bank[j] = bank
        f.rows_n += 1
        f.due_t = min(f.due_t, t)
    f.rows_last[j] = 1 if last else 0
