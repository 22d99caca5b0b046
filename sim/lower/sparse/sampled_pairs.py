"""Preloads and computes of a sampled product: which weights are multiplied with which rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim.isa.commands import GARBAGE_ADDRESS, Funct, local_operand
from sim.lower.sparse.compiled.merge import ITEM
from sim.lower.sparse.compiled.sampled_records import A_COLS, C_COLS, C_ROWS, LOADS, ROWS, A, C, Met
from sim.lower.sparse.merge import Items


def pairs(met: Met, dim: int, *, outputs: bool) -> tuple[Items, npt.NDArray[np.int64]]:
    """Return preloads and computes, and the step of each.

    A group's weights but the last are preloaded during chunks of the previous group; if it has too few, by themselves.
    """
    chunks, weights = met.chunks, met.weights
    steps, held, streamed = met.groups.T
    ends = held.cumsum()
    after = np.append(held[1:] - 1, 0)  # weights of the next group that are preloaded ahead of it
    alone = np.where(np.arange(len(held)) == 0, held - 1, 0)
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
    return items, np.repeat(steps, total)


def _preloads(weights: npt.NDArray[np.int64], dim: int) -> Items:
    """Return items of preloads without computes; ``weights``: int64[., 4], local address, shape, loads."""
    items = np.zeros(len(weights), ITEM)
    items["commands"], items["funct"] = 1, Funct.PRELOAD
    items["rs1"] = local_operand(weights[:, 0], weights[:, 1], weights[:, 2])
    items["rs2"] = local_operand(GARBAGE_ADDRESS, dim, dim)
    items["busy_cycles"] = items["drain_cycles"] = dim
    items["loads"] = weights[:, 3]
    return items


def _pair_items(
    chunks: npt.NDArray[np.int64], weights: npt.NDArray[np.int64], ride: npt.NDArray[np.int64],
    switch: npt.NDArray[np.bool_], shape: tuple[int, bool],
) -> Items:  # fmt: skip
    """Return items of a preload and a compute; ``ride``: the weights that are preloaded during each chunk, -1 = none.

    ``shape``: side of the array, whether scores are picked.
    """
    items, (dim, outputs) = np.zeros(len(chunks), ITEM), shape
    nothing, with_weights = local_operand(GARBAGE_ADDRESS, dim, dim), ride >= 0
    coming = weights[np.maximum(ride, 0)]
    items["commands"], items["funct"] = 2, Funct.PRELOAD
    operand = local_operand(coming[:, 0], coming[:, 1], coming[:, 2])
    items["rs1"] = np.where(with_weights, operand, nothing)
    items["rs2"] = local_operand(chunks[:, C], chunks[:, C_COLS], chunks[:, C_ROWS])
    items["next_funct"] = np.where(switch, Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)
    items["next_rs1"] = local_operand(chunks[:, A], chunks[:, A_COLS], chunks[:, ROWS])
    items["next_rs2"] = nothing
    whole = with_weights if not outputs else np.ones(len(chunks), np.bool_)
    items["busy_cycles"] = items["drain_cycles"] = np.where(whole, dim, np.maximum(chunks[:, ROWS], 4))
    items["loads"] = np.maximum(chunks[:, LOADS], np.where(with_weights, coming[:, 3], 0))
    return items
