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
def _answer(m, claimed, room):
    """SourceD: one cycle of its four stages; ``room``: the beat buffer behind it was empty. Returns what moved."""
    c = m.l2
    p = m.p
    moved = False
    # what each stage holds, before anything moves; a new request is in stage 1 at once
    if c.go_d >= 0:
        c.s_address[1] = c.go_address
        c.s_info[1] = c.go_info
        c.s_way[1] = c.go_way
        c.busy = 1
        c.s1_count = 0
        moved = True
    live = c.busy
    write = c.full[4] and is_put(c.s_info[4])
    claim_w = _select(p, c.s_way[4], block_of_address(c.s_address[4]), c.s_beat[4], c.s_mask[4]) if write else 0
    write_ready = not write or not (claim_w & claimed)
    s4_ready = not c.full[4] or write_ready
    s3_out = c.full[3] and (not c.s3_sends or room) and s4_ready
    s3_ready = not c.full[3] or s3_out
    list_at = (c.s_info[2] >> 12) & 0xFF
    popped = c.s_pops and c.put_n[list_at] > 0
    s2_out = c.full[2] and (not c.s_pops or popped) and s3_ready
    s2_ready = not c.full[2] or s2_out
    s1_out = False
    latch = 1
    if live:
        info = c.s_info[1]
        c.s_beat[1] = (c.s_address[1] & ((1 << LINE_BITS) - 1)) // p.beat_bytes + c.s1_count
        matched = _bypassed(m)
        if not c.s1_latch:
            matched = c.s1_held
        else:
            c.s1_held = matched
        reads = not c.s1_block and not matched and opcode(info) != PUT_FULL
        got = True
        if reads:
            words = (1 << p.beat_bytes // WORD) - 1
            claim = _select(p, c.s_way[1], block_of_address(c.s_address[1]), c.s_beat[1], words)
            got = not (claim & (claimed | claim_w))
            if got:
                c.s1_block = 1
                m.count[E_BANKS] += 1
                moved = True
        s1_out = got and s2_ready
        latch = 1 if s2_ready else 0
    # now everything moves, last stage first
    if c.full[4] and write_ready:
        c.full[4] = 0
        moved = True
        if write:
            m.count[E_BANKS] += 1
    sends = c.s3_sends and room
    if sends:
        c.beat_n = 1
        c.beat_info = c.s_info[3]
        c.beat_last = 1 if is_put(c.s_info[3]) else c.s_last[3]
        c.s3_sends = 0
        moved = True
    if s3_out:
        _move(c, 4)
        c.full[3] = 0
        moved = True
    if popped:
        h = c.put_head[list_at]
        c.s_mask[2] = c.put_mask[list_at, h]
        c.put_head[list_at] = (h + 1) % c.put_mask.shape[1]
        c.put_n[list_at] -= 1
        c.put_used -= 1
        c.s_pops = 0
        moved = True
        if c.s_last[2]:
            c.list_used[list_at] = 0
            c.lists_used -= 1
    if s2_out:
        _move(c, 3)
        c.full[2] = 0
        c.s3_sends = c.s_answers[3]
        moved = True
    if s1_out:
        info = c.s_info[1]
        first = c.s1_count == 0
        last = c.s1_count == size(info) // p.beat_bytes - 1
        c.s_last[1] = 1 if last else 0
        c.s_answers[1] = 1 if first or not is_put(info) else 0
        _move(c, 2)
        c.s_pops = 1 if is_put(info) else 0
        c.s1_block = 0
        c.s1_count = 0 if last else c.s1_count + 1
        if last:
            c.busy = 0
        moved = True
    if latch != c.s1_latch:
        c.s1_latch = latch
        moved = True
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
