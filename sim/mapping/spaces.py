"""The mappings to choose from: all that are legal, or those whose tiles come out even.

Of the sizes along an axis of T blocks only ceil(T / n) cuts it into n nearly equal tiles; sizes between give
the same number of tiles with a smaller last one. The even ones are the coarse space of a large operator; the
search then looks at their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, product
from math import prod
from typing import Literal

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower.conv_tiling import ConvTile, conv_limits, conv_rows
from sim.lower.matmul import check, check_tiles
from sim.lower.norm import norm_tile_rows
from sim.lower.resadd import acc_rows_of
from sim.lower.residency import HALVES_PER_OPERAND, INDEX, RESIDENTS, kept, tiles_between_uses
from sim.lower.tiling import Room, Tile, blocks_of, matmul_blocks, tile_counts
from sim.lower.work import Conv, Dataflow, Halves, Matmul, Norm, Resident, ResidualAdd
from sim.mapping.opmapping import LIBRARY_ORDER, OpMapping, Tiled
from sim.mapping.rules import problems

Reach = Literal["call", "hardware"]
REACHES: tuple[Reach, ...] = ("call", "hardware")
"""Mappings that the library's explicit-tile call can be given, or all that the hardware loop can do."""

ORDERS = (LIBRARY_ORDER, "jik")
"""Orders that can differ: with several k-tiles k must be innermost, with one its place does not matter."""

CHOSEN_HALVES: tuple[Halves, ...] = ("together", "apart")
"""What a program can say about halves; where the slot decides, it is one of the two, as the last program left it."""


def even_sizes(total: int) -> list[int]:
    """Return the sizes ceil(total / n) of all n, ascending."""
    return sorted({-(-total // n) for n in range(1, total + 1)})


def matmul_space(
    work: Matmul, hw: Hardware, *, even: bool = False, reach: Reach = "call", dataflow: Dataflow | None = None
) -> Iterator[OpMapping]:
    """Yield the legal mappings of a product, ascending in I, J, K, in its own dataflow unless another is given.

    ``even``: only tiles that come out even, and multiples of the blocks that one load command moves.
    """
    flow = dataflow or work.dataflow
    room = Room(hw, double_buffered=flow == "WS")
    blocks = matmul_blocks(work, hw.dim)
    wide = hw.loop_max_block_len
    axes = [
        sorted({*even_sizes(total), *range(wide, total + 1, wide)}) if even else list(range(1, total + 1))
        for total in blocks
    ]
    if work.activation in ("layernorm", "softmax"):
        axes[1] = [blocks[1]]  # statistics need whole rows of C in the accumulator
    for i, j in product(axes[0], axes[1]):
        if i * j > room.acc:
            continue
        for k in axes[2]:
            if not room.holds(i, j, k):
                break
            yield OpMapping("matmul", (i, j, k), dataflow=flow)
            if reach == "hardware" and flow == "WS":
                yield from beyond_call((i, j, k), tile_counts(blocks, (i, j, k)))


def beyond_call(tile: Tile, counts: Tile) -> Iterator[OpMapping]:
    """Yield what the hardware loop can do with a tile beside the library's call: orders, residency, halves.

    Only what can differ: an order of two loops that both have several tiles, an operand that is used again.
    """
    if counts == (1, 1, 1):
        return
    for order in ORDERS if counts[0] > 1 and counts[1] > 1 else ORDERS[:1]:
        again = {"a": counts[1] > 1, "b": counts[0] > 1}
        free = [name for name in INDEX if again[name] and tiles_between_uses(name, order, counts) <= HALVES_PER_OPERAND]
        choices: list[Resident] = ["none", *(letters for letters in RESIDENTS if set(letters) <= set(free))]
        as_library = kept("library", "WS", counts)
        for resident, halves in product(choices, CHOSEN_HALVES):
            same = order == LIBRARY_ORDER and halves == "together" and kept(resident, "WS", counts) == as_library
            if not same:
                yield OpMapping("matmul", tile, order, "WS", resident, halves)


def dataflows(work: Matmul, hw: Hardware) -> tuple[Dataflow, ...]:
    """Return the dataflows that the machine and the library have for a product, its own first."""
    other: Dataflow = "OS" if work.dataflow == "WS" else "WS"
    try:
        check(replace(work, dataflow=other), hw)
    except InputError:
        return (work.dataflow,)
    return (work.dataflow, other)


def conv_space(work: Conv, hw: Hardware, *, even: bool = False) -> Iterator[OpMapping]:
    """Yield legal mappings of a convolution: channels in whole blocks, kernels whole or one row or tap.

    ``even``: only even cuts of the image and of the channels.
    """
    batch, rows, cols, ochs, krows, kcols, ichs = conv_limits(work)

    def cuts(total: int) -> list[int]:
        return even_sizes(total) if even else list(range(1, total + 1))

    def channels(total: int) -> list[int]:
        blocks = blocks_of(total, hw.dim)
        return sorted({min(total, n * hw.dim) for n in (even_sizes(blocks) if even else range(1, blocks + 1))})

    taps = sorted({(krows, kcols), (1, kcols), (1, 1)})
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


def space(work: Tiled, hw: Hardware, *, even: bool, reach: Reach) -> Iterator[OpMapping]:
    """Yield the mappings of any kind; of a product all dataflows, of its even ones only its own."""
    if isinstance(work, Conv):
        return conv_space(work, hw, even=even)
    if isinstance(work, ResidualAdd):
        return resadd_space(work, hw, even=even)
    if isinstance(work, Norm):
        return norm_space(work, hw)
    flows = dataflows(work, hw)[: 1 if even else None]
    return chain.from_iterable(matmul_space(work, hw, even=even, reach=reach, dataflow=flow) for flow in flows)


def seeds(work: Tiled, hw: Hardware) -> list[OpMapping]:
    """Return where a climb in a product begins: small tiles in whole load commands, K short or all or half of it.

    Small tiles are loaded into one half while the other is computed from; a load command moves up to
    `loop_max_block_len` blocks, so that J and K in whole commands waste none. Empty for all other work.
    """
    if not isinstance(work, Matmul):
        return []
    blocks, wide = matmul_blocks(work, hw.dim), hw.loop_max_block_len
    i_sizes = {1, max(1, wide // 2), wide, 2 * wide}
    j_sizes = {blocks[1]} if work.activation in ("layernorm", "softmax") else i_sizes - {1}
    k_sizes = {wide, 2 * wide, blocks_of(blocks[2], 2), blocks[2]}
    tiles = (
        (min(i, blocks[0]), min(j, blocks[1]), min(k, blocks[2])) for i, j, k in product(i_sizes, j_sizes, k_sizes)
    )
    found = dict.fromkeys(OpMapping("matmul", tile, dataflow=work.dataflow) for tile in tiles)
    return [mapping for mapping in found if is_legal(work, mapping, hw)]


def neighbours(work: Tiled, mapping: OpMapping, hw: Hardware, reach: Reach = "call") -> list[OpMapping]:
    """Return the legal mappings one or two steps away along one axis, or one step along two axes.

    With reach "hardware" also everything else that the loop can do with the same tile.
    """
    limits = limits_of(work, hw)
    step = [1 if isinstance(work, Matmul | Conv) else hw.dim] * len(limits)
    if isinstance(work, Conv):
        step[3] = step[6] = hw.dim
    found: dict[OpMapping, None] = {}
    for move in product((-2, -1, 0, 1, 2), repeat=len(limits)):
        if not 1 <= sum(map(abs, move)) <= 2:
            continue
        tile = tuple(
            min(limit, size + delta * by)
            for size, delta, by, limit in zip(mapping.tile, move, step, limits, strict=True)
        )
        if min(tile) >= 1:
            found[replace(mapping, tile=tile)] = None
    if reach == "hardware" and isinstance(work, Matmul) and mapping.dataflow == "WS":
        i, j, k = mapping.tile
        found |= dict.fromkeys(beyond_call((i, j, k), tile_counts(matmul_blocks(work, hw.dim), (i, j, k))))
        found[OpMapping("matmul", mapping.tile)] = None
    return [moved for moved in found if moved != mapping and is_legal(work, moved, hw)]


def is_legal(work: Tiled, mapping: OpMapping, hw: Hardware) -> bool:
    """Whether the lowering would take the mapping (matmul: room, whole rows, order, residency; conv: room)."""
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
        check_tiles(mapping.apply(work), tile_counts(blocks, (i, j, k)))  # type: ignore[arg-type]
    except InputError:
        return False
    return True


VARIANTS = 10
"""About as many mappings beyond the library's call go with one tile."""


def size_of(work: Tiled, hw: Hardware, reach: Reach) -> int:
    """Return an upper estimate of how many mappings `space` holds, without listing them."""
    limits = limits_of(work, hw)
    if isinstance(work, Conv):
        batch, rows, cols, ochs, krows, kcols, ichs = limits
        taps = 1 if krows * kcols == 1 else 3
        return len(even_sizes(batch)) * rows * cols * blocks_of(ochs, hw.dim) * taps * blocks_of(ichs, hw.dim)
    if not isinstance(work, Matmul):
        return prod(blocks_of(limit, hw.dim) for limit in limits)
    acc = Room(hw, double_buffered=False).acc
    pairs = sum(min(limits[1], acc // i) for i in range(1, min(limits[0], acc) + 1))
    return pairs * limits[2] * (VARIANTS if reach == "hardware" else 1)


def limits_of(work: Tiled, hw: Hardware) -> tuple[int, ...]:
    """Return the whole operator as one tile."""
    if isinstance(work, Conv):
        return conv_limits(work)
    if isinstance(work, ResidualAdd):
        return work.rows, work.cols
    return (work.rows,) if isinstance(work, Norm) else matmul_blocks(work, hw.dim)
