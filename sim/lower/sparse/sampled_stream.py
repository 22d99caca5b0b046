"""The three command streams of a sampled product: its sizes and cut as arrays for the compiled `sample`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.isa.commands import PASS_SHIFT
from sim.lower.matmul import c_bytes
from sim.lower.norm import PASSES, STATISTICS
from sim.lower.pace import HAND, Pace
from sim.lower.sparse.blocks import BITS_PER_BYTE
from sim.lower.sparse.compiled import sampled_records as records
from sim.lower.sparse.compiled.merge import ITEM
from sim.lower.sparse.compiled.sampled import sample
from sim.lower.sparse.cost import LoadCost
from sim.lower.sparse.merge import Items, Streams
from sim.lower.sparse.sampled_pairs import pairs
from sim.lower.sparse.sampled_plan import SLOTS, SampledPlan, SampledShape
from sim.lower.sparse.sizes import bias_stride_bytes, product_sizes
from sim.lower.tiling import blocks_of
from sim.lower.work import SampledMatmul

NORM_CYCLES = 2
"""Estimated cycles of a store through the normaliser beyond one per block.

Chosen among 0 to 10 for the shortest programs.
"""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Walked:
    """The steps of a product, in order (`records.Met`), and the stores so far behind each step of its cut."""

    met: records.Met
    steps: Numbers
    stored: Numbers

    def stores_before(self, tiles: Numbers) -> Numbers:
        """Return the number of stores that must precede work on a tile.

        Those of the tile two before, in the same half.
        """
        earlier = np.searchsorted(self.steps[:, -1], tiles - 2, side="right")
        return np.append(0, self.stored)[earlier]


def streams(work: SampledMatmul, cut: SampledPlan, hw: Hardware) -> Streams:
    """Return loads, computes and stores, each with the counts of items that must precede it."""
    walked = walk(work, cut, hw)
    met = walked.met
    computes, belongs = pairs(met, hw.dim, outputs=work.picks == "outputs")
    ends = np.searchsorted(belongs, np.arange(len(cut.steps)), side="right")
    # A slot is free again after the last step that used its contents, a half of the accumulator after the stores of the
    # tile before the previous one.
    step, tile = met.waits[:, 0], met.waits[:, 1]
    met.loads["computes"] = np.where(step >= 0, ends[step], 0)
    met.loads["stores"] = walked.stores_before(tile)
    computes["stores"] = walked.stores_before(walked.steps[:, -1])[belongs]
    met.stores["computes"] = ends[met.stores["computes"]]
    return Streams(met.loads, computes, met.stores, Pace(hw).gap(HAND))


def walk(work: SampledMatmul, cut: SampledPlan, hw: Hardware) -> Walked:
    """Return the steps of a cut."""
    shape = SampledShape(work, hw)
    steps = np.array(
        [(*_edges(s.blocks), *_edges(s.features), *_edges(s.windows), s.a_part, s.b_part, s.tile) for s in cut.steps],
        np.int64,
    )
    chunks = _chunks(shape, steps)
    state = np.zeros(1, records.STATE)
    state["stride_bytes"] = bias_stride_bytes(work.matmul, hw)
    state["biased_tile"] = -1
    met = _room(shape, cut, steps, chunks)
    counts = np.ascontiguousarray(shape.counts), shape.before, np.array(shape.longest, np.int64)
    inputs = (_sizes(shape, hw), LoadCost(hw).record, state), records.Counts(*counts), steps, _slots(shape, cut)
    most: Any = (int((steps[:, 1] - steps[:, 0]).max()), int(chunks.sum(axis=1).max()))
    stored = np.zeros(len(steps), np.int64)
    sample(*inputs, met, np.array(PASSES["softmax"], np.int64), most, stored)
    used = {name: int(state[name][0]) for name in ("loads", "weights", "chunks", "groups", "stores")}
    found = {name: getattr(met, name)[:count] for name, count in used.items()}
    return Walked(records.Met(waits=met.waits[: used["loads"]], **found), steps, stored)


def _edges(of: range) -> tuple[int, int]:
    return of.start, of.stop


def _sizes(shape: SampledShape, hw: Hardware) -> Items:
    work, product = shape.work, shape.work.matmul
    values = {
        **product_sizes(product, hw),
        "keys": shape.keys, "width": shape.width, "windows": shape.windows,
        "outputs": shape.outputs, "resident": work.resident, "key_blocks": blocks_of(shape.keys, hw.dim),
        "c_bits": hw.bits("c") if shape.outputs else c_bytes(8, product, hw),
        "row_elements": work.row_elements, "index_address": work.index_address,
        "index_row_bits": work.index_row_bytes * BITS_PER_BYTE, "index_bits": work.index_bits,
        "line_bytes": hw.sp_row_bytes,
        "norm_elements": hw.max_block_len * hw.dim, "norm_cycles": NORM_CYCLES, "norm_shift": PASS_SHIFT,
        "statistics": STATISTICS,
    }  # fmt: skip
    found = np.zeros(1, records.SIZES)
    for name, value in values.items():
        found[name] = value
    return found


def _slots(shape: SampledShape, cut: SampledPlan) -> records.Slots:
    """Return the addresses of parts, and arrays for their contents.

    A cut's parts are numbered in the order of loading.
    """
    sides = []
    for parts, used in ((cut.a_parts, [s.a_part for s in cut.steps]), (cut.b_parts, [s.b_part for s in cut.steps])):
        last_use = dict(zip(used, range(len(used)), strict=True))
        sides.append([(row, last_use.get(gone, -1), int(row != parts[0][0])) for row, gone in parts])
    key_blocks, features = (blocks_of(size, shape.dim) for size in (shape.keys, shape.width))
    return records.Slots(
        a_parts=np.array(sides[0], np.int64), b_parts=np.array(sides[1], np.int64),
        a_local=np.zeros((SLOTS, shape.rows), np.int64), a_loads=np.zeros((SLOTS, shape.rows), np.int64),
        a_read=np.zeros(SLOTS, np.int64), b_loads=np.full((SLOTS, key_blocks, features), -1, np.int64),
    )  # fmt: skip


def _chunks(shape: SampledShape, steps: Numbers) -> Numbers:
    """Return the chunks at one feature by step and window: int64[steps, windows], 0 outside the step's windows."""
    below = np.concatenate([np.zeros((1, shape.windows), np.int64), shape.counts.cumsum(axis=0)])
    first, stop = (np.minimum(steps[:, place] * shape.dim, shape.m) for place in (0, 1))
    window = np.arange(shape.windows)
    inside = (window >= steps[:, 4, None]) & (window < steps[:, 5, None])
    found: Numbers = -(-(below[stop] - below[first]) // shape.dim) * inside
    return found


def _room(shape: SampledShape, cut: SampledPlan, steps: Numbers, chunks: Numbers) -> records.Met:
    """Return arrays large enough for everything that a walk may write: upper bounds, not counts."""
    work, hw, product = shape.work, shape.hw, shape.work.matmul
    rows, features = steps[:, 1] - steps[:, 0], steps[:, 3] - steps[:, 2]
    groups = int(((chunks > 0).sum(axis=1) * features).sum())
    ends = np.append(steps[1:, -1] != steps[:-1, -1], True)  # of tiles
    new = [np.append(True, np.diff(np.maximum.accumulate(steps[:, place])) > 0) for place in (6, 7)]
    a_rows = [shape.a_rows(s.blocks, shape.a_windows(s.windows)) for s in cut.steps]
    loads = int((new[0] * (2 * -(-np.array(a_rows) // hw.dim) + 4)).sum())
    loads += int(((steps[:, 5] - steps[:, 4]) * work.resident * features * new[1]).sum())
    if product.bias != "none":
        loads += int(((rows * features + 1) * ends).sum())
    stores = int((rows * features * ends).sum())
    if shape.outputs:
        most = 1 + -(-shape.counts.sum(axis=1) // hw.max_block_len)
        stores = len(PASSES["softmax"]) * int(most.sum())
    items = {name: np.empty(count, ITEM) for name, count in (("loads", loads), ("stores", stores))}
    return records.Met(
        waits=np.empty((loads, 2), np.int64), weights=np.empty((groups * work.resident, 4), np.int64),
        chunks=np.empty((int((chunks.sum(axis=1) * features).sum()), 8), np.int64),
        groups=np.empty((groups, 3), np.int64), **items,
    )  # fmt: skip
