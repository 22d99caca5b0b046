"""LayerNorm and softmax of accumulator-type rows in DRAM, every command hand-issued (tiled_norm_auto).

A row is stored three times: the first two passes only feed the normaliser's statistics (sum -> mean,
variance -> inverse deviation; maximum, sum of exponentials -> inverse), the third writes the result. Two
statistics registers alternate so that two rows overlap.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.hardware import Hardware
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, COMMAND, ConfigKind, Funct, Program
from sim.lower.encode import Stream
from sim.lower.matmul import emit_softmax_constants, scale_problems
from sim.lower.tiling import blocks_of
from sim.lower.work import ACTIVATIONS, Norm

STATISTICS = 2
"""Statistics registers of the normaliser (NORM_STAT_IDS, Normalizer.scala)."""

COMMAND_SHIFT = 26
"""Position of the normalisation command in a local address (LocalAddr.scala)."""

PASSES = {"layernorm": ((1, 2), (3, 4), (0, 0)), "softmax": ((5, 5), (6, 7), (0, 0))}
"""Per pass the command of all chunks of a row but the last, and of the last (NormCmd.scala: 0 RESET, 1 SUM,
2 MEAN, 3 VARIANCE, 4 INV_STDDEV, 5 MAX, 6 SUM_EXP, 7 INV_SUM_EXP).
"""


def search_norm_tile(work: Norm, hw: Hardware) -> tuple[int, int]:
    """Drop a row of the tile until it fits, as tiled_norm_auto does; return its rows and the passes that took."""
    rows = norm_tile_rows(replace(work, tile_rows=None), hw)
    return rows, work.rows - rows


def norm_tile_rows(work: Norm, hw: Hardware) -> int:
    """Return how many rows go into the accumulator at once; InputError if not even one does, or not so many."""
    col_blocks = blocks_of(work.cols, hw.dim)
    row_blocks = hw.acc_rows // (hw.dim * col_blocks)
    if row_blocks < 1:
        raise InputError(
            f"{work.kind} {work.rows}x{work.cols}: one block of rows takes {hw.dim * col_blocks} "
            f"accumulator rows, {hw.acc_rows} there; at most {hw.acc_rows} columns fit"
        )
    most = min(work.rows, row_blocks * hw.dim)
    if work.tile_rows is None:
        return most
    if not 1 <= work.tile_rows <= most:
        raise InputError(
            f"{work.kind} {work.rows}x{work.cols}: tile_rows = {work.tile_rows} must be 1..{most}; nearest: "
            f"{max(1, min(work.tile_rows, most))}"
        )
    return work.tile_rows


def lower_norm(work: Norm, hw: Hardware) -> Program:
    """Return the program of one normalisation; raises InputError if the machine has no units for it."""
    problems = [
        f"{work.kind}: {name} = {getattr(work, name)} must be >= 1"
        for name in ("rows", "cols")
        if getattr(work, name) < 1
    ]
    if work.kind not in PASSES:
        problems.append(f"norm kind {work.kind!r} is unknown{did_you_mean(work.kind, PASSES)}")
    if not hw.features.normalizations:
        problems.append(f"{work.kind}: this machine has no normalisation units (features.normalizations)")
    problems += scale_problems(work.kind, work.bert_scale)
    if problems:
        raise InputError(problems)
    tile_rows = norm_tile_rows(work, hw)
    stream = Stream(hw, inlined=True, folded=tile_rows == work.rows)
    stream.mark("norm_config")
    code = ACTIVATIONS.index(work.kind)
    stream.config_st(hw.packed_bytes(work.cols, "c"), activation=code & 3, scale=work.scale)
    stream.config_ex()
    stream.config_ld(work.cols * hw.acc_bytes, 0)
    stream.config_ld(work.cols * hw.acc_bytes, 1)
    if work.kind == "softmax":
        stream.mark("norm_softmax")
        emit_softmax_constants(stream, work.bert_scale)
    for first in range(0, work.rows, tile_rows):
        for row in range(first, min(first + tile_rows, work.rows), hw.dim):
            rows = min(hw.dim, first + tile_rows - row, work.rows - row)
            base = (row - first) * blocks_of(work.cols, hw.dim)
            _emit_load(stream, work, hw, row, rows, base)
            _emit_passes(stream, work, hw, row, rows, base)
    stream.fence()
    return stream.program()


def _emit_load(stream: Stream, work: Norm, hw: Hardware, row: int, rows: int, base: int) -> None:
    """Load ``rows`` rows from ``row`` on to accumulator row ``base``, block columns side by side."""
    chunk = min(blocks_of(work.cols, hw.dim), hw.max_block_len_acc) * hw.dim
    for col in range(0, work.cols, chunk):
        stream.mark("norm_load" if col else "norm_load_block" if row else "norm_load_first")
        source = work.x.address + (row * work.cols + col) * hw.acc_bytes
        stream.mvin(source, ACCUMULATOR_BIT + base + col, min(chunk, work.cols - col), rows)


def _emit_passes(stream: Stream, work: Norm, hw: Hardware, row: int, rows: int, base: int) -> None:
    """Store each row three times, two rows at a time."""
    even = rows - rows % STATISTICS
    for first, last, statistics in ((0, even, STATISTICS), (even, rows, 1)):
        if first < last:
            pairs = np.arange(first, last, statistics)
            passes = _passes(stream, work, hw, row + pairs, base + pairs, statistics)
            if stream.pace.priced and not first:
                passes["gap"][0] = stream.pace.gap(f"{work.kind}_block")
            stream.emit_packed(passes)


def _passes(
    stream: Stream, work: Norm, hw: Hardware, rows: npt.NDArray[np.int64], local: npt.NDArray[np.int64], statistics: int
) -> Program:
    """Return the passes over ``statistics`` rows from each of ``rows`` on, in the accumulator from ``local`` on.

    Axes: pair of rows, pass, row of the pair, configuration and then chunks of columns.
    """
    chunk = min(blocks_of(work.cols, hw.dim), hw.max_block_len) * hw.dim
    cols = np.arange(0, work.cols, chunk)
    inner, final = np.array(PASSES[work.kind]).T[:, None, :, None, None]
    wide = np.minimum(chunk, work.cols - cols)
    stat = np.arange(statistics)[:, None]
    out = np.zeros((len(rows), len(PASSES[work.kind]), statistics, 1 + len(cols)), COMMAND)
    _space(out["gap"], stream, work)
    out["funct"] = Funct.MVOUT
    out["funct"][..., 0] = Funct.CONFIG
    only_stat = work.kind == "softmax"
    out["rs1"][..., 0] = only_stat << 17 | np.arange(statistics) << 8 | ConfigKind.NORM
    elements = (rows[:, None, None, None] + stat) * work.cols + cols
    out["rs1"][..., 1:] = work.c.address + -(-elements * hw.bits("c") // 8)
    address = (ACCUMULATOR_BIT | ACCUMULATE_BIT) + local[:, None, None, None] + stat + cols
    command = np.where(cols + chunk >= work.cols, final, inner)
    out["rs2"][..., 1:] = address | command << COMMAND_SHIFT | wide << 32 | 1 << 48
    return out.ravel()


def _space(gaps: npt.NDArray[np.int64], stream: Stream, work: Norm) -> None:
    """Set the cycles before each command of `_passes`, by the place of its loop."""
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
