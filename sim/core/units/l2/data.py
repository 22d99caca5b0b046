"""The L2's data: the pipeline that answers requests, evictions and refills, and the banks that they share.

Source: SourceD.scala, SourceC.scala, SinkD.scala, BankedStore.scala of the inclusive cache. The store has four rows of
banks, chosen by the low bits of way, set and beat; a bank word is 8 B. A request that waits for a bank still keeps
those below it in rank away: evictions, then refills, then writes of Puts, then reads.
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
    """Bit set of the bank words that a beat touches."""
    words = p.beat_bytes // WORD
    beats = (1 << LINE_BITS) // p.beat_bytes
    row = ((way * p.l2_sets + set_of(p, block)) * beats + beat) % BANK_ROWS
    return mask << row * words


@njit
def _in_flight(m, block, way):
    """A request for this set and way is still in the answering pipeline, as its registers stand."""
    c = m.l2
    here = set_of(m.p, block)
    for stage in range(1, 5):
        full = c.busy if stage == 1 else c.full[stage]
        if full and c.s_way[stage] == way and set_of(m.p, block_of_address(c.s_address[stage])) == here:
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
    if c.go_c >= 0:
        i = c.go_c
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
        c.w_releaseack[i] = 1
        return claim
    if kind == GRANT_DATA:
        m.count[E_BANKS] += 1
    if first or last:
        c.w_grantfirst[i] = 1
        c.w_grantlast[i] = last
        if last or c.address[i] & ((1 << LINE_BITS) - 1) == 0:
            c.w_grant[i] = 1
    return claim


@njit
def _move(c, to):
    """A beat goes on to the next stage."""
    at = to - 1
    c.full[to] = 1
    c.s_address[to] = c.s_address[at]
    c.s_info[to] = c.s_info[at]
    c.s_way[to] = c.s_way[at]
    c.s_beat[to] = c.s_beat[at]
    c.s_last[to] = c.s_last[at]
    c.s_answers[to] = c.s_answers[at]
    c.s_mask[to] = c.s_mask[at]


@njit
def _bypassed(m):
    """The beat of stage 1 is in a later stage: its data need not be read."""
    c = m.l2
    here = set_of(m.p, block_of_address(c.s_address[1]))
    for stage in range(2, 5):
        if (
            c.full[stage]
            and c.s_way[stage] == c.s_way[1]
            and c.s_beat[stage] == c.s_beat[1]
            and set_of(m.p, block_of_address(c.s_address[stage])) == here
        ):
            return 1
    return 0


@njit
def _accept(c):
    """A request that the scheduler hands over is in stage 1 at once; returns whether there is one."""
    if c.go_d < 0:
        return False
    c.s_address[1] = c.go_address
    c.s_info[1] = c.go_info
    c.s_way[1] = c.go_way
    c.busy = 1
    c.s1_count = 0
    return True


@njit
def _read(m, claimed):
    """Stage 1: its beat is read from the banks, unless a later stage holds it or the whole of it is written.

    ``claimed``: bank words of those before it in rank. Returns (the beat is there, it was read in this cycle).
    """
    c = m.l2
    p = m.p
    c.s_beat[1] = (c.s_address[1] & ((1 << LINE_BITS) - 1)) // p.beat_bytes + c.s1_count
    if c.s1_latch:
        c.s1_held = _bypassed(m)
    if c.s1_block or c.s1_held or opcode(c.s_info[1]) == PUT_FULL:
        return True, False
    words = (1 << p.beat_bytes // WORD) - 1
    if _select(p, c.s_way[1], block_of_address(c.s_address[1]), c.s_beat[1], words) & claimed:
        return False, False
    c.s1_block = 1
    m.count[E_BANKS] += 1
    return True, True


@njit
def _pop(c, k):
    """Stage 2 takes the oldest beat out of list k of a Put, and gives the list back behind the last."""
    h = c.put_head[k]
    c.s_mask[2] = c.put_mask[k, h]
    c.put_head[k] = (h + 1) % c.put_mask.shape[1]
    c.put_n[k] -= 1
    c.put_used -= 1
    c.s_pops = 0
    if c.s_last[2]:
        c.list_used[k] = 0
        c.lists_used -= 1


@njit
def _leave_read(m):
    """The beat of stage 1 goes on to stage 2; the next beat of its request follows."""
    c = m.l2
    info = c.s_info[1]
    first = c.s1_count == 0
    last = c.s1_count == size(info) // m.p.beat_bytes - 1
    c.s_last[1] = 1 if last else 0
    c.s_answers[1] = 1 if first or not is_put(info) else 0
    _move(c, 2)
    c.s_pops = 1 if is_put(info) else 0
    c.s1_block = 0
    c.s1_count = 0 if last else c.s1_count + 1
    if last:
        c.busy = 0


@njit
def _send(c):
    """Stage 3 puts its beat into the buffer behind the pipeline."""
    c.beat_n = 1
    c.beat_info = c.s_info[3]
    c.beat_last = 1 if is_put(c.s_info[3]) else c.s_last[3]
    c.s3_sends = 0


@njit
def _answer(m, claimed, room):
    """SourceD: one cycle of its four stages; ``room``: the beat buffer behind it was empty. Returns what moved."""
    c = m.l2
    p = m.p
    moved = _accept(c)
    # what each stage can do, before anything moves
    write = c.full[4] and is_put(c.s_info[4])
    claim_w = _select(p, c.s_way[4], block_of_address(c.s_address[4]), c.s_beat[4], c.s_mask[4]) if write else 0
    s4_out = c.full[4] and not (claim_w & claimed)
    s3_out = c.full[3] and (not c.s3_sends or room) and (s4_out or not c.full[4])
    list_at = (c.s_info[2] >> 12) & 0xFF
    popped = c.s_pops and c.put_n[list_at] > 0
    s2_out = c.full[2] and (not c.s_pops or popped) and (s3_out or not c.full[3])
    s2_ready = s2_out or not c.full[2]
    s1_out = False
    latch = 1
    if c.busy:
        got, read = _read(m, claimed | claim_w)
        moved = moved or read
        s1_out = got and s2_ready
        latch = 1 if s2_ready else 0
    # now everything moves, last stage first
    if s4_out:
        c.full[4] = 0
        m.count[E_BANKS] += 1 if write else 0
    sends = c.s3_sends and room
    if sends:
        _send(c)
    if s3_out:
        _move(c, 4)
        c.full[3] = 0
    if popped:
        _pop(c, list_at)
    if s2_out:
        _move(c, 3)
        c.full[2] = 0
        c.s3_sends = c.s_answers[3]
    if s1_out:
        _leave_read(m)
    moved = moved or s4_out or sends or s3_out or popped or s2_out or s1_out or latch != c.s1_latch
    c.s1_latch = latch
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
