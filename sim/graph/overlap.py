"""Whether windows of one tensor have elements in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from sim.graph.tensors import View

MAX_RUNS = 20_000_000
"""Runs of adjacent elements that are compared one by one (320 MB); windows of more are checked by strides alone."""

MAX_INTERLEAVED = 64
"""Windows that are compared in pairs."""


def meet(a: View, b: View) -> bool:
    """Return whether two windows of one tensor may have a common element; exact for windows of equal rows."""
    if a.offset >= b.end or b.offset >= a.end:
        return False
    if a.row_stride == b.row_stride and a.row_stride:
        one, two = _columns(a), _columns(b)
        if one is not None and two is not None:
            return one[0] < two[1] and two[0] < one[1]
    return True


def _columns(view: View) -> tuple[int, int] | None:
    """Return the range of columns of a window, in rows of ``row_stride`` elements; None if it has no such range."""
    first, width = view.offset % view.row_stride, view.cols
    if view.batch > 1 and view.batch_stride % view.row_stride:
        width += (view.batch - 1) * view.batch_stride
    return (first, first + width) if first + width <= view.row_stride else None


def overlap(views: Sequence[View]) -> bool:
    """Return whether windows of one tensor overlap, ``views`` by ascending offset."""
    if not any(map(_may_overlap_itself, views)) and (
        _in_order(views) or _take_turns(views) or _side_by_side(views) or _interleaved(views)
    ):  # without a look at every row
        return False
    if sum(view.batch * view.rows for view in views) > MAX_RUNS:
        return True
    runs = [_runs(view) for view in views]
    starts = np.concatenate([begin for begin, _ in runs])
    ends = np.concatenate([begin + length for begin, length in runs])
    order = np.argsort(starts, kind="stable")
    return bool((ends[order][:-1] > starts[order][1:]).any())


def _in_order(views: Sequence[View]) -> bool:
    """Return whether each window ends before the next one begins."""
    return all(a.end <= b.offset for a, b in pairwise(views))


def _take_turns(views: Sequence[View]) -> bool:
    """Return whether all windows have one batch stride, and each has another part of it."""
    stride = views[0].batch_stride
    if stride <= 0 or any(view.batch_stride != stride for view in views):
        return False
    firsts = [view.offset % stride for view in views]
    parts = [
        (first, first + (view.rows - 1) * view.row_stride + view.cols)
        for first, view in zip(firsts, views, strict=True)
    ]
    return max(end for _, end in parts) <= stride and all(a[1] <= b[0] for a, b in pairwise(sorted(parts)))


def _side_by_side(views: Sequence[View]) -> bool:
    """Return whether all windows have one row stride, and those of the same columns follow each other."""
    stride = views[0].row_stride
    if stride <= 0 or any(view.row_stride != stride for view in views):
        return False
    by_columns: dict[tuple[int, int] | None, list[View]] = {}
    for view in views:
        by_columns.setdefault(_columns(view), []).append(view)
    ranges = [columns for columns in by_columns if columns is not None]
    apart = len(ranges) == len(by_columns) and all(a[1] <= b[0] for a, b in pairwise(sorted(ranges)))
    return apart and all(map(_in_order, by_columns.values()))


def _interleaved(views: Sequence[View]) -> bool:
    """Return whether all of a few windows have the same strides, and no two of them have a common element."""
    one_grid = len({(view.batch_stride, view.row_stride) for view in views}) == 1
    few = len(views) <= MAX_INTERLEAVED and all(map(_nested, views))
    return one_grid and few and not any(_on_one_grid(a, b) for a, b in combinations(views, 2))


def _nested(view: View) -> bool:
    """Return whether a row lies inside its row stride, and all rows of a repetition inside the batch stride."""
    return view.cols <= view.row_stride and (view.rows - 1) * view.row_stride + view.cols <= view.batch_stride


def _on_one_grid(a: View, b: View) -> bool:
    """Return whether two nested windows of equal strides have a common element.

    The steps between two common elements' places, in repetitions, rows and columns, add up to the distance of the
    windows; columns reach less than a row, rows less than a repetition: each step is the quotient or one more.
    """
    off = b.offset - a.offset
    for batch in (off // a.batch_stride, off // a.batch_stride + 1):
        rest = off - batch * a.batch_stride
        for row in (rest // a.row_stride, rest // a.row_stride + 1):
            steps = (batch, a.batch, b.batch), (row, a.rows, b.rows), (rest - row * a.row_stride, a.cols, b.cols)
            if all(-theirs < step < ours for step, ours, theirs in steps):
                return True
    return False


def _runs(view: View) -> tuple[npt.NDArray[np.int64], int]:
    """Return the starts of the window's runs of adjacent elements, and their length."""
    if view.rows == 1 or view.row_stride == view.cols:
        starts, length = view.batch_stride * np.arange(view.batch), view.rows * view.cols
    else:
        starts = np.add.outer(view.batch_stride * np.arange(view.batch), view.row_stride * np.arange(view.rows)).ravel()
        length = view.cols
    return view.offset + starts, length


def _may_overlap_itself(view: View) -> bool:
    """Return whether the window may contain an element twice (each stride must exceed all smaller steps)."""
    reach = view.cols
    for stride, count in sorted([(view.row_stride, view.rows), (view.batch_stride, view.batch)]):
        if count > 1 and stride < reach:
            return True
        reach += stride * (count - 1)
    return False


def within(view: View, other: View) -> bool:
    """Return whether a window is inside another one of equal strides; False if strides differ."""
    if (view.row_stride, view.batch_stride) != (other.row_stride, other.batch_stride):
        return False
    off = view.offset - other.offset
    batch, off = divmod(off, view.batch_stride) if view.batch_stride else (0, off)
    row, col = divmod(off, view.row_stride) if view.row_stride else (0, off)
    ends = (batch + view.batch, other.batch), (row + view.rows, other.rows), (col + view.cols, other.cols)
    return min(batch, row, col) >= 0 and all(end <= most for end, most in ends)
