"""Area of a machine by component: constants of one published Gemmini, scaled by what the machine has more or less of.

================ ====================================================================================
array            PEs x (multiplier + adder of the types + the rest of the published PE by its bits)
scratchpad       KiB x published density
accumulator      KiB x published density, adders and scale units included
special_function columns x normaliser and activation units, where the machine has them
dma_control      DMA, queues, controllers: what the published total leaves, a constant
l2               KiB x the scratchpad's density, where there is an L2
host             one Rocket core, where the machine has a host
================ ====================================================================================

All in the node of the published machine (hwconfigs/area), whatever the energy table's node: areas of two machines
compare, energies and areas of one machine may be of different nodes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from sim.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from sim.hardware import Hardware

COMPONENTS = ("array", "scratchpad", "accumulator", "special_function", "dma_control", "l2", "host")
"""Keys of what `area_um2` returns."""


def area_um2(hw: Hardware, level: Literal["low", "nominal", "high"] = "nominal") -> dict[str, float]:
    """Return component -> area in um2. ``level`` moves only the special function units, whose source gives a range.

    Raises InputError for an element type without a figure.
    """
    table = constants()
    units = table["special_function"]
    per_lane = units["um2_per_lane"] if level == "nominal" else units[level]
    has_units = hw.features.normalizations
    return {
        "array": hw.dim**2 * _pe_um2(hw.array.input_type, hw.array.acc_type, table),
        "scratchpad": hw.scratchpad.capacity_bytes / 1024 * table["scratchpad"]["um2_per_kib"],
        "accumulator": hw.accumulator.capacity_bytes / 1024 * table["accumulator"]["um2_per_kib"],
        "special_function": hw.dim * float(per_lane) if has_units else 0.0,
        "dma_control": float(table["dma_control"]["um2"]),
        "l2": hw.memory.l2_bytes / 1024 * table["scratchpad"]["um2_per_kib"],
        "host": 0.0 if hw.host == "none" else float(table["host"]["um2"]),
    }


def total_mm2(hw: Hardware) -> float:
    """Return the whole machine's area in mm2."""
    return sum(area_um2(hw).values()) * 1e-6


@cache
def constants() -> dict[str, Any]:
    """Return the tables of hwconfigs/area/gemmini.toml."""
    from sim.hardware.files import config_files, read_toml

    return read_toml(config_files("area")["gemmini"], "area/gemmini.toml")


def _pe_um2(input_type: str, acc_type: str, table: dict[str, Any]) -> float:
    reference = table["pe"]["reference_type"]
    rest = table["pe"]["um2"] - _mac_um2(reference, "int32", table)
    bits = _bits(input_type, acc_type) / _bits(reference, "int32")
    return float(_mac_um2(input_type, acc_type, table) + rest * bits)


def _mac_um2(input_type: str, acc_type: str, table: dict[str, Any]) -> float:
    mac = table["mac"]
    for group, name in (("multiply", input_type), ("add", acc_type)):
        if name not in mac[group]:
            raise InputError(f"area: no figure mac.{group}.{name}{did_you_mean(name, mac[group])}")
    return float((mac["multiply"][input_type] + mac["add"][acc_type]) * mac["node_factor"])


def _bits(input_type: str, acc_type: str) -> int:
    """Return the bits a PE holds: an operand passing by, two weights and two sums (PE.scala)."""
    from sim.hardware.schema import ELEMENT_BYTES

    return 8 * (3 * ELEMENT_BYTES[input_type] + 2 * ELEMENT_BYTES[acc_type])
