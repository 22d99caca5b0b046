"""Tensors that may have a factor of their own for each column.

The array multiplies integers and scales its results by one number. A factor by column of a result needs a reader that
undoes it: a host that converts each element anyway, or a product with weights, whose rows absorb it at no cost.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.graph import Graph, Op

Array = npt.NDArray[Any]

FEWEST = 1e-3
"""Least factor of a column relative to the others."""


def free(graph: Graph, name: str, on_array: Collection[str]) -> bool:
    """Return whether all readers of a tensor can undo a factor by column.

    ``on_array``: operators that the array runs.
    """
    return all(_takes(graph, op, name, on_array) for op in graph.consumers(name))


def _takes(graph: Graph, op: Op, name: str, on_array: Collection[str]) -> bool:
    if op.name not in on_array:
        return True
    if not op.is_matmul or op.attrs["transpose_a"]:
        return False
    places = [place for place, view in enumerate(op.inputs) if view.tensor == name]
    if places == [0]:
        return graph.multiplies_weights(op)
    # V of an attention head: its columns are the columns of the context
    return places == [1] and not op.attrs["transpose_b"] and free(graph, op.output.tensor, on_array)


def shared_steps(weights: Array, results: Array) -> Array:
    """Return a step for each column of a product, used for its weights and, times one number, for its result.

    A store has one scale, so a column whose result has a finer step has finer weights too. ``weights``, ``results``: by
    column the largest magnitude. A step grows as either does beyond the median of all columns: neither loses more than
    the other requires. Largest magnitude / step is at most the median of each.
    """
    steps = np.full(len(weights), FEWEST)
    for part in (weights, results):
        if (part > 0).any():
            steps = np.maximum(steps, part / np.median(part[part > 0]))
    return steps
