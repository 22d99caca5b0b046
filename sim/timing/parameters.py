"""A machine in the form of the timing core: the integers of `sim.core.params.PARAMS`."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from sim.core import machine
from sim.core.params import DRAM, FIXED
from sim.core.units.l2.state import LINE_BITS, MEM_CYCLES, WAYS
from sim.core.units.walks import LARGE, SECTORS, SMALL
from sim.timing import limits

if TYPE_CHECKING:
    from sim.hardware import Hardware

# The RTL's own assertion gives up after 10,000 cycles without an issue or completion (ReservationStation.scala,
# gemmini_timeout); here a beat on the bus counts as progress too, and the memory's round trip is added, so that
# neither a long command nor a slow memory is a hang.
STALL_CYCLES = 10_000


def _pace(bus_bytes: int, bytes_per_cycle: float) -> Fraction:
    """Return the cycles per beat, as a ratio, of a memory that moves at most one beat per cycle.

    Exact for every rate of up to six decimal places; others are the nearest ratio whose denominator is at most 10^6.
    """
    rate = Fraction(str(bytes_per_cycle)).limit_denominator(1_000_000)
    return max(Fraction(1), Fraction(bus_bytes) / rate)


def local_memories(sp_rows: int, sp_banks: int, acc_rows: int, acc_banks: int) -> dict[str, int]:
    """Return the numbers among `parameters` that follow from the sizes of the local memories in rows."""
    address_bits = max(sp_rows, acc_rows).bit_length() - 1
    return {
        "sp_rows": sp_rows,
        "sp_row_bits": (sp_rows // sp_banks).bit_length() - 1,
        "acc_rows": acc_rows,
        "acc_row_bits": (acc_rows // acc_banks).bit_length() - 1,
        "addr_mask": (1 << address_bits) - 1,
        "garbage_mask": 7 << 29 | (1 << (address_bits + 1)) - 1,
    }


def parameters(hw: Hardware) -> dict[str, int]:
    """Return the integers of `sim.core.params.PARAMS` for a machine. Raises InputError beyond the core's limits."""
    return dict(_parameters(hw))


def timing_bits(hw: Hardware) -> int:
    """Return the low bits of a DRAM address on which the time of a program depends, apart from its page."""
    return machine.timing_bits(_parameters(hw))


@lru_cache(maxsize=8)  # one machine runs many programs
def _parameters(hw: Hardware) -> dict[str, int]:
    limits.check(hw)
    return {**_array(hw), **_local(hw), **_queues(hw), **_dma(hw), **_units(hw), **_pages(hw), **_memory(hw)}


def _array(hw: Hardware) -> dict[str, int]:
    a = hw.array
    return {
        "dim": hw.dim,
        "acc_bytes": hw.acc_bytes,
        "a_bits": hw.bits("a"),
        "b_bits": hw.bits("b"),
        "word_bits": hw.bits("word"),
        "c_bits": hw.bits("c"),
        "row_cycles": hw.row_cycles,
        "sum_cycles": hw.sum_cycles,
        "tag_queue": hw.tag_queue_length,
        "matmul_ids": hw.tag_queue_length - 1,
        "mesh_latency": hw.mesh_latency_cycles,
        "dataflow": {"OS": 0, "WS": 1, "BOTH": 2}[a.dataflow],
        "raw_impossible": int(hw.raw_hazards_impossible),
        "hardcode_d": int(a.hardcode_d_to_garbage),
        "ex_write_spad": int(a.ex_write_to_spad),
    }


def _local(hw: Hardware) -> dict[str, int]:
    """Return the numbers of scratchpad and accumulator."""
    s, c = hw.scratchpad, hw.accumulator
    return {
        "sp_banks": s.banks,
        "acc_banks": c.banks,
        **local_memories(hw.sp_rows, s.banks, hw.acc_rows, c.banks),
        "cols_mask": (1 << max(8 * hw.dma.max_request_bytes // hw.widest_bits, hw.dim).bit_length()) - 1,
        "rows_mask": (1 << hw.dim.bit_length()) - 1,
        "sp_single": int(s.single_ported),
        "acc_single": int(c.single_ported),
        "acc_sub_banks": max(1, c.sub_banks),
        "acc_latency": c.latency_cycles,
        "scale_latency": c.scale_latency_cycles,
        "read_delay": s.read_delay_cycles,
        "read_pipe": s.read_pipeline_cycles,
        "read_is_queue": int(s.read_pipeline_cycles != s.read_delay_cycles),
        "block_len": hw.loop_max_block_len,
        "block_len_acc": hw.loop_max_block_len_acc,
    }


def _queues(hw: Hardware) -> dict[str, int]:
    return {
        "n_cmds": hw.load_commands_in_flight,
        "ldq": hw.queues.ld,
        "stq": hw.queues.st,
        "exq": hw.queues.ex,
        "rs_ld": hw.reservation_station.ld,
        "rs_ex": hw.reservation_station.ex,
        "rs_st": hw.reservation_station.st,
        "serialise_stores": int(hw.reservation_station.serialise_stores),
    }


def _dma(hw: Hardware) -> dict[str, int]:
    """Return the numbers of the DMA and of the scaler of loads."""
    d = hw.dma
    if d.mvin_scale_units == "none":
        units, latency = -1, 0
    else:
        units = -1 if d.mvin_scale_units == "per_lane" else d.mvin_scale_units
        latency = d.mvin_scale_latency_cycles
    return {
        "beat_bytes": d.bus_bytes,
        "max_bytes": d.max_request_bytes,
        "n_xacts": d.max_in_flight_requests,
        "mvin_units": units,
        "mvin_latency": latency,
        "mvin_acc_latency": 0 if d.mvin_acc_scale == "none" else d.mvin_acc_scale,
    }


def _units(hw: Hardware) -> dict[str, int]:
    """Return the flags of optional units."""
    return {
        "has_decoder": int(bool(hw.sparsity.decoder)),
        "decode_cycles": hw.decode_cycles,
        "first_layer": int(hw.features.first_layer_optimizations),
        "has_norm": int(hw.features.normalizations),
        "has_pool": int(hw.features.max_pool),
        "has_training": int(hw.features.training_convs),
    }


def _pages(hw: Hardware) -> dict[str, int]:
    """Return the numbers of address translation."""
    tlb = hw.tlb
    if tlb.pages == "none":
        return dict.fromkeys(("page_mode", "tlb_entries", "walk_cycles", "walk_line_cycles"), 0)
    small = tlb.pages == "4KiB"
    return {
        "page_mode": SMALL if small else LARGE,
        "tlb_entries": tlb.entries // SECTORS if small else tlb.superpage_entries,
        "walk_cycles": tlb.walk_cycles if small else tlb.walk_cycles - 1,
        "walk_line_cycles": hw.page_table_line_cycles,
    }


def _memory(hw: Hardware) -> dict[str, int]:
    """Return the numbers of the memory, of an L2 before it, and of the longest wait that is not a hang."""
    bus_bytes, memory = hw.dma.bus_bytes, hw.memory
    # Parameters.scala of the cache: enough MSHRs for its own idea of a memory round trip, and two for other channels
    mshrs = max(2, -(-MEM_CYCLES * bus_bytes // (1 << LINE_BITS)))
    read = _pace(bus_bytes, memory.read_bytes_per_cycle)
    write = _pace(bus_bytes, memory.write_bytes_per_cycle)
    return {
        "memory_model": FIXED if memory.dram == "none" else DRAM,
        "mem_latency": hw.memory_latency_cycles,
        "read_num": read.numerator,
        "read_den": read.denominator,
        "write_num": write.numerator,
        "write_den": write.denominator,
        "one_port": int(hw.memory.one_port),
        "l2_sets": memory.l2_bytes // (WAYS << LINE_BITS),
        "tile_buffer": int(hw.cpu.prices != "none" and memory.l2_bytes > 0),
        "l2_mshrs": mshrs,
        "l2_queued": max(mshrs + 2, MEM_CYCLES - mshrs - 2),
        "stall_limit": STALL_CYCLES
        + 4 * hw.memory_latency_cycles
        + 1000 * (int(read) + int(write))
        + hw.longest_gap_cycles,
    }
