"""Operators over whole rows: softmax and normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sim.graph.kinds.elementwise import number_kind, of_one
from sim.graph.kinds.kind import Array, Columns, Kind, Values, as_float32, input_elements

if TYPE_CHECKING:
    from sim.graph.op import Op


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return as_float32(raised / raised.sum(axis=-1, keepdims=True))


def layernorm(x: Array, gain: Array, shift: Array, epsilon: float) -> Array:
    """LayerNorm over the last axis."""
    off = x - x.mean(axis=-1, keepdims=True)
    return as_float32(off / np.sqrt((off * off).mean(axis=-1, keepdims=True) + epsilon) * gain + shift)


def _named(op: Op, values: Values, name: str, default: float) -> Array:
    weight = op.attrs[name]
    return np.full(1, default) if weight is None else values.weights[weight]


def _layernorm(op: Op, inputs: list[Array], values: Values) -> Array:
    gain, shift = _named(op, values, "gamma", 1.0), _named(op, values, "beta", 0.0)
    return layernorm(inputs[0], gain, shift, values.epsilon)


def _rmsnorm(op: Op, inputs: list[Array], values: Values) -> Array:
    """x / sqrt(mean of squares + epsilon) * gamma over the last axis."""
    mean = (inputs[0] * inputs[0]).mean(axis=-1, keepdims=True)
    return as_float32(inputs[0] / np.sqrt(mean + values.epsilon) * _named(op, values, "gamma", 1.0))


def _argmax_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    source = op.inputs[0]
    rows = f"{source.batch}x{source.rows} rows give as many places, not {op.output}"
    return {
        rows: op.output.elements == source.batch * source.rows,
        f"places are int32, not {dtypes[1]}": dtypes[1] == "int32",
    }


def _argmax(op: Op, inputs: list[Array], values: Values) -> Array:
    return np.asarray(inputs[0].argmax(axis=-1), dtype=np.float32).reshape(op.output.shape)


def _one_number_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    source = op.inputs[0]
    return {
        f"{source.batch}x{source.rows} rows give as many numbers, not {op.output}": op.output.shape
        == (source.batch, source.rows, 1),
        f"input {dtypes[0]} and output {dtypes[1]} must both be integers or both floats": (dtypes[0][0] == "i")
        == (dtypes[1][0] == "i"),
    }


def _logsumexp(op: Op, inputs: list[Array], values: Values) -> Array:
    most = inputs[0].max(axis=-1, keepdims=True)
    return as_float32(most + np.log(np.exp(inputs[0] - most).sum(axis=-1, keepdims=True)))


def _random_features_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    projected, rows = op.inputs
    return {
        f"input is {projected}, output {op.output}: must be one shape": projected.shape == op.output.shape,
        f"{rows.batch}x{rows.rows} rows for {projected.batch}x{projected.rows} projected ones": rows.shape[:2]
        == projected.shape[:2],
        f"dtypes {', '.join(dtypes)} must be one": len(set(dtypes)) == 1,
    }


def _random_features(op: Op, inputs: list[Array], values: Values) -> Array:
    """e to (projection - half of the row's squared length) over the root of the number of features."""
    half = (inputs[1] * inputs[1]).sum(axis=-1, keepdims=True) / 2
    return as_float32(np.exp(inputs[0] - half) / np.sqrt(inputs[0].shape[-1]))


KINDS = (
    Kind(
        "logsumexp",
        "one input: the logarithm of the sum of e to its elements, of each row",
        _one_number_rules,
        reference=_logsumexp,
        priced=input_elements,
    ),
    Kind(
        "random_features",
        "projected rows, rows: e to (projection - half of the squared length), positive random features of softmax",
        _random_features_rules,
        inputs=(2,),
        reference=_random_features,
    ),
    Kind(
        "softmax",
        "one input, row by row",
        number_kind,
        per_element=(4.0, 2.0),
        reference=of_one(softmax),
        bounded=True,
        whole_rows=True,
        color="#D55E00",
    ),
    Kind(
        "layernorm",
        "one input, row by row; gamma, beta: names of its weights",
        number_kind,
        {"gamma": None, "beta": None},
        per_element=(10.0, 1.5),
        reference=_layernorm,
        columns=Columns("hidden", weight_attributes=("gamma", "beta")),
        whole_rows=True,
        standardises=True,
        color="#CC79A7",
    ),
    Kind(
        "rmsnorm",
        "one input, row by row; gamma: name of its weight",
        number_kind,
        {"gamma": None},
        reference=_rmsnorm,
        columns=Columns("hidden", weight_attributes=("gamma",)),
        whole_rows=True,
        color="#AA4466",
    ),
    Kind(
        "argmax",
        "one input: the position of the largest element of each row (greedy sampling)",
        _argmax_rules,
        reference=_argmax,
        priced=input_elements,
        converts=False,
    ),
)
