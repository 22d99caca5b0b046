"""Weights and rows that meet in a sampled product, and the preloads and computes that bring them together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.isa.commands import GARBAGE_ADDRESS, Funct, local_operand
from sim.lower.sparse.compiled.merge import ITEM
from sim.lower.sparse.merge import Items


class Weights(NamedTuple):
    """A block of weights: local address, shape (cols, rows) as a preload names it, loads that bring it."""

    local: int
    shape: tuple[int, int]
    loads: int


class Piece(NamedTuple):
    """Up to DIM sub-rows of a window: how many, their first and last block of rows, the last place in the last one."""

    rows: int
    first: int
    last: int
    place: int


class Chunk(NamedTuple):
    """A piece that one compute streams; ``c_rows``: local rows of C that its results may go to."""

    step: int
    rows: int
    a: int
    a_cols: int
    c: int
    c_rows: int
    c_cols: int
    loads: int


CHUNK_FIELDS = len(Chunk._fields)
STEP, ROWS, A, A_COLS, C, C_ROWS, C_COLS, LOADS = range(CHUNK_FIELDS)


def _operands(
    address: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return local addresses with their block shapes, packed as by `local_operand`."""
    return (address & 0xFFFFFFFF) | (cols & 0xFFFF) << 32 | (rows & 0xFFFF) << 48


class Group(NamedTuple):
    """Weights that are in the array together, and all that is streamed past them: int64[chunks, fields of `Chunk`]."""

    weights: list[Weights]
    streamed: npt.NDArray[np.int64]

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks one by one."""
        return [Chunk(*row) for row in self.streamed.tolist()]


def pairs(groups: list[Group], dim: int, *, outputs: bool) -> tuple[Items, npt.NDArray[np.int64]]:
    """Return preloads and computes, and the step of each.

    A group's weights but the last come in beside chunks of the group before; where it has too few, alone.
    """
    chunks = np.concatenate([group.streamed for group in groups])
    weights = np.array([(w.local, *w.shape, w.loads) for group in groups for w in group.weights], np.int64)
    streamed = np.array([len(group.streamed) for group in groups])
    held = np.array([len(group.weights) for group in groups])
    ends = held.cumsum()
    after = np.append(held[1:] - 1, 0)  # weights of the next group that come in ahead of it
    alone = np.where(np.arange(len(groups)) == 0, held - 1, 0)
    left = np.maximum(0, after - (streamed - 1)) * (after > 0)
    total = alone + streamed + left
    starts = total.cumsum() - total

    def inside(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        owner = np.repeat(np.arange(len(counts)), counts)
        return owner, np.arange(len(owner)) - np.repeat(counts.cumsum() - counts, counts)

    owner, place = inside(streamed)
    ride = np.where(place == 0, ends[owner] - 1, np.where(place - 1 < after[owner], ends[owner] + place - 1, -1))
    items = np.zeros(int(total.sum()), ITEM)
    at = starts[owner] + alone[owner] + place
    items[at] = _pair_items(chunks, weights, ride, place == 0, (dim, outputs))
    group, number = inside(left)
    items[starts[group] + alone[group] + streamed[group] + number] = _preloads(
        weights[ends[group] + streamed[group] - 1 + number], dim
    )
    items[: alone[0]] = _preloads(weights[: alone[0]], dim)
    steps = np.array([int(one.streamed[0, STEP]) for one in groups])
    return items, np.repeat(steps, total)


def _preloads(weights: npt.NDArray[np.int64], dim: int) -> Items:
    """Return items of preloads alone; ``weights``: int64[., 4], local address, shape, loads."""
    items = np.zeros(len(weights), ITEM)
    items["commands"], items["funct"] = 1, Funct.PRELOAD
    items["rs1"] = _operands(weights[:, 0], weights[:, 1], weights[:, 2])
    items["rs2"] = local_operand(GARBAGE_ADDRESS, dim, dim)
    items["busy_cycles"] = items["drain_cycles"] = dim
    items["loads"] = weights[:, 3]
    return items


def _pair_items(
    chunks: npt.NDArray[np.int64], weights: npt.NDArray[np.int64], ride: npt.NDArray[np.int64],
    switch: npt.NDArray[np.bool_], shape: tuple[int, bool],
) -> Items:  # fmt: skip
    """Return items of a preload and a compute; ``ride``: the weights that come in with each chunk, -1 = none.

    ``shape``: side of the array, whether scores are picked.
    """
    items, (dim, outputs) = np.zeros(len(chunks), ITEM), shape
    nothing, with_weights = local_operand(GARBAGE_ADDRESS, dim, dim), ride >= 0
    coming = weights[np.maximum(ride, 0)]
    items["commands"], items["funct"] = 2, Funct.PRELOAD
    operand = _operands(coming[:, 0], coming[:, 1], coming[:, 2])
    items["rs1"] = np.where(with_weights, operand, nothing)
    items["rs2"] = _operands(chunks[:, C], chunks[:, C_COLS], chunks[:, C_ROWS])
    items["next_funct"] = np.where(switch, Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)
    items["next_rs1"] = _operands(chunks[:, A], chunks[:, A_COLS], chunks[:, ROWS])
    items["next_rs2"] = nothing
    whole = with_weights if not outputs else np.ones(len(chunks), np.bool_)
    items["busy_cycles"] = items["drain_cycles"] = np.where(whole, dim, np.maximum(chunks[:, ROWS], 4))
    items["loads"] = np.maximum(chunks[:, LOADS], np.where(with_weights, coming[:, 3], 0))
    return items
