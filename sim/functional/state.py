"""State of the compiled executor: memories, registers, units and counters (records: `sim.functional.kernels.records`).

The fields have the same types on every machine, so that the executor is compiled once: local memories and blocks of the
array are doubles, which represent every int32 and float32 exactly; DRAM is one image with a view per element type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.functional.kernels import records
from sim.functional.kernels.counts import COUNTS
from sim.functional.kernels.fields import GARBAGE_BITS
from sim.functional.kernels.words import INTEGER, SMALL
from sim.functional.unit import Selector, Unit
from sim.functional.words import SMALL_FLOATS, decode_table, element, table

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]
Record = Any
"""One record of a structured array: its fields are attributes."""

LayerNormRule = Literal["library", "hardware"]
"""Rounding of a normalised row: as in gemmini.h or as in the RTL (docs/NUMBERS.md)."""

SETS = 4
"""Sets of resident weights: the current one, the next one, and room for preloads that have begun."""

MAX_NOTED = 256
"""Number of clashes stored by command; all are counted."""

MAX_BLOCKS = 512
"""Blocks of one mvin; its columns field has fewer bits than that."""

MAX_SHARED = 256
"""Entries of a codebook (sim.sparsity.edits.compress)."""

ARRAY_BITS = {"int8": 20}
"""Width of the array's results by element type (spatialArrayOutputType, Configs.scala); others are not narrowed."""

REGISTERS = np.dtype(
    [
        ("load", records.LOAD_CONFIG, (4,)),
        ("execute", records.EXECUTE_CONFIG),
        ("store", records.STORE_CONFIG),
        ("preload", "i8"),  # slot of the last preload
    ]
)
"""Configuration of the machine set by the commands so far."""


class Dram(NamedTuple):
    """The DRAM image, with a view per element type."""

    int8: Array
    int16: Array
    int32: Array
    uint16: Array
    float32: Array


class SystolicArray(NamedTuple):
    """Blocks [dim, dim]. ``staged``, ``results``: operand and result of the preload in each slot.

    ``weights``: in the array; ``sums``: in the array, output stationary; ``left``, ``right``: A and B of a compute.
    """

    staged: Array
    results: Array
    weights: Array
    sums: Array
    left: Array
    right: Array


class Decoder(NamedTuple):
    """Expanding loads: ``rows`` of one load [dim, columns], ``table`` of shared values, ``strips`` of circulants."""

    rows: Array
    table: Array
    strips: Array


class Selection(NamedTuple):
    """Operand selection. ``index_bytes``: those of index rows in the scratchpad.

    ``start_of``: by scratchpad row, first row of the index that ends before it; ``end_of``: row after the index that
    begins at it; -1: none. ``picks``: selected activations of the weights in each slot, ``chosen``: of those in the
    array. ``fed``: number of changes of the blocks of a feed, by slot. ``rows_done``: packed rows so far, by
    accumulator row.
    """

    index_bytes: Array
    start_of: Array
    end_of: Array
    picks: Array
    chosen: Array
    fed: Array
    rows_done: Array


class Sampling(NamedTuple):
    """Sampled products. ``chunks``, ``subs``: sub-rows of each compute (`sim.functional.unit.Sampler`).

    ``second``: weights preloaded last, ``second_slot`` their slots, ``second_read`` 1 if they have been read;
    ``resident``: current weights. ``lanes``, ``depth``: elements of a sub-row, elements chosen so far by place.
    """

    chunks: Array
    subs: Array
    second: Array
    second_slot: Array
    second_read: Array
    resident: Array
    lanes: Array
    depth: Array


class State(NamedTuple):
    """Everything the compiled executor reads and writes.

    ``small_floats``: value of each 16-bit pattern. ``commands``: one record per slot of a command between issue and
    completion, ``unused`` an empty one. ``marks``: [queue (load, execute), row of the scratchpad, then of the
    accumulator]. ``operands``: storage of A, B, other loads and C in DRAM. ``clashes``: numbers of commands. ``bits``:
    one word of memory seen as integer and float. ``pieces``: requests that fill each local row of a load; ``line``: a
    row on its way between DRAM and local memory.
    """

    fixed: Record
    dram: Dram
    spad: Array
    acc: Array
    small_floats: Array
    registers: Record
    normals: Array
    commands: Array
    unused: Record
    array: SystolicArray
    marks: Array
    operands: Array
    unit: Record
    decoder: Decoder
    selector: Selection
    sampler: Sampling
    tally: Record
    counts: Record
    clashes: Array
    bits: Array
    pieces: Array
    line: Array


def _records(dtype: np.dtype[Any], shape: int | tuple[int, ...]) -> Array:
    return np.zeros(shape, dtype).view(np.recarray)


def names(record: Record) -> tuple[str, ...]:
    """Return the names of a record's fields."""
    found: tuple[str, ...] = record.dtype.names
    return found


def fixed(hw: Hardware, base: int, layernorm: LayerNormRule, types: Mapping[str, str]) -> Record:
    """Return the constants of a machine whose DRAM image begins at address ``base``."""
    kind = hw.array.input_type
    low, high = element(types["word"])[3:]
    address_bits = max(hw.sp_rows, hw.acc_rows).bit_length() - 1
    longest = max(8 * hw.dma.max_request_bytes // hw.widest_bits, hw.dim)
    sum_bits = 33 if hw.words is not None else ARRAY_BITS.get(kind, 33)
    exponent_bits, fraction_bits = SMALL_FLOATS.get(kind, (8, 23))
    values = {
        "dim": hw.dim,
        "input_bytes": hw.input_bytes,
        "acc_bytes": hw.acc_bytes,
        "acc_bits": 8 * hw.acc_bytes,
        "lowest": low,
        "highest": high,
        "garbage_address": GARBAGE_BITS | (1 << (address_bits + 1)) - 1,
        "element": INTEGER if kind.startswith("int") else element(kind)[0],
        "exponent_bits": exponent_bits,
        "fraction_bits": fraction_bits,
        "pixel_copies": hw.features.first_layer_optimizations,
        "columns_mask": (1 << longest.bit_length()) - 1,
        "rows_mask": (1 << hw.dim.bit_length()) - 1,
        "decodes": bool(hw.sparsity.decoder),
        "scales_inputs": hw.dma.mvin_scale_units != "none",
        "scales_sums": hw.dma.mvin_acc_scale != "none",
        "scales_at_store": hw.accumulator.scale_units != "none",
        "bus_bytes": hw.dma.bus_bytes,
        "max_request_bytes": hw.dma.max_request_bytes,
        "ignores_d": hw.array.hardcode_d_to_garbage,
        "max_pool": hw.features.max_pool,
        "normalizes": hw.features.normalizations,
        "largest_sum": 1 << (sum_bits - 1),
        "inverse_deviation": layernorm == "hardware",
        "base": base,
    }
    record = _records(records.FIXED, 1)[0]
    for name in names(record):
        record[name] = values[name]
    return record


def build(
    hw: Hardware,
    image: npt.NDArray[np.uint8],
    base: int,
    slots: int,
    seed: int,
    layernorm: LayerNormRule,
    types: Mapping[str, str],
) -> State:
    """Return the state after power-up: local memories hold noise, so that reading an unwritten row is detected.

    ``types``: `sim.functional.words.types_of`.
    """
    kind, dim = hw.array.input_type, hw.dim
    noise = np.random.default_rng(seed).integers(-100, 100, (hw.sp_rows + hw.acc_rows, dim)).astype(np.float64)
    constants = fixed(hw, base, layernorm, types)
    columns = int(constants.columns_mask) + 1
    return State(
        fixed=constants,
        dram=Dram(*(image.view(name) for name in Dram._fields)),
        spad=noise[: hw.sp_rows],
        acc=noise[hw.sp_rows :],
        small_floats=decode_table(kind) if constants.element == SMALL else np.zeros(1, np.float32),
        registers=_records(REGISTERS, 1)[0],
        normals=_records(records.NORMAL, 2),
        commands=_records(records.COMMAND, slots),
        unused=_records(records.COMMAND, 1)[0],
        array=SystolicArray(*np.zeros((2, slots, dim, dim)), *np.zeros((4, dim, dim))),
        marks=_records(records.ROW_MARK, (2, hw.sp_rows + hw.acc_rows)),
        operands=table(hw, types).view(np.recarray),
        unit=_records(records.UNIT, 1)[0],
        decoder=Decoder(np.zeros((dim, columns + dim)), np.zeros(MAX_SHARED), _records(records.STRIP, 1)),
        selector=Selection(
            index_bytes=np.zeros((hw.sp_rows, hw.sp_row_bytes), np.uint8),
            start_of=np.full(hw.sp_rows + 1, -1, np.int64),
            end_of=np.full(hw.sp_rows + 1, -1, np.int64),
            picks=np.zeros((slots, dim, dim), np.int64),
            chosen=np.zeros((dim, dim), np.int64),
            fed=np.zeros((slots, hw.sparsity.fetch_rows), np.int64),
            rows_done=np.zeros(hw.acc_rows, np.int64),
        ),
        sampler=_sampling(dim, hw.sparsity.resident_weights),
        tally=_records(records.TALLY, 1)[0],
        counts=_records(COUNTS, 1)[0],
        clashes=np.zeros(MAX_NOTED, np.int64),
        bits=np.zeros(1, np.uint32),
        pieces=np.zeros(MAX_BLOCKS, np.int64),
        line=np.zeros(columns),
    )


def _sampling(dim: int, held: int) -> Sampling:
    return Sampling(
        chunks=np.zeros(1, np.int64),
        subs=_records(records.SUB_ROW, 1),
        second=np.zeros((SETS * held, dim, dim)),
        second_slot=np.zeros(SETS * held, np.int64),
        second_read=np.zeros(SETS * held, np.int64),
        resident=np.zeros((held, dim, dim)),
        lanes=np.zeros(dim, np.int64),
        depth=np.zeros(dim, np.int64),
    )


def restart(state: State, unit: Unit | None) -> None:
    """Set counters to zero and the units for sparse weights to ``unit``; which clears their state."""
    for record in (state.tally, state.counts, state.unit):
        record.setfield(np.zeros((), record.dtype), record.dtype)
    if unit is not None:
        unit.set(state.unit)
    if isinstance(unit, Selector):
        state.selector.start_of[:] = -1
        state.selector.end_of[:] = -1
        state.selector.rows_done[:] = 0
