"""Mappings of products: tiles in blocks of DIM; with reach "hardware" also loop orders, operands that stay, halves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, product
from math import ceil

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower import matmul
from sim.lower.residency import HALVES_PER_OPERAND, INDEX, RESIDENTS, kept, tiles_between_uses
from sim.lower.tiling import Tile, TileMemory, auto_matmul_tile, blocks_of, matmul_blocks, matmul_tile, tile_counts
from sim.lower.work import Dataflow, Halves, Matmul, Resident
from sim.mapping.bounds import LOOP_COMMANDS, NORM_PASSES, Demand
from sim.mapping.kinds.kind import MappedKind, Reach, even_sizes
from sim.mapping.opmapping import LIBRARY_ORDER, OpMapping

ORDERS = (LIBRARY_ORDER, "jik")
"""Distinct loop orders: with several k-tiles k must be innermost, with one its position does not matter."""

CHOSEN_HALVES: tuple[Halves, ...] = ("together", "apart")
"""Halves that a program can set; with "slot" the result is one of the two, depending on the previous program."""

VARIANTS = 10
"""Approximate number of mappings beyond the library's call per tile."""

NEEDS_ROWS = ("layernorm", "softmax")
"""Activations whose statistics need whole rows of C in the accumulator."""


def matmul_space(
    work: Matmul, hw: Hardware, *, even: bool = False, reach: Reach = "call", dataflow: Dataflow | None = None
) -> Iterator[OpMapping]:
    """Yield the legal mappings of a product, ascending in I, J, K, in its own dataflow unless another is given.

    ``even``: only even tiles, and multiples of the blocks that one load command moves.
    """
    flow = dataflow or work.dataflow
    room = TileMemory(hw, double_buffered=flow == "WS")
    blocks = matmul_blocks(work, hw.dim)
    wide = hw.loop_max_block_len
    axes = [
        sorted({*even_sizes(total), *range(wide, total + 1, wide)}) if even else list(range(1, total + 1))
        for total in blocks
    ]
    if work.activation in NEEDS_ROWS:
        axes[1] = [blocks[1]]
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
    """Yield the mappings of the hardware loop with a tile beyond the library's call: orders, residency, halves.

    Only distinct ones: an order of two loops that both have several tiles, an operand that is used again.
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
    """Return the dataflows that machine and library support for a product, the item's own first."""
    other: Dataflow = "OS" if work.dataflow == "WS" else "WS"
    try:
        matmul.check(replace(work, dataflow=other), hw)
    except InputError:
        return (work.dataflow,)
    return (work.dataflow, other)


def matmul_demand(work: Matmul, mapping: OpMapping, hw: Hardware) -> Demand:
    """Return the demand of a product; edge blocks count only their part inside the operand."""
    blocks, dim = matmul_blocks(work, hw.dim), hw.dim
    tile = (mapping.tile[0], mapping.tile[1], mapping.tile[2])
    count_i, count_j, count_k = tile_counts(blocks, tile)
    stationary = mapping.dataflow == "WS"
    stay = kept(mapping.resident, mapping.dataflow, (count_i, count_j, count_k))
    a_loads = 1 if "a" in stay else count_j
    b_loads = 1 if "b" in stay else count_i
    last_rows = work.m - (count_i - 1) * tile[0] * dim
    row_sum = (count_i - 1) * tile[0] * dim + max(dim, last_rows) if stationary else blocks[0] * dim
    wide = hw.loop_max_block_len
    d_rows = {"none": 0, "full": work.m, "row": count_i}[work.bias]
    d_bytes = d_rows * work.n * (hw.input_bytes if work.low_d else hw.acc_bytes)
    c_bytes = work.m * work.n * (hw.acc_bytes if work.full_c else hw.input_bytes)
    a_wide = count_i * blocks_of(tile[0], wide) if work.transpose_a else count_k * blocks_of(tile[2], wide)
    a_deep, a_rows = (work.k, blocks[2]) if work.transpose_a else (work.m, blocks[0])
    b_wide = blocks[2] if work.transpose_b else blocks[1]
    b_rows = work.n if work.transpose_b else work.k
    # An edge tile may need fewer commands than a full one, so only whole groups of blocks are counted.
    a_groups = max(1, min(a_wide, blocks_of((work.m if work.transpose_a else work.k), dim * wide)))
    requests = a_loads * a_deep * a_groups + b_loads * b_rows * blocks_of(b_wide, wide)
    commands = a_loads * a_rows * a_groups + b_loads * blocks_of(b_rows, dim) * blocks_of(b_wide, wide)
    normalised = work.activation in NEEDS_ROWS
    return Demand(
        array_rows=row_sum * blocks[1] * blocks[2],
        read_bytes=(a_loads * work.m * work.k + b_loads * work.k * work.n) * hw.input_bytes + d_bytes,
        write_bytes=c_bytes,
        read_requests=requests if stationary else 0,
        write_requests=ceil(c_bytes / hw.dma.max_request_bytes),
        load_commands=commands if stationary else 0,
        issued_commands=LOOP_COMMANDS["matmul"] * count_i * count_j * count_k if stationary else 0,
        store_rows=NORM_PASSES * work.m * blocks[1] if normalised else 0,
    )


class Products(MappedKind):
    """Dense products."""

    LARGEST_FIRST = False

    def shape(self, work: Matmul) -> str:
        """Return the sizes and flags that determine the mapping, as text."""
        flags = {
            "bias=" + work.bias: work.bias != "none",
            "transpose_a": work.transpose_a,
            "transpose_b": work.transpose_b,
            "full_c": work.full_c,
            work.activation: work.activation != "none",
        }
        words = [f"{work.m}x{work.n}x{work.k}", *(word for word, on in flags.items() if on)]
        return "matmul " + " ".join(words)

    def limits(self, work: Matmul, hw: Hardware) -> tuple[int, ...]:
        """Return the whole operator as one tile."""
        return matmul_blocks(work, hw.dim)

    def library(self, work: Matmul, hw: Hardware) -> OpMapping:
        """Return the mapping of Gemmini's C library. Raises InputError if no tile fits."""
        return OpMapping("matmul", auto_matmul_tile(work, hw), LIBRARY_ORDER, work.dataflow)

    def check(self, mapped: Matmul, hw: Hardware) -> None:
        """Raise InputError for each rule that a mapped item breaks."""
        found: list[str] = []
        try:
            matmul.check(mapped, hw)
        except InputError as error:
            found += error.problems
        try:
            tile = matmul_tile(mapped, hw)
            if not found:
                matmul.check_tiles(mapped, tile_counts(matmul_blocks(mapped, hw.dim), tile))
        except InputError as error:
            found += error.problems
        if found:
            raise InputError(found)

    def space(self, work: Matmul, hw: Hardware, *, even: bool, reach: Reach) -> Iterator[OpMapping]:
        """Yield the mappings of all dataflows; ``even``: those of the item's own dataflow with even tiles."""
        flows = dataflows(work, hw)[: 1 if even else None]
        return chain.from_iterable(matmul_space(work, hw, even=even, reach=reach, dataflow=flow) for flow in flows)

    def demand(self, work: Matmul, mapping: OpMapping, hw: Hardware) -> Demand:
        """Return the least use of the shared resources by a mapping."""
        return matmul_demand(work, mapping, hw)

    def size(self, work: Matmul, hw: Hardware, reach: Reach) -> int:
        """Return an upper estimate of the number of mappings in `space`, without listing them."""
        limits, acc = self.limits(work, hw), TileMemory(hw, double_buffered=False).acc
        pairs = sum(min(limits[1], acc // i) for i in range(1, min(limits[0], acc) + 1))
        return pairs * limits[2] * (VARIANTS if reach == "hardware" else 1)

    def is_legal(self, work: Matmul, mapping: OpMapping, hw: Hardware) -> bool:
        """Whether lowering accepts the mapping: room, whole rows, order, residency."""
        room, blocks = TileMemory(hw, double_buffered=mapping.dataflow == "WS"), matmul_blocks(work, hw.dim)
        i, j, k = mapping.tile
        inside = all(1 <= size <= limit for size, limit in zip(mapping.tile, blocks, strict=True))
        whole = j == blocks[1] or work.activation not in NEEDS_ROWS
        if not (inside and whole and room.holds(i, j, k)):
            return False
        try:
            matmul.check_tiles(replace(work, **mapping.fields()), tile_counts(blocks, (i, j, k)))
        except InputError:
            return False
        return True

    def steps(self, work: Matmul, hw: Hardware) -> list[int]:
        """Return the step of a tile's size along each axis: a block."""
        return [1, 1, 1]

    def seeds(self, work: Matmul, hw: Hardware) -> list[OpMapping]:
        """Return small tiles in whole load commands, with K short, whole or half.

        Small tiles are loaded into one half while the other is computed from; a load command moves up to
        `loop_max_block_len` blocks, so that J and K in multiples of it use whole commands.
        """
        blocks, wide = matmul_blocks(work, hw.dim), hw.loop_max_block_len
        i_sizes = {1, max(1, wide // 2), wide, 2 * wide}
        j_sizes = {blocks[1]} if work.activation in NEEDS_ROWS else i_sizes - {1}
        k_sizes = {wide, 2 * wide, blocks_of(blocks[2], 2), blocks[2]}
        tiles = (
            (min(i, blocks[0]), min(j, blocks[1]), min(k, blocks[2])) for i, j, k in product(i_sizes, j_sizes, k_sizes)
        )
        found = dict.fromkeys(OpMapping("matmul", tile, dataflow=work.dataflow) for tile in tiles)
        return [mapping for mapping in found if self.is_legal(work, mapping, hw)]

    def other_dataflow(self, work: Matmul, hw: Hardware) -> Matmul | None:
        """Return the product in the machine's other dataflow, None if there is none."""
        flows = dataflows(work, hw)
        return replace(work, dataflow=flows[1]) if len(flows) > 1 else None

    def variants(self, work: Matmul, mapping: OpMapping, hw: Hardware) -> list[OpMapping]:
        """Return the other mappings of the hardware loop with the same tile."""
        if mapping.dataflow != "WS":
            return []
        i, j, k = mapping.tile
        found = beyond_call((i, j, k), tile_counts(matmul_blocks(work, hw.dim), (i, j, k)))
        return [*found, OpMapping("matmul", mapping.tile)]
