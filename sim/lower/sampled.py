"""Products of which only chosen parts are computed, from weights several of which lie in each PE.

Of ``picks`` "outputs" (scores) a window of keys lies in the array, transposed on the way in; each query is streamed
once per sub-row, that is per DIM of its chosen keys, and what comes out are those scores and no others. Of ``picks``
"inputs" (context, or activations of an N:M pattern) a window of rows of B lies there; a streamed sub-row holds DIM
packed values, each of which meets the row of B that its index says. In either case a window is ``resident`` blocks of
weights, preloaded one after another into the second register of each PE while the window before is at work
(`pairs`); what is left over is preloaded alone.

B stays in the scratchpad for the whole product. Rows of C are cut into tiles that fill half of the accumulator; their
operands, and the index in front of them, alternate between two slots. Sub-rows of all rows of a tile follow each other
without gaps; their results go to the rows that the index says, so a command's result is named as all that it may
touch. The programs cannot run on the RTL: it has one weight per PE, and no index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.errors import InputError
from sim.hardware import Hardware
from sim.isa import GARBAGE_ADDRESS, Funct, Program
from sim.lower import matmul
from sim.lower.encode import Stream
from sim.lower.merge import interleave
from sim.lower.sampledstream import Builder
from sim.lower.tiling import blocks_of
from sim.lower.work import SampledMatmul

PARTS, LEAST_BLOCKS = 4, 4
"""A product is cut into about this many tiles, so that loads, computes and stores of different ones overlap, of at
least so many blocks of rows: fewer rows pass in less time than the next weights take to come in.
"""


@dataclass(frozen=True)
class Tile:
    """Blocks of rows of C that are in the accumulator together.

    ``blocks``: of DIM rows; ``rows``: the rows themselves; ``places``: accumulator rows of each block, ``operands``:
    scratchpad rows of each block's operands; ``index_rows``: scratchpad rows of its index.
    """

    blocks: range
    rows: range
    places: tuple[int, ...]
    operands: tuple[int, ...]
    index_rows: int


@dataclass(frozen=True)
class Layout:
    """Where everything of a product lies: B from row 0 on, two slots of streamed operands in banks of their own."""

    tiles: tuple[Tile, ...]
    features: int
    slots: tuple[int, int]


def check(work: SampledMatmul, hw: Hardware) -> None:
    """Raise InputError for everything the program or the machine refuses, all at once."""
    product, problems = work.matmul, []
    matmul.check(product, hw)
    stored = {"outputs": True, "inputs": False}[work.picks]
    if product.transpose_a or product.transpose_b != stored:
        problems.append(f"picked {work.picks} need A as it is and B {'transposed' if stored else 'as it is'}")
    if product.dataflow != "WS":
        problems.append(f"dataflow {product.dataflow}: several weights lie in a PE with WS only")
    if work.picks == "outputs" and (product.activation != "softmax" or product.bias != "none" or product.full_c):
        problems.append(
            "chosen scores leave through the array's softmax (features.normalizations and nonlinear_activations), "
            "without bias, in input type"
        )
    if work.picks == "inputs" and product.activation in ("softmax", "layernorm"):
        problems.append(f"activation {product.activation!r} needs whole rows of C; run it as an operator of its own")
    if work.resident > hw.sparsity.resident_weights:
        problems.append(f"{work.resident} weights per PE; this array holds {hw.sparsity.resident_weights}")
    wide = product.n if work.picks == "outputs" else product.k
    windows = blocks_of(wide, work.resident * hw.dim)
    if len(work.counts) != product.m or any(len(row) != windows for row in work.counts):
        problems.append(f"counts of {len(work.counts)} rows; there are {product.m} rows of {windows} windows")
    if problems:
        where = f"sampled matmul {product.m}x{product.n}x{product.k}: "
        raise InputError([where + problem for problem in problems])


def layout(work: SampledMatmul, hw: Hardware) -> Layout:
    """Return tiles and places. Raises InputError where B, or one block of rows, finds no room."""
    product, dim = work.matmul, hw.dim
    outputs = work.picks == "outputs"
    keys, features = (product.n, product.k) if outputs else (product.k, product.n)
    features = blocks_of(features, dim)
    longest = _longest(work, dim)
    packed = [int(n) * dim for n in longest]
    places = packed if outputs else [features * dim] * len(packed)
    operands = [features * dim] * len(packed) if outputs else packed
    row_bytes = dim * hw.input_bytes
    index_rows = blocks_of(dim * work.index_row_bytes, row_bytes) + 1  # the first row may hold others' bits too
    b_rows = blocks_of(keys, dim) * features * dim
    first = blocks_of(b_rows, hw.sp_bank_rows) * hw.sp_bank_rows
    room = (hw.sp_rows - first) // 2
    half, least = hw.acc_rows // 2, max(o + index_rows for o in operands)
    where = f"sampled matmul {product.m}x{product.n}x{product.k}: "
    if max(places) > half:
        raise InputError(
            f"{where}the sub-rows of {dim} rows take {max(places)} accumulator rows, half of it has {half}; take a "
            "larger accumulator.capacity or a lower density"
        )
    if room < least:
        raise InputError(
            f"{where}B takes {b_rows} of {hw.sp_rows} scratchpad rows, which leaves {max(0, room)} for each of two "
            f"slots of at least {least}; take a larger scratchpad.capacity"
        )
    most = product.tile[0] if product.tile is not None else max(LEAST_BLOCKS, blocks_of(len(places), PARTS))
    tiles: list[Tile] = []
    begin = 0
    while begin < len(places):
        end = begin + 1
        while (
            end < len(places)
            and end - begin < most
            and sum(places[begin : end + 1]) <= half
            and sum(o + index_rows for o in operands[begin : end + 1]) <= room
        ):
            end += 1
        rows = range(begin * dim, min(end * dim, product.m))
        index = blocks_of(len(rows) * work.index_row_bytes, row_bytes) + 1
        tiles.append(Tile(range(begin, end), rows, tuple(places[begin:end]), tuple(operands[begin:end]), index))
        begin = end
    return Layout(tuple(tiles), features, (first, first + room))


def _longest(work: SampledMatmul, dim: int) -> list[int]:
    """Return, per block of DIM rows, the sub-rows of its fullest row: what the block takes in columns."""
    totals = np.asarray(work.counts, np.int64).sum(axis=1)
    return [max(1, int(totals[i : i + dim].max())) for i in range(0, len(totals), dim)]


def lower_sampled(work: SampledMatmul, hw: Hardware) -> Program:
    """Return the program. Raises InputError for what the machine or the program refuses."""
    check(work, hw)
    places = layout(work, hw)
    stream = Stream(hw)
    matmul.emit_config(stream, work.matmul, hw)
    interleave(stream, Builder(work, places, hw).streams(), hw)
    stream.fence()
    return stream.program()


def index_reads(work: SampledMatmul, program: Program, hw: Hardware) -> int:
    """Return the scratchpad rows of index that are read beside the streamed rows: the timing core counts none."""
    funct, operand = program["funct"], program["rs1"]
    computes = (funct == Funct.COMPUTE_PRELOADED) | (funct == Funct.COMPUTE_ACCUMULATED)
    streamed = computes & ((operand & 0xFFFFFFFF) != GARBAGE_ADDRESS)
    rows = (operand[streamed] >> 48) & 0xFFFF
    return int(np.sum(-(-rows * work.index_bits // (8 * hw.dim * hw.input_bytes))))
