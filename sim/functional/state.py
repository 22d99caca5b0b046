"""What the compiled executor works on: memories, configuration registers, marks and counters, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.functional.counts import NAMES
from sim.functional.kernel_words import HIGH, LOW
from sim.functional.unit import FIELDS
from sim.functional.words import SMALL_FLOATS, decode_table, row, table

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]

LayerNormRule = Literal["library", "hardware"]
"""How a normalised row is rounded: as gemmini.h or as the RTL does it (docs/NUMBERS.md)."""

SNAP_FIELDS = 26
SUB_FIELDS = 6
SETS = 4
"""Of resident weights: one at work, one behind it, room for preloads that have begun."""

MOST_NOTED = 256
"""Clashes kept by number; all are counted."""

MOST_BLOCKS = 512
"""Blocks of one mvin; its columns field has fewer bits than that."""

MOST_SHARED = 256
"""Entries of a codebook (sim.sparsity.compress)."""

ARRAY_BITS = {"int8": 20}
"""Width of the array's results by element type (spatialArrayOutputType, Configs.scala); others are not narrowed."""


class State(NamedTuple):
    """``p``: see `parameters`. ``tally``: clashes, overflows, reads and stores outside DRAM, results beyond the array,
    elements that a load narrowed.

    The fields have the same types on every machine, so that the executor is compiled once: local memories and blocks
    are doubles, which hold every int32 and float32 exactly; DRAM is one image seen as each of its element types.
    ``blocks``: per slot of a preload, its operand and its result; ``tiles``: weights, sums inside the array, A, B.
    ``unit``: `sim.functional.unit`; ``decoded``, ``table``, ``strips``: rows of an expanding load, shared values, loads
    of circulants; ``raw``: bytes of index rows in the scratchpad, ``start_of``/``end_of``: where what is in front of
    (behind) a row begins (ends), or -1; ``picks``, ``chosen``: selected operands of each slot, and of the weights in
    the array; ``fed``: what the blocks of a feed have seen, by slot; ``rows_done``: packed rows by accumulator row.
    ``chunks``, ``subs``: what computes of a sampled product stream (`sim.functional.kernel_sampled`); ``second``: the
    weights preloaded lately, their slots, whether they have been read; ``resident``: those at work; ``lanes``,
    ``depth``: choices of a sub-row, elements chosen so far by place.
    ``words``: elements in DRAM by operand (`sim.functional.words`).
    ``marks``: per queue (ld, ex) and row (scratchpad, then accumulator): writers in motion, changes so far.
    """

    p: Array
    base: Array
    int8: Array
    int16: Array
    int32: Array
    uint16: Array
    float32: Array
    spad: Array
    acc: Array
    lut: Array
    ld: Array
    ex: Array
    st: Array
    normals: Array
    factor: Array
    snap: Array
    stage_rs1: Array
    blocks: Array
    tiles: Array
    pending: Array
    marks: Array
    tally: Array
    clashes: Array
    counts: Array
    bits: Array
    pieces: Array
    line: Array
    unit: Array
    ld_state: Array
    decoded: Array
    table: Array
    raw: Array
    start_of: Array
    end_of: Array
    picks: Array
    chosen: Array
    fed: Array
    rows_done: Array
    words: Array
    strips: Array
    chunks: Array
    subs: Array
    second: Array
    second_slot: Array
    second_there: Array
    resident: Array
    lanes: Array
    depth: Array


def parameters(hw: Hardware, layernorm: LayerNormRule, types: Mapping[str, str]) -> Array:
    """Return the fixed numbers of a machine as int64, in the order of their use in the kernel."""
    kind = hw.array.input_type
    integer = kind.startswith("int")
    lowest, highest = row(hw, "word", types["word"])[LOW : HIGH + 1]
    address_bits = max(hw.sp_rows, hw.acc_rows).bit_length() - 1
    exponent, fraction = SMALL_FLOATS.get(kind, (8, 23))
    longest = max(8 * hw.dma.max_request_bytes // hw.widest_bits, hw.dim)
    sums = 33 if hw.words is not None else ARRAY_BITS.get(kind, 33)
    return np.array(
        [
            hw.dim,
            hw.input_bytes,
            hw.acc_bytes,
            lowest,  # of an integer in the scratchpad
            highest,
            7 << 29 | (1 << (address_bits + 1)) - 1,  # garbage address
            0 if integer else 2 if kind in SMALL_FLOATS else 1,
            hw.features.first_layer_optimizations,
            (1 << longest.bit_length()) - 1,  # columns field
            (1 << hw.dim.bit_length()) - 1,  # rows field
            hw.dma.mvin_scale_units != "none",
            hw.dma.mvin_acc_scale != "none",
            hw.dma.bus_bytes,
            hw.dma.max_request_bytes,
            hw.array.hardcode_d_to_garbage,
            hw.features.max_pool,
            hw.features.normalizations,
            exponent,
            fraction,
            1 << (sums - 1),
            layernorm == "hardware",
            hw.accumulator.scale_units == "none",
            8 * hw.acc_bytes,
        ],
        np.int64,
    )


def build(
    hw: Hardware,
    image: npt.NDArray[np.uint8],
    base: int,
    slots: int,
    seed: int,
    layernorm: LayerNormRule,
    types: Mapping[str, str],
) -> State:
    """Return the state after power-up: local memories hold noise, so that a row nobody wrote shows.

    ``types``: `sim.functional.words.types_of`.
    """
    kind = hw.array.input_type
    dim = hw.dim
    noise = np.random.default_rng(seed).integers(-100, 100, (hw.sp_rows + hw.acc_rows, dim)).astype(np.float64)
    views = {name: image.view(name) for name in ("int8", "int16", "int32", "uint16", "float32")}
    fixed = parameters(hw, layernorm, types)
    held = hw.sparsity.resident_weights
    return State(
        p=fixed,
        base=np.array([base], np.int64),
        **views,
        spad=noise[: hw.sp_rows],
        acc=noise[hw.sp_rows :],
        lut=decode_table(kind) if kind in SMALL_FLOATS else np.zeros(1, np.float32),
        ld=np.zeros((4, 5), np.int64),
        ex=np.zeros(7, np.int64),
        st=np.zeros(17, np.int64),
        normals=np.zeros((2, 6), np.int64),
        factor=np.zeros(2, np.float32),
        snap=np.zeros((slots, SNAP_FIELDS), np.int64),
        stage_rs1=np.zeros(slots, np.int64),
        blocks=np.zeros((2, slots, dim, dim)),
        tiles=np.zeros((4, dim, dim)),
        pending=np.zeros(1, np.int64),
        marks=np.zeros((2, 2, hw.sp_rows + hw.acc_rows), np.int64),
        tally=np.zeros(6, np.int64),
        clashes=np.zeros(MOST_NOTED, np.int64),
        counts=np.zeros(len(NAMES), np.int64),
        bits=np.zeros(1, np.uint32),
        pieces=np.zeros(MOST_BLOCKS, np.int64),
        line=np.zeros(int(fixed[8]) + 1),
        unit=np.zeros(FIELDS, np.int64),
        ld_state=np.zeros(slots, np.int64),
        decoded=np.zeros((dim, int(fixed[8]) + 1 + dim)),
        table=np.zeros(MOST_SHARED),
        raw=np.zeros((hw.sp_rows, hw.sp_row_bytes), np.uint8),
        start_of=np.full(hw.sp_rows + 1, -1, np.int64),
        end_of=np.full(hw.sp_rows + 1, -1, np.int64),
        picks=np.zeros((slots, dim, dim), np.int64),
        chosen=np.zeros((dim, dim), np.int64),
        fed=np.zeros((slots, hw.sparsity.fetch_rows), np.int64),
        rows_done=np.zeros(hw.acc_rows, np.int64),
        words=table(hw, types),
        strips=np.zeros((1, 3), np.int64),
        chunks=np.zeros(1, np.int64),
        subs=np.zeros((1, SUB_FIELDS), np.int64),
        second=np.zeros((SETS * held, dim, dim)),
        second_slot=np.zeros(SETS * held, np.int64),
        second_there=np.zeros(SETS * held, np.int64),
        resident=np.zeros((held, dim, dim)),
        lanes=np.zeros(dim, np.int64),
        depth=np.zeros(dim, np.int64),
    )
