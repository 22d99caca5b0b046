"""DMA writer: gathers the blocks of a row, cuts it into Puts, sends them a beat per cycle, waits for acknowledges.

Source: StreamWriter in DMA.scala. Beats pass a TLB stage and a translate stage; a translated beat waits for the A
channel in place (unlike the reader's); a beat that the TLB refuses is sent again, with the beat after it parked.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent
from sim.core.params import NEVER
from sim.core.units import tlb
from sim.core.units.packet import best_size
from sim.core.units.tilelink import WRITER, put_in, room, take

IDLE = 0
NEW_PACKET = 1
BEATS = 2

DTYPE = np.dtype(
    [
        ("state", "i8"),  # IDLE, NEW_PACKET or BEATS
        ("address", "i8"),  # DRAM address of the next Put
        ("length", "i8"),  # bytes of the row
        ("sent", "i8"),  # bytes of them sent
        ("packet_address", "i8"),  # DRAM address of the Put
        ("packet_bytes", "i8"),  # size of the Put
        ("packet_useful_bytes", "i8"),  # useful bytes in it
        ("packet_first_byte", "i8"),  # first useful byte inside the Put
        ("beats_left", "i8"),  # beats of it still to come
        ("used", "i8"),  # ids waiting for their acknowledge
        ("freed_t", "i8"),  # last cycle with an acknowledge
        # stages: packed beat (see _pack), address
        ("tlb_valid", "i8"),  # 1: a beat is in front of the TLB
        ("tlb_beat", "i8"),  # the beat
        ("tlb_address", "i8"),  # its DRAM address
        ("translated_valid", "i8"),  # 1: a beat is translated
        ("translated_beat", "i8"),  # the beat
        ("translated_address", "i8"),  # its DRAM address
        ("parked_valid", "i8"),  # parked behind a refused beat
        ("parked_beat", "i8"),  # the beat
        ("parked_address", "i8"),  # its DRAM address
        ("ready", "i8"),  # a new row can be taken this cycle
    ]
)


@njit
def busy(m):
    """True while sending, or waiting for acknowledges."""
    return m.writer.used > 0 or m.writer.state != IDLE


@njit
def at_rest(m):
    """True if there is nothing to send: neither a row nor a beat in a stage."""
    w = m.writer
    return w.state == IDLE and w.tlb_valid + w.translated_valid + w.parked_valid == 0


@njit
def acknowledge(now, m):
    """Take an acknowledge off the bus; its id can be used again from the next cycle. Returns the wake."""
    if m.port.writer_in.n == 0:
        return NEVER
    take(m.port.writer_in, now)
    m.writer.used -= 1
    m.writer.freed_t = now
    return now + 1


@njit
def _useful_of_beat(p, first, useful, beat):
    """Return the useful bytes of one beat of a Put whose useful bytes are [first, first + useful)."""
    low = beat * p.beat_bytes
    high = low + p.beat_bytes
    if first > low:
        low = first
    if first + useful < high:
        high = first + useful
    return high - low if high > low else 0


@njit
def step(now, m):
    """One cycle of the writer; `ready`: whether `accept` may add a row in this cycle. Returns the wake."""
    w = m.writer
    p = m.p
    acted = False
    shown = w.tlb_valid or w.translated_valid  # otherwise the answer to this cycle's wires is not read
    shown_address = w.tlb_address
    retry = False
    if w.translated_valid:
        if tlb.missed(now, m.tlb, tlb.WRITER):
            retry = True
            w.translated_valid = 0
            acted = True
        elif room(m.port.writer_out, now):
            put_in(m.port.writer_out, WRITER, w.translated_beat >> 1, w.translated_beat & 1, w.translated_address)
            w.translated_valid = 0
            acted = True
    again_beat = w.translated_beat
    again_address = w.translated_address
    had_parked = w.parked_valid
    if w.tlb_valid and w.translated_valid == 0:
        tlb.request(now, m.tlb, tlb.WRITER, w.tlb_address)
        if retry:
            w.parked_valid = 1
            w.parked_beat = w.tlb_beat
            w.parked_address = w.tlb_address
        else:
            w.translated_valid = 1
            w.translated_beat = w.tlb_beat
            w.translated_address = w.tlb_address
        w.tlb_valid = 0
        acted = True
    w.ready = 1 if w.state == IDLE else 0
    if w.tlb_valid == 0:
        if retry:
            w.tlb_valid = 1
            w.tlb_beat = again_beat
            w.tlb_address = again_address
        elif had_parked:
            w.tlb_valid = 1
            w.tlb_beat = w.parked_beat
            w.tlb_address = w.parked_address
            w.parked_valid = 0
            acted = True
        elif w.state != IDLE:
            used = w.used + (1 if w.freed_t == now else 0)
            if used < p.n_xacts:
                acted = True
                _beat(m)
    if shown:
        tlb.present(now, m.tlb, tlb.WRITER, shown_address)
    if acted:
        return now + 1
    return NEVER


@njit
def _beat(m):
    """Send the next beat into the TLB stage."""
    w = m.writer
    p = m.p
    if w.state == NEW_PACKET:
        w.packet_bytes, w.packet_useful_bytes = best_size(p, w.address, w.length - w.sent)
        w.packet_first_byte = w.address & (w.packet_bytes - 1)
        w.packet_address = w.address
        w.beats_left = w.packet_bytes // p.beat_bytes
        w.address += w.packet_useful_bytes
        w.used += 1
    beat = w.packet_bytes // p.beat_bytes - w.beats_left
    got = _useful_of_beat(p, w.packet_first_byte, w.packet_useful_bytes, beat)
    left = w.length - w.sent
    w.sent += got
    w.beats_left -= 1
    last = 1 if w.beats_left == 0 else 0
    w.tlb_valid = 1
    w.tlb_beat = (w.packet_useful_bytes << 16 | w.packet_bytes) << 1 | last
    w.tlb_address = w.packet_address
    if not last:
        w.state = BEATS
    elif got >= left:
        w.state = IDLE
        w.ready = 1
    else:
        w.state = NEW_PACKET


@njit
def accept(m, address, length, block, store):
    """Accept a row, or one block of it; only the last block (store) starts the transfer."""
    w = m.writer
    w.address = address
    w.length = (block * m.p.dim * m.p.c_bits >> 3) + length
    w.sent = 0
    w.state = NEW_PACKET if store else IDLE


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    w = m.writer
    if w.state == IDLE:
        w.address = 0
        w.length = 0
        w.sent = 0
    if w.state != BEATS:
        w.packet_address = 0
        w.packet_bytes = 0
        w.packet_useful_bytes = 0
        w.packet_first_byte = 0
        w.beats_left = 0
    if not w.tlb_valid:
        w.tlb_beat = 0
        if not w.translated_valid:
            w.tlb_address = 0  # else still on the wires that the TLB answers
    if not w.translated_valid:
        w.translated_beat = 0
        w.translated_address = 0
    if not w.parked_valid:
        w.parked_beat = 0
        w.parked_address = 0
    w.freed_t = recent(w.freed_t, now, 0)
    w.ready = 0


def reset(m):
    """State after reset."""
    m.writer.freed_t = LONG_AGO


def describe(m):
    """Describe what a stopped writer waits for."""
    text = f"DMA writer: {m.writer.used} writes unacknowledged, {'sending' if m.writer.state else 'idle'}"
    if m.p.n_xacts == 1 and m.writer.state:
        text += (
            "\ndma.max_in_flight_requests = 1: the DMA writer needs a free id for every beat and its Put holds the "
            "only one (DMA.scala: a Put of several beats never ends, in the RTL as here); nearest value that ends: 2"
        )
    return text
