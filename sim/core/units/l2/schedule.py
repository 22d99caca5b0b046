"""The L2's control: requests are matched to an MSHR, the directory answers, one MSHR per cycle starts its actions.

Source: Scheduler.scala, MSHR.scala, Directory.scala, ListBuffer.scala of the inclusive cache. Left out,
because the only client is a DMA that never holds a block: channels B, C and E of the inner port, probes, and the two
MSHRs reserved for them. A block is either absent or held for reading and writing.
"""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.units.l2.state import PUT_FULL, QUEUED, WAYS, block_of, is_put, opcode, set_of, size

WRITE_COMES = 1  # written into the directory's queue in this cycle, seen from the next one on
WRITE_WAITS = 2

E_HITS = int(Event.L2_HITS)
E_MISSES = int(Event.L2_MISSES)


@njit
def no_wait(c, i):
    """True if nothing is outstanding for this MSHR."""
    return c.release_acked[i] and c.grant_ended[i]


@njit
def _wants(c, i):
    """Return the actions that this MSHR would start now, as bits.

    1 Acquire, 2 Release, 4 answer, 8 grant acknowledge, 16 directory.
    """
    wants = 0
    if not c.acquire_sent[i] and c.release_sent[i]:
        wants |= 1
    if not c.release_sent[i]:
        wants |= 2 | 16
    if not c.handed_over[i] and c.grant_useful[i]:
        wants |= 4
    if not c.grant_ack_sent[i] and c.grant_begun[i]:
        wants |= 8
    if not c.written_back[i] and no_wait(c, i):
        wants |= 16
    return wants


@njit
def select(m, ready):
    """The MSHR that starts this cycle, round robin among those whose every resource is ready; -1: none."""
    c = m.l2
    n = m.p.l2_mshrs
    for turn in range(n):
        i = (c.robin + turn) % n
        wants = _wants(c, i)
        if wants and not wants & ~ready:
            c.robin = (i + 1) % n
            return i
    return -1


@njit
def _plan(m, i):
    """Write the execution plan of a request whose directory entry is known."""
    c = m.l2
    c.release_sent[i] = 1
    c.release_acked[i] = 1
    c.acquire_sent[i] = 1
    c.grant_begun[i] = 1
    c.grant_ended[i] = 1
    c.grant_useful[i] = 1
    c.grant_ack_sent[i] = 1
    c.written_back[i] = 1
    c.handed_over[i] = 0
    if c.meta_hit[i]:
        m.count[E_HITS] += 1
        if is_put(c.info[i]) and not c.meta_dirty[i]:
            c.written_back[i] = 0
        return
    m.count[E_MISSES] += 1
    if c.meta_valid[i]:
        c.release_sent[i] = 0
        c.release_acked[i] = 0
    c.acquire_sent[i] = 0
    c.grant_begun[i] = 0
    c.grant_ended[i] = 0
    c.grant_useful[i] = 0
    c.grant_ack_sent[i] = 0
    c.written_back[i] = 0


@njit
def directory_result(m, lines):
    """The directory's answer to the read of the cycle before, and the plan that follows from it."""
    c = m.l2
    block = c.lookup_block
    at = set_of(m.p, block) * WAYS
    i = c.lookup_mshr
    victim = (c.lfsr & 1023) * WAYS >> 10
    quash = c.update_valid and c.update_at // WAYS == at // WAYS  # a write to this set has not reached the SRAM yet
    held_way = c.update_at % WAYS
    for way in range(WAYS):
        line = lines[at + way]
        if line & 1 and line >> 2 == block and not (quash and way == held_way):
            _found(c, i, line, 1, way)
            _plan(m, i)
            return
    same = quash and c.update_line >> 2 == block
    if same:
        _found(c, i, c.update_line, c.update_line & 1, held_way)
    elif quash and held_way == victim:
        _found(c, i, c.update_line, 0, victim)
    else:
        _found(c, i, lines[at + victim], 0, victim)
    _plan(m, i)


@njit
def _found(c, i, line, hit, way):
    c.meta_block[i] = line >> 2
    c.meta_dirty[i] = (line >> 1) & 1
    c.meta_valid[i] = line & 1
    c.meta_hit[i] = hit
    c.meta_way[i] = way


@njit
def _read_directory(c, i, block):
    c.lookup_valid = 1
    c.lookup_mshr = i
    c.lookup_block = block
    bit = (c.lfsr >> 15 ^ c.lfsr >> 13 ^ c.lfsr >> 12 ^ c.lfsr >> 10) & 1  # chisel3.util.random.LFSR(16)
    c.lfsr = (c.lfsr << 1 | bit) & 0xFFFF


@njit
def start(m, i):
    """Start all possible actions of MSHR i; return 1 if its request is done and it can take the next."""
    c = m.l2
    wants = _wants(c, i)
    done = no_wait(c, i)
    dirty = 1 if (c.meta_hit[i] and c.meta_dirty[i]) or is_put(c.info[i]) else 0
    block = block_of(c.address[i])
    if wants & 1:
        whole_put = size(c.info[i]) == 64 and opcode(c.info[i]) == PUT_FULL
        c.acquire_queue[c.acquire_n] = i << 1 | (0 if whole_put else 1)
        c.acquire_n += 1
        c.acquire_sent[i] = 1
    if wants & 16:
        c.update_valid = WRITE_COMES
        c.update_at = set_of(m.p, block) * WAYS + c.meta_way[i]
        c.update_line = block << 2 | dirty << 1 | 1 if c.release_sent[i] else 0
    if wants & 2:
        c.go_evict = i
        c.release_sent[i] = 1
    if wants & 4:
        c.go_answer = i
        c.go_address = c.address[i]
        c.go_info = c.info[i]
        c.go_way = c.meta_way[i]
        c.handed_over[i] = 1
    if wants & 8:
        c.grant_ack_n += 1
        c.grant_ack_sent[i] = 1
    if done:
        c.written_back[i] = 1
        c.valid[i] = 0
    return done


@njit
def _allocate(c, i, address, info):
    c.valid[i] = 1
    c.address[i] = address
    c.info[i] = info


@njit
def _repeat(m, i, old_info):
    """Begin an MSHR's next request for the block that it already holds, without reading the directory."""
    c = m.l2
    c.meta_dirty[i] = 1 if (c.meta_hit[i] and c.meta_dirty[i]) or is_put(old_info) else 0
    c.meta_valid[i] = 1
    c.meta_block[i] = block_of(c.address[i])
    c.meta_hit[i] = 1
    _plan(m, i)


@njit
def _match(m, address):
    """Return the MSHR that works on the set of an address (-1: none), and the first free one (-1: none)."""
    c = m.l2
    wanted = set_of(m.p, block_of(address))
    match = -1
    free = -1
    for i in range(m.p.l2_mshrs):
        if c.valid[i]:
            if set_of(m.p, block_of(c.address[i])) == wanted:
                match = i
        elif free < 0:
            free = i
    return match, free


@njit
def _reload(m, i, old_block, old_info):
    """Begin MSHR i's next request: with its own block, or by reading the directory; return 1 for a directory read."""
    c = m.l2
    if block_of(c.address[i]) == old_block:
        _repeat(m, i, old_info)
        return False
    _read_directory(c, i, block_of(c.address[i]))
    return True


@njit
def _unqueue(c, i):
    """Let MSHR i take the oldest request of its queue, whose place is free from the next cycle."""
    h = c.waiting_head[i]
    _allocate(c, i, c.waiting_address[i, h], c.waiting_info[i, h])
    c.waiting_head[i] = (h + 1) % QUEUED


@njit
def _queue(m, i, pops, address, info):
    """Append the input request to the queue of MSHR i, from which one may be taken in this cycle (``pops``)."""
    c = m.l2
    if c.queued == m.p.l2_queued:
        return False
    slot = (c.waiting_head[i] + c.waiting_n[i] - (1 if pops else 0)) % QUEUED
    c.waiting_address[i, slot] = address
    c.waiting_info[i, slot] = info
    c.waiting_n[i] += 1
    c.queued += 1
    return True


@njit
def _write_directory(c, lines):
    """The directory's queued write, in a cycle without a read; returns whether one reached the lines."""
    if c.update_valid == WRITE_WAITS and not c.lookup_valid:
        lines[c.update_at] = c.update_line
        c.update_valid = 0
        return True
    if c.update_valid == WRITE_COMES:
        c.update_valid = WRITE_WAITS
    return False


@njit
def step(m, lines, ready, request, address, info):
    """One cycle of MSHRs, scheduler and directory; returns (request taken, anything changed).

    ``ready``: actions that can be started, bits as in `_wants`. ``request``: whether there is an input request.
    """
    c = m.l2
    c.go_answer = -1
    c.go_evict = -1
    chosen = select(m, ready)
    acted = chosen >= 0 or c.lookup_valid == 1
    if c.lookup_valid:
        c.lookup_valid = 0
        directory_result(m, lines)
    match, free = _match(m, address)
    took = False
    pops = False
    pop_looks = False
    if chosen >= 0:
        old_info = c.info[chosen]
        old_block = block_of(c.address[chosen])
        if start(m, chosen):
            pops = c.waiting_n[chosen] > 0
            if pops:
                _unqueue(c, chosen)
                pop_looks = _reload(m, chosen, old_block, old_info)
            elif request and match == chosen:
                _allocate(c, chosen, address, info)
                took = True
                _reload(m, chosen, old_block, old_info)
    if request and not took:
        if match >= 0:
            took = _queue(m, match, pops and match == chosen, address, info)
        elif free >= 0 and not pop_looks:
            _allocate(c, free, address, info)
            _read_directory(c, free, block_of(address))
            took = True
    if pops:
        c.waiting_n[chosen] -= 1
        c.queued -= 1
    acted = _write_directory(c, lines) or acted
    return took, acted or took
