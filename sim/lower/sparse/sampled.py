"""Products of which only chosen parts are computed, with several weights in each PE.

With ``picks`` "outputs" (scores) the array holds a window of keys, transposed on the way in; each query is streamed
once per sub-row, that is per DIM of its chosen keys, and only those scores are computed. With ``picks`` "inputs"
(context, or activations of an N:M pattern) the array holds a window of rows of B; a streamed sub-row has DIM packed
values, each multiplied with the row of B that its index names. In both cases a window is ``resident`` blocks of
weights, preloaded one after another into the second register of each PE while the previous window is used (`pairs`);
the remaining ones are preloaded without a compute.

The cut: `sim.lower.sparse.sampled_plan`. Sub-rows of all rows of a tile follow each other without gaps; their results
go to the rows that the index names, so a command names the range of all rows that it may write. The programs cannot run
on the RTL: it has one weight per PE, and no index.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import GARBAGE_ADDRESS, Funct, Program
from sim.isa.fields import accumulates, local_address, operand_rows
from sim.lower import matmul
from sim.lower.encode import Stream
from sim.lower.sparse.sampled_plan import choose_cut
from sim.lower.sparse.sampled_stream import streams
from sim.lower.tiling import blocks_of
from sim.lower.work import SampledMatmul


def check(work: SampledMatmul, hw: Hardware) -> None:
    """Raise InputError if the program or the machine refuses the item (all problems in one error)."""
    product, problems = work.matmul, []
    matmul.check(product, hw)
    stored = {"outputs": True, "inputs": False}[work.picks]
    if product.transpose_a or product.transpose_b != stored:
        problems.append(f"picked {work.picks} need A untransposed and B {'transposed' if stored else 'untransposed'}")
    if product.dataflow != "WS":
        problems.append(f"dataflow {product.dataflow}: a PE holds several weights with WS only")
    if work.picks == "outputs" and (product.activation != "softmax" or product.bias != "none" or product.full_c):
        problems.append(
            "chosen scores leave through the array's softmax (features.normalizations and nonlinear_activations), "
            "without bias, in input type"
        )
    if work.picks == "inputs" and product.activation in ("softmax", "layernorm"):
        problems.append(f"activation {product.activation!r} needs whole rows of C; run it as a separate operator")
    if hw.dim != hw.side:
        problems.append(
            "the parts of PEs that split cannot select among several weights; leave out their [[precision]]"
        )
    if work.resident > hw.sparsity.resident_weights:
        problems.append(f"{work.resident} weights per PE; this array holds {hw.sparsity.resident_weights}")
    wide = product.n if work.picks == "outputs" else product.k
    windows = blocks_of(wide, work.resident * hw.dim)
    if len(work.counts) != product.m or any(len(row) != windows for row in work.counts):
        problems.append(f"counts of {len(work.counts)} rows; there are {product.m} rows of {windows} windows")
    if problems:
        where = f"sampled matmul {product.m}x{product.n}x{product.k}: "
        raise InputError([where + problem for problem in problems])


def lower_sampled(work: SampledMatmul, hw: Hardware) -> Program:
    """Return the program. Raises InputError if the machine or the program refuses the item."""
    check(work, hw)
    cut = choose_cut(work, hw)
    stream = Stream(hw)
    matmul.emit_config(stream, work.matmul, hw)
    stream.emit_packed(streams(work, cut, hw).merged(hw))
    stream.fence()
    return stream.program()


def sampled_counters(
    work: SampledMatmul, program: Program, hw: Hardware, counters: Mapping[str, int]
) -> dict[str, int]:
    """Return the timing core's counters corrected for the index, which no command shows: rows read and sums written."""
    reads = counters["SPAD_READ_ROWS"] + index_reads(work, program, hw)
    return {**counters, "SPAD_READ_ROWS": reads, **sums_written(work, program, counters)}


def index_reads(work: SampledMatmul, program: Program, hw: Hardware) -> int:
    """Return the scratchpad rows of index that are read with the streamed rows: the timing core counts none."""
    funct, operand = program["funct"], program["rs1"]
    computes = (funct == Funct.COMPUTE_PRELOADED) | (funct == Funct.COMPUTE_ACCUMULATED)
    streamed = computes & (local_address(operand) != GARBAGE_ADDRESS)
    rows = operand_rows(operand[streamed])
    return int(np.sum(-(-rows * work.index_bits // (8 * hw.sp_row_bytes))))


def sums_written(work: SampledMatmul, program: Program, counters: Mapping[str, int]) -> dict[str, int]:
    """Return the accumulator rows that are written, and added to, as counters: those of sub-rows and of the bias.

    The timing core writes every row that comes out of the array, up to the rows that a command names; here a command
    names all rows that it may write, and rows that pass during a preload without a stream are not written. With a bias
    every result is added, so the rows that the core wrote without adding are the bias.
    """
    streams = np.flatnonzero((program["funct"] == Funct.PRELOAD) & (local_address(program["rs2"]) != GARBAGE_ADDRESS))
    fed = operand_rows(program["rs1"][streams + 1])
    added = int((fed * accumulates(program["rs2"][streams])).sum())
    bias = 0 if work.matmul.bias == "none" else counters["ACC_WRITE_ROWS"] - counters["ACC_ACCUMULATE_ROWS"]
    return {"ACC_WRITE_ROWS": int(fed.sum()) + bias, "ACC_ACCUMULATE_ROWS": added}
