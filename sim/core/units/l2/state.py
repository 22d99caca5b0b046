"""State of the L2 cache: request buffers, MSHRs, the directory's ports, the data pipeline, the path to memory.

Source: the SiFive inclusive cache (rocket-chip-inclusive-cache 8e157c80), the RTL's register behind the
comments of fields that do not bear its name.
A request is two integers: its address, and `info` = opcode | bytes << 4 | put list << 12 | transaction << 20 |
writer << 40. The tags themselves (`lines`, one int64 per way: block address << 2 | dirty << 1 | valid) are an array
beside the record, since their number is a parameter.
"""

import numpy as np

from sim.core.address import ALL_BITS
from sim.core.jit import njit

WAYS = 8  # Configs.scala: nWays
LINE_BITS = 6  # 64 B blocks
MSHRS = 40  # most MSHRs: memCycles (40) / beats of a block, at least one beat
QUEUED = MSHRS + 2  # most requests that wait behind MSHRs (Parameters.scala: secondary), all of them behind one
MEM_CYCLES = 40  # Configs.scala: outerLatencyCycles; sizes the MSHRs, lists and buffers, whatever the memory's latency
LISTS = MEM_CYCLES  # Parameters.scala: putLists
PUT_BEATS = 8  # most beats of one Put in a list
SINKS = 8  # CacheCork.scala: sinkIds

TIMING_BITS = ALL_BITS
"""Time depends on the whole address: sets and tags use all its bits."""

PUT_FULL = 0
PUT_PARTIAL = 1
GET = 4

DTYPE = np.dtype(
    [
        # SinkA: the beat held by the inner buffer (flow, one deep), the Put whose beats are coming in
        ("held_n", "i8"),  # 1: it holds a beat
        ("held_client", "i8"),  # READER or WRITER
        ("held_arg", "i8"),  # as in the port's buffers
        ("held_last", "i8"),  # 1: last beat
        ("held_address", "i8"),  # first useful byte
        ("door_beat", "i8"),  # beats of the Put that came
        ("door_list", "i8"),  # its list
        ("list_used", "i8", (LISTS,)),  # 1: the list belongs to a Put
        ("lists_used", "i8"),  # lists in use
        ("put_used", "i8"),  # beats in all lists
        ("put_n", "i8", (LISTS,)),  # beats in the list
        ("put_head", "i8", (LISTS,)),  # index of the oldest
        ("put_mask", "i8", (LISTS, PUT_BEATS)),  # words that each writes
        # requests queued behind an MSHR of the same set (ListBuffer)
        ("queued", "i8"),  # requests in all queues
        ("waiting_n", "i8", (MSHRS,)),  # by MSHR: requests queued
        ("waiting_head", "i8", (MSHRS,)),  # index of the oldest
        ("waiting_address", "i8", (MSHRS, QUEUED)),  # their addresses
        ("waiting_info", "i8", (MSHRS, QUEUED)),  # their info
        # MSHRs
        ("valid", "i8", (MSHRS,)),  # 1: in use
        ("address", "i8", (MSHRS,)),  # of the request
        ("info", "i8", (MSHRS,)),  # of the request
        ("meta_block", "i8", (MSHRS,)),  # block in the way
        ("meta_valid", "i8", (MSHRS,)),  # 1: the way holds a block
        ("meta_dirty", "i8", (MSHRS,)),  # 1: it is dirty
        ("meta_hit", "i8", (MSHRS,)),  # 1: it is the requested block
        ("meta_way", "i8", (MSHRS,)),  # way
        ("release_sent", "i8", (MSHRS,)),  # 1: no Release to be sent (s_release)
        ("acquire_sent", "i8", (MSHRS,)),  # 1: no Acquire to be sent (s_acquire)
        ("grant_ack_sent", "i8", (MSHRS,)),  # 1: no GrantAck to be sent (s_grantack)
        ("handed_over", "i8", (MSHRS,)),  # 1: the request was handed to SourceD (s_execute)
        ("written_back", "i8", (MSHRS,)),  # 1: no directory write to be done (s_writeback)
        ("release_acked", "i8", (MSHRS,)),  # 1: no ReleaseAck awaited (w_releaseack)
        ("grant_begun", "i8", (MSHRS,)),  # 1: first beat of the grant is here (w_grantfirst)
        ("grant_ended", "i8", (MSHRS,)),  # 1: its last beat is here (w_grantlast)
        ("grant_useful", "i8", (MSHRS,)),  # 1: the requested beat is here (w_grant)
        ("robin", "i8"),  # MSHRs from this one on go first
        # directory: the read under way, the write waiting for a free cycle
        ("lookup_valid", "i8"),  # 1: a read is under way
        ("lookup_mshr", "i8"),  # for this MSHR
        ("lookup_block", "i8"),  # and block
        ("update_valid", "i8"),  # 0, WRITE_COMES or WRITE_WAITS
        ("update_at", "i8"),  # index in `lines`
        ("update_line", "i8"),  # the line
        ("lfsr", "i8"),  # register that picks victims
        # actions that the scheduler starts in this cycle
        ("go_answer", "i8"),  # the MSHR whose request is answered, -1: none
        ("go_address", "i8"),  # its address
        ("go_info", "i8"),  # its info
        ("go_way", "i8"),  # its way
        ("go_evict", "i8"),  # the MSHR whose block is given up
        # SourceD: stages 1-4, the outgoing beat buffer (flow, one deep)
        ("busy", "i8"),  # 1: stage 1 holds a request
        ("stage1_read", "i8"),  # 1: the beat of stage 1 was read
        ("stage1_count", "i8"),  # beats of it that went on
        ("stage1_latch", "i8"),  # 1: the bypass match of this cycle counts, 0: the one held
        ("stage1_held", "i8"),  # the match that is held
        ("stage_full", "i8", (5,)),  # 1: the stage holds a beat
        ("stage_address", "i8", (5,)),  # by stage: address of the request
        ("stage_info", "i8", (5,)),  # info
        ("stage_way", "i8", (5,)),  # way
        ("stage_beat", "i8", (5,)),  # beat in the block
        ("stage_last", "i8", (5,)),  # 1: last beat
        ("stage_answers", "i8", (5,)),  # 1: the beat is answered
        ("stage2_pops", "i8"),  # stage 2 waits for a beat of its Put
        ("stage_mask", "i8", (5,)),  # words it writes
        ("stage3_sends", "i8"),  # 1: stage 3 still has to send
        ("beat_n", "i8"),  # 1: it holds a beat
        ("beat_info", "i8"),  # info of its request
        ("beat_last", "i8"),  # 1: last beat
        # SourceC: the eviction under way, two stages behind the SRAM, its queue
        ("evict_busy", "i8"),  # 1: a dirty block is being read
        ("evict_beat", "i8"),  # its next beat
        ("evict_block", "i8"),  # block
        ("evict_at", "i8"),  # index in `lines`
        ("evict_way", "i8"),  # way
        ("evict_mshr", "i8"),  # MSHR
        ("evict_stage2", "i8"),  # mshr << 3 | data << 2 | last << 1 | 1
        ("evict_stage3", "i8"),  # the same one stage on
        ("release_n", "i8"),  # entries queued
        ("release_queue", "i8", (16,)),  # as evict_stage2
        # SinkD: beats of the grant taken so far, and the MSHR they belong to
        ("grant_beat", "i8"),  # beats taken
        ("grant_mshr", "i8"),  # MSHR
        # queues to and from the cork: Acquires (mshr << 1 | block), Acks of grants, answers
        ("acquire_n", "i8"),  # Acquires queued
        ("acquire_queue", "i8", (2,)),  # packed as above
        ("grant_ack_n", "i8"),  # GrantAcks queued
        ("answer_n", "i8"),  # beats from memory queued
        ("answer_queue", "i8", (2,)),  # mshr << 3 | kind << 1 | last
        ("release_answer_n", "i8"),  # Releases that the cork answers itself
        ("release_answers", "i8", (2,)),  # their MSHRs
        ("grant_answer_n", "i8"),  # upgrades that it answers itself
        ("grant_answers", "i8", (2,)),  # their MSHRs
        ("put_locked", "i8"),  # beats of a write-back still to go to memory
        ("read_locked", "i8"),  # beats of a grant still to come from memory
        ("sinks_free", "i8"),  # free ids of grants
    ]
)

GRANT_DATA = 0
GRANT = 1
RELEASE_ACK = 2


@njit
def block_of(address):
    """Address of the 64 B block, in blocks."""
    return address >> LINE_BITS


@njit
def set_of(p, block):
    """Set of a block."""
    return block & (p.l2_sets - 1)


@njit
def opcode(info):
    """TileLink opcode of a request."""
    return info & 15


@njit
def is_put(info):
    """The request carries data."""
    return (info & 15) != GET


@njit
def size(info):
    """Bytes of a request."""
    return (info >> 4) & 0xFF
