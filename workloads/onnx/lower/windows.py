"""From arrays of any rank to the windows of operators.

Batch, rows, columns, and one operator for each step of the outer loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from sim.graph import View
from workloads.onnx.strided import Common, Strided, joined, loops

MAX_STEPS = 4096
"""Most operators that one node of a file may become."""


class NoWindow(Exception):
    """An operand whose columns are not adjacent, by its index among the operands; -1: no window fits."""

    def __init__(self, place: int):
        super().__init__(place)
        self.place = place


def element_views(
    arrays: Sequence[Strided], width: int, narrow: Sequence[int] = (), single: bool = False
) -> Iterator[tuple[View, ...]]:
    """Yield the windows of an element-wise operator: of its operands and (last) its result.

    All arrays have one shape. ``width``: columns of a row of the result's tensor; ``narrow``: operands that may be one
    number per row; ``single``: columns that are not adjacent become rows of one element. Raises NoWindow.
    """
    parts: list[Common] = []
    for axes in zip(*(array.axes for array in arrays), strict=True):
        found = loops(axes)
        if found is None:
            raise NoWindow(-1)
        parts += found
    parts = joined(sorted(parts, key=lambda part: -part[1][-1]))
    cols, strides = parts.pop() if parts else (1, (1,) * len(arrays))
    if single and cols > 1 and any(stride != 1 for stride in strides):
        parts.append((cols, strides))
        cols, strides = 1, (1,) * len(arrays)
    columns = [place for place, stride in enumerate(strides) if stride == 0 and cols > 1 and place in narrow]
    if wrong := [place for place, stride in enumerate(strides) if stride != 1 and cols > 1 and place not in columns]:
        raise NoWindow(wrong[0])
    if cols > width and cols % width == 0:
        parts.append((cols // width, tuple(width * stride for stride in strides)))
        cols = width
    for views in _views(arrays, parts, cols):
        yield tuple(_column(view) if place in columns else view for place, view in enumerate(views))


def _column(view: View) -> View:
    """Return a window of one number per row, of an operand whose columns repeat it."""
    return replace(view, cols=1, row_stride=view.row_stride if view.rows > 1 else 1)


def row_views(arrays: Sequence[Strided]) -> Iterator[tuple[View, ...]]:
    """Yield the windows of an operator over whole rows: the last axis of all arrays. Raises NoWindow."""
    if wrong := [place for place, array in enumerate(arrays) if not array.row_stride_one()]:
        raise NoWindow(wrong[0])
    parts: list[Common] = []
    for axes in zip(*(array.axes[:-1] for array in arrays), strict=True):
        found = loops(axes)
        if found is None:
            raise NoWindow(-1)
        parts += found
    parts = joined(sorted(parts, key=lambda part: -part[1][-1]))
    yield from _views(arrays, parts, arrays[-1].shape[-1])


def _views(arrays: Sequence[Strided], parts: list[Common], cols: int) -> Iterator[tuple[View, ...]]:
    """Yield one tuple of windows for each step of the loops outside batch and rows."""
    rows, row_strides = parts.pop() if parts else (1, (cols,) * len(arrays))
    batch, batch_strides = parts.pop() if parts else (1, tuple(rows * stride for stride in row_strides))
    for offsets in steps(parts, len(arrays)):
        yield tuple(
            View(array.tensor, batch, rows, cols, row, step, array.offset + offset)
            for array, row, step, offset in zip(arrays, row_strides, batch_strides, offsets, strict=True)
        )


def steps(parts: Sequence[Common], arrays: int) -> Iterator[tuple[int, ...]]:
    """Yield the offset of each array at each step of nested loops."""
    count = 1
    for size, _ in parts:
        count *= size
    if count > MAX_STEPS:
        raise NoWindow(-1)
    for at in product(*(range(size) for size, _ in parts)):
        yield tuple(
            sum(index * strides[place] for index, (_, strides) in zip(at, parts, strict=True))
            for place in range(arrays)
        )
