"""Output-stationary tiles: the CPU issues every command, without hardware loops (sp_tiled_matmul_os)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.isa.commands import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    COMMAND,
    FULL_WIDTH_BIT,
    GARBAGE_ADDRESS,
    Funct,
    Program,
    local_operand,
)
from sim.lower.encode import Stream
from sim.lower.tiling import Tile
from sim.lower.work import Matmul

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OsTile:
    """A tile: ``blocks`` and ``pads`` along i, j, k, DRAM ``addresses`` of A, B, D (0: none), C (0: not yet stored).

    ``accumulate``: add to the contents of the accumulator (bias or earlier k-tiles).
    """

    blocks: Tile
    pads: tuple[int, int, int]
    addresses: tuple[int, int, int, int]
    accumulate: bool

    def extent(self, position: int, length: int, axis: int, dim: int) -> int:
        """Return the elements of ``length`` blocks from ``position`` on, without the pad of the last block."""
        edge = position + length >= self.blocks[axis]
        return length * dim - (self.pads[axis] if edge else 0)


def emit_os_tile(stream: Stream, work: Matmul, hw: Hardware, tile: OsTile) -> None:
    """Emit one tile: load D, B, A; per output block a chain over k that stays in the array; store C."""
    if tile.addresses[2] and work.d is not None:
        _load_d(stream, work, hw, tile)
    _load_b(stream, work, hw, tile)
    _load_a(stream, work, hw, tile)
    stream.emit_packed(_chains(stream, work, hw, tile))
    if tile.addresses[3]:
        _store_c(stream, work, hw, tile)


def _load_d(stream: Stream, work: Matmul, hw: Hardware, tile: OsTile) -> None:
    dim, (count_i, count_j, _), d = hw.dim, tile.blocks, tile.addresses[2]
    assert work.d is not None
    stride = 0 if work.bias == "row" else work.d.row_stride
    wide = min(count_j, hw.max_block_len_acc)
    stream.mark("os_config_d")
    stream.config_ld(stride * hw.acc_bytes, scale=work.d_scale)
    for i in range(count_i):
        for j in range(0, count_j, wide):
            stream.mark(_piece("os_load", i, j))
            length = min(wide, count_j - j)
            source = d + (i * stride + j) * dim * hw.acc_bytes
            local = ACCUMULATOR_BIT + (i * count_j + j) * dim
            stream.mvin(source, local, tile.extent(j, length, 1, dim), tile.extent(i, 1, 0, dim))


def _load_b(stream: Stream, work: Matmul, hw: Hardware, tile: OsTile) -> None:
    dim, (_, count_j, count_k), b = hw.dim, tile.blocks, tile.addresses[1]
    wide = min(count_j, hw.max_block_len)
    start = hw.sp_rows - count_k * count_j * dim
    stream.mark("os_config_b")
    stream.config_ld(work.b.row_stride * hw.input_bytes, scale=work.b_scale)
    for j in range(0, count_j, wide):
        for k in range(count_k):
            stream.mark(_piece("os_load", j, k))
            length = min(wide, count_j - j)
            source = b + (k * work.b.row_stride + j) * dim * hw.input_bytes
            local = start + (k * count_j + j) * dim
            stream.mvin(source, local, tile.extent(j, length, 1, dim), tile.extent(k, 1, 2, dim))


def _load_a(stream: Stream, work: Matmul, hw: Hardware, tile: OsTile) -> None:
    dim, (count_i, _, count_k), a = hw.dim, tile.blocks, tile.addresses[0]
    deep = min(count_k, hw.max_block_len)
    stream.mark("os_config_a")
    stream.config_ld(work.a.row_stride * hw.input_bytes, scale=work.a_scale)
    for i in range(count_i):
        for k in range(0, count_k, deep):
            stream.mark(_piece("os_load", i, k))
            length = min(deep, count_k - k)
            source = a + (i * work.a.row_stride + k) * dim * hw.input_bytes
            local = (i * count_k + k) * dim
            stream.mvin(source, local, tile.extent(k, length, 2, dim), tile.extent(i, 1, 0, dim))


def _store_c(stream: Stream, work: Matmul, hw: Hardware, tile: OsTile) -> None:
    dim, (count_i, count_j, _), c = hw.dim, tile.blocks, tile.addresses[3]
    start = ACCUMULATOR_BIT | ACCUMULATE_BIT | (FULL_WIDTH_BIT if work.full_c else 0)
    element_bytes = hw.acc_bytes if work.full_c else hw.input_bytes
    for i in range(count_i):
        for j in range(count_j):
            stream.mark(_piece("os_store", i, j))
            sink = c + (i * work.c.row_stride + j) * dim * element_bytes
            local = start + (i * count_j + j) * dim
            stream.mvout(sink, local, tile.extent(j, 1, 1, dim), tile.extent(i, 1, 0, dim))


def _piece(kind: str, outer: int, inner: int, row: str = "row", next_one: str = "") -> str:
    """Return the kind of stream of a command in two nested loops.

    The first command, the first of a row, or a further one.
    """
    name = next_one if inner else row if outer else "first"
    return f"{kind}_{name}" if name else kind


def _chains(stream: Stream, work: Matmul, hw: Hardware, tile: OsTile) -> Program:
    """Return the preloads and computes of a tile: for each output block a chain over k.

    Only its last result is stored.
    """
    dim, blocks, pads = hw.dim, tile.blocks, tile.pads
    _, count_j, count_k = blocks
    i, j, k = (axis.ravel() for axis in np.indices(blocks))
    heights, widths, depths = (
        np.where(at == count - 1, dim - pad, dim) for at, count, pad in zip((i, j, k), blocks, pads, strict=True)
    )
    flags = ACCUMULATOR_BIT | (FULL_WIDTH_BIT if work.full_c else 0) | (ACCUMULATE_BIT if tile.accumulate else 0)
    result = np.where(k == count_k - 1, flags + (i * count_j + j) * dim, GARBAGE_ADDRESS)
    found = np.empty((len(k), 2), COMMAND)
    preloads, computes = found[:, 0], found[:, 1]
    preloads["funct"], preloads["gap"] = Funct.PRELOAD, _preload_gaps(stream, i, j, k, count_k)
    preloads["rs1"] = local_operand(GARBAGE_ADDRESS, dim, dim)
    preloads["rs2"] = local_operand(result, widths, heights)
    computes["funct"] = np.where(k == 0, Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)
    computes["gap"] = _compute_gaps(stream, k)
    computes["rs1"] = local_operand((i * count_k + k) * dim, depths, heights)
    computes["rs2"] = local_operand(hw.sp_rows - count_k * count_j * dim + (k * count_j + j) * dim, widths, depths)
    return found.ravel()


def _preload_gaps(stream: Stream, i: Numbers, j: Numbers, k: Numbers, count_k: int) -> Numbers:
    """Return the CPU's cycles before each preload, by the loops that advance there."""
    if not stream.pace.priced:
        return np.full(len(k), stream.gap)
    first = np.where(j > 0, stream.gap_of("os_preload_j"), stream.gap_of("os_preload_i"))
    first = np.where((i == 0) & (j == 0), stream.gap_of("os_preload_first"), first)
    further = np.where(k == count_k - 1, stream.gap_of("os_preload_last"), stream.gap_of("os_preload"))
    return np.where(k == 0, first, further)


def _compute_gaps(stream: Stream, k: Numbers) -> Numbers:
    """Return the CPU's cycles before each compute: the first of a chain, then by its position in the chain."""
    if not stream.pace.priced:
        return np.full(len(k), stream.gap)
    further = np.array([stream.gap_of("os_compute", place) for place in range(int(k.max(initial=0)) + 1)])
    return np.where(k == 0, stream.gap_of("os_compute_first"), further[np.maximum(k - 1, 0)])
