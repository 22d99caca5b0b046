"""The operators a host CPU runs, in float32; and a whole encoder in float, the yardstick of the integer one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.graph import Graph, Op, View, kinds
from sim.graph.kinds import Values

Array = npt.NDArray[Any]


def window(values: Array, view: View) -> Array:
    """Return elements [batch, rows, cols] that a view sees of a tensor; a view of the same memory."""
    flat = values.reshape(-1)
    step = flat.itemsize
    strides = (view.batch_stride * step, view.row_stride * step, step)
    return np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides)


def apply(op: Op, inputs: list[Array], weights: Mapping[str, Array], epsilon: float, head_dim: int) -> Array:
    """Return the output [batch, rows, cols] of one operator in float32; the scores get their 1/sqrt(head_dim).

    Raises InputError for an operator kind that is unknown, or whose values are not modelled.
    """
    kind = kinds.find(op.kind)
    if kind.reference is None:
        able = ", ".join(known.name for known in kinds.KINDS.values() if known.reference is not None)
        raise InputError(f"operator {op.name}: values of {op.kind} are not modelled, only its time (modelled: {able})")
    return kind.reference(op, inputs, Values(weights, epsilon, head_dim))


def forward(graph: Graph, given: Mapping[str, Array], epsilon: float, head_dim: int) -> dict[str, Array]:
    """Return every tensor of a graph in float32. ``given``: inputs and weights by tensor name."""
    values = {name: np.ascontiguousarray(array) for name, array in given.items()}
    for op in graph.ops:
        inputs = [window(values[view.tensor], view) for view in op.inputs]
        if op.output.tensor not in values:
            values[op.output.tensor] = np.zeros(graph.tensors[op.output.tensor].shape, np.float32)
        window(values[op.output.tensor], op.output)[...] = apply(op, inputs, values, epsilon, head_dim)
    return values
