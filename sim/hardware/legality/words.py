"""Rules of units for zeros and compression, and of the word sizes that an array takes."""

from __future__ import annotations

from collections.abc import Iterator

from sim.hardware import precision
from sim.hardware.legality.broken import Broken, is_power, nearest_power
from sim.hardware.machine import Hardware

DECODER_DIM = 128
"""Largest number of rows of a block in eight bits."""


def selected_operands(hw: Hardware) -> Iterator[Broken]:
    """A PE selects among activations that are fetched together and loaded by one command."""
    support, most = hw.sparsity, hw.loop_max_block_len
    if not is_power(support.fetch_rows) or support.fetch_rows > most:
        yield Broken(
            ("sparsity.fetch_rows", "dma.max_request_bytes", "array"),
            support.fetch_rows,
            f"a power of two of scratchpad rows that one load command fills, at most {most}",
            min(most, nearest_power(support.fetch_rows)),
        )
    elif support.select_inputs > support.fetch_rows * hw.dim:
        yield Broken(
            ("sparsity.select_inputs", "sparsity.fetch_rows", "array"),
            support.select_inputs,
            f"{support.fetch_rows} scratchpad rows hold {support.fetch_rows * hw.dim} activations to select from",
            support.fetch_rows * hw.dim,
        )


def chosen_scores(hw: Hardware) -> Iterator[Broken]:
    """Sub-rows of chosen scores need PEs that hold several weights; a predictor is narrower than the array."""
    support, bits = hw.sparsity, 8 * hw.input_bytes
    if support.pack_and_split and support.resident_weights < 2:
        demand = "with one weight per PE there is no selection: at least 2"
        yield Broken(("sparsity.resident_weights", "sparsity.pack_and_split"), support.resident_weights, demand, 2)
    if support.predictor_bits > bits:
        demand = f"a prediction takes operands of {hw.array.input_type} or narrower: at most {bits}"
        yield Broken(("sparsity.predictor_bits", "array.input_type"), support.predictor_bits, demand, bits)


def decoder_rate(hw: Hardware) -> Iterator[Broken]:
    """A decoder expands at most one scratchpad row a cycle, and some elements if it has formats."""
    support = hw.sparsity
    if support.decoder_elements_per_cycle > hw.dim or (support.decoder and not support.decoder_elements_per_cycle):
        yield Broken(
            ("sparsity.decoder_elements_per_cycle", "sparsity.decoder", "array"),
            support.decoder_elements_per_cycle,
            f"the load path writes one row a cycle: 1 to {hw.dim} elements",
            hw.dim,
        )


def decoder_array(hw: Hardware) -> Iterator[Broken]:
    """Bits [62:56] of an expanding load hold its bytes per row (isa.fields.stored_bytes), so rows have eight bits."""
    if hw.sparsity.decoder and hw.dim > DECODER_DIM:
        demand = (
            f"the field of an expanding load leaves room for blocks of {DECODER_DIM} rows: no decoder on this array"
        )
        yield Broken(("sparsity.decoder", "array"), list(hw.sparsity.decoder), demand, [])


def transform_unit(hw: Hardware) -> Iterator[Broken]:
    """A transform unit takes blocks of a power of two of numbers, at least 4; without one there is no block."""
    rate, block = hw.sparsity.fft_butterflies_per_cycle, hw.sparsity.fft_block
    if rate and (block < 4 or not is_power(block)):
        demand = "transforms are of a power of two of numbers, at least 4"
        yield Broken(
            ("sparsity.fft_block", "sparsity.fft_butterflies_per_cycle"), block, demand, nearest_power(block, 4)
        )


def accepted_types(hw: Hardware) -> Iterator[Broken]:
    """The array's PEs can multiply the accepted types, and its adders can be cut into the accumulated types."""
    able = precision.acceptable(hw)
    for name in hw.array.accepts:
        if name not in able:
            demand = f"{hw.array.pe} PEs of {hw.array.input_type} multiply {', '.join(able)}"
            yield Broken(("array.accepts", "array.pe", "array.input_type"), name, demand, able[-1])
    for cut, demand, nearest in precision.uncut(hw):
        yield Broken(("array.accumulates", "array.acc_type", "array.input_type"), cut, demand, nearest)
    if hw.array.pe != "fixed" and not hw.array.input_type.startswith("int"):
        demand = f"only integers can be split or processed bit by bit; the input type is {hw.array.input_type}"
        yield Broken(("array.pe", "array.input_type"), hw.array.pe, demand, "fixed")


def serial_bits(hw: Hardware) -> Iterator[Broken]:
    """A bit-serial array takes at least a bit of an activation per cycle; other arrays have no such lanes."""
    array, own = hw.array, 8 * hw.input_bytes
    serial = array.pe == "bit_serial"
    if not serial * 1 <= array.serial_activation_bits <= serial * own:
        demand = f"1 to {own} bits of an activation a cycle" if serial else 'lanes of array.pe = "bit_serial"'
        yield Broken(
            ("array.serial_activation_bits", "array.pe", "array.input_type"),
            array.serial_activation_bits, demand, min(own, max(1, array.serial_activation_bits)) if serial else 0,
        )  # fmt: skip
    if array.serial_weight_bits > serial * own:
        demand = f"at most {own} bits of a weight a cycle, 0 for all" if serial else 'lanes of array.pe = "bit_serial"'
        yield Broken(("array.serial_weight_bits", "array.pe"), array.serial_weight_bits, demand, serial * own)


def sums_taken_in(hw: Hardware) -> Iterator[Broken]:
    """The accumulator takes in at least a row of sums of the plain array."""
    sums = hw.array.sums_per_cycle
    if sums and (sums < hw.side or not is_power(sums)):
        demand = f"0 for one per column, or a power of two of at least DIM = {hw.side}"
        nearest = max(hw.side, nearest_power(sums))
        yield Broken(("array.sums_per_cycle", "array.mesh_rows", "array.tile_rows"), sums, demand, nearest)
