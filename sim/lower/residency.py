"""Operands of a product that stay in the scratchpad over several tiles, and the half of each tile.

A hardware loop reads A from the start of a half and B from the end of one. The half is given by the loop's slot or by
the command (a_spad_id, b_spad_id of LOOP_WS, LoopMatmul.scala). An operand that stays is loaded once for all tiles that
use it: its DRAM address is 0 from the second use on.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from sim.base.errors import did_you_mean
from sim.lower.work import Dataflow, Halves, Matmul, Resident

Tile = tuple[int, int, int]
Operand = Literal["a", "b"]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

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


def halves_and_loads(operand: Operand, work: Matmul, counts: Tile, tiles: Numbers) -> tuple[Numbers, Flags]:
    """Return for each loop (half: 1, 2, or 0 = by the loop's slot; whether to load) of an operand's tile.

    ``tiles``: number of the operand's tile in each loop. A half is overwritten by a loop only if the loop before it
    does not read it: the hardware holds two loops, and loads of the second may overtake computes of the first.
    Operands that stay alternate halves tile by tile, others loop by loop; in the order of a legal residency both keep
    that distance. What stays is loaded at its first use: `problems` refuses an order in which it would come again
    behind more tiles than there are halves.
    """
    first = int(operand == "b" and work.halves == "apart")
    if operand in kept(work.resident, work.dataflow, counts):
        _, first_use, which = np.unique(tiles, return_index=True, return_inverse=True)
        loads = np.zeros(len(tiles), np.bool_)
        loads[first_use] = True
        turn = np.argsort(np.argsort(first_use))  # of each tile among those that stay
        return (first + turn[which]) % HALVES_PER_OPERAND + 1, loads
    loads = np.ones(len(tiles), np.bool_)
    if work.halves == "slot":
        return np.zeros(len(tiles), np.int64), loads
    return (np.arange(len(tiles)) + first) % HALVES_PER_OPERAND + 1, loads
