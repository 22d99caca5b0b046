"""Tile sizes of a convolution: the part that one hardware loop computes (tiled_conv_auto of gemmini.h)."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import NamedTuple

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower.tiling import blocks_of
from sim.lower.work import Conv

ConvTile = tuple[int, int, int, int, int, int, int]
"""(batches, pooled rows, pooled columns, out channels, kernel rows, kernel columns, in channels)."""

BATCHES, POOLED_ROWS, POOLED_COLS, OUT_CHANNELS, IN_CHANNELS = 0, 1, 2, 3, 6
"""Positions in a ConvTile."""

NAMES = (
    "batches",
    "pooled rows",
    "pooled columns",
    "out channels",
    "kernel rows",
    "kernel columns",
    "in channels",
)


def conv_limits(work: Conv) -> ConvTile:
    """Return the largest tile of a convolution: all of it, or one channel if it is depth-wise."""
    ochs, ichs = (1, 1) if work.depthwise else (work.out_channels, work.in_channels)
    return work.batch, work.pooled_rows, work.pooled_cols, ochs, work.rows_of_kernel, work.kernel, ichs


def per_byte(hw: Hardware, operand: str) -> int:
    """Return the least number of elements of an operand ("a", "b", "c") in memory that fill whole bytes."""
    return 8 // gcd(8, hw.bits(operand))


def granules(work: Conv, hw: Hardware) -> ConvTile:
    """Return the unit of a tile's size along each axis, so that every tile begins on a whole byte."""
    a, b, c = (per_byte(hw, operand) for operand in "abc")
    batches = max(a * work.trans_input_3120, c * work.trans_output_1203, 1)
    ochs = max(c, 1 if work.trans_weight_0132 else b)
    ichs = max(1 if work.trans_input_3120 else a, b if work.trans_weight_0132 else 1)
    return batches, 1, 1, ochs, 1, 1, ichs


def conv_rows(work: Conv, tile: ConvTile, hw: Hardware) -> tuple[int, int]:
    """Return the rows that a tile takes: (scratchpad rows of input and weights, accumulator rows of output)."""
    batches, pooled_rows, pooled_cols, ochs, krows, kcols, kchs = tile
    pool_size, pool_stride, _ = work.pool
    orows = pooled_rows * pool_stride + pool_size - 1
    ocols = pooled_cols * pool_stride + pool_size - 1
    irows = orows * work.stride + krows + (work.kernel_dilation - 1) * (krows - 1) - 1
    icols = ocols * work.stride + kcols + (work.kernel_dilation - 1) * (kcols - 1) - 1
    if work.input_dilation > 1:
        # Low pad, image and high pad are each rounded up where holes are skipped (undilated of LoopConv.scala), one
        # row and column more than gemmini.h counts: with its count the image can run into the weights.
        irows, icols = blocks_of(irows, work.input_dilation) + 1, blocks_of(icols, work.input_dilation) + 1
    image = (irows >> work.downsample) * (icols >> work.downsample)
    in_blocks, out_blocks = blocks_of(kchs, hw.dim), blocks_of(ochs, hw.dim)
    input_rows = blocks_of(batches, hw.dim) * kchs * image if work.trans_input_3120 else in_blocks * batches * image
    weight_rows = kcols * krows * (in_blocks * ochs if work.trans_weight_0132 else out_blocks * kchs)
    return input_rows + weight_rows, out_blocks * batches * orows * ocols


def conv_tile(work: Conv, hw: Hardware) -> ConvTile:
    """Return the item's tile or the library's choice. Raises InputError if the item's tile does not fit."""
    limits = conv_limits(work)
    if work.tile is None:
        return auto_conv_tile(work, hw)
    problems = [
        f"conv tile: {name} = {size} must be 1..{limit}"
        for name, size, limit in zip(NAMES, work.tile, limits, strict=True)
        if not 1 <= size <= limit
    ]
    problems += [
        f"conv tile: {name} = {size}: a tile begins on whole bytes, so all {limit} or a multiple of {granule}"
        for name, size, limit, granule in zip(NAMES, work.tile, limits, granules(work, hw), strict=True)
        if 1 <= size < limit and size % granule
    ]
    spad, acc = conv_rows(work, work.tile, hw)
    nearest = auto_conv_tile(work, hw)
    if spad > hw.sp_rows // 2:
        problems.append(f"conv tile {work.tile}: needs {spad} scratchpad rows, half of it has {hw.sp_rows // 2}")
    if acc > hw.acc_rows // 2:
        problems.append(f"conv tile {work.tile}: needs {acc} accumulator rows, half of it has {hw.acc_rows // 2}")
    if problems:
        raise InputError([f"{problem}; a legal tile: {nearest}" for problem in problems])
    return work.tile


class ConvSearch(NamedTuple):
    """The library's tile of a convolution, and the steps of its search.

    ``shrunk``: passes that shrank a size; ``grown``: passes over all sizes that tried to grow each, of which the last
    changed nothing; ``tried``: larger tiles tried.
    """

    tile: ConvTile
    shrunk: int
    grown: int
    tried: int


def auto_conv_tile(work: Conv, hw: Hardware) -> ConvTile:
    """Return the library's tile."""
    return search_conv_tile(work, hw).tile


@lru_cache(maxsize=256)
def search_conv_tile(work: Conv, hw: Hardware) -> ConvSearch:
    """Search as tiled_conv_auto: shrink the largest size until it fits, grow columns, then everything."""
    limits, steps = conv_limits(work), granules(work, hw)
    tile, least = list(limits), [min(pair) for pair in zip(limits, steps, strict=True)]

    def fits(candidate: list[int]) -> bool:
        b, pr, pc, oc, kr, kc, ic = candidate
        spad, acc = conv_rows(work, (b, pr, pc, oc, kr, kc, ic), hw)
        return spad <= hw.sp_rows // 2 and acc <= hw.acc_rows // 2

    shrunk = grown = tried = 0
    while not fits(tile):
        shrunk += 1
        if tile == least:
            raise InputError(f"conv {work.in_rows}x{work.in_cols}: not even one output pixel fits this machine")
        # Narrow columns are not shrunk while rows can be, because columns feed the array.
        spared = tile[POOLED_COLS] <= hw.dim and tile[POOLED_ROWS] > 1
        candidates = [i for i in range(len(tile)) if not (i == POOLED_COLS and spared) and tile[i] > least[i]]
        largest = max(candidates, key=lambda i: (tile[i], -i))
        step = hw.dim if largest in (OUT_CHANNELS, IN_CHANNELS) else steps[largest]
        tile[largest] = max(least[largest], (tile[largest] - 1) // step * step)

    def grow(position: int) -> bool:
        nonlocal tried
        wider = tile.copy()
        wider[position] = min(limits[position], (tile[position] // steps[position] + 1) * steps[position])
        if wider == tile:
            return False
        tried += 1
        if not fits(wider):
            return False
        tile[:] = wider
        return True

    while grow(POOLED_COLS):
        pass
    changed = True
    while changed:
        grown += 1
        changed = sum(grow(position) for position in range(len(tile))) > 0
    b, pr, pc, oc, kr, kc, ic = tile
    return ConvSearch((b, pr, pc, oc, kr, kc, ic), shrunk, grown, tried)
