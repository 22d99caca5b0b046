"""The L2 between the port and the memory: one cycle of its input, its control, its data, and its path to memory.

Source: the SiFive inclusive cache (rocket-chip-inclusive-cache 8e157c80) as Configs.scala there sets it up, with the
buffer in front of it and rocket-chip's CacheCork.scala behind it, which makes reads of Acquires and writes of Releases.
All decisions use the registers at the start of the cycle, so the far end moves first: the cork, then control,
then data, then the beat at the input.
"""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.units import memory
from sim.core.units.l2 import data as l2_data
from sim.core.units.l2 import schedule as l2_schedule
from sim.core.units.l2.state import (
    GET,
    GRANT,
    GRANT_DATA,
    LINE_BITS,
    LISTS,
    MEM_CYCLES,
    PUT_BEATS,
    PUT_FULL,
    PUT_PARTIAL,
    RELEASE_ACK,
    SINKS,
)
from sim.core.units.tilelink import WRITER, put_in, room, take

E_WRITEBACKS = int(Event.L2_WRITEBACKS)
LINE_BYTES = 1 << LINE_BITS


def reset(m):
    """Bring the record of a new machine to its state after reset."""
    m.l2.release_sent[:] = 1
    m.l2.acquire_sent[:] = 1
    m.l2.grant_ack_sent[:] = 1
    m.l2.handed_over[:] = 1
    m.l2.written_back[:] = 1
    m.l2.release_acked[:] = 1
    m.l2.grant_begun[:] = 1
    m.l2.grant_ended[:] = 1
    m.l2.grant_useful[:] = 1
    m.l2.lfsr = 1  # chisel3.util.random.LFSR: the seed is 1
    m.l2.stage1_latch = 1
    m.l2.sinks_free = SINKS


@njit
def _answers(now, m, room, pool):
    """Cork, answers: memory first, then Releases and upgrades that it answers itself. Returns whether one moved.

    ``room``: SinkD's queue can take one; ``pool``: a sink id is free for the first beat of a grant.
    """
    c = m.l2
    if not room:
        return False
    if m.mem.offered != memory.NOTHING and (m.mem.offered == memory.READ or c.read_locked == 0):
        if m.mem.offered == memory.ACKNOWLEDGE:
            kind = RELEASE_ACK
        else:
            kind = GRANT_DATA
            if c.read_locked == 0:
                if not pool:
                    return False
                c.sinks_free -= 1
                c.read_locked = LINE_BYTES // m.p.beat_bytes
            c.read_locked -= 1
        beat = memory.answer(now, m)
        c.answer_queue[c.answer_n] = (beat >> 1) << 3 | kind << 1 | (beat & 1)
    elif c.read_locked:
        return False
    elif c.release_answer_n > 0:
        c.answer_queue[c.answer_n] = c.release_answers[0] << 3 | RELEASE_ACK << 1 | 1
        c.release_answers[0] = c.release_answers[1]
        c.release_answer_n -= 1
    elif c.grant_answer_n > 0 and pool:
        c.answer_queue[c.answer_n] = c.grant_answers[0] << 3 | GRANT << 1 | 1
        c.grant_answers[0] = c.grant_answers[1]
        c.grant_answer_n -= 1
        c.sinks_free -= 1
    else:
        return False
    c.answer_n += 1
    return True


@njit
def _requests(now, m, room_c, room_a):
    """Cork, requests: write-backs before reads; requests that need no memory are answered at once.

    Returns whether one moved.

    ``room_c``, ``room_a``: the cork's own answers to Releases and to upgrades have room.
    """
    c = m.l2
    moved = False
    to_memory = False
    if c.release_n > 0:
        head = c.release_queue[0]
        if head & 4:
            last = (head >> 1) & 1
            block = c.meta_block[head >> 3] << LINE_BITS
            if memory.takes_write(now, m, block):
                memory.write(now, m, head >> 3, last, LINE_BYTES, LINE_BYTES, block)
                c.put_locked = 1 - last
                m.count[E_WRITEBACKS] += last
                to_memory = True
                moved = True
        elif room_c:
            c.release_answers[c.release_answer_n] = head >> 3
            c.release_answer_n += 1
            moved = True
        if moved:
            for i in range(c.release_n - 1):
                c.release_queue[i] = c.release_queue[i + 1]
            c.release_n -= 1
    if c.acquire_n > 0:
        goes = False
        if c.acquire_queue[0] & 1:
            block = c.address[c.acquire_queue[0] >> 1] & -LINE_BYTES
            if not to_memory and not c.put_locked and memory.takes_read(now, m, block):
                memory.read(now, m, c.acquire_queue[0] >> 1, LINE_BYTES // m.p.beat_bytes, block)
                goes = True
        elif room_a:
            c.grant_answers[c.grant_answer_n] = c.acquire_queue[0] >> 1
            c.grant_answer_n += 1
            goes = True
        if goes:
            c.acquire_queue[0] = c.acquire_queue[1]
            c.acquire_n -= 1
            moved = True
    return moved


@njit
def _mask(p, first, useful, beat):
    """Words of 8 B (one per bit) that a beat of a Put writes: useful bytes are [first, first + useful)."""
    mask = 0
    words = p.beat_bytes // l2_data.WORD
    for word in range(words):
        low = beat * p.beat_bytes + word * l2_data.WORD
        if first < low + l2_data.WORD and first + useful > low:
            mask |= 1 << word
    return mask


@njit
def _keep_beat(m, client, arg, last, address):
    """A beat enters: count it, and put the data of a Put into its list."""
    c = m.l2
    if client & 1 == WRITER:
        bytes_ = arg & 0xFFFF
        k = c.door_list
        if c.door_beat == 0:
            c.list_used[k] = 1
            c.lists_used += 1
        slot = (c.put_head[k] + c.put_n[k]) % PUT_BEATS
        c.put_mask[k, slot] = _mask(m.p, address & (bytes_ - 1), arg >> 16, c.door_beat)
        c.put_n[k] += 1
        c.put_used += 1
    c.door_beat = 0 if last else c.door_beat + 1


@njit
def _request_of(m, client, arg, address):
    """SinkA: the request of the first beat at the input, as in state.py; for a Put with its list."""
    c = m.l2
    if client & 1 != WRITER:
        bytes_ = (arg >> 16) * m.p.beat_bytes
        return address & -bytes_, GET | bytes_ << 4 | (arg & 0xFFFF) << 20 | client << 40
    bytes_ = arg & 0xFFFF
    c.door_list = 0
    while c.list_used[c.door_list]:
        c.door_list += 1
    kind = PUT_FULL if arg >> 16 == bytes_ else PUT_PARTIAL
    return address & -bytes_, kind | bytes_ << 4 | c.door_list << 12 | client << 40


@njit
def _hold(c, client, arg, last, address):
    """Hold the input beat in the buffer before SinkA."""
    c.held_n = 1
    c.held_client = client
    c.held_arg = arg
    c.held_last = last
    c.held_address = address


@njit
def _answer_door(now, m):
    """Pass the beat of the buffer behind SourceD to the port, or to the tile's buffer; return whether it was taken."""
    c = m.l2
    if c.beat_n == 0 or m.crossbar.cores > 0:  # the crossbar takes it
        return False
    answer = m.tile.answer if m.p.tile_buffer else m.port.from_memory
    if not room(answer, now):
        return False
    put_in(answer, c.beat_info >> 40, (c.beat_info >> 20) & 0xFFFF, c.beat_last, 0)
    c.beat_n = 0
    return True


@njit
def step(now, m, lines, channels):
    """One cycle of the whole cache. Returns the wake."""
    c = m.l2
    door = m.tile.request if m.p.tile_buffer else m.port.to_memory
    wake = memory.offer(now, m, channels)
    # registers as the cycle begins
    ready = (1 if c.acquire_n < 2 else 0) | (2 if not c.evict_busy and c.release_n <= 1 else 0)
    ready |= (4 if not c.busy else 0) | (8 if c.grant_ack_n < 2 else 0) | (16 if c.update_valid == 0 else 0)
    answers = c.answer_n
    full = c.put_used == MEM_CYCLES or (c.door_beat == 0 and c.lists_used == LISTS)
    room_d = c.beat_n == 0
    room_c = c.release_answer_n < 2
    room_a = c.grant_answer_n < 2
    acted = _answers(now, m, c.answer_n < 2, c.sinks_free > 0)
    acted = _requests(now, m, room_c, room_a) or acted
    if c.grant_ack_n > 0:
        c.grant_ack_n -= 1
        c.sinks_free += 1
        acted = True
    # the input beat: held in the buffer, or on the wires from the port
    held = c.held_n > 0
    here = held or door.n > 0
    client = c.held_client if held else door.client[0]
    arg = c.held_arg if held else door.arg[0]
    last = c.held_last if held else door.last[0]
    raw = c.held_address if held else door.address[0]
    enters = here and not (client & 1 == WRITER and full)
    begins = enters and c.door_beat == 0
    address, info = _request_of(m, client, arg, raw) if begins else (raw, 0)
    took, changed = l2_schedule.step(m, lines, ready, begins, address, info)
    acted = acted or changed
    acted = l2_data.step(m, answers, room_d) or acted
    acted = _answer_door(now, m) or acted
    goes = took or (enters and not begins)
    if goes:
        _keep_beat(m, client, arg, last, raw)
        c.held_n = 0
    elif here and not held:
        _hold(c, client, arg, last, raw)
    if here and not held:
        take(door, now)
    if acted or goes or (here and not held):
        m.station.progress_t = now
        return now + 1
    return wake
