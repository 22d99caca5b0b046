"""Products of matrices: matmul, predicted scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from sim.graph.dtypes import ACCUMULATOR
from sim.graph.kinds.kind import Array, Kind, Values

if TYPE_CHECKING:
    from sim.graph.op import Op

ACTIVATIONS = ("none", "relu")
"""Activations that the array applies to a result by an attribute; the others are separate operators."""


def activation_rule(op: Op) -> dict[str, bool]:
    """Return the rule of the attribute ``activation``."""
    activation = op.attrs["activation"]
    return {f"activation is {activation!r}, can be {', '.join(ACTIVATIONS)}": activation in ACTIVATIONS}


def _matmul_dimensions(op: Op) -> tuple[int, int, int]:
    a = op.inputs[0]
    return op.output.rows, op.output.cols, a.rows if op.attrs["transpose_a"] else a.cols


def _matmul_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    a, b, *bias = op.inputs
    attrs, element = op.attrs, dtypes[0]
    m, k = (a.cols, a.rows) if attrs["transpose_a"] else (a.rows, a.cols)
    k_of_b, n = (b.cols, b.rows) if attrs["transpose_b"] else (b.rows, b.cols)
    sums = ACCUMULATOR.get(element, "none")
    scale = attrs["scale"]
    is_number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
    rules = {
        f"{name} is {attrs[name]!r}, must be true or false": isinstance(attrs[name], bool)
        for name in ("transpose_a", "transpose_b", "repeating_bias")
    }
    rules |= {
        f"inner sizes differ: A is {m}x{k} and B is {k_of_b}x{n} (after transposes)": k == k_of_b,
        f"output is {op.output.rows}x{op.output.cols}, A x B is {m}x{n}": op.output.shape[1:] == (m, n),
        f"A {dtypes[0]} and B {dtypes[1]} must be one dtype": dtypes[0] == dtypes[1],
        f"A is {element}, can be {', '.join(ACCUMULATOR)}": element in ACCUMULATOR,
        f"output is {dtypes[-1]}, must be {element} or {sums}": dtypes[-1] in (element, sums),
        **activation_rule(op),
        f"scale is {scale!r}, must be a number > 0": is_number and 0 < scale < inf,
    }
    if bias:
        rows = 1 if attrs["repeating_bias"] else m
        rules[f"bias is {bias[0].rows}x{bias[0].cols}, must be {rows}x{n}"] = bias[0].shape[1:] == (rows, n)
        rules[f"bias is {dtypes[2]}, must be {sums}"] = dtypes[2] == sums
    for name, view in zip(("A", "B", "bias"), op.inputs, strict=False):
        rules[f"{name} has batch {view.batch}, must be 1 or {op.batch}"] = view.batch in (1, op.batch)
    return rules


def _matmul(op: Op, inputs: list[Array], values: Values) -> Array:
    """A x B + bias; attention scores are multiplied by 1/sqrt(head_dim)."""
    a = inputs[0].transpose(0, 2, 1) if op.attrs["transpose_a"] else inputs[0]
    product = a @ (inputs[1].transpose(0, 2, 1) if op.attrs["transpose_b"] else inputs[1])
    if len(inputs) > 2:
        product = product + inputs[2]
    if op.attrs["activation"] == "relu":
        product = np.maximum(product, 0)
    return np.asarray(product / math.sqrt(values.head_dim) if op.attrs["transpose_b"] else product)


def _predict_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    queries, keys = op.inputs
    return {
        f"queries have {queries.cols} columns, keys {keys.cols}": queries.cols == keys.cols,
        f"{queries.rows} queries and {keys.rows} keys give {queries.rows}x{keys.rows} scores, not "
        f"{op.output.rows}x{op.output.cols}": op.output.shape[1:] == (queries.rows, keys.rows),
        f"dtypes {', '.join(dtypes)} must be one": len(set(dtypes)) == 1,
    }


KINDS = (
    Kind(
        "matmul",
        "A, B[, bias]; transpose_a, transpose_b, activation, scale; repeating_bias: one row, added to every row",
        _matmul_rules,
        {
            "transpose_a": False,
            "transpose_b": False,
            "activation": "none",
            "scale": 1.0,
            "repeating_bias": False,
        },
        (2, 3),
        multiplies="matrices",
        product=_matmul_dimensions,
        word_sizes=True,
        reference=_matmul,
        color="#0072B2",
    ),
    Kind(
        "predict",
        "queries, keys -> scores at low precision",
        _predict_rules,
        inputs=(2,),
        word_sizes=True,
    ),
)
