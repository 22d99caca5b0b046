"""DMA writer: gathers the blocks of a row, cuts it into Puts, sends them a beat per cycle, waits for acknowledges.

Source: StreamWriter in DMA.scala. Beats pass a TLB stage and a translate stage; a translated beat waits for the
A channel in place (unlike the reader's), one that the TLB refuses goes round again, with the beat behind it parked.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent
from sim.core.params import NEVER
from sim.core.units import tlb
from sim.core.units.tilelink import WRITER, put_in, room, take

IDLE = 0
NEW_PACKET = 1
BEATS = 2

DTYPE = np.dtype(
    [
        ("state", "i8"),  # IDLE, NEW_PACKET or BEATS
        ("vaddr", "i8"),  # DRAM address of the next Put
        ("length", "i8"),  # bytes of the row
        ("sent", "i8"),  # bytes of them sent
        ("pk_vaddr", "i8"),  # DRAM address of the Put
        ("pk_bytes", "i8"),  # size of the Put
        ("pk_useful", "i8"),  # useful bytes in it
        ("pk_from", "i8"),  # first useful byte inside the Put
        ("beats_left", "i8"),  # beats of it still to come
        ("used", "i8"),  # ids waiting for their acknowledge
        ("freed_t", "i8"),  # last cycle with an acknowledge
        # stages: packed beat (see _pack), address
        ("q_valid", "i8"),  # 1: a beat is in front of the TLB
        ("q_beat", "i8"),  # the beat
        ("q_vaddr", "i8"),  # its DRAM address
        ("t_valid", "i8"),  # 1: a beat is translated
        ("t_beat", "i8"),  # the beat
        ("t_vaddr", "i8"),  # its DRAM address
        ("p_valid", "i8"),  # parked behind a refused beat
        ("p_beat", "i8"),  # the beat
        ("p_vaddr", "i8"),  # its DRAM address
        ("ready", "i8"),  # a new row can be taken this cycle
    ]
)


@njit
def busy(m):
    """Sending, or waiting for acknowledges."""
    return m.writer.used > 0 or m.writer.state != IDLE


@njit
def at_rest(m):
    """Nothing to send: neither a row nor a beat in a stage."""
    w = m.writer
    return w.state == IDLE and w.q_valid + w.t_valid + w.p_valid == 0


@njit
def acknowledge(now, m):
    """Take an acknowledge off the bus; its id can be given away from the next cycle. Returns the wake."""
    if m.port.writer_in.n == 0:
        return NEVER
    take(m.port.writer_in, now)
    m.writer.used -= 1
    m.writer.freed_t = now
    return now + 1


@njit
def _useful_of_beat(p, first, useful, beat):
    """Useful bytes of one beat of a Put whose useful bytes are [first, first + useful)."""
    low = beat * p.beat_bytes
    high = low + p.beat_bytes
    if first > low:
        low = first
    if first + useful < high:
        high = first + useful
    return high - low if high > low else 0


@njit
def _choose(m):
    """Pick the Put that carries most useful bytes; the smallest of equals."""
    w = m.writer
    p = m.p
    left = w.length - w.sent
    size = p.beat_bytes
    best = 0
    best_bytes = -1
    while size <= p.max_bytes:
        room_in = size - (w.vaddr & (size - 1))
        got = left if left < room_in else room_in
        if got > best_bytes:
            best_bytes = got
            best = size
        size *= 2
    w.pk_bytes = best
    w.pk_useful = best_bytes
    w.pk_from = w.vaddr & (best - 1)
    w.pk_vaddr = w.vaddr


@njit
def step(now, m):
    """One cycle of the writer up to its readiness for a row; the row itself comes by `accept`. Returns the wake."""
    w = m.writer
    p = m.p
    acted = False
    shown = w.q_valid or w.t_valid  # else the answer to the wires of this cycle is not read
    shown_vaddr = w.q_vaddr
    retry = False
    if w.t_valid:
        if tlb.missed(now, m.tlb, tlb.WRITER):
            retry = True
            w.t_valid = 0
            acted = True
        elif room(m.port.writer_out, now):
            put_in(m.port.writer_out, WRITER, w.t_beat >> 1, w.t_beat & 1, w.t_vaddr)
            w.t_valid = 0
            acted = True
    again_beat = w.t_beat
    again_vaddr = w.t_vaddr
    had_parked = w.p_valid
    if w.q_valid and w.t_valid == 0:
        tlb.request(now, m.tlb, tlb.WRITER, w.q_vaddr)
        if retry:
            w.p_valid = 1
            w.p_beat = w.q_beat
            w.p_vaddr = w.q_vaddr
        else:
            w.t_valid = 1
            w.t_beat = w.q_beat
            w.t_vaddr = w.q_vaddr
        w.q_valid = 0
        acted = True
    w.ready = 1 if w.state == IDLE else 0
    if w.q_valid == 0:
        if retry:
            w.q_valid = 1
            w.q_beat = again_beat
            w.q_vaddr = again_vaddr
        elif had_parked:
            w.q_valid = 1
            w.q_beat = w.p_beat
            w.q_vaddr = w.p_vaddr
            w.p_valid = 0
            acted = True
        elif w.state != IDLE:
            used = w.used + (1 if w.freed_t == now else 0)
            if used < p.n_xacts:
                acted = True
                _beat(m)
    if shown:
        tlb.present(now, m.tlb, tlb.WRITER, shown_vaddr)
    if acted:
        return now + 1
    return NEVER


@njit
def _beat(m):
    """Send the next beat into the TLB stage."""
    w = m.writer
    p = m.p
    if w.state == NEW_PACKET:
        _choose(m)
        w.beats_left = w.pk_bytes // p.beat_bytes
        w.vaddr += w.pk_useful
        w.used += 1
    beat = w.pk_bytes // p.beat_bytes - w.beats_left
    got = _useful_of_beat(p, w.pk_from, w.pk_useful, beat)
    left = w.length - w.sent
    w.sent += got
    w.beats_left -= 1
    last = 1 if w.beats_left == 0 else 0
    w.q_valid = 1
    w.q_beat = (w.pk_useful << 16 | w.pk_bytes) << 1 | last
    w.q_vaddr = w.pk_vaddr
    if not last:
        w.state = BEATS
    elif got >= left:
        w.state = IDLE
        w.ready = 1
    else:
        w.state = NEW_PACKET


@njit
def accept(m, vaddr, length, block, store):
    """A row, or one block of it; only the last block (store) starts the transfer."""
    w = m.writer
    w.vaddr = vaddr
    w.length = (block * m.p.dim * m.p.c_bits >> 3) + length
    w.sent = 0
    w.state = NEW_PACKET if store else IDLE


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    w = m.writer
    if w.state == IDLE:
        w.vaddr = 0
        w.length = 0
        w.sent = 0
    if w.state != BEATS:
        w.pk_vaddr = 0
        w.pk_bytes = 0
        w.pk_useful = 0
        w.pk_from = 0
        w.beats_left = 0
    if not w.q_valid:
        w.q_beat = 0
        if not w.t_valid:
            w.q_vaddr = 0  # else still on the wires that the TLB answers
    if not w.t_valid:
        w.t_beat = 0
        w.t_vaddr = 0
    if not w.p_valid:
        w.p_beat = 0
        w.p_vaddr = 0
    w.freed_t = recent(w.freed_t, now, 0)
    w.ready = 0


def reset(m):
    """State after reset."""
    m.writer.freed_t = LONG_AGO


def describe(m):
    """What a stopped writer waits for, in words."""
    text = f"DMA writer: {m.writer.used} writes unacknowledged, {'sending' if m.writer.state else 'idle'}"
    if m.p.n_xacts == 1 and m.writer.state:
        text += (
            "\ndma.max_in_flight_requests = 1: the DMA writer needs a free id for every beat and its Put holds the "
            "only one (DMA.scala: a Put of several beats never ends, in the RTL as here); nearest value that ends: 2"
        )
    return text
