"""The schedule "resident": an input that several products read stays in the scratchpad from one to the next.

Queries, keys and values are products of the same rows. All of these rows are held in the scratchpad, as one tile or as
two (one in each half), while the weights of each product are loaded in turn; if the rows do not fit, one strip of them
after the other is held. The result of a product still goes to memory: no command moves it from the accumulator to the
scratchpad.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, product
from typing import Any, NamedTuple

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower import check
from sim.lower.tiling import TileMemory, matmul_blocks
from sim.lower.work import ROW_ACTIVATIONS, Chain, Halves, Matmul, Work

WIDTHS = (2, 4, 6, 8)
"""Blocks of columns of a tile that are tried: loads of wide tiles meet the array in its banks (docs/MAPPING.md)."""

PLACES: tuple[Halves, ...] = ("slot", "apart")
"""Places of A and B in the halves of the scratchpad that are tried."""


class ResidentTile(NamedTuple):
    """A tile (I, J, K) in blocks, and the tiles of A that lie in the scratchpad: the height of a strip in I."""

    tile: tuple[int, int, int]
    high: int
    halves: Halves


def shares(works: Sequence[Work]) -> bool:
    """Return whether two consecutive products read the same A."""
    return any(len(run) > 1 for run in _runs(works))


def _runs(works: Sequence[Work]) -> Iterator[tuple[Work, ...]]:
    """Yield runs of consecutive products that read the same A; every other work is a run of its own."""
    for shared, run in groupby(works, key=_input):
        same = tuple(run)
        yield from ((work,) for work in same) if shared is None else (same,)


def _input(work: Any) -> tuple[Any, ...] | None:
    """Return what identifies the A of a product, None if A cannot stay for another product."""
    return None if work.rows_read is None or work.tile or work.activation in ROW_ACTIVATIONS else work.rows_read


def programs(works: Sequence[Work], hw: Hardware, most_parts: int) -> Iterator[tuple[Chain, ...]]:
    """Yield works as chains in which shared inputs stay, for each cut that is legal on the machine."""
    shared = next(run for run in _runs(works) if len(run) > 1)
    for cut in _cuts(shared, hw):
        parts: list[tuple[Work, bool]] = []
        for run in _runs(works):
            parts += _strips(run, cut, hw) if len(run) > 1 else [(run[0], False)]
        chains = tuple(_chains(parts, most_parts))
        try:
            for chain in chains:
                check(chain, hw)
        except InputError:  # a later run does not fit this cut
            continue
        yield chains


def _cuts(run: Sequence[Any], hw: Hardware) -> Iterator[ResidentTile]:
    """Yield cuts with all of K in one tile or two, and the largest number of rows that fits."""
    room, seen = TileMemory(hw, double_buffered=True), set()
    wide = max(matmul_blocks(work, hw.dim)[1] for work in run)
    high, _, deep = matmul_blocks(run[0], hw.dim)
    for parts, columns in product((2, 1), WIDTHS):
        j, k = min(columns, wide), -(-deep // parts)
        i = min(high, room.acc // j, (room.spad - j * k) // k)
        if i < 1 or (i, j, k) in seen:
            continue
        seen.add((i, j, k))
        for halves in PLACES:
            yield ResidentTile((i, j, k), i if k < deep else 2 * i, halves)


def _strips(run: Sequence[Any], cut: ResidentTile, hw: Hardware) -> Iterator[tuple[Matmul, bool]]:
    """Yield the products of each strip of rows, and whether each reuses the A of the product before it."""
    step = cut.high * hw.dim
    for first in range(0, run[0].m, step):
        last = min(run[0].m, first + step)
        for number, work in enumerate(run):
            part = work.row_part(first, last, hw) if last - first < work.m else work
            blocks = matmul_blocks(part, hw.dim)
            tile = tuple(min(size, total) for size, total in zip(cut.tile, blocks, strict=True))
            yield replace(part, tile=tile, resident="a", halves=cut.halves), number > 0


def _chains(parts: Sequence[tuple[Work, bool]], most_parts: int) -> Iterator[Chain]:
    """Yield chains of at most ``most_parts`` parts; no chain begins with a part that reuses the A before it."""
    begun: list[tuple[Work, bool]] = []
    for number, (work, keeps) in enumerate(parts):
        together = next((n for n, (_, more) in enumerate(parts[number + 1 :], 1) if not more), len(parts) - number)
        if begun and not keeps and len(begun) + together > most_parts:
            yield _chain(begun)
            begun = []
        begun.append((work, keeps))
    yield _chain(begun)


def _chain(parts: Sequence[tuple[Work, bool]]) -> Chain:
    return Chain(tuple(work for work, _ in parts), keeps=tuple(n for n, (_, keeps) in enumerate(parts) if keeps))
