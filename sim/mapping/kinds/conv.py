"""Mappings of convolutions: tiles in pixels, kernel taps and whole blocks of channels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import ceil, prod

from sim.hardware import Hardware
from sim.lower.conv.lowering import REUSE_TILES, pixels_per_row, window
from sim.lower.conv.tiling import ConvTile, auto_conv_tile, conv_limits, conv_rows, conv_tile
from sim.lower.tiling import blocks_of
from sim.lower.work import Conv
from sim.mapping.bounds import LOOP_COMMANDS, Demand
from sim.mapping.kinds.kind import MappedKind, Reach, even_sizes
from sim.mapping.opmapping import OpMapping


def conv_space(work: Conv, hw: Hardware, *, even: bool = False) -> Iterator[OpMapping]:
    """Yield legal mappings of a convolution: channels in whole blocks, kernels in whole rows or parts of one row.

    ``even``: only even cuts of the image and of the channels.
    """
    batch, rows, cols, ochs, krows, kcols, ichs = conv_limits(work)

    def cuts(total: int) -> list[int]:
        return even_sizes(total) if even else list(range(1, total + 1))

    def channels(total: int) -> list[int]:
        blocks = blocks_of(total, hw.dim)
        return sorted({min(total, n * hw.dim) for n in (even_sizes(blocks) if even else range(1, blocks + 1))})

    taps = kernel_cuts(krows, kcols)
    axes = product(even_sizes(batch), cuts(rows), cuts(cols), channels(ochs), taps, channels(ichs))
    for b, pr, pc, oc, (kr, kc), ic in axes:
        tile: ConvTile = (b, pr, pc, oc, kr, kc, ic)
        if conv_fits(work, tile, hw):
            yield OpMapping("conv", tile)


def kernel_cuts(rows: int, cols: int) -> list[tuple[int, int]]:
    """Return kernel tiles: some whole rows, or some taps of one row."""
    return sorted({*((some, cols) for some in even_sizes(rows)), *((1, some) for some in even_sizes(cols))})


def conv_fits(work: Conv, tile: ConvTile, hw: Hardware) -> bool:
    """Whether half of the scratchpad and half of the accumulator hold the tile."""
    spad, acc = conv_rows(work, tile, hw)
    return spad <= hw.sp_rows // 2 and acc <= hw.acc_rows // 2


def conv_demand(work: Conv, mapping: OpMapping, hw: Hardware) -> Demand:
    """Return the demand of a convolution: the needs of every tiling, its passes and its number of loops."""
    dim = hw.dim
    counts = [blocks_of(n, size) for n, size in zip(conv_limits(work), mapping.tile, strict=True)]
    _, _, _, och, _, kcols, ich = mapping.tile
    size, stride, padding = work.pool
    side = min(size, stride)
    pixels = work.batch * max(0, work.pooled_rows * side - 2 * padding)
    pixels *= max(0, work.pooled_cols * side - 2 * padding)
    shared = min(max(1, dim // ich), kcols) if hw.features.first_layer_optimizations else 1
    out_blocks = _blocks_over(work.out_channels, och, dim)
    in_blocks = _blocks_over(work.in_channels, ich, dim)
    taps = work.rows_of_kernel * ceil(work.kernel / shared)
    loops = prod(counts)
    if work.depthwise:  # a loop that uses one column of the array, for each channel
        out_blocks, in_blocks, loops = work.out_channels, 1, loops * work.out_channels
    c_bytes = work.batch * work.pooled_rows * work.pooled_cols * work.out_channels * hw.input_bytes
    keep_weights = not work.depthwise and counts[3] * counts[4] * counts[5] * counts[6] <= REUSE_TILES
    passes = 1 if keep_weights else counts[0] * counts[1] * counts[2]
    weights = work.taps * work.out_channels * (1 if work.depthwise else work.in_channels)
    keep_input = prod(counts) // counts[3] <= REUSE_TILES
    image_passes = 1 if keep_input else counts[3]
    loaded, written = loaded_pixels(work, mapping.tile, hw)
    in_groups = blocks_of(min(ich, work.in_channels), dim * hw.loop_max_block_len) * counts[6]
    out_groups = _blocks_over(work.out_channels, och, dim * hw.loop_max_block_len)
    return Demand(
        array_rows=pixels * out_blocks * in_blocks * taps,
        read_bytes=(passes * weights + image_passes * _image(work)) * hw.input_bytes,
        write_bytes=c_bytes,
        read_requests=image_passes * loaded * (1 if counts[6] > 1 else in_groups)
        + (0 if _turned(work) or work.depthwise else passes * work.taps * work.in_channels * out_groups),
        write_requests=ceil(c_bytes / hw.dma.max_request_bytes),
        load_commands=0,
        issued_commands=LOOP_COMMANDS["conv"] * loops,
        written_rows=image_passes * written,
    )


def loaded_pixels(work: Conv, tile: tuple[int, ...], hw: Hardware) -> tuple[int, int]:
    """Return the pixels loaded by the tiles of one block of out channels, and the scratchpad rows written with them.

    Tiles overlap: each loads all pixels under its own part of the kernel, and those that one more row and column of
    results would need (gemmini.h). If kernel columns share rows, a pixel is written once for each of them, except
    before the first row. 0 if pixels are skipped or stored differently (dilated images, every other pixel, backward
    passes).
    """
    if work.input_dilation > 1 or work.downsample or _turned(work) or work.depthwise:
        return 0, 0
    _, prows, pcols, _, krows, kcols, kchs = tile
    rows = sum(n for n, _ in _spans(work, True, prows, krows))
    spans = _spans(work, False, pcols, kcols)
    shares = [pixels_per_row(work, hw, size, kchs) for _, size in spans]
    loads, channels = len(_spans(work, True, prows, krows)), blocks_of(work.in_channels, kchs)
    cols = sum(n for n, _ in spans)
    written = sum(rows * n * share for (n, _), share in zip(spans, shares, strict=True))
    dropped = sum(loads * share**2 for share in shares)
    return work.batch * rows * cols * channels, work.batch * channels * max(0, written - dropped)


def _turned(work: Conv) -> bool:
    return work.trans_input_3120 or work.trans_weight_1203 or work.trans_weight_0132


@lru_cache(maxsize=4096)
def _spans(work: Conv, of_rows: bool, size: int, taps: int) -> list[tuple[int, int]]:
    """Return per tile of results and of the kernel along one side: elements of the image loaded, taps of the kernel."""
    results, whole = (work.pooled_rows, work.rows_of_kernel) if of_rows else (work.pooled_cols, work.kernel)
    sizes = (
        (work.out_rows, work.in_rows, work.padding_above) if of_rows else (work.out_cols, work.in_cols, work.padding)
    )
    found = []
    for start in range(0, results, size):
        for tap in range(0, whole, taps):
            some = min(taps, whole - tap)
            _, low, high, _, _, outputs = window(work, start, min(size, results - start), tap, some, sizes)
            dilated = some + (work.kernel_dilation - 1) * (some - 1)
            found.append((max(0, outputs * work.stride + dilated - 1 - low - high), some))
    return found


def _image(work: Conv) -> int:
    """Return the least number of input elements along a side that all results together need."""
    size, stride, padding = work.pool
    pixels = 1
    above, below, left, right = work.paddings
    sides = (work.rows_of_kernel, above + below), (work.kernel, left + right)
    for pooled, (kernel, zeros) in zip((work.pooled_rows, work.pooled_cols), sides, strict=True):
        results = max(0, pooled * min(size, stride) - 2 * padding)
        pixels *= max(0, results * min(work.stride, kernel) - zeros)
    return work.batch * pixels * work.in_channels // work.input_dilation**2


def _blocks_over(total: int, tile: int, dim: int) -> int:
    """Return the blocks of ``dim`` that tiles of ``tile`` need for ``total``, each tile on its own."""
    whole, rest = divmod(total, tile)
    return whole * blocks_of(tile, dim) + blocks_of(rest, dim)


class Convolutions(MappedKind):
    """Convolutions with their pooling."""

    def shape(self, work: Conv) -> str:
        """Return the sizes and flags that determine the mapping, as text."""
        image = f"{work.batch}x{work.in_rows}x{work.in_cols}x{work.in_channels}"
        pool = f" pool={work.pool_size}/{work.pool_stride}" if work.pool_stride else ""
        square = (work.rows_of_kernel, work.padding_above) == (work.kernel, work.padding)
        k, p = (
            f"{rows}x{cols}" for rows, cols in ((work.rows_of_kernel, work.kernel), (work.padding_above, work.padding))
        )
        above, below, left, right = work.paddings
        if (above, left) != (below, right):
            square, p = False, f"{above}+{below}x{left}+{right}"
        kernel = f"k={work.kernel if square else k} s={work.stride} p={work.padding if square else p}"
        return f"{'depthwise ' * work.depthwise}conv {image}->{work.out_channels} {kernel}{pool}"

    def limits(self, work: Conv, hw: Hardware) -> tuple[int, ...]:
        """Return the whole operator as one tile."""
        return conv_limits(work)

    def library(self, work: Conv, hw: Hardware) -> OpMapping:
        """Return the mapping of Gemmini's C library. Raises InputError if no tile fits."""
        return OpMapping("conv", auto_conv_tile(work, hw))

    def check(self, mapped: Conv, hw: Hardware) -> None:
        """Raise InputError for each rule that a mapped item breaks."""
        conv_tile(mapped, hw)

    def space(self, work: Conv, hw: Hardware, *, even: bool, reach: Reach) -> Iterator[OpMapping]:
        """Yield the legal mappings; ``even``: only those with even tiles."""
        return conv_space(work, hw, even=even)

    def demand(self, work: Conv, mapping: OpMapping, hw: Hardware) -> Demand:
        """Return the least use of the shared resources by a mapping."""
        return conv_demand(work, mapping, hw)

    def size(self, work: Conv, hw: Hardware, reach: Reach) -> int:
        """Return an upper estimate of the number of mappings in `space`, without listing them."""
        batch, rows, cols, ochs, krows, kcols, ichs = self.limits(work, hw)
        taps = len(kernel_cuts(krows, kcols))
        return len(even_sizes(batch)) * rows * cols * blocks_of(ochs, hw.dim) * taps * blocks_of(ichs, hw.dim)

    def is_legal(self, work: Conv, mapping: OpMapping, hw: Hardware) -> bool:
        """Whether lowering accepts the mapping, by the room in the memories."""
        b, pr, pc, oc, kr, kc, ic = mapping.tile
        inside = all(1 <= size <= limit for size, limit in zip(mapping.tile, conv_limits(work), strict=True))
        return inside and conv_fits(work, (b, pr, pc, oc, kr, kc, ic), hw)

    def steps(self, work: Conv, hw: Hardware) -> list[int]:
        """Return the step of a tile's size along each axis: a block for channels, else 1."""
        return [1, 1, 1, hw.dim, 1, 1, hw.dim]
