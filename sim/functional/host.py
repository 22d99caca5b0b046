"""Operators of the host CPU in float32, and a whole encoder in float, the reference of the integer one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.graph import Graph, Op, View, kinds
from sim.graph.kinds import Values

Array = npt.NDArray[Any]


def window(values: Array, view: View) -> Array:
    """Return the elements [batch, rows, cols] of a tensor in a window; shares the tensor's memory."""
    flat = values.reshape(-1)
    step = flat.itemsize
    strides = (view.batch_stride * step, view.row_stride * step, step)
    return np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides)


def apply(op: Op, inputs: list[Array], weights: Mapping[str, Array], epsilon: float, head_dim: int) -> Array:
    """Return the output [batch, rows, cols] of one operator in float32; scores are multiplied by 1/sqrt(head_dim).

    Raises InputError for an operator kind that is unknown, or whose values are not modelled.
    """
    kind = kinds.find(op.kind)
    if kind.reference is None:
        able = ", ".join(known.name for known in kinds.KINDS.values() if known.reference is not None)
        raise InputError(f"operator {op.name}: values of {op.kind} are not modelled, only its time (modelled: {able})")
    return kind.reference(op, inputs, Values(weights, epsilon, head_dim))


def forward_together(
    graph: Graph, given: Mapping[str, Array], sequences: Mapping[str, Array], epsilon: float, head_dim: int
) -> dict[str, Array]:
    """Return every tensor as `forward`, for several sequences of one length together.

    ``given``: weights by tensor name. ``sequences``: inputs [sequences, *shape of the tensor]; tensors computed from
    them have that first axis, too. Products with weights are one matrix product for the rows of all sequences.
    """
    values = {name: np.ascontiguousarray(array) for name, array in {**given, **sequences}.items()}
    together = set(sequences)
    count = len(next(iter(sequences.values())))
    for op in graph.ops:
        name = op.output.tensor
        if together.isdisjoint(view.tensor for view in op.inputs):
            count_of = 1  # weights alone: the same for all sequences
        else:
            together.add(name)
            count_of = count
        if name not in values:
            shape = graph.tensors[name].shape
            values[name] = np.zeros((count, *shape) if name in together else shape, np.float32)
        inputs = [_together(values, view, op, together, count_of) for view in op.inputs]
        if _rows_of_all(op, together):
            inputs[0] = inputs[0].reshape(1, -1, inputs[0].shape[-1])
        result = apply(op, inputs, values, epsilon, head_dim)
        put = _windows(values[name], op.output, count_of)
        put[...] = result.reshape(put.shape)
    return values


def _windows(values: Array, view: View, count: int) -> Array:
    """Return the elements [count, batch, rows, cols] in a window of a tensor of ``count`` sequences."""
    flat = values.reshape(-1)
    step = flat.itemsize
    strides = (values.size // count * step, view.batch_stride * step, view.row_stride * step, step)
    return np.lib.stride_tricks.as_strided(flat[view.offset :], (count, *view.shape), strides)


def _together(values: Mapping[str, Array], view: View, op: Op, together: Collection[str], count: int) -> Array:
    """Return an input [sequences * batch, rows, cols] of an operator; [1, rows, cols] for one matrix shared by all."""
    if view.tensor in together:
        found = _windows(values[view.tensor], view, count)
    else:
        found = window(values[view.tensor], view)
        if view.batch == 1 or count == 1:
            return found
    # an operand shared by repetitions, such as a mask of all heads, is repeated in each sequence
    batch = max(op.batch, view.batch)
    return np.broadcast_to(found, (count, batch, *view.shape[1:])).reshape(-1, *view.shape[1:])


def _rows_of_all(op: Op, together: Collection[str]) -> bool:
    """Return whether an operator is a product of all sequences' rows with one matrix, and one row of bias."""
    if not op.is_matmul or op.attrs["transpose_a"] or op.batch > 1:
        return False
    own = [view.tensor in together for view in op.inputs]
    return own[0] and not any(own[1:]) and all(view.rows == 1 for view in op.inputs[2:])


def forward(graph: Graph, given: Mapping[str, Array], epsilon: float, head_dim: int) -> dict[str, Array]:
    """Return every tensor of a graph in float32. ``given``: inputs and weights by tensor name."""
    values = {name: np.ascontiguousarray(array) for name, array in given.items()}
    for op in graph.ops:
        inputs = [window(values[view.tensor], view) for view in op.inputs]
        if op.output.tensor not in values:
            values[op.output.tensor] = np.zeros(graph.tensors[op.output.tensor].shape, np.float32)
        window(values[op.output.tensor], op.output)[...] = apply(op, inputs, values, epsilon, head_dim)
    return values
