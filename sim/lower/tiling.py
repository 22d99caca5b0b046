"""Tile sizes: the part of an operator that one hardware loop computes (tiled_matmul_auto of gemmini.h).

A tile (I, J, K) counts blocks of DIM rows and columns. With double buffering (WS) a tile may fill half of
the scratchpad and half of the accumulator, without (OS) all of it.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt
from typing import NamedTuple

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower.work import Matmul

Tile = tuple[int, int, int]

LOOP_BOUND_LIMIT = 65535
"""The bounds of a hardware loop are 16-bit fields."""


def blocks_of(size: int, dim: int) -> int:
    """Return the number of blocks of ``dim`` that cover ``size``."""
    return -(-size // dim)


def matmul_blocks(work: Matmul, dim: int) -> Tile:
    """Return (M, N, K) of the product in blocks."""
    return blocks_of(work.m, dim), blocks_of(work.n, dim), blocks_of(work.k, dim)


def tile_counts(blocks: Tile, tile: Tile) -> Tile:
    """Return how many tiles cover the operator in each of I, J, K."""
    i, j, k = (blocks_of(total, size) for total, size in zip(blocks, tile, strict=True))
    return i, j, k


class TileMemory:
    """The local memory that one tile may use, in blocks: scratchpad for A and B, accumulator for C."""

    def __init__(self, hw: Hardware, *, double_buffered: bool):
        halves = 2 if double_buffered else 1
        self.dim = hw.dim
        self.spad_rows = hw.sp_rows // halves
        self.acc_rows = hw.acc_rows // halves
        self.spad = self.spad_rows // hw.dim
        self.acc = self.acc_rows // hw.dim

    def holds(self, i: int, j: int, k: int) -> bool:
        """Whether A (i x k), B (k x j) and C (i x j) blocks fit."""
        return i * k + k * j <= self.spad and i * j <= self.acc

    def nearest(self, tile: Tile, blocks: Tile) -> Tile:
        """Return the legal tile with the fewest blocks of change in its three sizes."""
        wanted = tuple(max(1, min(t, b)) for t, b in zip(tile, blocks, strict=True))
        best = (1, 1, 1)
        best_change = sum(w - b for w, b in zip(wanted, best, strict=True))
        for i in range(1, min(wanted[0], self.acc) + 1):
            for j in range(1, min(wanted[1], self.acc // i) + 1):
                k = min(wanted[2], self.spad // (i + j))
                change = wanted[0] - i + wanted[1] - j + wanted[2] - k
                if k and change < best_change:
                    best, best_change = (i, j, k), change
        return best


def auto_matmul_tile(work: Matmul, hw: Hardware) -> Tile:
    """Return the tile of tiled_matmul_auto."""
    return search_matmul_tile(work, hw).tile


class TileSearch(NamedTuple):
    """Result of the library's search for a tile, and the effort of the search.

    ``passes``: iterations of its loop that changed the tile. ``foldable``: whether a compiler that knows the sizes runs
    the search at compile time: the loop changes nothing, or only one size that is not yet whole can change (gcc then
    evaluates it; of the constant-size programs in tests/oracle/soc those with g = 0 or a single open size carry no
    search).
    """

    tile: Tile
    passes: int
    foldable: bool


@lru_cache(maxsize=1024)
def search_matmul_tile(work: Matmul, hw: Hardware) -> TileSearch:
    """Run the search of tiled_matmul_auto: start near a square of outputs, then grow J, I, K in turn."""
    room = TileMemory(hw, double_buffered=work.dataflow == "WS")
    blocks = matmul_blocks(work, hw.dim)
    if work.activation in ("layernorm", "softmax"):
        i, j, k = 1, blocks[1], 1  # statistics need whole rows of C in the accumulator
    else:
        side = max(1, isqrt(room.acc))
        i, j = min(blocks[0], side), min(blocks[1], side)
        k = min(blocks[2], max(1, room.spad // 2 // side))
    open_sizes = sum(size < limit for size, limit in zip((i, j, k), blocks, strict=True))
    passes, growing = -1, True
    while growing:
        passes, growing = passes + 1, False
        if j < blocks[1] and room.holds(i, j + 1, k):
            j, growing = j + 1, True
        if i < blocks[0] and room.holds(i + 1, j, k):
            i, growing = i + 1, True
        if k < blocks[2] and room.holds(i, j, k + 1):
            k, growing = k + 1, True
    return TileSearch((i, j, k), passes, passes == 0 or open_sizes <= 1)


def folded(work: Matmul, hw: Hardware) -> bool:
    """Return whether a compiler that knows the sizes leaves no tile search in the program."""
    return work.tile is not None or search_matmul_tile(work, hw).foldable


def matmul_tile(work: Matmul, hw: Hardware) -> Tile:
    """Return the item's tile after checking it, or the library's choice.

    Raises InputError (with the rule, the numbers and the nearest legal tile) if the tile does not fit.
    """
    tile = work.tile or auto_matmul_tile(work, hw)
    room = TileMemory(hw, double_buffered=work.dataflow == "WS")
    blocks = matmul_blocks(work, hw.dim)
    problems = tile_problems(tile, blocks, room)
    whole_rows = work.activation in ("layernorm", "softmax")
    if whole_rows and tile[1] < blocks[1]:
        problems.append(f"tile J = {tile[1]}: {work.activation} needs whole rows in one tile, J = {blocks[1]} blocks")
    if problems:
        where = f"matmul {work.m}x{work.n}x{work.k} ({work.dataflow}): "
        nearest = room.nearest((tile[0], blocks[1] if whole_rows else tile[1], tile[2]), blocks)
        fits = not tile_problems(nearest, blocks, room)
        hint = f"; nearest legal tile: {nearest}" if fits else "; not even a tile of one block fits into the memories"
        if whole_rows and nearest[1] < blocks[1]:
            hint = f"; whole rows of at most {min(room.acc, room.spad - 1) * hw.dim} columns fit"
        raise InputError([where + problem + hint for problem in problems])
    return tile


def tile_problems(tile: Tile, blocks: Tile, room: TileMemory) -> list[str]:
    """Return a message for every rule that the tile breaks."""
    i, j, k = tile
    problems = [
        f"tile {name} = {size} must be 1..{min(limit, LOOP_BOUND_LIMIT)} (the operator has {limit} blocks)"
        for name, size, limit in zip("IJK", tile, blocks, strict=True)
        if not 1 <= size <= min(limit, LOOP_BOUND_LIMIT)
    ]
    if (spad := (i * k + k * j) * room.dim) > room.spad_rows:
        problems.append(
            f"tile {tile}: A and B need (I*K + K*J)*DIM = {spad} scratchpad rows, available: {room.spad_rows}"
        )
    if (acc := i * j * room.dim) > room.acc_rows:
        problems.append(f"tile {tile}: C needs I*J*DIM = {acc} accumulator rows, available: {room.acc_rows}")
    return problems
