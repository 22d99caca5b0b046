"""Energy of a run: counters times a table of energy per action, by component. A pure function.

Energy of each counter (names of sim.core.events.Event; DIM = PEs along one side):

==================== =================================================================================
mac                  one multiply-accumulate per useful MAC. Padding is zeros, which do not switch. In a PE that splits
or works bit by bit it costs in proportion to the product of both widths (the scaling of
                     Timeloop's Eyeriss figures, pat.cpp: a/16 * b/16 of a 16-bit one); a fixed PE always counts its own
                     width.
register             per row of A that enters the array (MESH_INPUT_ROWS), DIM x DIM PE steps: A written
                     and read, the weight read, the partial sum written and read. Per row of weights
                     (WEIGHT_ROWS): DIM elements shifted through (DIM + 1) / 2 PEs on average, each
                     shift written and read.
scratchpad           one access of a row's width per SPAD_READ_ROWS and SPAD_WRITE_ROWS
accumulator          one access of a row's width per ACC_READ_ROWS and ACC_WRITE_ROWS; for those written
                     rows that accumulate (ACC_ACCUMULATE_ROWS) one more read and DIM additions
special_function     DIM float32 multiplications per SCALE_ROWS, DIM normaliser steps per
                     NORMALIZE_ROWS
vector               a product or sum per VECTOR_MULTIPLICATIONS and VECTOR_ADDITIONS in the accumulator's type (int32
                     products at the normaliser's figure), the bits of VECTOR_BUFFER_BYTES in its row memory
dram                 every byte requested, masked or not: DRAM_READ_BYTES and DRAM_WRITE_BYTES; with memory.dram its
                     commands and standby (`sim.cost.dram_energy`)
l2                   one access of a beat's width per L2_BANK_ACCESSES (reads, writes, refills, evictions)
host                 one in-order core, per host cycle, and per cycle in which it issues commands
leakage              static power of PEs (by the area of their arithmetic, where it is serial), scratchpad, accumulator
                     and L2 over all cycles (no figure is known for the host and units beside the array)
==================== =================================================================================

A row wider than the 64 bits of the SRAM sources costs in proportion to its bits. The price is that of the whole
memory's capacity, because the sources' figures include their own banking and wires. Units without a published figure
are not included and are named (`not_modelled`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sim.base.errors import InputError
from sim.cost import dram_energy
from sim.cost.area import arithmetic_share, unpublished
from sim.hardware.energy_table import load_energy_table

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.hardware.energy_table import EnergyTable, Level
    from sim.hardware.machine import Words

COMPONENTS = (
    "mac",
    "register",
    "scratchpad",
    "accumulator",
    "special_function",
    "vector",
    "dram",
    "l2",
    "host",
    "leakage",
)
"""Keys of what `price` returns, in the order of the table above."""

COUNTERS = (
    "MESH_INPUT_ROWS",
    "WEIGHT_ROWS",
    "SPAD_READ_ROWS",
    "SPAD_WRITE_ROWS",
    "ACC_READ_ROWS",
    "ACC_WRITE_ROWS",
    "ACC_ACCUMULATE_ROWS",
    "SCALE_ROWS",
    "NORMALIZE_ROWS",
    "DRAM_READ_BYTES",
    "DRAM_WRITE_BYTES",
    "L2_BANK_ACCESSES",
    *dram_energy.COUNTERS,
)
"""Counters that cost energy."""

INT8_PARTIAL_SUM_BITS = 20
"""Width of a partial sum between PEs of the int8 machines (spatialArrayOutputType of Configs.scala)."""


def price(
    counters: Mapping[str, int],
    macs: int,
    cycles: int,
    hw: Hardware,
    host_cycles: int = 0,
    level: Level = "nominal",
    cpu_cycles: int = 0,
) -> dict[str, float]:
    """Return component -> energy in pJ (keys: `COMPONENTS`).

    ``counters``: counts by name, all of `COUNTERS`; empty for work without the array. ``macs``:
    useful multiply-accumulates. ``cycles``: accelerator cycles that passed, ``host_cycles`` those of them in
    which the host worked, ``cpu_cycles`` those in which it called the library and issued commands (at the accelerator's
    clock). ``level``: low, nominal or high value of figures whose sources disagree.
    Raises InputError when a counter or a figure is missing, or if there are host cycles on a machine without a host.
    """
    table, each = _table(hw), _each(hw, level)
    missing = [name for name in COUNTERS if name not in counters] if counters else []
    if missing:
        raise InputError(f"energy: counters missing: {', '.join(missing)}")
    count = {name: counters.get(name, 0) for name in COUNTERS}
    acc_accesses = count["ACC_READ_ROWS"] + count["ACC_WRITE_ROWS"] + count["ACC_ACCUMULATE_ROWS"]
    special_pj = count["SCALE_ROWS"] * table.scale.at(level) + count["NORMALIZE_ROWS"] * table.normalize.at(level)
    return {
        "mac": macs * each.mac_pj,
        "register": _register_bits(count, hw) * table.register_bit.at(level),
        "scratchpad": (count["SPAD_READ_ROWS"] + count["SPAD_WRITE_ROWS"]) * each.scratchpad_row_pj,
        "accumulator": acc_accesses * each.accumulator_row_pj
        + count["ACC_ACCUMULATE_ROWS"] * hw.dim * each.addition_pj,
        "special_function": special_pj * hw.dim,
        "vector": _vector_pj(counters, hw, table, level),
        "dram": _dram_pj(count, cycles, hw, each.dram_bit_pj),
        "l2": _l2_pj(count, hw, table, level),
        "host": _host_pj(host_cycles, hw, table, level) + cpu_cycles * table.host.at(level),
        "leakage": cycles * each.leakage_mw * 1000 / hw.clock_mhz,  # mW * ns = pJ
    }


def _vector_pj(count: Mapping[str, int], hw: Hardware, table: EnergyTable, level: Level) -> float:
    """Return the energy of the vector unit's lanes and of its memory of rows."""
    products, sums = count.get("VECTOR_MULTIPLICATIONS", 0), count.get("VECTOR_ADDITIONS", 0)
    if not products and not sums:
        return 0.0
    product = table.normalize if hw.array.acc_type.startswith("int") else table.scale
    each = products * product.at(level) + sums * table.figure("add", table.add, hw.array.acc_type).at(level)
    bits = 8 * count.get("VECTOR_BUFFER_BYTES", 0)
    return each + bits * table.sram_pj_per_bit("scratchpad", hw.vector.buffer_bytes, hw.dim, level)


def _dram_pj(count: Mapping[str, int], cycles: int, hw: Hardware, bit_pj: float) -> float:
    """Return the energy of the DRAM's commands, or of the bytes moved if the machine describes no DRAM."""
    if hw.memory.dram == "none":
        return 8 * (count["DRAM_READ_BYTES"] + count["DRAM_WRITE_BYTES"]) * bit_pj
    return sum(dram_energy.price(count, cycles, hw.clock_mhz, hw.memory.dram).values())


def not_modelled(hw: Hardware) -> tuple[str, ...]:
    """Return the units of the machine without a published energy; no component contains their work.

    Multiplications of predictor and transform unit are in ``mac``, rows of a wide fetch in ``scratchpad``.
    """
    support = hw.sparsity
    beside = {"predictor": support.predictor_macs_per_cycle, "transform unit": support.fft_butterflies_per_cycle}
    beside |= {"vector unit": hw.vector.lanes}
    leaking = [name for name, rate in beside.items() if rate]
    dram = ("DRAM commands of the vector unit",) if hw.vector.lanes and hw.memory.dram != "none" else ()
    decoders = (f"decoder ({', '.join(support.decoder)})",) if support.decoder else ()
    return (*unpublished(hw), *dram, *decoders, *(f"leakage of the {name}" for name in leaking))


class _Each(NamedTuple):
    """Energy of each action on a machine in pJ."""

    scratchpad_row_pj: float
    accumulator_row_pj: float
    mac_pj: float
    addition_pj: float
    dram_bit_pj: float
    leakage_mw: float


@lru_cache(maxsize=8)  # one machine has many operators
def _each(hw: Hardware, level: Level) -> _Each:
    table = _table(hw)
    sp_bits, acc_bits = 8 * hw.sp_row_bytes, 8 * hw.dim * hw.acc_bytes
    return _Each(
        sp_bits * table.sram_pj_per_bit("scratchpad", hw.scratchpad.capacity_bytes, hw.dim, level),
        acc_bits * table.sram_pj_per_bit("accumulator", hw.accumulator.capacity_bytes, hw.dim, level),
        table.figure("mac", table.mac, hw.array.input_type).at(level) * _mac_share(hw),
        table.figure("add", table.add, hw.sum_type).at(level),
        table.figure("dram", table.dram, hw.memory.technology).at(level),
        _leakage_mw(hw, table, level),
    )


def node_nm(hw: Hardware) -> int:
    """Return the technology node of the machine's energy table in nm. Raises InputError (unreadable table)."""
    return _table(hw).node_nm


def _table(hw: Hardware) -> EnergyTable:
    return load_energy_table(hw.energy_table)


def _register_bits(count: Mapping[str, int], hw: Hardware) -> int:
    own_bits = 8 * hw.input_bytes
    a_bits, b_bits = (own_bits, own_bits) if hw.words is None or hw.array.pe == "fixed" else _operand_bits(hw.words)
    floating = not hw.array.input_type.startswith("int")
    sum_bits = {"int8": INT8_PARTIAL_SUM_BITS}.get(hw.array.input_type, 8 * hw.acc_bytes)
    sum_bits = own_bits if floating else sum_bits  # floating-point PEs pass sums on in the input type
    # Operands and sums pass the side's PEs; a PE that splits holds a weight for each of its parts.
    per_row = hw.dim * (hw.side * 2 * a_bits + hw.dim * b_bits + hw.side * 2 * sum_bits)
    per_weight_row = hw.dim * (hw.side + 1) // 2 * 2 * b_bits
    return count["MESH_INPUT_ROWS"] * per_row + count["WEIGHT_ROWS"] * per_weight_row


def _operand_bits(words: Words) -> tuple[int, int]:
    return words.a_bits, words.b_bits


def _mac_share(hw: Hardware) -> float:
    """Return the energy of a multiply-accumulate at its word sizes over that of the input type.

    A fixed PE always multiplies at its own width; the energy of others is proportional to the
    product of the widths.
    """
    own = 8 * hw.input_bytes
    if hw.words is None or hw.array.pe == "fixed":
        return 1.0
    a_bits, b_bits = _operand_bits(hw.words)
    return a_bits * b_bits / own**2


def _l2_pj(count: Mapping[str, int], hw: Hardware, table: EnergyTable, level: Level) -> float:
    if not hw.memory.l2_bytes:
        return 0.0
    bits = 8 * hw.dma.bus_bytes * count["L2_BANK_ACCESSES"]
    return bits * table.sram_pj_per_bit("l2", hw.memory.l2_bytes, hw.dim, level)


def _host_pj(host_cycles: int, hw: Hardware, table: EnergyTable, level: Level) -> float:
    if not host_cycles:
        return 0.0
    if hw.host == "none":
        raise InputError(f"energy: {host_cycles} host cycles on {hw.name}, which has no host CPU")
    return host_cycles * hw.host.clock_ratio * table.host.at(level)


def _leakage_mw(hw: Hardware, table: EnergyTable, level: Level) -> float:
    pe_mw = table.figure("leakage.pe", table.leakage.pe, hw.array.input_type).at(level) * arithmetic_share(hw)
    sram_bytes = hw.scratchpad.capacity_bytes + hw.accumulator.capacity_bytes + hw.memory.l2_bytes
    return hw.side**2 * pe_mw + sram_bytes / 1024 * table.leakage.sram.at(level)
