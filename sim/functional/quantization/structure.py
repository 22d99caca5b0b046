"""Structural weights: matrices with at most one non-zero value in each row or column, which run block-sparse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.graph import Graph, Op

Array = npt.NDArray[Any]


def weight(op: Op) -> str | None:
    """Return the name of B of a matmul."""
    return op.inputs[1].tensor if op.is_matmul else None


def structural(graph: Graph, given: Mapping[str, Array]) -> dict[str, Array]:
    """Return the weight matrices of ``graph`` with at most one non-zero value in every row, or in every column."""
    found = {}
    for name in dict.fromkeys(filter(None, map(weight, graph.ops))):
        tensor = graph.tensors[name]
        if tensor.kind != "weight" or min(tensor.shape) < 2:
            continue
        values = given[name]
        if np.count_nonzero(values) > max(values.shape):
            continue
        if any(np.count_nonzero(values, axis=axis).max() <= 1 for axis in (0, 1)):
            found[name] = values
    return found


def only_ones(values: Array) -> bool:
    """Return whether a matrix holds only zeros and ones: a product with it sums, or copies, columns."""
    return bool((values[values != 0] == 1).all())


def copied(values: Array) -> bool:
    """Return whether a product with a matrix copies columns: a single one in each of its columns."""
    return only_ones(values) and bool((np.count_nonzero(values, axis=0) == 1).all())


def row_sums(op: Op, given: Mapping[str, Array], graph: Graph) -> bool:
    """Return whether a product only sums columns, two or more of them, as int32, for the normaliser."""
    name = weight(op)
    if name is None or graph.tensors[name].kind != "weight" or not only_ones(given[name]):
        return False
    if op.inputs[1].rows <= op.inputs[1].cols:
        return False
    return any(reader.record.standardises for reader in graph.consumers(op.output.tensor))


def placed(view_offset: int, cols: int, width: int) -> slice:
    """Return the columns of a tensor [.., width] in a view of ``cols`` columns at an offset."""
    first = view_offset % width
    return slice(first, first + cols)
