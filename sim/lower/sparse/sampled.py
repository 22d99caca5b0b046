"""Products of which only chosen parts are computed, from weights several of which lie in each PE.

Of ``picks`` "outputs" (scores) a window of keys lies in the array, transposed on the way in; each query is streamed
once per sub-row, that is per DIM of its chosen keys, and what comes out are those scores and no others. Of ``picks``
"inputs" (context, or activations of an N:M pattern) a window of rows of B lies there; a streamed sub-row holds DIM
packed values, each of which meets the row of B that its index says. In either case a window is ``resident`` blocks of
weights, preloaded one after another into the second register of each PE while the window before is at work
(`pairs`); what is left over is preloaded alone.

The cut: `sim.lower.sparse.sampled_plan`. Sub-rows of all rows of a tile follow each other without gaps; their results
go to the rows that the index says, so a command's result is named as all that it may touch. The programs cannot run on
the RTL: it has one weight per PE, and no index.
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
    if hw.dim != hw.side:
        problems.append("PEs that split hold no weights to pick among in their parts; leave out their [[precision]]")
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
    """Return the program. Raises InputError for what the machine or the program refuses."""
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
    """Return the timing core's counters with what its commands do not say of an index: rows read and sums written."""
    reads = counters["SPAD_READ_ROWS"] + index_reads(work, program, hw)
    return {**counters, "SPAD_READ_ROWS": reads, **sums_written(work, program, counters)}


def index_reads(work: SampledMatmul, program: Program, hw: Hardware) -> int:
    """Return the scratchpad rows of index that are read beside the streamed rows: the timing core counts none."""
    funct, operand = program["funct"], program["rs1"]
    computes = (funct == Funct.COMPUTE_PRELOADED) | (funct == Funct.COMPUTE_ACCUMULATED)
    streamed = computes & (local_address(operand) != GARBAGE_ADDRESS)
    rows = operand_rows(operand[streamed])
    return int(np.sum(-(-rows * work.index_bits // (8 * hw.sp_row_bytes))))


def sums_written(work: SampledMatmul, program: Program, counters: Mapping[str, int]) -> dict[str, int]:
    """Return the accumulator rows that are written, and added to, as counters: those of sub-rows and of the bias.

    The timing core writes every row that comes out of the array, up to those a command names; here these are all it may
    touch, and rows that pass beside weights with nothing streamed go nowhere. With a bias every result is added to, so
    what the core wrote without adding is the bias.
    """
    streams = np.flatnonzero((program["funct"] == Funct.PRELOAD) & (local_address(program["rs2"]) != GARBAGE_ADDRESS))
    fed = operand_rows(program["rs1"][streams + 1])
    added = int((fed * accumulates(program["rs2"][streams])).sum())
    bias = 0 if work.matmul.bias == "none" else counters["ACC_WRITE_ROWS"] - counters["ACC_ACCUMULATE_ROWS"]
    return {"ACC_WRITE_ROWS": int(fed.sum()) + bias, "ACC_ACCUMULATE_ROWS": added}
