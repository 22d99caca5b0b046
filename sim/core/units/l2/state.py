"""State of the L2 cache: request buffers, MSHRs, the directory's ports, the data pipeline, the way to memory.

Source: the SiFive inclusive cache (rocket-chip-inclusive-cache 8e157c80), each field named after its register there.
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
"""Sets and tags are made of all bits of an address."""

PUT_FULL = 0
PUT_PARTIAL = 1
GET = 4

DTYPE = np.dtype(
    [
        # SinkA: the beat held by the inner buffer (flow, one deep), the Put whose beats are coming in
        ("a_n", "i8"),
        ("a_who", "i8"),
        ("a_arg", "i8"),
        ("a_last", "i8"),
        ("a_address", "i8"),
        ("a_beat", "i8"),
        ("a_put", "i8"),
        ("list_used", "i8", (LISTS,)),
        ("lists_used", "i8"),
        ("put_used", "i8"),
        ("put_n", "i8", (LISTS,)),
        ("put_head", "i8", (LISTS,)),
        ("put_mask", "i8", (LISTS, PUT_BEATS)),
        # requests queued behind an MSHR of the same set (ListBuffer)
        ("queued", "i8"),
        ("rq_n", "i8", (MSHRS,)),
        ("rq_head", "i8", (MSHRS,)),
        ("rq_address", "i8", (MSHRS, QUEUED)),
        ("rq_info", "i8", (MSHRS, QUEUED)),
        # MSHRs
        ("valid", "i8", (MSHRS,)),
        ("address", "i8", (MSHRS,)),
        ("info", "i8", (MSHRS,)),
        ("meta_block", "i8", (MSHRS,)),
        ("meta_valid", "i8", (MSHRS,)),
        ("meta_dirty", "i8", (MSHRS,)),
        ("meta_hit", "i8", (MSHRS,)),
        ("meta_way", "i8", (MSHRS,)),
        ("s_release", "i8", (MSHRS,)),
        ("s_acquire", "i8", (MSHRS,)),
        ("s_grantack", "i8", (MSHRS,)),
        ("s_execute", "i8", (MSHRS,)),
        ("s_writeback", "i8", (MSHRS,)),
        ("w_releaseack", "i8", (MSHRS,)),
        ("w_grantfirst", "i8", (MSHRS,)),
        ("w_grantlast", "i8", (MSHRS,)),
        ("w_grant", "i8", (MSHRS,)),
        ("robin", "i8"),  # MSHRs from this one on go first
        # directory: the read under way, the write waiting for a free cycle
        ("dr_valid", "i8"),
        ("dr_mshr", "i8"),
        ("dr_block", "i8"),
        ("dw_valid", "i8"),
        ("dw_at", "i8"),
        ("dw_line", "i8"),
        ("lfsr", "i8"),
        # what the scheduler starts in this cycle
        ("go_d", "i8"),  # the MSHR whose request is answered, -1: none
        ("go_address", "i8"),
        ("go_info", "i8"),
        ("go_way", "i8"),
        ("go_c", "i8"),  # the MSHR whose block is given up
        # SourceD: stages 1-4, the outgoing beat buffer (flow, one deep)
        ("busy", "i8"),
        ("s1_block", "i8"),
        ("s1_count", "i8"),
        ("s1_latch", "i8"),  # 1: the bypass match of this cycle counts, 0: the one held
        ("s1_held", "i8"),
        ("full", "i8", (5,)),
        ("s_address", "i8", (5,)),
        ("s_info", "i8", (5,)),
        ("s_way", "i8", (5,)),
        ("s_beat", "i8", (5,)),
        ("s_last", "i8", (5,)),
        ("s_answers", "i8", (5,)),
        ("s_pops", "i8"),  # stage 2 waits for a beat of its Put
        ("s_mask", "i8", (5,)),
        ("s3_sends", "i8"),
        ("d_n", "i8"),
        ("d_info", "i8"),
        ("d_last", "i8"),
        # SourceC: the eviction under way, two stages behind the SRAM, its queue
        ("c_busy", "i8"),
        ("c_beat", "i8"),
        ("c_block", "i8"),
        ("c_at", "i8"),
        ("c_way", "i8"),
        ("c_mshr", "i8"),
        ("c2", "i8"),  # mshr << 3 | data << 2 | last << 1 | 1
        ("c3", "i8"),
        ("cq_n", "i8"),
        ("cq", "i8", (16,)),
        # SinkD: beats of the grant taken so far, and the MSHR they belong to
        ("g_beat", "i8"),
        ("g_mshr", "i8"),
        # queues to and from the cork: Acquires (mshr << 1 | block), Acks of grants, answers
        ("oa_n", "i8"),
        ("oa", "i8", (2,)),
        ("oe_n", "i8"),
        ("od_n", "i8"),
        ("od", "i8", (2,)),  # mshr << 3 | kind << 1 | last
        ("cd_n", "i8"),
        ("cd", "i8", (2,)),
        ("ad_n", "i8"),
        ("ad", "i8", (2,)),
        ("put_locked", "i8"),  # beats of a write-back still to go to memory
        ("read_locked", "i8"),  # beats of a grant still to come from memory
        ("sinks_free", "i8"),
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
