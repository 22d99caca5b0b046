"""Area of a machine by component: constants of one published Gemmini, scaled by the machine's sizes.

================ ====================================================================================
array            PEs x (multiplier + adder of the types + the rest of the published PE by the bits it holds)
scratchpad       KiB x published density
accumulator      KiB x published density, which includes one adder and scale unit per column; further ones are added
special_function lanes x normaliser and activation units, if the machine has them
vector           lanes x (multiplier + adder of the accumulator's type), its row memory at the scratchpad's density
dma_control      DMA, queues, controllers: the rest of the published total, a constant
l2               KiB x the scratchpad's density, if there is an L2
host             one Rocket core, if the machine has a host
sparsity_units   predictor (PEs of its width), transform unit (its multipliers and adders), bitmap decoder
================ ====================================================================================

Units without a published figure are not in the sum and are named (`not_modelled`). All in the node of the published
machine (hwconfigs/area), independent of the energy table's node: areas of two machines can be compared, but energy and
area of one machine may be of different nodes.
"""

from __future__ import annotations

from functools import cache
from math import log
from typing import TYPE_CHECKING, Any, Literal

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.hardware.files import config_files
from sim.hardware.precision import most_parts
from sim.hardware.schema import ELEMENT_BITS

if TYPE_CHECKING:
    from sim.hardware import Hardware

COMPONENTS = (
    "array",
    "scratchpad",
    "accumulator",
    "special_function",
    "vector",
    "dma_control",
    "l2",
    "host",
    "sparsity_units",
)
"""Keys of what `area_um2` returns."""

BUTTERFLY_MULTIPLIERS, BUTTERFLY_ADDERS = 4, 6
"""Multipliers and adders of a butterfly: a complex product is four real ones and two sums.

Its two complex sums are four more.
"""


def area_um2(hw: Hardware, level: Literal["low", "nominal", "high"] = "nominal") -> dict[str, float]:
    """Return component -> area in um2. ``level`` affects only the special function units, whose source gives a range.

    Raises InputError for an element type without a figure.
    """
    table = constants()
    units = table["special_function"]
    per_lane = units["um2_per_lane"] if level == "nominal" else units[level]
    has_units = hw.features.normalizations
    return {
        "array": hw.side**2 * _pe_um2(hw, table),
        "scratchpad": hw.scratchpad.capacity_bytes / 1024 * table["scratchpad"]["um2_per_kib"],
        "accumulator": hw.accumulator.capacity_bytes / 1024 * table["accumulator"]["um2_per_kib"]
        + (_lanes(hw) - hw.side) * _lane_um2(hw, table),
        "special_function": _lanes(hw) * float(per_lane) if has_units else 0.0,
        "vector": _vector_um2(hw, table),
        "dma_control": float(table["dma_control"]["um2"]),
        "l2": hw.memory.l2_bytes / 1024 * table["scratchpad"]["um2_per_kib"],
        "host": 0.0 if hw.host == "none" else float(table["host"]["um2"]),
        "sparsity_units": _predictor_um2(hw, table) + _transform_um2(hw, table) + _decoder_um2(hw, table),
    }


def total_mm2(hw: Hardware) -> float:
    """Return the whole machine's area in mm2, without what is `not_modelled`."""
    return sum(area_um2(hw).values()) * 1e-6


def all_cores_mm2(hw: Hardware) -> float:
    """Return the area of all cores and of one L2 in mm2."""
    alone = hw.model_copy(update={"memory": hw.memory.model_copy(update={"l2_bytes": 0})})
    return total_mm2(hw) + (hw.cores.count - 1) * total_mm2(alone)


def not_modelled(hw: Hardware) -> tuple[str, ...]:
    """Return the units of the machine without a published area; no component contains them."""
    support, table = hw.sparsity, constants()
    unpriced = [name for name in support.decoder if name not in table["decoder"]["um2_per_element"]]
    decoders = (f"decoder ({', '.join(unpriced)})",) if unpriced else ()
    return (*unpublished(hw), *decoders, *(("wide operand fetch",) if support.fetch_rows > 1 else ()))


def unpublished(hw: Hardware) -> tuple[str, ...]:
    """Return the units of the machine with neither a published area nor a published energy."""
    array, support = hw.array, hw.sparsity
    found = {
        "shift-and-add trees of PEs that split": array.pe == "decomposable",
        "serialisers and shifters of bit-serial PEs": array.pe == "bit_serial",
        "widening of narrow operands": array.pe == "fixed" and bool(array.accepts),
        "cut carries of the accumulator's adders": bool(array.accumulates),
        "operand selection in the PEs": support.select_inputs > 0,
        "zero detection": support.gating != "none",
        "block scheduler": support.block_scheduler,
        "ranking unit": support.top_k_per_cycle > 0,
        "twiddle factors and buffers of the transform unit": support.fft_butterflies_per_cycle > 0,
        "selection among resident weights": support.resident_weights > 1,
        "pack-and-split unit": support.pack_and_split,
        "control, dividers and roots of the vector unit": hw.vector.lanes > 0,
    }
    return tuple(name for name, there in found.items() if there)


@cache
def constants() -> dict[str, Any]:
    """Return the tables of hwconfigs/area/gemmini.toml."""
    return read_toml(config_files("area")["gemmini"], "area/gemmini.toml")


def multiplier_um2(a_bits: int, b_bits: int, table: dict[str, Any]) -> float:
    """Return the area of an integer multiplier of any widths, in the node of its sources (45 nm)."""
    ends = [table["mac"]["integer"][end] for end in ("narrow", "wide")]
    low, high = (float(table["mac"]["multiply"][name]) for name in ends)
    low_bits, high_bits = (_bits(name) for name in ends)
    slope = log(high / low) / log(high_bits**2 / low_bits**2)
    return float(low * (a_bits * b_bits / low_bits**2) ** slope)


def _lanes(hw: Hardware) -> int:
    """Return the sums that leave the array in a cycle."""
    return hw.array.sums_per_cycle or hw.side


def _lane_um2(hw: Hardware, table: dict[str, Any]) -> float:
    """Return the adder and the scale unit (a float32 multiplier) of one lane of the accumulator."""
    mac = table["mac"]
    scale = 0.0 if hw.accumulator.scale_units == "none" else mac["multiply"]["fp32"]
    return float((_figure(mac, "add", hw.array.acc_type) + scale) * mac["node_factor"])


def _pe_um2(hw: Hardware, table: dict[str, Any]) -> float:
    """Return the area of one PE in um2.

    Its arithmetic, and the rest of the published PE by the bits that it holds (PE.scala).

    Bits: an operand, two weights (current and next), two sums. Further registers: of the parts of a PE that splits (in
    the mode that needs most), of a PE that selects among several weights.
    """
    array = hw.array
    own, sums = _bits(array.input_type), _bits(array.acc_type)
    columns, weights = most_parts(hw)
    passing = array.serial_activation_bits if array.pe == "bit_serial" else own
    further = 2 * (weights * hw.sparsity.resident_weights - own) + 2 * sums * (columns - 1)
    whole = _with_rest(_multiplier_um2(hw, table), array.acc_type, passing + 2 * own + 2 * sums, table)
    return whole + float(further * table["register"]["um2_per_bit"])


def arithmetic_share(hw: Hardware) -> float:
    """Return the area of a PE's arithmetic over that of a plain PE of its input type, by which leakage is scaled."""
    mac, name = constants()["mac"], hw.array.input_type
    adder = _figure(mac, "add", name)
    return (_multiplier_um2(hw, constants()) + adder) / (_figure(mac, "multiply", name) + adder)


def _multiplier_um2(hw: Hardware, table: dict[str, Any]) -> float:
    """Return the area of one PE's multiplier in the node of its sources; a serial one has the bits of a cycle."""
    array = hw.array
    if array.pe == "bit_serial":
        own = _bits(array.input_type)
        return multiplier_um2(array.serial_activation_bits, array.serial_weight_bits or own, table)
    return _figure(table["mac"], "multiply", array.input_type)


def _with_rest(multiplier: float, acc_type: str, held_bits: int, table: dict[str, Any]) -> float:
    mac, reference = table["mac"], table["pe"]["reference_type"]
    adder = _figure(mac, "add", acc_type)
    published = (_figure(mac, "multiply", reference) + _figure(mac, "add", "int32")) * mac["node_factor"]
    bits = held_bits / (3 * _bits(reference) + 2 * _bits("int32"))
    return float((multiplier + adder) * mac["node_factor"] + (table["pe"]["um2"] - published) * bits)


def _predictor_um2(hw: Hardware, table: dict[str, Any]) -> float:
    bits, rate = hw.sparsity.predictor_bits, hw.sparsity.predictor_macs_per_cycle
    held = 3 * bits + 2 * _bits(hw.array.acc_type)
    return rate * _with_rest(multiplier_um2(bits, bits, table), hw.array.acc_type, held, table)


def _transform_um2(hw: Hardware, table: dict[str, Any]) -> float:
    mac, rate = table["mac"], hw.sparsity.fft_butterflies_per_cycle
    multiplier, adder = _figure(mac, "multiply", hw.array.input_type), _figure(mac, "add", hw.array.acc_type)
    return rate * float((BUTTERFLY_MULTIPLIERS * multiplier + BUTTERFLY_ADDERS * adder) * mac["node_factor"])


def _vector_um2(hw: Hardware, table: dict[str, Any]) -> float:
    mac, name = table["mac"], hw.array.acc_type
    if not hw.vector.lanes:
        return 0.0
    lane = (_figure(mac, "multiply", name) + _figure(mac, "add", name)) * mac["node_factor"]
    return float(hw.vector.lanes * lane + hw.vector.buffer_bytes / 1024 * table["scratchpad"]["um2_per_kib"])


def _decoder_um2(hw: Hardware, table: dict[str, Any]) -> float:
    known = table["decoder"]["um2_per_element"]
    rate = hw.sparsity.decoder_elements_per_cycle
    return rate * float(sum(known[name] for name in hw.sparsity.decoder if name in known))


def _figure(mac: dict[str, Any], group: str, name: str) -> float:
    if name not in mac[group]:
        raise InputError(f"area: no figure mac.{group}.{name}{did_you_mean(name, mac[group])}")
    return float(mac[group][name])


def _bits(name: str) -> int:
    return ELEMENT_BITS[name]
