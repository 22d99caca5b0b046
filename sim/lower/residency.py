"""Operands of a product that stay in the scratchpad over several tiles, and the half of each tile.

A hardware loop reads A from the start of a half and B from the end of one. The half is given by the loop's slot or by
the command (a_spad_id, b_spad_id of LOOP_WS, LoopMatmul.scala). An operand that stays is loaded once for all tiles that
use it: its DRAM address is 0 from the second use on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sim.base.errors import did_you_mean
from sim.lower.work import Dataflow, Halves, Matmul, Resident

Tile = tuple[int, int, int]
Operand = Literal["a", "b"]

HALVES_PER_OPERAND = 2
"""Tiles of an operand that stays: one in each half of the scratchpad."""

REUSE_TILES = 2
"""The library keeps A or B if it has at most this many tiles in all (tiled_matmul_outer of gemmini.h)."""

RESIDENTS: tuple[Resident, ...] = ("library", "none", "a", "b", "ab")
HALVES: tuple[Halves, ...] = ("slot", "together", "apart")

INDEX: dict[Operand, str] = {"a": "ik", "b": "jk"}
"""Tile loops that select an operand's tile; the third loop uses the tile again."""


def kept(resident: Resident, dataflow: Dataflow, counts: Tile) -> str:
    """Return the letters of the operands that stay, for tile counts along I, J, K; "" for none."""
    i, j, k = counts
    if dataflow == "OS" or resident == "none":
        return ""
    if resident != "library":
        return resident
    return ("a" if i * k <= REUSE_TILES else "") + ("b" if j * k <= REUSE_TILES else "")


def tiles_between_uses(operand: Operand, order: str, counts: Tile) -> int:
    """Return the number of tiles of an operand used before the first one is used again; 1 if none is."""
    again = next(name for name in "ijk" if name not in INDEX[operand])
    if counts["ijk".index(again)] == 1:
        return 1
    inside = order[order.index(again) + 1 :]
    tiles = 1
    for name, count in zip("ijk", counts, strict=True):
        tiles *= count if name in inside else 1
    return tiles


def problems(work: Matmul, counts: Tile) -> list[str]:
    """Return every rule that the item's residency and halves break, each with the nearest legal choice."""
    words = (("resident", work.resident, RESIDENTS), ("halves", work.halves, HALVES))
    found = [
        f"{what} {word!r} is unknown{did_you_mean(word, known)}" for what, word, known in words if word not in known
    ]
    if found:
        return found
    if work.dataflow == "OS":
        plain = work.resident in ("library", "none") and work.halves == "slot"
        rule = (
            "an OS tile has the whole scratchpad and loads both operands anew; nearest: resident 'none', halves 'slot'"
        )
        return [] if plain else [f"resident {work.resident!r}, halves {work.halves!r}: {rule}"]
    wanted = "" if work.resident == "library" else kept(work.resident, work.dataflow, counts)
    uses = {name: tiles_between_uses(name, work.loop_order, counts) for name in INDEX}
    legal = "".join(name for name, tiles in uses.items() if name in wanted and tiles <= HALVES_PER_OPERAND) or "none"
    return [
        f"resident {wanted!r}: in loop_order {work.loop_order!r} {tiles} tiles of {name.upper()} are used before "
        f"the first comes again, and each half has room for one ({HALVES_PER_OPERAND}); nearest: {legal!r}"
        for name, tiles in uses.items()
        if name in wanted and tiles > HALVES_PER_OPERAND
    ]


@dataclass
class _Kept:
    """An operand that stays: the tile in each half, and the half that is overwritten next."""

    turn: int
    held: list[tuple[int, int] | None] = field(default_factory=lambda: [None, None])

    def use(self, tile: tuple[int, int]) -> tuple[int, bool]:
        """Return (half 0 or 1, whether the tile must be loaded)."""
        if tile in self.held:
            return self.held.index(tile), False
        half, self.turn = self.turn, 1 - self.turn
        self.held[half] = tile
        return half, True


class Residency:
    """Iterates over the tiles of one product and gives for each the operands to load and their halves.

    A half is overwritten by a loop only if the loop before it does not read it: the hardware holds two loops, and
    loads of the second may overtake computes of the first. Operands that stay alternate halves tile by tile,
    others loop by loop; in the order of a legal residency both keep that distance.
    """

    def __init__(self, work: Matmul, counts: Tile):
        stay = kept(work.resident, work.dataflow, counts)
        first: dict[Operand, int] = {"a": 0, "b": int(work.halves == "apart")}
        self.by_slot = work.halves == "slot"
        self.first = first
        self.kept = {name: _Kept(first[name]) for name in INDEX if name in stay}
        self.loop = 0

    def place(self, operand: Operand, tile: tuple[int, int]) -> tuple[int, bool]:
        """Return (half: 1, 2, or 0 = by the loop's slot; whether to load) of the current loop's tile."""
        if operand in self.kept:
            half, load = self.kept[operand].use(tile)
            return half + 1, load
        return (0 if self.by_slot else (self.loop + self.first[operand]) % 2 + 1), True

    def next(self) -> None:
        """Advance to the next loop."""
        self.loop += 1
