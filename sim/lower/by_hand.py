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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    COMMAND,
    FULL_WIDTH_BIT,
    GARBAGE_ADDRESS,
    Funct,
    Program,
    command,
    program,
)
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

    ``bases``: whose the addresses of loads are (`_A`, `_B`, `_SUMS`).
    """

    loads: Program
    bases: Numbers
    computes: Program
    stores: Program


_NONE, _A, _B, _SUMS, _STORED = range(5)
"""Whose address a command's is relative to: no operand's, the next tile's A, B or partial sums, this tile's results."""


class _Kind(NamedTuple):
    """All that a tile's commands depend on: sizes in elements, halves, loads and stores, whether it accumulates.

    ``to_sums``: what it stores are partial sums.
    """

    size: Tile
    halves: tuple[int, int, int]
    loads: tuple[bool, bool, bool]
    stores: bool
    adds: bool
    to_sums: bool


class _Turn(NamedTuple):
    """All that the commands of one turn depend on: a tile's computes and stores, with the loads of the one behind it.

    ``configures``: the width of its stores is configured here; ``apart``: a fence lies between the two tiles.
    """

    tile: _Kind | None
    behind: _Kind | None
    configures: bool
    apart: bool


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
    turns = _Turns(work, how, hw, sums_address)
    full: bool | None = None  # the width that the stores are configured for
    before: tuple[Tile, _Kind] | None = None
    for at, kind in _tiles(work, how, hw):
        apart = before is not None and spills and at[2] != before[0][2]
        full = turns.add(before, (at, kind), full, apart)
        before = at, kind
    turns.add(before, None, full, False)
    stream.emit_packed(turns.program())
    stream.fence()
    return stream.program()


class _Turns:
    """The turns of a program: which commands each has, made once a kind, and the addresses that come to them."""

    def __init__(self, work: Matmul, how: HandMapping, hw: Hardware, sums_address: int):
        self.work, self.how, self.hw, self.sums_address = work, how, hw, sums_address
        self.pieces: dict[_Kind, _Piece] = {}
        self.numbers: dict[_Turn, int] = {}
        self.made: list[tuple[Program, Numbers]] = []
        self.order: list[int] = []
        self.addresses: list[tuple[int, int, int, int, int]] = []

    def add(
        self, tile: tuple[Tile, _Kind] | None, behind: tuple[Tile, _Kind] | None, full: bool | None, apart: bool
    ) -> bool | None:
        """Append a turn; ``full``: the width that stores are configured for. Returns what it is behind it."""
        work, hw = self.work, self.hw
        a_at = b_at = sums_at = stored_at = 0
        configures = False
        if tile is not None and tile[1].stores:
            configures, full = tile[1].to_sums != full, tile[1].to_sums
            i, j, _ = tile[0]
            stored_at = self._sums(i, j) if full else work.c.address + (i * work.c.row_stride + j) * _c_bytes(work, hw)
        if behind is not None:
            i, j, k = behind[0]
            a_at = work.a.address + (i * work.a.row_stride + k) * hw.input_bytes
            b_at = work.b.address + (k * work.b.row_stride + j) * hw.input_bytes
            sums_at = self._sums(i, j)
        turn = _Turn(tile and tile[1], behind and behind[1], configures, apart)
        number = self.numbers.setdefault(turn, len(self.made))
        if number == len(self.made):
            self.made.append(self._commands(turn))
        self.order.append(number)
        self.addresses.append((0, a_at, b_at, sums_at, stored_at))
        return full

    def _sums(self, i: int, j: int) -> int:
        return self.sums_address + (i * self.work.n + j) * self.hw.acc_bytes

    def _commands(self, turn: _Turn) -> tuple[Program, Numbers]:
        """Return the commands of a kind of turn, and whose the address of each is relative to."""
        ahead = None if turn.behind is None else self._piece(turn.behind)
        loads = _commands([], self.hw) if ahead is None else ahead.loads
        bases = np.zeros(0, np.int64) if ahead is None else ahead.bases
        if turn.tile is None:
            return loads, bases
        piece = self._piece(turn.tile)
        found, of = piece.computes, np.full(len(piece.computes), _NONE)
        if not turn.apart:
            order = _interleaving(len(found), len(loads))
            found, of = np.concatenate([found, loads])[order], np.concatenate([of, bases])[order]
        between = self._configured(turn.tile) if turn.configures else _commands([], self.hw)
        parts = [found, between, piece.stores]
        of = np.concatenate([of, np.repeat([_NONE, _STORED], [len(between), len(piece.stores)])])
        if turn.apart:
            parts += [program([command(Funct.FENCE)]), loads]
            of = np.concatenate([of, [_NONE], bases])
        return np.concatenate(parts), of

    def _configured(self, kind: _Kind) -> Program:
        """Return the configuration of a tile's stores."""
        stream, work = Stream(self.hw), self.work
        stride = work.n * self.hw.acc_bytes if kind.to_sums else work.c.row_stride * _c_bytes(work, self.hw)
        activation = 0 if kind.to_sums else int(work.activation == "relu")
        stream.config_st(stride, activation=activation, scale=work.scale)
        return stream.program()

    def _piece(self, kind: _Kind) -> _Piece:
        if kind not in self.pieces:
            self.pieces[kind] = _piece(self.work, self.how, self.hw, kind)
        return self.pieces[kind]

    def program(self) -> Program:
        """Return the commands of all turns with their addresses."""
        lengths = np.array([len(one) for one, _ in self.made])
        order = np.array(self.order)
        each = lengths[order]
        begins = np.cumsum(lengths) - lengths
        turn = np.repeat(np.arange(len(order)), each)
        place = np.arange(len(turn)) + (begins[order] - (np.cumsum(each) - each))[turn]
        found: Program = np.concatenate([one for one, _ in self.made])[place]
        bases = np.concatenate([bases for _, bases in self.made])[place]
        found["rs1"] += np.array(self.addresses)[turn, bases].astype(found["rs1"].dtype)
        return found


def interleaved(commands: Program, others: Program) -> Program:
    """Return both in their own orders, ``others`` spread evenly from the front over pairs of ``commands``."""
    return np.concatenate([commands, others])[_interleaving(len(commands), len(others))]


def _interleaving(commands: int, others: int) -> Numbers:
    """Return the order of `interleaved` from the numbers of commands and of others."""
    pairs = np.arange(commands) // 2
    places = np.arange(others) * (pairs[-1] + 1) / max(1, others) - 0.5
    return np.argsort(np.concatenate([pairs, places]), kind="stable")


def _c_bytes(work: Matmul, hw: Hardware) -> int:
    return hw.acc_bytes if work.full_c else hw.input_bytes


def _tiles(work: Matmul, how: HandMapping, hw: Hardware) -> Iterator[tuple[Tile, _Kind]]:
    """Yield each tile in order: its first elements along I, J, K, and its kind."""
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
        size = (min(step[0], work.m - at[0]), min(step[1], work.n - at[1]), min(step[2], work.k - at[2]))
        loads = (fresh[0], fresh[1], spills and not first)
        stores, to_sums = last or spills, spills and not last
        yield at, _Kind(size, (halves[0], halves[1], halves[2]), loads, stores, not first, to_sums)


def _piece(work: Matmul, how: HandMapping, hw: Hardware, kind: _Kind) -> _Piece:
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
        parts.append((np.full(len(i), int(LOAD_FUNCTS[2])), rs1, rs2, _SUMS))
    if kind.loads[1]:
        wide = hw.max_block_len if how.array_columns == dim else 1
        k, j = _pairs(k_count, j_count, wide)
        rs1 = (k * how.array_rows * work.b.row_stride + j * how.array_columns) * hw.input_bytes
        rs2 = local(b_base + (k * j_count + j) * how.array_rows, cut.sizes(1, j, wide), cut.sizes(2, k))
        parts.append((np.full(len(k), int(LOAD_FUNCTS[1])), rs1, rs2, _B))
    if kind.loads[0]:
        wide = hw.max_block_len if how.array_rows == dim else 1
        i, k = _pairs(i_count, k_count, wide)
        rs1 = (i * dim * work.a.row_stride + k * how.array_rows) * hw.input_bytes
        rs2 = local(a_base + (i * k_count + k) * dim, cut.sizes(2, k, wide), cut.sizes(0, i))
        parts.append((np.full(len(i), int(LOAD_FUNCTS[0])), rs1, rs2, _A))
    computes = _computes(how, cut, (a_base, b_base, c_base), kind.adds, dim)
    stores: list[tuple[Numbers, Numbers, Numbers]] = []
    if kind.stores:
        wide_sums = kind.to_sums or work.full_c
        i, j = _pairs(i_count, j_count)
        element = hw.acc_bytes if wide_sums else hw.input_bytes
        rs1 = (i * dim * (work.n if kind.to_sums else work.c.row_stride) + j * how.array_columns) * element
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
