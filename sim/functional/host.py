"""The operators a host CPU runs, in float32; and a whole encoder in float, the yardstick of the integer one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.graph import Graph, Op, View

Array = npt.NDArray[Any]

# erf by Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7, less than float32 shows.
ERF_P = 0.3275911
ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def gelu(x: Array) -> Array:
    """x/2 (1 + erf(x / sqrt 2))."""
    y = np.abs(x.astype(np.float64)) / math.sqrt(2)
    t = 1 / (1 + ERF_P * y)
    erf = 1 - np.exp(-y * y) * t * np.polynomial.polynomial.polyval(t, np.array(ERF))
    return np.asarray(x / 2 * (1 + np.sign(x) * erf), dtype=np.float32)


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float32)


def layernorm(x: Array, gain: Array, shift: Array, epsilon: float) -> Array:
    """LayerNorm over the last axis."""
    off = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(off / np.sqrt((off * off).mean(axis=-1, keepdims=True) + epsilon) * gain + shift, np.float32)


def window(values: Array, view: View) -> Array:
    """Return elements [batch, rows, cols] that a view sees of a tensor; a view of the same memory."""
    flat = values.reshape(-1)
    step = flat.itemsize
    strides = (view.batch_stride * step, view.row_stride * step, step)
    return np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides)


def apply(op: Op, inputs: list[Array], weights: Mapping[str, Array], epsilon: float, head_dim: int) -> Array:
    """Return the output [batch, rows, cols] of one operator in float32; the scores get their 1/sqrt(head_dim)."""
    first = inputs[0]
    if op.kind == "embedding":
        return np.asarray(inputs[1][0][first.reshape(-1).astype(np.int64)])[None]
    if op.kind in ("quantize", "dequantize"):  # the number stays; how it is stored is the tensor's affair
        return first
    if op.kind == "residual_add":
        return np.asarray(first + inputs[1])
    if op.kind == "layernorm":
        gain, shift = (op.attrs[name] for name in ("gamma", "beta"))
        return layernorm(
            first,
            np.ones(1) if gain is None else weights[gain],
            np.zeros(1) if shift is None else weights[shift],
            epsilon,
        )
    if op.kind == "softmax":
        return softmax(first)
    if op.kind == "gelu":
        return gelu(first)
    if op.kind == "tanh":
        return np.tanh(first)
    second = inputs[1].transpose(0, 2, 1) if op.attrs["transpose_b"] else inputs[1]
    product = first @ second
    if len(inputs) > 2:
        product = product + inputs[2]
    if op.attrs["activation"] == "relu":
        product = np.maximum(product, 0)
    return np.asarray(product / math.sqrt(head_dim) if op.attrs["transpose_b"] else product)


def forward(graph: Graph, given: Mapping[str, Array], epsilon: float, head_dim: int) -> dict[str, Array]:
    """Return every tensor of a graph in float32. ``given``: inputs and weights by tensor name."""
    values = {name: np.ascontiguousarray(array) for name, array in given.items()}
    for op in graph.ops:
        inputs = [window(values[view.tensor], view) for view in op.inputs]
        if op.output.tensor not in values:
            values[op.output.tensor] = np.zeros(graph.tensors[op.output.tensor].shape, np.float32)
        window(values[op.output.tensor], op.output)[...] = apply(op, inputs, values, epsilon, head_dim)
    return values
