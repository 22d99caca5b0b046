"""The tables of a machine description: what each key means, its type and its plain range.

Names and meanings follow Gemmini's own parameters (GemminiConfigs.scala); rules that join several keys are in
`legality`. Sizes are bytes, times are cycles of the accelerator's clock, rates are bytes per cycle. Strings
with units are accepted wherever such a quantity stands (see `units`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo

from sim.hardware import units
from sim.hardware.dram.schema import Dram
from sim.hardware.table import Count, Table

ELEMENT_BYTES = {"int8": 1, "int16": 2, "int32": 4, "fp16": 2, "bf16": 2, "fp32": 4}
"""Bytes of one element by type name."""

DecoderFormat = Literal["bitmap", "rle", "csr", "csc", "codebook", "narrow", "circulant"]
"""Formats of stored weights that a load path may expand (`sim.sparsity.masks.formats`)."""

ElementType = Literal["int8", "int16", "int32", "fp16", "bf16", "fp32"]


def _clock_mhz(info: ValidationInfo) -> float:
    return float((info.context or {}).get("clock_mhz", 1000.0))


def _cycles(value: object, info: ValidationInfo) -> object:
    return units.duration_cycles(value, _clock_mhz(info))


def _rate(value: object, info: ValidationInfo) -> object:
    return units.rate_bytes_per_cycle(value, _clock_mhz(info))


MOST_BYTES = 2**40
"""Largest memory: 1 TiB."""
MOST_CYCLES = 10**9
"""Longest latency: a second at 1 GHz."""
MOST_BYTES_PER_CYCLE = 10**6
"""Fastest memory: 1 PB/s at 1 GHz."""

Bytes = Annotated[int, BeforeValidator(units.size_bytes), Field(ge=1, le=MOST_BYTES)]
BytesOrZero = Annotated[int, BeforeValidator(units.size_bytes), Field(ge=0, le=MOST_BYTES)]
Capacity = Annotated[Bytes, Field(validation_alias=AliasChoices("capacity", "capacity_bytes"))]
Rate = Annotated[float, BeforeValidator(_rate), Field(ge=0, le=MOST_BYTES_PER_CYCLE, allow_inf_nan=False)]
Cycles = Annotated[int, BeforeValidator(_cycles), Field(ge=0, le=MOST_CYCLES)]
PositiveCycles = Annotated[int, BeforeValidator(_cycles), Field(ge=1, le=MOST_CYCLES)]


Side = Annotated[int, Field(ge=1, le=1024)]
"""Tiles along a side of the array, or PEs along one of a tile; what the core holds of them is a rule of its own."""

ELEMENT_BITS = {"int2": 2, "int4": 4, **{name: 8 * size for name, size in ELEMENT_BYTES.items()}}
"""Bits of one element by type name, those narrower than a byte included."""

OperandType = Literal["int2", "int4", "int8", "int16", "fp16", "bf16", "fp32"]


class Array(Table):
    """The systolic array: a mesh of tiles, each a combinational block of PEs.

    ``accepts``: element types that the array multiplies beside ``input_type``. ``pe``: how a PE multiplies them
    (`sim.hardware.precision`): "fixed" widens a narrow operand, "decomposable" splits its multiplier, "bit_serial"
    takes ``serial_activation_bits`` (and ``serial_weight_bits``; 0: all) of an operand per cycle. ``sums_per_cycle``:
    sums that the accumulator takes in and gives out in a cycle (0: one per column). ``accumulates``: narrower types of
    sums beside ``acc_type`` that an operator may ask for: adders whose carries are cut, rows addressed as often again.
    """

    mesh_rows: Side
    mesh_columns: Side
    tile_rows: Side
    tile_columns: Side
    dataflow: Literal["WS", "OS", "BOTH"]
    input_type: ElementType
    acc_type: ElementType
    tile_latency_cycles: Cycles
    mesh_output_delay_cycles: Cycles
    ex_read_from_spad: bool
    ex_read_from_acc: bool
    ex_write_to_spad: bool
    ex_write_to_acc: bool
    hardcode_d_to_garbage: bool
    pe: Literal["fixed", "decomposable", "bit_serial"] = "fixed"
    accepts: Annotated[tuple[OperandType, ...], Field(strict=False)] = ()
    accumulates: Annotated[tuple[ElementType, ...], Field(strict=False)] = ()
    sums_per_cycle: Annotated[int, Field(ge=0)] = 0
    serial_activation_bits: Annotated[int, Field(ge=0)] = 0
    serial_weight_bits: Annotated[int, Field(ge=0)] = 0


class Scratchpad(Table):
    """Input memory. ``read_delay_cycles`` sizes queues, ``read_pipeline_cycles`` comes after the SRAM.

    ``narrow_words``: rows hold operands as narrow as they are multiplied, not only ones of the input type.
    """

    capacity_bytes: Capacity
    banks: Count
    single_ported: bool
    read_delay_cycles: PositiveCycles
    read_pipeline_cycles: PositiveCycles
    narrow_words: bool = False


class Accumulator(Table):
    """Output memory with adders, and the scale unit behind it. ``sub_banks`` is -1 where there are none.

    ``scale_units`` "none": results leave unscaled, the scale of the command is ignored (float chip configuration).
    """

    capacity_bytes: Capacity
    banks: Count
    single_ported: bool
    sub_banks: int
    latency_cycles: Cycles
    scale_latency_cycles: Cycles
    scale_units: Literal["per_lane", "none"] | Count
    read_full_width: bool
    read_small_width: bool


class Dma(Table):
    """The two DMA engines and the scalers in the load path (``mvin_acc_scale``: latency in cycles)."""

    bus_bytes: Bytes
    max_request_bytes: Bytes
    max_in_flight_requests: Count
    mvin_scale_latency_cycles: Cycles
    mvin_scale_units: Literal["per_lane", "none"] | Count
    mvin_acc_scale: Literal["none"] | Count


class ReservationStation(Table):
    """Entries per class; whether a store waits for the completion of the store before it."""

    ld: Count
    st: Count
    ex: Count
    serialise_stores: bool


class Queues(Table):
    """Command queue entries in front of each controller."""

    ld: Count
    st: Count
    ex: Count


class Features(Table):
    """Optional units of the generator."""

    normalizations: bool
    max_pool: bool
    training_convs: bool
    nonlinear_activations: bool
    first_layer_optimizations: bool


class Memory(Table):
    """The memory behind the accelerator's port.

    Without ``dram``, a memory of fixed latency and pace, whose energy by pJ per bit is that of ``technology``. With
    it (the name of a device of hwconfigs/dram, or its tables) latency and pace are those of the way from the port to
    the DRAM's controllers and back, and the energy is that of its commands. ``one_port``: reads and writes take turns
    at the pace instead of having one each, as in a cache level that works on one line at a time.
    """

    latency_cycles: Cycles
    read_bytes_per_cycle: Rate
    write_bytes_per_cycle: Rate
    l2_bytes: BytesOrZero
    technology: str
    dram: Dram | Literal["none"] = "none"
    one_port: bool = False


class Cores(Table):
    """Accelerators of the machine, each with its CPU, on one bus.

    ``shared`` names the memory behind that bus: "memory", or "l2" with the memory behind it; a machine of several cores
    has to name it. ``split``: how operators are dealt out: "tensor" by columns of products, heads, rows of the rest;
    "data" by rows of all, which are tokens and batch items; "pipeline": each core has layers of its own, through which
    the batch items pass; "hand": as ``hand`` says, an entry for operators of a name or pattern (`sim.hardware.hand`),
    those that it does not name as "tensor". ``barrier_cycles``: from the last core's arrival to the first command of
    the next operator; "lines": as long as two misses of a CPU's data cache take, the counter's line to the last core
    and the flag's line back to the others.
    """

    count: Annotated[int, Field(ge=1, le=16)] = 1
    shared: Literal["none", "memory", "l2"] = "none"
    split: Literal["tensor", "data", "pipeline", "hand"] = "tensor"
    hand: Annotated[tuple[str, ...], Field(strict=False)] = ()
    barrier_cycles: Literal["lines"] | Cycles = "lines"


class Tlb(Table):
    """Address translation in front of the port (Sv39, every page mapped): ``pages`` "none" means physical addresses.

    ``entries``: Gemmini's tlb_size; four of them are one entry with the tag of an aligned group of four 4-KiB pages.
    ``superpage_entries``: for 2-MiB pages. ``walk_cycles``: from a lookup that misses to the first that hits, with the
    page-table entry in the CPU's data cache (a level less, so a cycle less, for 2-MiB pages). ``page_tables``: where
    the lines of page-table entries are found the first time: in the data cache, in the L2 or in memory.
    """

    pages: Literal["none", "4KiB", "2MiB"] = "none"
    entries: Annotated[int, Field(ge=4, le=64)] = 4
    superpage_entries: Annotated[int, Field(ge=1, le=16)] = 4
    walk_cycles: Annotated[int, Field(ge=2)] = 9
    page_tables: Literal["data_cache", "l2", "memory"] = "data_cache"


class SparsitySupport(Table):
    """Units for sparse and compressed operands. Gemmini's RTL has none of them: all off by default.

    ``select_inputs``: activations among which each PE picks one by the index beside its weight (0: it uses its
    row's). ``fetch_rows``: scratchpad rows of activations that the array takes in at once; the read port is as many
    rows wide. ``gating``: operand whose zeros keep a multiplier from switching. ``decoder``: formats that the load
    path expands, at ``decoder_elements_per_cycle``. ``block_scheduler``: a unit that reads the block index and issues
    the commands of non-zero blocks, one a cycle, in the CPU's place. ``top_k_per_cycle``: scores that the ranking
    unit takes in a cycle (0: no such unit). ``resident_weights``: weights that each PE holds (twice, as the next ones
    come in meanwhile) and among which an index beside the streamed row picks; ``resident_reach``: "pe", a PE picks
    among its own, or "line", among those of its whole row or column. ``pack_and_split``: a unit that makes sub-rows of
    a mask of chosen scores, so that only those are computed. ``predictor_macs_per_cycle``: rate of an array of its own
    that predicts scores from operands of ``predictor_bits`` (0: the main array predicts, at full width and cost).
    """

    select_inputs: Annotated[int, Field(ge=0)] = 0
    fetch_rows: Count = 1
    gating: Literal["none", "weights", "activations", "both"] = "none"
    decoder: Annotated[tuple[DecoderFormat, ...], Field(strict=False)] = ()
    decoder_elements_per_cycle: Annotated[int, Field(ge=0)] = 0
    block_scheduler: bool = False
    top_k_per_cycle: Annotated[int, Field(ge=0)] = 0
    fft_butterflies_per_cycle: Annotated[int, Field(ge=0)] = 0
    fft_block: Annotated[int, Field(ge=0)] = 0
    resident_weights: Count = 1
    resident_reach: Literal["pe", "line"] = "pe"
    pack_and_split: bool = False
    predictor_macs_per_cycle: Annotated[int, Field(ge=0)] = 0
    predictor_bits: Annotated[int, Field(ge=1)] = 4
