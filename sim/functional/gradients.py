"""Gradients of a float graph: from a row of factors at an output back to every weight matrix.

For the operators of trained encoders, GPT-2 and vision transformers; the values are those of `host.forward`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.functional import host
from sim.graph import Graph, Op, View
from sim.graph.kinds.elementwise import gelu, sigmoid

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Made:
    """One operator with its values: its inputs and ``output`` [batch, rows, columns], and the weights by name."""

    op: Op
    inputs: list[Array]
    output: Array
    weights: Mapping[str, Array]
    epsilon: float
    head_dim: int


def _through(at: Made, g: Array) -> list[Array]:
    return [g] * len(at.op.inputs)


def _product(at: Made, g: Array) -> list[Array]:
    a, b = at.inputs[:2]
    if at.op.attrs["activation"] == "relu":
        g = g * (at.output > 0)
    if at.op.attrs["transpose_b"]:
        g = g / math.sqrt(at.head_dim)
    turned = at.op.attrs["transpose_b"]
    of_a = g @ (b if turned else b.transpose(0, 2, 1))
    of_b = g.transpose(0, 2, 1) @ a if turned else a.transpose(0, 2, 1) @ g
    back = [of_a, of_b]
    if b.shape[0] == 1 and g.shape[0] > 1:
        back[1] = back[1].sum(axis=0, keepdims=True)
    return [*back, *(_reduced(g, d) for d in at.inputs[2:])]


def _reduced(g: Array, d: Array) -> Array:
    """Return the gradient of what was added to each row, or to each product."""
    for axis in (0, 1):
        if d.shape[axis] == 1 and g.shape[axis] > 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


def _layernorm(at: Made, g: Array) -> list[Array]:
    x = at.inputs[0].astype(np.float64)
    off = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((off * off).mean(axis=-1, keepdims=True) + at.epsilon)
    normed = off / deviation
    gamma = at.op.attrs.get("gamma")
    g = g if gamma is None else g * at.weights[gamma]
    mean, along = g.mean(axis=-1, keepdims=True), (g * normed).mean(axis=-1, keepdims=True)
    return [(g - mean - normed * along) / deviation]


def _softmax(at: Made, g: Array) -> list[Array]:
    return [at.output * (g - (g * at.output).sum(axis=-1, keepdims=True))]


def _gelu_slope(x: Array) -> Array:
    normal = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    near = np.abs(x) < 1e-3  # gelu(x) / x is the normal distribution; near 0 its first two terms
    below = np.where(near, 0.5 + x / math.sqrt(2 * math.pi), gelu(x) / np.where(near, 1.0, x))
    return np.asarray(below + x * normal)


def _gelu_tanh_slope(x: Array) -> Array:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    t = np.tanh(inner)
    return np.asarray((1 + t) / 2 + x / 2 * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x))


def _silu_slope(x: Array) -> Array:
    s = sigmoid(x)
    return np.asarray(s * (1 + x * (1 - s)))


def _of_input(slope: Callable[[Array], Array]) -> Callable[[Made, Array], list[Array]]:
    return lambda at, g: [g * slope(at.inputs[0].astype(np.float64))]


def _embedding(at: Made, g: Array) -> list[Array]:
    ids, table = at.inputs
    found = np.zeros(table.shape)
    np.add.at(found[0], ids.reshape(-1).astype(np.int64), g.reshape(-1, g.shape[-1]))
    return [np.zeros(ids.shape), found]


BACK: dict[str, Callable[[Made, Array], list[Array]]] = {
    "matmul": _product,
    "layernorm": _layernorm,
    "softmax": _softmax,
    "embedding": _embedding,
    "residual_add": _through,
    "quantize": _through,
    "dequantize": _through,
    "gelu": _of_input(_gelu_slope),
    "gelu_tanh": _of_input(_gelu_tanh_slope),
    "silu": _of_input(_silu_slope),
    "relu": lambda at, g: [g * (at.output > 0)],
    "tanh": lambda at, g: [g * (1 - at.output.astype(np.float64) ** 2)],
}
"""Kind of operator -> gradients of its inputs from that of its output."""


def check(graph: Graph) -> None:
    """Raise InputError for a graph with an operator whose gradient is not there."""
    missing = sorted({op.kind for op in graph.ops if op.kind not in BACK})
    if missing:
        raise InputError(
            f"{graph.name}: gradients of {', '.join(missing)} are not computed here (nearest: gradients as a file, "
            "NAME.gradient or NAME.fisher beside the weights)"
        )


def backward(
    graph: Graph,
    values: Mapping[str, Array],
    start: Mapping[str, Array],
    wanted: Collection[str],
    of_model: tuple[float, int],
) -> dict[str, Array]:
    """Return the gradients of the weights ``wanted``, by tensor.

    ``values``: of every tensor (`host.forward`). ``start``: gradients of outputs by tensor. ``of_model``: epsilon and
    columns of a head.
    """
    found = {name: np.array(g, np.float64) for name, g in start.items()}
    for op in reversed(graph.ops):
        if op.output.tensor not in found:
            continue
        inputs = [host.window(values[view.tensor], view) for view in op.inputs]
        made = Made(op, inputs, host.window(values[op.output.tensor], op.output), values, *of_model)
        results = BACK[op.kind](made, np.array(host.window(found[op.output.tensor], op.output)))
        for view, g in zip(op.inputs, results, strict=True):
            tensor = graph.tensors[view.tensor]
            if tensor.kind != "input" and (tensor.kind == "activation" or view.tensor in wanted):
                _add(found.setdefault(view.tensor, np.zeros(tensor.shape)), view, g)
    return {name: found[name] for name in wanted if name in found}


def _add(total: Array, view: View, g: Array) -> None:
    """Add a gradient where a view sees its tensor; repetitions of one place add up."""
    for number in range(view.batch):
        one = View(view.tensor, 1, view.rows, view.cols, view.row_stride, 0, view.offset + number * view.batch_stride)
        host.window(total, one)[...] += g[number % len(g)]
