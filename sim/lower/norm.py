"""LayerNorm and softmax of accumulator-type rows in DRAM by single commands of the CPU (tiled_norm_auto).

A row is stored three times: the first two passes only feed the normaliser's statistics (sum -> mean,
variance -> inverse deviation; maximum, sum of exponentials -> inverse), the third writes the result. Two
statistics registers alternate so that two rows overlap.

If a block of DIM rows does not fit into the accumulator, two rows are processed at a time, one per statistics register:
their blocks are two rows apart instead of DIM (`COMPACT`), so that the accumulator holds DIM / 2 times as many columns;
if even that does not fit, every pass loads the rows again piece by piece (`PIECES`). The statistics are the same sums
over the same elements, so the results are the same bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.hardware import Hardware
from sim.isa.commands import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    COMMAND,
    PASS_SHIFT,
    ConfigKind,
    Funct,
    Program,
    local_operand,
)
from sim.isa.layouts import NORM_FIRST, pack, put
from sim.lower.call import Call
from sim.lower.encode import LOAD_FUNCTS, Stream
from sim.lower.matmul import emit_softmax_constants
from sim.lower.polynomials import scale_problems
from sim.lower.tiling import blocks_of
from sim.lower.work import ACTIVATIONS, Norm

STATISTICS = 2
"""Statistics registers of the normaliser (NORM_STAT_IDS, Normalizer.scala)."""


PASSES = {"layernorm": ((1, 2), (3, 4), (0, 0)), "softmax": ((5, 5), (6, 7), (0, 0))}
"""Per pass the command of all chunks of a row but the last, and that of the last (NormCmd.scala: 0 RESET, 1 SUM,
2 MEAN, 3 VARIANCE, 4 INV_STDDEV, 5 MAX, 6 SUM_EXP, 7 INV_SUM_EXP).
"""


Layout = Literal["WHOLE", "COMPACT", "PIECES"]
"""Layout of rows in the accumulator: whole blocks of rows, rows of narrow blocks, or pieces of rows."""


def layout(work: Norm, hw: Hardware) -> Layout:
    """Return the layout of rows in the accumulator."""
    blocks = blocks_of(work.cols, hw.dim)
    if blocks * hw.dim <= hw.acc_rows:
        return "WHOLE"
    return "COMPACT" if blocks * STATISTICS <= hw.acc_rows else "PIECES"


def search_norm_tile(work: Norm, hw: Hardware) -> tuple[int, int]:
    """Remove rows from the tile until it fits, as tiled_norm_auto does; return its rows and the number of passes."""
    rows = norm_tile_rows(replace(work, tile_rows=None), hw)
    return rows, work.rows - rows


def norm_tile_rows(work: Norm, hw: Hardware) -> int:
    """Return the rows in the accumulator at a time. Raises InputError if ``work.tile_rows`` does not fit."""
    row_blocks = hw.acc_rows // (hw.dim * blocks_of(work.cols, hw.dim))
    most = min(work.rows, row_blocks * hw.dim if row_blocks else STATISTICS)
    if work.tile_rows is None:
        return most
    if not 1 <= work.tile_rows <= most:
        raise InputError(
            f"{work.kind} {work.rows}x{work.cols}: tile_rows = {work.tile_rows} must be 1..{most}; nearest: "
            f"{max(1, min(work.tile_rows, most))}"
        )
    return work.tile_rows


def check_norm(work: Norm, hw: Hardware) -> int:
    """Return the rows in the accumulator at a time. Raises InputError if the machine has no units for the work."""
    problems = [
        f"{work.kind}: {name} = {getattr(work, name)} must be >= 1"
        for name in ("rows", "cols")
        if getattr(work, name) < 1
    ]
    if work.kind not in PASSES:
        problems.append(f"norm kind {work.kind!r} is unknown{did_you_mean(work.kind, PASSES)}")
    if not hw.features.normalizations:
        problems.append(f"{work.kind}: this machine has no normalisation units (features.normalizations)")
    if not hw.accumulator.read_small_width:
        problems.append(f"{work.kind}: this accumulator reads at full width only (accumulator.read_small_width)")
    problems += scale_problems(work.kind, work.bert_scale)
    for name, operand, bits in (("x", work.x, _bits(work, hw)), ("result", work.c, hw.bits("c"))):
        if work.rows > 1 and operand.row_stride * bits % 8:
            problems.append(
                f"{work.kind}: rows of {name} begin every {operand.row_stride * bits} bits, not on whole bytes"
            )
    if problems:
        raise InputError(problems)
    return norm_tile_rows(work, hw)


def _bits(work: Norm, hw: Hardware) -> int:
    """Return the bits of an element of X in memory."""
    return hw.bits("a") if work.low_x else 8 * hw.acc_bytes


def lower_norm(work: Norm, hw: Hardware) -> Program:
    """Return the program of one normalisation. Raises InputError as `check_norm` does."""
    tile_rows = check_norm(work, hw)
    stream, lies = Stream(hw, inlined=True, folded=tile_rows == work.rows), layout(work, hw)
    stream.mark("norm_config")
    code = ACTIVATIONS.index(work.kind)
    stream.config_st(-(-work.c.row_stride * hw.bits("c") // 8), activation=code & 3, scale=work.scale)
    stream.config_ex()
    stride = -(-work.x.row_stride * _bits(work, hw) // 8)
    narrow = STATISTICS if lies == "COMPACT" else 0
    for state in (0, 1):
        stream.config_ld(stride, state, shrink=work.low_x, block_rows=narrow)
    if work.kind == "softmax":
        stream.mark("norm_softmax")
        emit_softmax_constants(stream, work.bert_scale)
    if lies == "WHOLE":
        _emit_whole(stream, work, hw, tile_rows)
    elif lies == "COMPACT":
        _emit_compact(stream, work, hw, tile_rows)
    else:
        _emit_pieces(stream, work, hw, tile_rows)
    stream.fence()
    return stream.program()


def _emit_whole(stream: Stream, work: Norm, hw: Hardware, tile_rows: int) -> None:
    """Emit blocks of DIM rows, as in the library."""
    every = slice(0, work.cols)
    for first in range(0, work.rows, tile_rows):
        for row in range(first, min(first + tile_rows, work.rows), hw.dim):
            rows = min(hw.dim, first + tile_rows - row, work.rows - row)
            base = (row - first) * blocks_of(work.cols, hw.dim)
            stream.emit_packed(_loads(stream, work, hw, (np.array([row]), rows), base, every, hw.dim).ravel())
            emit_passes(stream, work, hw, row, rows, base)


def _emit_compact(stream: Stream, work: Norm, hw: Hardware, tile_rows: int) -> None:
    """Emit whole rows, one or two at a time, at alternating addresses if the accumulator has room for two pairs."""
    every = slice(0, work.cols)
    taken = blocks_of(work.cols, hw.dim) * STATISTICS
    places = min(2, hw.acc_rows // taken)
    chunk = hw.dim  # a store of several blocks needs them DIM rows apart
    for number, row in enumerate(range(0, work.rows, tile_rows)):
        rows, base = min(tile_rows, work.rows - row), number % places * taken
        at, to = np.array([row]), np.array([base])
        stream.emit_packed(_loads(stream, work, hw, (at, rows), base, every, STATISTICS).ravel())
        stream.emit_packed(_passes(stream, work, hw, (at, to), rows, every, chunk, STATISTICS).ravel())


def _emit_pieces(stream: Stream, work: Norm, hw: Hardware, tile_rows: int) -> None:
    """Emit one or two rows at a time; each pass loads them again, in pieces in alternating halves."""
    halves = min(2, hw.acc_rows // hw.dim)
    piece = hw.acc_rows // halves // hw.dim * hw.dim
    chunk = min(piece // hw.dim, hw.max_block_len) * hw.dim
    pieces = [slice(start, min(start + piece, work.cols)) for start in range(0, work.cols, piece)]
    bases = [half % halves * piece for half in range(len(pieces))]
    whole = work.rows - work.rows % tile_rows
    for first, last, rows in ((0, whole, tile_rows), (whole, work.rows, work.rows - whole)):
        if first == last:
            continue
        at = np.arange(first, last, tile_rows)
        loads, stores = [], []
        for cols, base in zip(pieces, bases, strict=True):
            loads.append(_loads(stream, work, hw, (at, rows), base, cols, hw.dim))
            stores.append(_passes(stream, work, hw, (at, np.full(len(at), base)), rows, cols, chunk, hw.dim))
        parts = [
            part
            for number in range(len(PASSES[work.kind]))
            for load, passes in zip(loads, stores, strict=True)
            for part in (load, passes[:, number].reshape(len(at), -1))
        ]
        stream.emit_packed(np.concatenate(parts, axis=1).ravel())


def _loads(
    stream: Stream,
    work: Norm,
    hw: Hardware,
    of: tuple[npt.NDArray[np.int64], int],
    base: int,
    cols: slice,
    block_rows: int,
) -> Program:
    """Return the loads of ``of`` = (first rows, rows from each on), columns ``cols``, to accumulator row ``base``.

    Consecutive blocks of columns are ``block_rows`` rows apart. Axes: first row, chunk of columns.
    """
    at, rows = of
    longest = hw.max_block_len if work.low_x else hw.max_block_len_acc
    chunk = min(blocks_of(cols.stop - cols.start, hw.dim), longest) * hw.dim
    first = np.arange(cols.start, cols.stop, chunk)
    loads = np.zeros((len(at), len(first)), COMMAND)
    loads["funct"] = LOAD_FUNCTS[0]
    loads["rs1"] = work.x.address + -(-(at[:, None] * work.x.row_stride + first) * _bits(work, hw) // 8)
    local = base + (first - cols.start) // hw.dim * block_rows
    loads["rs2"] = local_operand(ACCUMULATOR_BIT + local, np.minimum(chunk, cols.stop - first), rows)
    loads["gap"] = stream.pace.gap("norm_load") if stream.pace.priced else stream.gap
    if stream.pace.priced and not cols.start:
        loads["gap"][:, 0] = np.where(at, stream.pace.gap("norm_load_block"), stream.pace.gap("norm_load_first"))
    return loads


def emit_passes(
    stream: Stream, work: Norm, hw: Hardware, row: int, rows: int, base: int, block_rows: int | None = None
) -> None:
    """Store each row three times, two rows at a time.

    ``block_rows``: accumulator rows from one block of columns to the next, None = DIM, which a store of several blocks
    needs.
    """
    even = rows - rows % STATISTICS
    block_rows = hw.dim if block_rows is None else block_rows
    longest = hw.max_block_len if block_rows == hw.dim else 1
    chunk = min(blocks_of(work.cols, hw.dim), longest) * hw.dim
    every = slice(0, work.cols)
    for first, last, statistics in ((0, even, STATISTICS), (even, rows, 1)):
        if first < last:
            pairs = np.arange(first, last, statistics)
            passes = _passes(stream, work, hw, (row + pairs, base + pairs), statistics, every, chunk, block_rows)
            if stream.pace.priced and not first:
                passes["gap"][0, 0, 0, 0] = stream.pace.gap(f"{work.kind}_block")
            stream.emit_packed(passes.ravel())


def _passes(
    stream: Stream,
    work: Norm,
    hw: Hardware,
    at: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    statistics: int,
    part: slice,
    chunk: int,
    block_rows: int,
) -> Program:
    """Return the passes over columns ``part`` of ``statistics`` rows from each of ``at[0]`` on.

    In the accumulator the rows begin at ``at[1]``, consecutive blocks of columns ``block_rows`` rows apart.
    ``chunk``: columns of a store. Axes: pair of rows, pass, row of the pair, configuration and then chunks of columns.
    """
    rows, local = at
    cols = np.arange(part.start, part.stop, chunk)
    inner, final = np.array(PASSES[work.kind]).T[:, None, :, None, None]
    wide = np.minimum(chunk, part.stop - cols)
    stat = np.arange(statistics)[:, None]
    out = np.zeros((len(rows), len(PASSES[work.kind]), statistics, 1 + len(cols)), COMMAND)
    _space(out["gap"], stream, work)
    out["funct"] = Funct.MVOUT
    out["funct"][..., 0] = Funct.CONFIG
    only_stat = work.kind == "softmax"
    out["rs1"][..., 0] = pack(NORM_FIRST, kind=ConfigKind.NORM, statistics_only=only_stat)
    out["rs1"][..., 0] |= put(np.arange(statistics), NORM_FIRST.statistics)
    elements = (rows[:, None, None, None] + stat) * work.c.row_stride + cols
    out["rs1"][..., 1:] = work.c.address + -(-elements * hw.bits("c") // 8)
    lies = local[:, None, None, None] + stat + (cols - part.start) // hw.dim * block_rows
    command = np.where(cols + chunk >= work.cols, final, inner)
    local = (ACCUMULATOR_BIT | ACCUMULATE_BIT) + lies | command << PASS_SHIFT
    out["rs2"][..., 1:] = local_operand(local, wide, 1)
    return out


def _space(gaps: npt.NDArray[np.int64], stream: Stream, work: Norm) -> None:
    """Set the CPU's cycles before each command of `_passes`, by its position in the loops."""
    if not stream.pace.priced:
        gaps[:] = stream.gap
        return

    def price(name: str) -> int:
        return stream.pace.gap(f"{work.kind}_{name}")

    gaps[..., 2:] = price("store")
    gaps[..., -1] = price("store_last")
    gaps[..., 1] = price("store_first")
    gaps[..., 0] = price("second")
    gaps[:, 1:, 0, 0] = price("pass")
    gaps[:, 0, 0, 0] = price("pair")


def call_norm(work: Norm, hw: Hardware) -> Call:
    """Return the library call of a normalisation."""
    passes = 0 if work.tile_rows is not None else search_norm_tile(work, hw)[1]
    path = "norm_softmax" if work.kind == "softmax" else work.kind
    return Call("norm", passes, folded=passes == 0, paths=(path,))
