"""The L2's data: the pipeline that answers requests, evictions and refills, and the banks that they share.

Source: SourceD.scala, SourceC.scala, SinkD.scala, BankedStore.scala of the inclusive cache. The store has four rows of
banks, chosen by the low bits of way, set and beat; a bank word is 8 B. A request that waits for a bank still blocks
requests of lower priority: evictions, then refills, then writes of Puts, then reads.
"""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.units.l2.state import GRANT_DATA, LINE_BITS, PUT_FULL, RELEASE_ACK, is_put, opcode, set_of, size
from sim.core.units.l2.state import block_of as block_of_address

E_BANKS = int(Event.L2_BANK_ACCESSES)

BANK_ROWS = 4  # Configs.scala: subBankingFactor
WORD = 8  # Configs.scala: writeBytes


@njit
def _select(p, way, block, beat, mask):
    """Return the bit set of the bank words of a beat."""
    words = p.beat_bytes // WORD
    beats = (1 << LINE_BITS) // p.beat_bytes
    row = ((way * p.l2_sets + set_of(p, block)) * beats + beat) % BANK_ROWS
    return mask << row * words


@njit
def _in_flight(m, block, way):
    """True if a request for this set and way is in the answering pipeline at the start of the cycle."""
    c = m.l2
    here = set_of(m.p, block)
    for stage in range(1, 5):
        full = c.busy if stage == 1 else c.stage_full[stage]
        if full and c.stage_way[stage] == way and set_of(m.p, block_of_address(c.stage_address[stage])) == here:
            return True
    return False


@njit
def _evict(m):
    """SourceC: read a dirty block, or announce the loss of a clean one. Returns the bank words it claims."""
    c = m.l2
    if c.evict_stage3:
        c.release_queue[c.release_n] = c.evict_stage3
        c.release_n += 1
    c.evict_stage3 = c.evict_stage2
    c.evict_stage2 = 0
    if c.go_evict >= 0:
        i = c.go_evict
        c.evict_block = c.meta_block[i]
        c.evict_way = c.meta_way[i]
        c.evict_mshr = i
        if not c.meta_dirty[i]:
            c.evict_stage2 = i << 3 | 2 | 1
            return 0
        c.evict_busy = 1
        c.evict_beat = 0
    if not c.evict_busy:
        return 0
    if c.evict_beat == 0 and _in_flight(m, c.evict_block, c.evict_way):
        return 0
    words = (1 << m.p.beat_bytes // WORD) - 1
    claim = _select(m.p, c.evict_way, c.evict_block, c.evict_beat, words)
    last = c.evict_beat == (1 << LINE_BITS) // m.p.beat_bytes - 1
    c.evict_stage2 = c.evict_mshr << 3 | 4 | (2 if last else 0) | 1
    c.evict_beat += 1
    if last:
        c.evict_busy = 0
        c.evict_beat = 0
    m.count[E_BANKS] += 1
    return claim


@njit
def _refill(m, answers, claimed):
    """SinkD: a beat from memory into the banks. ``answers``: beats that were in its queue when the cycle began.

    Returns the bank words it claims.
    """
    c = m.l2
    p = m.p
    here = answers > 0
    first = c.grant_beat == 0
    if first and not here:
        return 0
    i = c.answer_queue[0] >> 3 if here else c.grant_mshr
    block = block_of_address(c.address[i])
    way = c.meta_way[i]
    if first and _in_flight(m, block, way):
        return 0
    words = (1 << p.beat_bytes // WORD) - 1
    claim = _select(p, way, block, c.grant_beat, words)
    if not here or claim & claimed:
        return claim
    kind = (c.answer_queue[0] >> 1) & 3
    last = c.answer_queue[0] & 1
    c.answer_queue[0] = c.answer_queue[1]
    c.answer_n -= 1
    c.grant_mshr = i
    c.grant_beat = 0 if last else c.grant_beat + 1
    if kind == RELEASE_ACK:
        c.release_acked[i] = 1
        return claim
    if kind == GRANT_DATA:
        m.count[E_BANKS] += 1
    if first or last:
        c.grant_begun[i] = 1
        c.grant_ended[i] = last
        if last or c.address[i] & ((1 << LINE_BITS) - 1) == 0:
            c.grant_useful[i] = 1
    return claim


@njit
def _move(c, to):
    """Move a beat to the next stage."""
    at = to - 1
    c.stage_full[to] = 1
    c.stage_address[to] = c.stage_address[at]
    c.stage_info[to] = c.stage_info[at]
    c.stage_way[to] = c.stage_way[at]
    c.stage_beat[to] = c.stage_beat[at]
    c.stage_last[to] = c.stage_last[at]
    c.stage_answers[to] = c.stage_answers[at]
    c.stage_mask[to] = c.stage_mask[at]


@njit
def _bypassed(m):
    """True if the beat of stage 1 is in a later stage, so that its data need not be read."""
    c = m.l2
    here = set_of(m.p, block_of_address(c.stage_address[1]))
    for stage in range(2, 5):
        if (
            c.stage_full[stage]
            and c.stage_way[stage] == c.stage_way[1]
            and c.stage_beat[stage] == c.stage_beat[1]
            and set_of(m.p, block_of_address(c.stage_address[stage])) == here
        ):
            return 1
    return 0


@njit
def _accept(c):
    """Put the scheduler's request into stage 1 at once; return whether there is one."""
    if c.go_answer < 0:
        return False
    c.stage_address[1] = c.go_address
    c.stage_info[1] = c.go_info
    c.stage_way[1] = c.go_way
    c.busy = 1
    c.stage1_count = 0
    return True


@njit
def _read(m, claimed):
    """Stage 1: its beat is read from the banks, unless a later stage holds it or the whole of it is written.

    ``claimed``: bank words of requests with higher priority. Returns (the beat is available, it was read in this
    cycle).
    """
    c = m.l2
    p = m.p
    c.stage_beat[1] = (c.stage_address[1] & ((1 << LINE_BITS) - 1)) // p.beat_bytes + c.stage1_count
    if c.stage1_latch:
        c.stage1_held = _bypassed(m)
    if c.stage1_read or c.stage1_held or opcode(c.stage_info[1]) == PUT_FULL:
        return True, False
    words = (1 << p.beat_bytes // WORD) - 1
    if _select(p, c.stage_way[1], block_of_address(c.stage_address[1]), c.stage_beat[1], words) & claimed:
        return False, False
    c.stage1_read = 1
    m.count[E_BANKS] += 1
    return True, True


@njit
def _pop(c, k):
    """Let stage 2 take the oldest beat out of list k of a Put, and free the list after the last beat."""
    h = c.put_head[k]
    c.stage_mask[2] = c.put_mask[k, h]
    c.put_head[k] = (h + 1) % c.put_mask.shape[1]
    c.put_n[k] -= 1
    c.put_used -= 1
    c.stage2_pops = 0
    if c.stage_last[2]:
        c.list_used[k] = 0
        c.lists_used -= 1


@njit
def _leave_read(m):
    """Move the beat of stage 1 to stage 2; the next beat of its request follows."""
    c = m.l2
    info = c.stage_info[1]
    first = c.stage1_count == 0
    last = c.stage1_count == size(info) // m.p.beat_bytes - 1
    c.stage_last[1] = 1 if last else 0
    c.stage_answers[1] = 1 if first or not is_put(info) else 0
    _move(c, 2)
    c.stage2_pops = 1 if is_put(info) else 0
    c.stage1_read = 0
    c.stage1_count = 0 if last else c.stage1_count + 1
    if last:
        c.busy = 0


@njit
def _send(c):
    """Move the beat of stage 3 into the buffer after the pipeline."""
    c.beat_n = 1
    c.beat_info = c.stage_info[3]
    c.beat_last = 1 if is_put(c.stage_info[3]) else c.stage_last[3]
    c.stage3_sends = 0


@njit
def _answer(m, claimed, room):
    """SourceD: one cycle of its four stages; ``room``: the beat buffer behind it was empty. Returns what moved."""
    c = m.l2
    p = m.p
    moved = _accept(c)
    # decide for each stage, before anything moves
    write = c.stage_full[4] and is_put(c.stage_info[4])
    claim_w = 0
    if write:
        claim_w = _select(p, c.stage_way[4], block_of_address(c.stage_address[4]), c.stage_beat[4], c.stage_mask[4])
    stage4_out = c.stage_full[4] and not (claim_w & claimed)
    stage3_out = c.stage_full[3] and (not c.stage3_sends or room) and (stage4_out or not c.stage_full[4])
    list_at = (c.stage_info[2] >> 12) & 0xFF
    popped = c.stage2_pops and c.put_n[list_at] > 0
    stage2_out = c.stage_full[2] and (not c.stage2_pops or popped) and (stage3_out or not c.stage_full[3])
    stage2_ready = stage2_out or not c.stage_full[2]
    stage1_out = False
    latch = 1
    if c.busy:
        got, read = _read(m, claimed | claim_w)
        moved = moved or read
        stage1_out = got and stage2_ready
        latch = 1 if stage2_ready else 0
    # now everything moves, last stage first
    if stage4_out:
        c.stage_full[4] = 0
        m.count[E_BANKS] += 1 if write else 0
    sends = c.stage3_sends and room
    if sends:
        _send(c)
    if stage3_out:
        _move(c, 4)
        c.stage_full[3] = 0
    if popped:
        _pop(c, list_at)
    if stage2_out:
        _move(c, 3)
        c.stage_full[2] = 0
        c.stage3_sends = c.stage_answers[3]
    if stage1_out:
        _leave_read(m)
    moved = moved or stage4_out or sends or stage3_out or popped or stage2_out or stage1_out or latch != c.stage1_latch
    c.stage1_latch = latch
    return moved


@njit
def step(m, answers, room):
    """One cycle of the data side; returns whether anything changed."""
    c = m.l2
    before = c.evict_stage2 | c.evict_stage3 | c.evict_busy
    claimed = _evict(m)
    taken = c.answer_n
    claimed |= _refill(m, answers, claimed)
    moved = before > 0 or c.evict_stage2 > 0 or taken != c.answer_n
    return _answer(m, claimed, room) or moved
