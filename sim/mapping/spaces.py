"""The mappings to choose from: all that are legal, or those whose tiles come out even.

Of the sizes along an axis of T blocks only ceil(T / n) cuts it into n nearly equal tiles; sizes between give
the same number of tiles with a smaller last one. The even ones are the coarse space of a large operator; the
search then looks at their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from sim.errors import InputError
from sim.hardware import Hardware
from sim.lower.convtiling import ConvTile, conv_limits, conv_rows
from sim.lower.matmul import check_order
from sim.lower.norm import norm_tile_rows
from sim.lower.resadd import acc_rows_of
from sim.lower.tiling import Room, blocks_of, matmul_blocks, tile_counts
from sim.lower.work import Conv, Matmul, Norm, ResidualAdd
from sim.mapping.opmapping import LIBRARY_ORDER, OpMapping, Tiled
from sim.mapping.rules import problems

ORDERS = (LIBRARY_ORDER, "jik")
"""Orders that can differ: with several k-tiles k must be innermost, with one its place does not matter."""


def even_sizes(total: int) -> list[int]:
    """Return the sizes ceil(total / n) of all n, ascending."""
    return sorted({-(-total // n) for n in range(1, total + 1)})


def matmul_space(
    work: Matmul, hw: Hardware, *, even: bool = False, orders: Sequence[str] = (LIBRARY_ORDER,)
) -> Iterator[OpMapping]:
    """Yield the legal mappings of a product in the dataflow it has, ascending in I, J, K and order."""
    room = Room(hw, double_buffered=work.dataflow == "WS")
    blocks = matmul_blocks(work, hw.dim)
    axes = [even_sizes(total) if even else list(range(1, total + 1)) for total in blocks]
    if work.activation in ("layernorm", "softmax"):
        axes[1] = [blocks[1]]  # statistics need whole rows of C in the accumulator
    for i, j in product(axes[0], axes[1]):
        if i * j > room.acc:
            continue
        for k in axes[2]:
            if not room.holds(i, j, k):
                break
            counts = tile_counts(blocks, (i, j, k))
            for order in orders:
                if order == LIBRARY_ORDER or (counts[0] > 1 and counts[1] > 1):
                    yield OpMapping("matmul", (i, j, k), order, work.dataflow)


def conv_space(work: Conv, hw: Hardware, *, even: bool = False) -> Iterator[OpMapping]:
    """Yield legal mappings of a convolution: channels in whole blocks, kernels whole or one row or tap.

    ``even``: only even cuts of the image and of the channels.
    """
    batch, rows, cols, ochs, kernel, _, ichs = conv_limits(work)

    def cuts(total: int) -> list[int]:
        return even_sizes(total) if even else list(range(1, total + 1))

    def channels(total: int) -> list[int]:
        blocks = blocks_of(total, hw.dim)
        return sorted({min(total, n * hw.dim) for n in (even_sizes(blocks) if even else range(1, blocks + 1))})

    taps = sorted({(kernel, kernel), (1, kernel), (1, 1)})
    axes = product(even_sizes(batch), cuts(rows), cuts(cols), channels(ochs), taps, channels(ichs))
    for b, pr, pc, oc, (kr, kc), ic in axes:
        tile: ConvTile = (b, pr, pc, oc, kr, kc, ic)
        if conv_fits(work, tile, hw):
            yield OpMapping("conv", tile)


def resadd_space(work: ResidualAdd, hw: Hardware, *, even: bool = False) -> Iterator[OpMapping]:
    """Yield the tiles of whole blocks that half of the accumulator holds."""
    rows, cols = blocks_of(work.rows, hw.dim), blocks_of(work.cols, hw.dim)
    sizes = [even_sizes(total) if even else list(range(1, total + 1)) for total in (rows, cols)]
    for i, j in product(*sizes):
        tile = (min(work.rows, i * hw.dim), min(work.cols, j * hw.dim))
        if acc_rows_of(tile, hw) <= hw.acc_rows // 2:
            yield OpMapping("residual_add", tile)


def norm_space(work: Norm, hw: Hardware) -> Iterator[OpMapping]:
    """Yield whole blocks of rows, and all that fit."""
    most = norm_tile_rows(replace(work, tile_rows=None), hw)
    for rows in sorted({*range(hw.dim, most, hw.dim), most}):
        yield OpMapping("norm", (rows,))


def conv_fits(work: Conv, tile: ConvTile, hw: Hardware) -> bool:
    """Whether half of the scratchpad and half of the accumulator hold the tile."""
    spad, acc = conv_rows(work, tile, hw)
    return spad <= hw.sp_rows // 2 and acc <= hw.acc_rows // 2


def space(work: Tiled, hw: Hardware, *, even: bool, orders: Sequence[str]) -> Iterator[OpMapping]:
    """Yield the mappings of either kind."""
    if isinstance(work, Conv):
        return conv_space(work, hw, even=even)
    if isinstance(work, ResidualAdd):
        return resadd_space(work, hw, even=even)
    if isinstance(work, Norm):
        return norm_space(work, hw)
    return matmul_space(work, hw, even=even, orders=orders)


def neighbours(work: Tiled, mapping: OpMapping, hw: Hardware) -> list[OpMapping]:
    """Return the legal mappings one or two steps away along one axis, or one step along two axes."""
    limits = limits_of(work, hw)
    step = [1 if isinstance(work, Matmul | Conv) else hw.dim] * len(limits)
    if isinstance(work, Conv):
        step[3] = step[6] = hw.dim
    found = []
    for move in product((-2, -1, 0, 1, 2), repeat=len(limits)):
        if not 1 <= sum(map(abs, move)) <= 2:
            continue
        tile = tuple(
            min(limit, size + delta * by)
            for size, delta, by, limit in zip(mapping.tile, move, step, limits, strict=True)
        )
        moved = OpMapping(mapping.kind, tile, mapping.loop_order, mapping.dataflow)
        if min(tile) >= 1 and moved not in found and moved != mapping and is_legal(work, moved, hw):
            found.append(moved)
    return found


def is_legal(work: Tiled, mapping: OpMapping, hw: Hardware) -> bool:
    """Whether the lowering would take the mapping (matmul: room, whole rows, order; conv: room)."""
    if isinstance(work, Conv):
        b, pr, pc, oc, kr, kc, ic = mapping.tile
        inside = all(1 <= size <= limit for size, limit in zip(mapping.tile, conv_limits(work), strict=True))
        return inside and conv_fits(work, (b, pr, pc, oc, kr, kc, ic), hw)
    if isinstance(work, ResidualAdd | Norm):
        return not problems(work, mapping, hw)
    room, blocks = Room(hw, double_buffered=mapping.dataflow == "WS"), matmul_blocks(work, hw.dim)
    i, j, k = mapping.tile
    inside = all(1 <= size <= limit for size, limit in zip(mapping.tile, blocks, strict=True))
    whole = j == blocks[1] or work.activation not in ("layernorm", "softmax")
    if not (inside and whole and room.holds(i, j, k)):
        return False
    try:
        check_order(mapping.apply(work), tile_counts(blocks, (i, j, k)))  # type: ignore[arg-type]
    except InputError:
        return False
    return True


def size_of(work: Tiled, hw: Hardware) -> int:
    """Return an upper estimate of how many mappings `space` can hold, without listing them."""
    return prod(limits_of(work, hw))


def limits_of(work: Tiled, hw: Hardware) -> tuple[int, ...]:
    """Return the whole operator as one tile."""
    if isinstance(work, Conv):
        return conv_limits(work)
    if isinstance(work, ResidualAdd):
        return work.rows, work.cols
    return (work.rows,) if isinstance(work, Norm) else matmul_blocks(work, hw.dim)
