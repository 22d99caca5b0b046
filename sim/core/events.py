"""The counters of the timing core, and the causes of cycles: one enum each, the single source of names.

Counters are kept as one int64 array indexed by ``Event``; ``UNITS`` states unit and definition of each.
Causes partition time: every cycle between the first accepted command and the last idle cycle has exactly one.
Names that Gemmini's own CounterFile.scala defines are spelt as there.
"""

from enum import IntEnum


class Event(IntEnum):
    """Index of a counter in the core's counter array."""

    DRAM_READ_REQUESTS = 0
    DRAM_READ_BYTES = 1
    DRAM_WRITE_REQUESTS = 2
    DRAM_WRITE_BYTES = 3
    DRAM_WRITE_BYTES_UNMASKED = 4
    BUS_READ_BEATS = 5
    BUS_WRITE_BEATS = 6
    MESH_INPUT_ROWS = 7
    MESH_OUTPUT_ROWS = 8
    SPAD_READ_ROWS = 9
    SPAD_WRITE_ROWS = 10
    ACC_READ_ROWS = 11
    ACC_WRITE_ROWS = 12
    ACC_ACCUMULATE_ROWS = 13
    WEIGHT_ROWS = 14
    SCALE_ROWS = 15
    NORMALIZE_ROWS = 16
    COMMANDS = 17
    COMMANDS_LD = 18
    COMMANDS_ST = 19
    COMMANDS_EX = 20
    COMMAND_STALL_CYCLES = 21
    MAX_OUTSTANDING_READS = 22
    MAX_OUTSTANDING_WRITES = 23
    VISITED_CYCLES = 24
    # Gemmini's own names (CounterFile.scala)
    MAIN_LD_CYCLES = 25
    MAIN_ST_CYCLES = 26
    MAIN_EX_CYCLES = 27
    MAIN_LD_ST_CYCLES = 28
    MAIN_LD_EX_CYCLES = 29
    MAIN_ST_EX_CYCLES = 30
    MAIN_LD_ST_EX_CYCLES = 31
    LOAD_DMA_WAIT_CYCLE = 32
    LOAD_ACTIVE_CYCLE = 33
    STORE_DMA_WAIT_CYCLE = 34
    STORE_ACTIVE_CYCLE = 35
    EXE_ACTIVE_CYCLE = 36
    EXE_FLUSH_CYCLE = 37
    EXE_CONTROL_Q_BLOCK_CYCLE = 38
    EXE_PRELOAD_HAZ_CYCLE = 39
    EXE_OVERLAP_HAZ_CYCLE = 40
    RESERVATION_STATION_FULL_CYCLES = 41
    RESERVATION_STATION_ACTIVE_CYCLES = 42
    LOOP_MATMUL_ACTIVE_CYCLES = 43
    # the L2, if there is one
    L2_HITS = 44
    L2_MISSES = 45
    L2_WRITEBACKS = 46
    L2_BANK_ACCESSES = 47
    # the DRAM, if there is one: commands of all channels, bursts by hit, miss or conflict of the row, clocks of the
    # memory
    DRAM_ACTIVATES = 48
    DRAM_PRECHARGES = 49
    DRAM_READ_BURSTS = 50
    DRAM_WRITE_BURSTS = 51
    DRAM_REFRESHES = 52
    DRAM_ROW_HITS = 53
    DRAM_ROW_MISSES = 54
    DRAM_ROW_CONFLICTS = 55
    DRAM_OPEN_CLOCKS = 56
    DRAM_CLOCKS = 57
    # page-table walks, and those whose entry's line was not in the CPU's data cache
    TLB_WALKS = 58
    TLB_LINE_WALKS = 59


class Cause(IntEnum):
    """The cause of a cycle: the first that applies, in this order (see sim/core/causes.py)."""

    COMPUTE = 0
    BANK_CONFLICT = 1
    LOAD_WAIT = 2
    STORE_WAIT = 3
    NORMALIZE = 4
    DEPENDENCY = 5
    QUEUE_FULL = 6
    FILL_DRAIN = 7
    ISSUE = 8
    CPU_ISSUE = 9
