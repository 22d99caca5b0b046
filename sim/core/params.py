"""The machine's fixed numbers for compiled code: plain integers.

`sim.timing.parameters` fills this record from a Hardware; the meaning of each field is that of the RTL parameter
named beside it. Booleans are 0/1.
"""

import numpy as np

from sim.core.jit import njit

NEVER = 1 << 60
"""A wake that never comes by itself: the unit acts only after another unit has acted."""

RING = 64  # entries of every ring buffer whose capacity is a parameter
FIXED = 0  # memory_model: fixed latency and bandwidth (units/memory/fixed.py)
DRAM = 1  # channels of a DRAM (units/memory/dram.py)
SHARED = 2  # the tile's way to a memory of several cores (units/memory/tile.py, units/crossbar.py)
XACTS = 256  # largest number of DMA transactions in flight in one direction
BANKS = 16  # largest number of scratchpad banks; of accumulator banks

PARAMS = np.dtype(
    [
        ("dim", "i8"),  # PEs along one side of the array
        ("acc_bytes", "i8"),  # bytes of an accumulator element
        ("a_bits", "i8"),  # bits of an element in DRAM, loaded in state 0
        ("b_bits", "i8"),  # bits of one loaded in state 1
        ("word_bits", "i8"),  # bits of one loaded in any other state, and of one in the scratchpad
        ("c_bits", "i8"),  # bits of an element stored in input type
        ("row_cycles", "i8"),  # cycles from one row of operands into the array to the next
        ("sum_cycles", "i8"),  # cycles from one row out of the accumulator to the next
        ("sp_banks", "i8"),  # scratchpad banks
        ("sp_row_bits", "i8"),  # log2 rows per scratchpad bank
        ("sp_rows", "i8"),  # scratchpad rows
        ("acc_banks", "i8"),  # accumulator banks
        ("acc_row_bits", "i8"),  # log2 rows per accumulator bank
        ("acc_rows", "i8"),  # accumulator rows
        ("addr_mask", "i8"),  # data field of a local address
        ("garbage_mask", "i8"),  # all these bits set = garbage address (LocalAddr.scala)
        ("cols_mask", "i8"),  # bits of the column field of mvin and mvout (GemminiConfigs.scala)
        ("rows_mask", "i8"),  # of the row field
        ("sp_single", "i8"),  # 1: single-ported scratchpad banks
        ("acc_single", "i8"),  # 1: single-ported accumulator banks
        ("acc_sub_banks", "i8"),  # sub-banks of a single-ported bank
        ("acc_latency", "i8"),  # cycles of an accumulator write
        ("scale_latency", "i8"),  # cycles of the scale unit
        ("read_delay", "i8"),  # spad_read_delay for the sizes of queues
        ("read_pipe", "i8"),  # stages behind the scratchpad SRAM
        ("read_is_queue", "i8"),  # 1: those stages are one plain queue of latency 1 (gemmini 8c3f992)
        ("beat_bytes", "i8"),  # bytes of a bus beat
        ("max_bytes", "i8"),  # bytes of the largest request
        ("n_xacts", "i8"),  # transaction ids of reader and writer each
        ("n_cmds", "i8"),  # commands tracked per load/store controller
        ("ldq", "i8"),  # entries of the load controller's queue
        ("stq", "i8"),  # entries of the store controller's queue
        ("exq", "i8"),  # entries of the execute controller's queue
        ("rs_ld", "i8"),  # reservation station entries: loads
        ("rs_ex", "i8"),  # reservation station entries: executes
        ("rs_st", "i8"),  # reservation station entries: stores
        ("serialise_stores", "i8"),  # 1: a store waits for all stores before it
        ("tag_queue", "i8"),  # results that the mesh tracks
        ("matmul_ids", "i8"),  # max_simultaneous_matmuls
        ("mesh_latency", "i8"),  # cycles from a row in to its result out
        ("dataflow", "i8"),  # 0 OS, 1 WS, 2 chosen by config_ex
        ("raw_impossible", "i8"),  # 1: no read after write in local memory (tile latency)
        ("hardcode_d", "i8"),  # 1: D is hard-wired to garbage
        ("ex_write_spad", "i8"),  # 1: results may go to the scratchpad
        ("mvin_units", "i8"),  # multipliers of the mvin scaler; -1 one per lane
        ("mvin_latency", "i8"),  # cycles of a multiplier of the mvin scaler
        ("mvin_acc_latency", "i8"),  # pipeline of the accumulator-width mvin scaler (0 = none)
        ("has_decoder", "i8"),  # loads have a field "stored bytes" (isa.fields.stored_bytes); the RTL has no such unit
        ("decode_cycles", "i8"),  # cycles of the load path's decoder per local row (no unit of the RTL)
        ("first_layer", "i8"),  # 1: pixel repeaters are built
        ("has_norm", "i8"),  # 1: normalisation units
        ("has_pool", "i8"),  # 1: max pooling
        ("has_training", "i8"),  # 1: training convolutions
        ("block_len", "i8"),  # MAX_BLOCK_LEN of the loop unrollers
        ("block_len_acc", "i8"),  # the same for accumulator rows
        ("page_mode", "i8"),  # 0 addresses are physical, 1 pages of 4 KiB, 2 of 2 MiB (units/walks.py)
        ("tlb_entries", "i8"),  # entries of the shared TLB
        ("walk_cycles", "i8"),  # cycles of a page-table walk
        ("walk_line_cycles", "i8"),  # additional cycles if it fetches a line of the table
        ("memory_model", "i8"),  # which memory lies behind the port
        ("mem_latency", "i8"),  # cycles from a request to its first answer
        ("read_num", "i8"),  # memory sends a beat every read_num/read_den cycles
        ("read_den", "i8"),  # (see read_num)
        ("write_num", "i8"),  # the same for writes
        ("write_den", "i8"),  # (see write_num)
        ("one_port", "i8"),  # 1: reads and writes share one rate (behind an L2)
        ("l2_sets", "i8"),  # 0: no L2
        ("tile_buffer", "i8"),  # 1: the tile's buffer of an SoC lies between the port and the L2
        ("l2_mshrs", "i8"),  # MSHRs for requests of clients
        ("l2_queued", "i8"),  # requests that wait behind an MSHR of their set
        ("stall_limit", "i8"),  # cycles without any command progress that count as a hang
    ]
)


@njit
def packed_bytes(elements, bits):
    """Return the bytes of adjacent elements in memory that begin on a whole byte."""
    return (elements * bits + 7) >> 3


@njit
def load_bits(p, state):
    """Return the bits of an element in memory that a load state loads in input type."""
    return p.a_bits if state == 0 else p.b_bits if state == 1 else p.word_bits


@njit
def is_garbage(p, address):
    """All-ones address: the operand is absent."""
    return (address & p.garbage_mask) == p.garbage_mask


@njit
def plus(p, address, rows):
    """Local address `rows` further; only the data field counts up, and it wraps (LocalAddr.scala)."""
    return (address & ~p.addr_mask) | ((address + rows) & p.addr_mask)


@njit
def sp_bank(p, address):
    """Scratchpad bank of a local address."""
    return ((address & p.addr_mask) >> p.sp_row_bits) & (p.sp_banks - 1)


@njit
def acc_bank(p, address):
    """Accumulator bank of a local address."""
    return ((address & p.addr_mask) >> p.acc_row_bits) & (p.acc_banks - 1)


@njit
def acc_row(p, address):
    """Row inside its accumulator bank."""
    return address & ((1 << p.acc_row_bits) - 1)
