"""The tables of a machine description: meaning, type and range of each key.

Names and meanings follow Gemmini's own parameters (GemminiConfigs.scala); rules that involve several keys are in
`legality`. Sizes are bytes, times are cycles of the accelerator's clock, rates are bytes per cycle. Strings with units
are accepted for all such quantities (see `units`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo

from sim.base.table import Table
from sim.hardware import units
from sim.hardware.count import Count
from sim.hardware.dram.schema import Dram

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


MAX_BYTES = 2**40
"""Largest memory: 1 TiB."""
MAX_CYCLES = 10**9
"""Longest latency: a second at 1 GHz."""
MAX_BYTES_PER_CYCLE = 10**6
"""Fastest memory: 1 PB/s at 1 GHz."""

Bytes = Annotated[int, BeforeValidator(units.size_bytes), Field(ge=1, le=MAX_BYTES)]
BytesOrZero = Annotated[int, BeforeValidator(units.size_bytes), Field(ge=0, le=MAX_BYTES)]
Capacity = Annotated[Bytes, Field(validation_alias=AliasChoices("capacity", "capacity_bytes"))]
Rate = Annotated[float, BeforeValidator(_rate), Field(ge=0, le=MAX_BYTES_PER_CYCLE, allow_inf_nan=False)]
Cycles = Annotated[int, BeforeValidator(_cycles), Field(ge=0, le=MAX_CYCLES)]
PositiveCycles = Annotated[int, BeforeValidator(_cycles), Field(ge=1, le=MAX_CYCLES)]


Side = Annotated[int, Field(ge=1, le=1024)]
"""Tiles along a side of the array, or PEs along one of a tile; the core's limit is a separate rule."""

ELEMENT_BITS = {"int2": 2, "int4": 4, **{name: 8 * size for name, size in ELEMENT_BYTES.items()}}
"""Bits of one element by type name, those narrower than a byte included."""

OperandType = Literal["int2", "int4", "int8", "int16", "fp16", "bf16", "fp32"]


class Array(Table):
    """The systolic array: a mesh of tiles, each a combinational block of PEs.

    ``accepts``: further element types that the array multiplies. ``pe``: how a PE multiplies them
    (`sim.hardware.precision`): "fixed" widens a narrow operand, "decomposable" splits its multiplier, "bit_serial"
    takes ``serial_activation_bits`` (and ``serial_weight_bits``; 0: all) of an operand per cycle. ``sums_per_cycle``:
    sums that the accumulator takes in and gives out in a cycle (0: one per column). ``accumulates``: further, narrower
    types of sums for operators: adders whose carries are cut, and more addressable rows.
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
    """Input memory. ``read_delay_cycles`` determines sizes of queues, ``read_pipeline_cycles`` follows the SRAM.

    ``narrow_words``: rows hold operands at their multiplied width, not only at the input type's.
    """

    capacity_bytes: Capacity
    banks: Count
    single_ported: bool
    read_delay_cycles: PositiveCycles
    read_pipeline_cycles: PositiveCycles
    narrow_words: bool = False


class Accumulator(Table):
    """Output memory with adders, and the scale unit after it. ``sub_banks``: -1 = none.

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
    """Entries of the command queue of each controller."""

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

    Without ``dram``, a memory of fixed latency and rate, whose energy in pJ per bit is that of ``technology``. With it
    (the name of a device of hwconfigs/dram, or its tables) latency and rate are those of the path from the port to the
    DRAM's controllers and back, and the energy is that of its commands. ``one_port``: reads and writes share one rate
    instead of having one each, as in a cache level that works on one line at a time.
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

    ``shared`` names the memory behind that bus: "memory", or "l2" with the memory behind it; required on a machine of
    several cores. ``split``: how operators are divided: "tensor" by columns of products, heads, rows of other
    operators; "data" by rows (tokens and batch items) of all operators; "pipeline": each core has layers of its own,
    through which the batch items pass; "hand": by the entries of ``hand`` for operators of a name or pattern
    (`sim.hardware.hand`), others as "tensor". ``barrier_cycles``: from the last core's arrival to the first command of
    the next operator; "lines": the time of two misses of a CPU's data cache, for the counter's line to the last core
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

    ``select_inputs``: activations among which each PE selects one by the index of its weight (0: it uses its row's).
    ``fetch_rows``: scratchpad rows of activations that the array takes in at a time; the read port is as many rows
    wide. ``gating``: operand whose zeros gate a multiplier. ``decoder``: formats that the load path expands, at
    ``decoder_elements_per_cycle``. ``block_scheduler``: a unit that reads the block index and issues the commands of
    non-zero blocks, one per cycle, instead of the CPU. ``top_k_per_cycle``: scores that the ranking unit reads per
    cycle (0: no such unit). ``resident_weights``: weights that each PE holds (twice, as the next ones
    are preloaded meanwhile), among which an index of the streamed row selects; ``resident_reach``: "pe", a PE selects
    among its own, or "line", among those of its whole row or column. ``pack_and_split``: a unit that makes sub-rows of
    a mask of chosen scores, so that only those are computed. ``predictor_macs_per_cycle``: rate of a separate array
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
