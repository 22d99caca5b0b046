"""Sampled products in DRAM in the layout of their programs: the index, packed rows, and the unit that reads both.

The sequencer of such an array goes through rows, windows and features in the order of the plan
(`sim.lower.sparse.sampled_plan`) and counts the sub-rows of each row, as set by `write_index`. The weight of a value is
read from the index that the program loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.functional.kernels.records import SUB_ROW
from sim.functional.kernels.sampled import AS_COMMANDED, ONTO, OVER
from sim.functional.machine import Machine
from sim.functional.unit import Sampler
from sim.lower.sparse.cost import LoadCost
from sim.lower.sparse.sampled_plan import SampledPlan, SampledShape, SampledStep, choose_cut
from sim.lower.work import SampledMatmul
from sim.sparsity.masks import packing

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Choice:
    """``mask``: bool[M, N] of the elements of C that are computed, or bool[M, K] of the elements of A that are kept.

    ``reach``: which weights a place of a sub-row takes (`sim.sparsity.masks.packing`). ``group`` (N, M): at most N of
    each M are kept, the index has their positions; without it a bit per element.
    """

    mask: npt.NDArray[np.bool_]
    reach: Literal["pe", "line"] = "line"
    group: tuple[int, int] | None = None


def write_index(machine: Machine, work: SampledMatmul, choice: Choice) -> Sampler:
    """Write the index of a choice into DRAM where ``work`` loads it; return the unit that reads it.

    Raises InputError if ``work`` was made for another choice.
    """
    hw = machine.hw
    shape, cut = SampledShape(work, hw), choose_cut(work, hw)
    _check(shape, choice)
    bits = _index_bits(shape, choice)
    row_bytes = hw.sp_row_bytes
    for blocks, windows in dict.fromkeys((step.blocks, shape.a_windows(step.windows)) for step in cut.steps):
        rows = shape.elements(blocks)
        first, size = shape.index_bits(rows, windows)
        part = bits[rows.start : rows.stop, shape.index_edge(windows.start) : shape.index_edge(windows.stop)].reshape(
            -1
        )
        assert part.size == size
        loads = list(shape.index_loads(blocks, windows, LoadCost(hw).group))
        order = np.concatenate([_order(load.blocks, load.rows) + load.local for load in loads])
        begin = loads[0].line * row_bytes
        address = work.index_address + begin
        lines = machine.read(address, (len(order), row_bytes), kind="int8").view(np.uint8)
        single = np.unpackbits(lines[np.argsort(order)], axis=1, bitorder="little").reshape(
            -1
        )  # in the order of local rows
        at = first - begin * 8
        single[at : at + size] = part
        local = np.packbits(single.reshape(len(order), -1), axis=1, bitorder="little")
        machine.write_bytes(address, local[order].reshape(-1))
    return Sampler(shape.outputs, choice.reach, choice.group, *_sequence(shape, cut, hw.dim))


def pack_rows(values: Array, choice: Choice, work: SampledMatmul, dim: int) -> Array:
    """Return values [M, K] (or chosen scores, [M, N]) packed as [M, ``work.row_elements``]: sub-row after sub-row.

    Places without a value are zero.
    """
    found = np.zeros((len(values), work.row_elements), values.dtype)
    kept = np.where(choice.mask, values, 0)
    for r, columns in enumerate(packed_columns(choice, work, dim)):
        columns = columns[: work.row_elements]
        there = np.flatnonzero(columns >= 0)
        found[r, there] = kept[r, columns[there]]
    return found


def packed_columns(choice: Choice, work: SampledMatmul, dim: int) -> list[npt.NDArray[np.int64]]:
    """Return by row the column in each place of a packed row, -1 if none."""
    mask = choice.mask
    if choice.group is not None:
        places = _places(mask, choice.group)
        columns = (places + np.arange(places.shape[1])[None, :, None] * choice.group[1]).reshape(len(mask), -1)
        return list(np.where(columns < mask.shape[1], columns, -1))
    width = work.resident * dim
    found = []
    for row in mask:
        parts = [
            np.where(part >= 0, part + first, -1)
            for first in range(0, len(row), width)
            for part in packing.sub_row_columns(row[first : first + width], dim, work.resident, choice.reach)
        ]
        found.append(np.concatenate([*parts, np.zeros(0, np.int64)]))
    return found


def _check(shape: SampledShape, choice: Choice) -> None:
    work, dim, mask, group = shape.work, shape.dim, choice.mask, choice.group
    if mask.shape != (shape.m, shape.keys):
        raise InputError(f"mask of {mask.shape}: the product chooses among {(shape.m, shape.keys)}")
    if group is None:
        counts = packing.sub_rows(mask, dim, work.resident, choice.reach)
        wrong = np.argwhere(counts != shape.counts)
        if wrong.size:
            row, window = map(int, wrong[0])
            raise InputError(
                f"mask: row {row} takes {counts[row, window]} sub-rows in window {window}, the program has "
                f"{shape.counts[row, window]}: it was made for another mask, or another reach"
            )
    elif _grouped(mask, group).sum(axis=2).max(initial=0) > group[0]:
        raise InputError(f"mask: more than {group[0]} of {group[1]} values are kept somewhere")


def _grouped(mask: Mask, group: tuple[int, int]) -> Mask:
    """Return bool[rows, groups, M]."""
    rows, k = mask.shape
    whole = np.zeros((rows, -(-k // group[1]) * group[1]), np.bool_)
    whole[:, :k] = mask
    return whole.reshape(rows, -1, group[1])


def _places(mask: Mask, group: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return int64[rows, groups, N]: positions of the kept values among M, ascending.

    Filled with others if fewer are kept.
    """
    chosen = np.argsort(~_grouped(mask, group), axis=2, kind="stable")[:, :, : group[0]]
    return np.asarray(chosen, np.int64)


def _index_bits(shape: SampledShape, choice: Choice) -> npt.NDArray[np.uint8]:
    """Return uint8[rows, bits of a row's index]."""
    mask, group = choice.mask, choice.group
    if group is None:
        found = mask.astype(np.uint8)
    else:
        width = np.arange((group[1] - 1).bit_length())
        found = (_places(mask, group)[..., None] >> width & 1).astype(np.uint8).reshape(len(mask), -1)
    return np.pad(found, ((0, 0), (0, shape.work.index_row_bytes * 8 - found.shape[1])))


def _order(blocks: int, rows: int) -> npt.NDArray[np.int64]:
    """Return the position of each line of a load: with several blocks row r has lines r * blocks, ..."""
    lines = np.arange(blocks * rows)
    return lines % blocks * rows + lines // blocks


def _sequence(shape: SampledShape, cut: SampledPlan, dim: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.void]]:
    """Return ``chunks`` and ``subs`` of a `Sampler`: DIM sub-rows to a compute, in the order of the plan.

    A command names as A the last loaded block of its last row's block, as C its first row's block.
    """
    lengths, tables = [0], []
    for step in cut.steps:
        found = {window: _sub_rows(shape, cut, step, window) for window in step.windows}
        pairs = [(window, feature) for window in step.windows for feature in step.features]
        if not shape.outputs:
            pairs.sort(key=lambda pair: pair[1])
        for window, _ in pairs:
            table, block, starts = found[window]
            for first in range(0, len(table), dim):
                part, inside = table[first : first + dim].copy(), block[first : first + dim]
                part[:, 0] -= starts[first : first + dim][inside == inside[-1], 0].max()
                part[:, 1] -= starts[first, 1]
                lengths.append(len(part))
                tables.append(part)
    return np.cumsum(np.asarray(lengths, np.int64)), np.concatenate(tables).view(SUB_ROW)[:, 0]


def _sub_rows(
    shape: SampledShape, cut: SampledPlan, step: SampledStep, window: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return by sub-row of a step in a window its fields, its block of rows, and where its blocks of A and C begin.

    All local rows are counted from the step's first row of A and of C on.
    """
    elements, windows = shape.elements(step.blocks), shape.a_windows(step.windows)
    rows, places = shape.sub_rows(elements, window)
    number, block = places - shape.before[rows, window], rows // shape.dim - step.blocks.start
    columns = [shape.columns(one, windows) for one in step.blocks]
    a = _offsets([len(one) * shape.dim for one in columns])[block]
    c = _offsets([shape.places(one, step.features) for one in step.blocks])[block]
    starts = np.stack([a, c], axis=1)
    if shape.outputs:
        c = c + places * shape.dim
        adds = np.full(len(rows), AS_COMMANDED)
    else:
        starts[:, 0] += (places - np.array([one.start for one in columns])[block]) * shape.dim
        a = starts[:, 0]
        lies_there = (places > number) | (shape.work.matmul.bias != "none")
        adds = np.where(number > 0, ONTO, np.where(lies_there, AS_COMMANDED, OVER))
    row_bits = shape.hw.sp_row_bytes * 8
    wide = shape.index_edge(windows.stop) - shape.index_edge(windows.start)
    inside = shape.index_edge(window) - shape.index_edge(windows.start)
    start = cut.a_parts[step.a_part][0] * row_bits + shape.index_bits(elements, windows)[0] % row_bits
    index = start + (rows - elements.start) * wide + inside
    width = np.full(len(rows), _width(shape, window))
    fields = (a + rows % shape.dim, c + rows % shape.dim, adds, index, number, width)
    return np.stack(fields, axis=1).astype(np.int64), block, starts


def _width(shape: SampledShape, window: int) -> int:
    """Return the number of elements of a window; for packed values (N:M) the number of packed ones."""
    packed = shape.work.row_elements < shape.keys
    whole, each = (shape.work.row_elements, shape.dim) if packed else (shape.keys, shape.work.resident * shape.dim)
    return min(each, whole - window * each)


def _offsets(sizes: list[int]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *sizes[:-1]])
