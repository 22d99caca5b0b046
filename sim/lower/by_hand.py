"""Products whose every command the CPU issues: any order of tiles and of blocks, any part of the array.

A tile of A, B and C lies in one half of its memory while the next is loaded into the other; the loads of the next tile
stand between the computes of this one, as the reservation station has room for a few commands of each kind. A block of
weights is ``array_rows`` x ``array_columns``, the part of the array that is used, and DIM rows of A pass it. Where the
tile loop over K is not the innermost one, partial sums leave the accumulator at full width and come back, with a fence
between two turns of that loop: the DMA does not compare the DRAM addresses of loads and stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, COMMAND, FULL_WIDTH_BIT, GARBAGE_ADDRESS, Funct, Program
from sim.isa.commands import local_operand as local
from sim.lower.encode import LOAD_FUNCTS, Stream
from sim.lower.tiling import Tile, blocks_of, tile_counts
from sim.lower.work import Matmul

ORDERS = tuple("".join(letters) for letters in permutations("ijk"))
"""Orders of three loops, outermost first."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HandMapping:
    """How a product is cut: ``tile`` in blocks along I, J, K; a block is DIM x ``array_columns`` x ``array_rows``.

    ``order``: of the tile loops; ``inner``: of the loops over a tile's blocks. Weights stay in the array while I is the
    innermost of these.
    """

    tile: Tile
    order: str
    inner: str
    array_rows: int
    array_columns: int

    def block(self, dim: int) -> Tile:
        """Return the elements of a block along I, J, K."""
        return dim, self.array_columns, self.array_rows

    def blocks(self, work: Matmul, dim: int) -> Tile:
        """Return the product in blocks."""
        i, j, k = (blocks_of(n, size) for n, size in zip((work.m, work.n, work.k), self.block(dim), strict=True))
        return i, j, k

    def spills(self, counts: Tile) -> bool:
        """Return whether partial sums leave the accumulator: a tile loop inside that over K goes to other results."""
        inside = self.order[self.order.index("k") + 1 :]
        return counts[2] > 1 and any(counts["ijk".index(name)] > 1 for name in inside)


def problems(work: Matmul, how: HandMapping, hw: Hardware) -> list[str]:
    """Return every rule that the mapping breaks, with the nearest legal value."""
    found = [
        f"{name} {word!r} must be one of {', '.join(ORDERS)}"
        for name, word in (("order", how.order), ("inner", how.inner))
        if word not in ORDERS
    ]
    for name, used in (("array_rows", how.array_rows), ("array_columns", how.array_columns)):
        if not 1 <= used <= hw.dim:
            found.append(f"{name} {used} must be 1..{hw.dim}; nearest: {min(max(used, 1), hw.dim)}")
    plain = work.bias == "none" and not (work.transpose_a or work.transpose_b)
    if not plain or work.activation not in ("none", "relu"):
        found.append("a product by hand has no bias, no transposed operand and no activation but relu")
    if found:
        return found
    blocks = how.blocks(work, hw.dim)
    for name, size, limit in zip("IJK", how.tile, blocks, strict=True):
        if not 1 <= size <= limit:
            found.append(f"tile {name} = {size} must be 1..{limit}; nearest: {min(max(size, 1), limit)}")
    i, j, k = how.tile
    a_rows, b_rows, c_rows = i * k * hw.dim, k * j * how.array_rows, i * j * hw.dim
    if a_rows + b_rows > hw.sp_rows // 2:
        found.append(f"tile {how.tile}: A and B need {a_rows + b_rows} scratchpad rows, half has {hw.sp_rows // 2}")
    if c_rows > hw.acc_rows // 2:
        found.append(f"tile {how.tile}: C needs {c_rows} accumulator rows, half has {hw.acc_rows // 2}")
    if not found and how.spills(tile_counts(blocks, how.tile)) and not hw.accumulator.read_full_width:
        found.append(
            f"order {how.order!r}: partial sums leave at full width (accumulator.read_full_width); nearest: ijk"
        )
    return found


@dataclass(frozen=True)
class _Piece:
    """Commands of one tile by loads, computes and stores, with DRAM addresses relative to its operands.

    ``bases``: whose the addresses of loads are (1 A, 2 B, 4 partial sums).
    """

    loads: Program
    bases: Numbers
    computes: Program
    stores: Program


@dataclass(frozen=True)
class _Kind:
    """All that a tile's commands depend on: sizes in elements, halves, loads and stores, whether it accumulates."""

    size: Tile
    halves: tuple[int, int, int]
    loads: tuple[bool, bool, bool]
    stores: bool
    adds: bool


def lower_by_hand(work: Matmul, how: HandMapping, hw: Hardware, sums_address: int = 0) -> Program:
    """Return the program of a product by hand.

    ``sums_address``: DRAM bytes where partial sums of int32 [m, n] lie between turns over K, needed where they spill.
    Raises InputError for every rule that the mapping breaks, and without that address where it is needed.
    """
    found = problems(work, how, hw)
    spills = not found and how.spills(tile_counts(how.blocks(work, hw.dim), how.tile))
    if spills and not sums_address:
        found.append(f"order {how.order!r}: partial sums need a place in DRAM (sums_address)")
    if found:
        raise InputError([f"matmul {work.m}x{work.n}x{work.k} by hand: {problem}" for problem in found])
    stream = Stream(hw)
    stream.config_ex(activation=int(work.activation == "relu"))
    stream.config_ld(work.a.row_stride * hw.input_bytes, 0, scale=work.a_scale)
    stream.config_ld(work.b.row_stride * hw.input_bytes, 1, scale=work.b_scale, block_rows=how.array_rows)
    stream.config_ld(work.n * hw.acc_bytes, 2)
    pieces: dict[tuple[_Kind, bool], _Piece] = {}
    full: bool | None = None  # the width that the stores are configured for
    before: _Placed | None = None
    for at, kind, last in _tiles(work, how, hw):
        to_sums = spills and not last
        if (kind, to_sums) not in pieces:
            pieces[kind, to_sums] = _piece(work, how, hw, kind, to_sums)
        now = _placed(work, hw, pieces[kind, to_sums], at, sums_address, to_sums)
        apart = before is not None and spills and at[2] != before.k
        full = _finish(stream, work, hw, before, None if apart else now, full)
        if apart:
            stream.fence()
        if apart or before is None:
            stream.emit_packed(now.loads)
        before = now
    _finish(stream, work, hw, before, None, full)
    stream.fence()
    return stream.program()


@dataclass(frozen=True)
class _Placed:
    """Commands of one tile with its addresses; ``k``: first element along K; ``to_sums``: it stores partial sums."""

    loads: Program
    computes: Program
    stores: Program
    k: int
    to_sums: bool


def _placed(work: Matmul, hw: Hardware, piece: _Piece, at: Tile, sums_address: int, to_sums: bool) -> _Placed:
    sums_at = sums_address + (at[0] * work.n + at[1]) * hw.acc_bytes
    a_at = work.a.address + (at[0] * work.a.row_stride + at[2]) * hw.input_bytes
    b_at = work.b.address + (at[2] * work.b.row_stride + at[1]) * hw.input_bytes
    c_at = sums_at if to_sums else work.c.address + (at[0] * work.c.row_stride + at[1]) * _c_bytes(work, hw)
    loads, stores = piece.loads.copy(), piece.stores.copy()
    loads["rs1"] += np.array([0, a_at, b_at, 0, sums_at])[piece.bases]
    stores["rs1"] += c_at
    return _Placed(loads, piece.computes, stores, at[2], to_sums)


def _finish(
    stream: Stream, work: Matmul, hw: Hardware, tile: _Placed | None, behind: _Placed | None, full: bool | None
) -> bool | None:
    """Emit computes and stores of a tile, with the loads of the one behind it; return the width that is configured."""
    if tile is None:
        return full
    stream.emit_packed(tile.computes if behind is None else interleaved(tile.computes, behind.loads))
    if len(tile.stores) and tile.to_sums != full:
        full = tile.to_sums
        stride = work.n * hw.acc_bytes if full else work.c.row_stride * _c_bytes(work, hw)
        stream.config_st(stride, activation=0 if full else int(work.activation == "relu"), scale=work.scale)
    stream.emit_packed(tile.stores)
    return full


def interleaved(commands: Program, others: Program) -> Program:
    """Return both in their own orders, ``others`` spread evenly from the front over pairs of ``commands``."""
    pairs = np.arange(len(commands)) // 2
    places = np.arange(len(others)) * (pairs[-1] + 1) / max(1, len(others)) - 0.5
    whole = np.concatenate([commands, others])
    return whole[np.argsort(np.concatenate([pairs, places]), kind="stable")]


def _c_bytes(work: Matmul, hw: Hardware) -> int:
    return hw.acc_bytes if work.full_c else hw.input_bytes


def _tiles(work: Matmul, how: HandMapping, hw: Hardware) -> Iterator[tuple[Tile, _Kind, bool]]:
    """Yield each tile in order: its first elements along I, J, K, its kind, and whether it ends a sum over K."""
    dims = (work.m, work.n, work.k)
    step = tuple(size * block for size, block in zip(how.tile, how.block(hw.dim), strict=True))
    counts = tile_counts(how.blocks(work, hw.dim), how.tile)
    spills = how.spills(counts)
    held: list[tuple[int, int] | None] = [None, None, None]
    halves = [1, 1, 1]
    for outer in product(*(range(counts["ijk".index(name)]) for name in how.order)):
        i, j, k = (outer[how.order.index(name)] for name in "ijk")
        first = k == 0
        last = k == counts[2] - 1
        wanted = [(i, k), (k, j), (i, j)]
        fresh = [before != now for before, now in zip(held, wanted, strict=True)]
        for operand, new in enumerate(fresh):
            if new:
                held[operand] = wanted[operand]
                halves[operand] ^= 1
        at = (i * step[0], j * step[1], k * step[2])
        size = tuple(min(s, n - a) for s, n, a in zip(step, dims, at, strict=True))
        loads = (fresh[0], fresh[1], spills and not first)
        yield (
            at,
            _Kind((size[0], size[1], size[2]), (halves[0], halves[1], halves[2]), loads, last or spills, not first),
            last,
        )


def _piece(work: Matmul, how: HandMapping, hw: Hardware, kind: _Kind, to_sums: bool) -> _Piece:
    """Return a tile's commands: loads, computes in the inner order, stores."""
    dim = hw.dim
    cut = _Cut(kind.size, how.block(dim))
    i_count, j_count, k_count = cut.counts
    a_base = kind.halves[0] * (hw.sp_rows // 2)
    b_base = (kind.halves[1] + 1) * (hw.sp_rows // 2) - k_count * j_count * how.array_rows
    c_base = ACCUMULATOR_BIT + kind.halves[2] * (hw.acc_rows // 2)
    parts: list[tuple[Numbers, Numbers, Numbers, int]] = []  # funct, rs1, rs2, base
    if kind.loads[2]:
        i, j = _pairs(i_count, j_count)
        rs1 = (i * dim * work.n + j * how.array_columns) * hw.acc_bytes
        rs2 = local(c_base + (i * j_count + j) * dim, cut.sizes(1, j), cut.sizes(0, i))
        parts.append((np.full(len(i), int(LOAD_FUNCTS[2])), rs1, rs2, 4))
    if kind.loads[1]:
        wide = hw.max_block_len if how.array_columns == dim else 1
        k, j = _pairs(k_count, j_count, wide)
        rs1 = (k * how.array_rows * work.b.row_stride + j * how.array_columns) * hw.input_bytes
        rs2 = local(b_base + (k * j_count + j) * how.array_rows, cut.sizes(1, j, wide), cut.sizes(2, k))
        parts.append((np.full(len(k), int(LOAD_FUNCTS[1])), rs1, rs2, 2))
    if kind.loads[0]:
        wide = hw.max_block_len if how.array_rows == dim else 1
        i, k = _pairs(i_count, k_count, wide)
        rs1 = (i * dim * work.a.row_stride + k * how.array_rows) * hw.input_bytes
        rs2 = local(a_base + (i * k_count + k) * dim, cut.sizes(2, k, wide), cut.sizes(0, i))
        parts.append((np.full(len(i), int(LOAD_FUNCTS[0])), rs1, rs2, 1))
    computes = _computes(how, cut, (a_base, b_base, c_base), kind.adds, dim)
    stores: list[tuple[Numbers, Numbers, Numbers]] = []
    if kind.stores:
        wide_sums = to_sums or work.full_c
        i, j = _pairs(i_count, j_count)
        element = hw.acc_bytes if wide_sums else hw.input_bytes
        rs1 = (i * dim * (work.n if to_sums else work.c.row_stride) + j * how.array_columns) * element
        full_bit = FULL_WIDTH_BIT if wide_sums else 0
        rs2 = local(c_base + full_bit + (i * j_count + j) * dim, cut.sizes(1, j), cut.sizes(0, i))
        stores = [(np.full(len(i), int(Funct.MVOUT)), rs1, rs2)]
    bases = np.repeat([base for *_, base in parts], [len(funct) for funct, *_ in parts])
    loads = _commands([part[:3] for part in parts], hw)
    return _Piece(loads, bases, _commands([computes], hw), _commands(stores, hw))


def _commands(parts: list[tuple[Numbers, Numbers, Numbers]], hw: Hardware) -> Program:
    """Return funct, rs1 and rs2 of some stretches as one program."""
    commands = np.zeros(sum(len(funct) for funct, _, _ in parts), COMMAND)
    for n, name in enumerate(("funct", "rs1", "rs2")):
        commands[name] = np.concatenate([part[n] for part in parts]) if parts else 0
    commands["gap"] = hw.cpu.command_cycles
    return commands


@dataclass(frozen=True)
class _Cut:
    """A tile of ``size`` elements in blocks of ``block`` elements."""

    size: Tile
    block: Tile

    @property
    def counts(self) -> Tile:
        """Blocks along I, J, K."""
        i, j, k = (blocks_of(n, size) for n, size in zip(self.size, self.block, strict=True))
        return i, j, k

    def sizes(self, axis: int, place: Numbers, wide: int = 1) -> Numbers:
        """Return the elements of ``wide`` blocks from block ``place`` on along an axis."""
        return np.minimum(self.block[axis] * wide, self.size[axis] - place * self.block[axis])


def _pairs(outer: int, inner: int, step: int = 1) -> tuple[Numbers, Numbers]:
    """Return the indices of two nested loops, the inner one in steps."""
    columns = np.arange(0, inner, step)
    return np.repeat(np.arange(outer), len(columns)), np.tile(columns, outer)


def _computes(
    how: HandMapping, cut: _Cut, bases: tuple[int, int, int], adds: bool, dim: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Return preload and compute of every block, in the inner order."""
    counts = cut.counts
    a_base, b_base, c_base = bases
    grid = np.indices([counts["ijk".index(name)] for name in how.inner]).reshape(3, -1)
    i, j, k = (grid[how.inner.index(name)] for name in "ijk")
    stays = np.zeros(len(i), bool)
    stays[1:] = (j[1:] == j[:-1]) & (k[1:] == k[:-1])
    rows, columns, depth = cut.sizes(0, i), cut.sizes(1, j), cut.sizes(2, k)
    weights = local(b_base + (k * counts[1] + j) * how.array_rows, columns, depth)
    # Weights that stay are preloaded from no address, and the compute does not switch to them.
    nothing = local(np.int64(GARBAGE_ADDRESS), columns, depth)
    add_bit = np.where((k > 0) | adds, ACCUMULATE_BIT, 0)
    results = local(c_base + add_bit + (i * counts[1] + j) * dim, columns, rows)
    operands = local(a_base + (i * counts[2] + k) * dim, depth, rows)
    funct = np.empty(2 * len(i), np.int64)
    rs1, rs2 = np.empty_like(funct), np.empty_like(funct)
    funct[::2] = int(Funct.PRELOAD)
    rs1[::2], rs2[::2] = np.where(stays, nothing, weights), results
    funct[1::2] = np.where(stays, int(Funct.COMPUTE_ACCUMULATED), int(Funct.COMPUTE_PRELOADED))
    rs1[1::2], rs2[1::2] = operands, local(np.int64(GARBAGE_ADDRESS), columns, rows)
    return funct, rs1, rs2
