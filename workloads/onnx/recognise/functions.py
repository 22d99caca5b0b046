"""Functions of elements and of rows, told by their values: activations, softmax, LayerNorm, RMSNorm.

A chain of operators over one value and numbers is run on sample rows. Where its result is a known function but for a
factor, that function stands in its place: a factor is a change of the tensor's scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from workloads.onnx.net import Array, Level, Net, Node
from workloads.onnx.recognise import chains
from workloads.onnx.recognise.chains import ELEMENTS, REDUCTIONS, Chain

TOLERANCE = 1e-4
"""Of the largest result: constants of half precision are off by up to 5e-4; the nearest of the two GELUs is taken."""
ROWS = 3
SAMPLES = 512
"""Elements of a sample row where no row function is among the operators."""
LONGEST_ROW = 1 << 16


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + ELEMENTS["Erf"](x / math.sqrt(2))))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _layernorm(x: Array) -> Array:
    return np.asarray((x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True))


def _rmsnorm(x: Array) -> Array:
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True)))


KNOWN: dict[str, Callable[[Array], Array]] = {
    "Identity": lambda x: x,
    "Relu": lambda x: np.maximum(x, 0),
    "Gelu": _gelu,
    "GeluTanh": _gelu_tanh,
    "Swish": lambda x: np.asarray(x * _sigmoid(x)),
    "QuickGelu": lambda x: np.asarray(x * _sigmoid(1.702 * x)),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Exp": np.exp,
    "Softmax": chains.softmax,
    "LayerNormalization": _layernorm,
    "RMSNormalization": _rmsnorm,
    "Relu6": lambda x: np.clip(x, 0, 6),
}
"""What a chain may be."""

STANDS_FOR = {"QuickGelu": "Swish", "Relu6": "Relu", "GeluTanh": "GeluTanh"}
"""Functions at the price of another: a factor inside, an upper bound that saturation gives."""


def recognise(net: Net) -> None:
    """Put known functions in the place of chains, from the inputs on."""
    place = 0
    names = [*net.inputs, *(name for node in net.nodes for name in node.outputs)]
    while place < len(names):
        name = names[place]
        if name in net.values and net.values[name].level >= Level.LOOKED_UP and _one(net, name):
            continue  # what stands behind the function may be part of another one
        place += 1


def _one(net: Net, source: str) -> bool:
    """Replace the longest chain behind a value that is a known function of it."""
    shape = net.values[source].shape
    if not shape or not net.readers(source):
        return False
    chain = chains.grown(net, source, lambda node, inside: _takes(net, node, inside, shape))
    candidates = [node for node in chain.nodes if net.values[node.output].shape == shape]
    if not candidates or (len(chain.nodes) == 1 and chain.nodes[0].op in ALONE):
        return False
    results, x = _run(net, chain, shape)
    for last in reversed(candidates):
        nodes = chain.up_to(last)
        if not chains.closed(net, nodes) or last.output not in results or (len(nodes) == 1 and nodes[0].op in ALONE):
            continue
        found = _told(results[last.output], x)
        if found == "Identity":
            if last.output in net.outputs and source in net.inputs:
                continue
            net.alias(last.output, source)
            for node in nodes:
                net.remove(node)
            gone = {id(node) for node in nodes}
            net.nodes = [node for node in net.nodes if id(node) not in gone]
            return True
        if found is not None:
            op = STANDS_FOR.get(found, found)
            attrs = {"axis": -1} if op == "Softmax" else {}
            chains.replace(net, nodes, Node(op, [source], [last.output], attrs, nodes[-1].name))
            return True
    return False


ALONE = frozenset(("Relu", "Tanh", "Sigmoid", "Exp", "Softmax"))
"""Operators that are a known function already."""


def _takes(net: Net, node: Node, inside: set[str], shape: tuple[int, ...]) -> bool:
    """Return whether a node belongs to a chain: it treats elements, or reduces the last axis, beside numbers."""
    if node.domain or len(node.outputs) != 1:
        return False
    rank = len(shape)
    if node.op in REDUCTIONS:
        return node.inputs[0] in inside and _over_last(net, node, rank)
    if node.op not in ELEMENTS or (node.op == "Softmax" and node.attrs.get("axis", -1) not in (-1, rank - 1)):
        return False
    out = net.values[node.output].shape
    fits = out == shape or out == (*shape[:-1], 1)
    return fits and all(name in inside or (name and chains.is_number(net, name)) or not name for name in node.inputs)


def _over_last(net: Net, node: Node, rank: int) -> bool:
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1]:
        data = net.values[node.inputs[1]].data
        axes = None if data is None else data.reshape(-1).tolist()
    return axes is not None and [axis % rank for axis in axes] == [rank - 1] and node.attrs.get("keepdims", 1) == 1


def _run(net: Net, chain: Chain, shape: tuple[int, ...]) -> tuple[dict[str, Array], Array]:
    """Return the result of each node on sample rows, and the rows."""
    rows = any(node.op in REDUCTIONS or node.op == "Softmax" for node in chain.nodes)
    width = min(shape[-1], LONGEST_ROW) if rows else SAMPLES
    x = np.random.default_rng(0).uniform(-4, 4, (ROWS, width)) + np.array([[0.0], [0.5], [-0.25]])
    values: dict[str, Array] = {chain.source: x}
    with np.errstate(all="ignore"):
        for node in chain.nodes:
            given = [_operand(net, values, name) for name in node.inputs]
            if any(name and array is None for name, array in zip(node.inputs, given, strict=True)):
                continue
            if node.op in REDUCTIONS:
                values[node.output] = REDUCTIONS[node.op](given[0], axis=-1, keepdims=True)
            else:
                if node.op == "Clip" and len(given) == 1:
                    given += [node.attrs.get("min"), node.attrs.get("max")]
                values[node.output] = ELEMENTS[node.op](*given)
    return values, x


def _operand(net: Net, values: dict[str, Array], name: str) -> Array | None:
    if not name:
        return None
    return values[name] if name in values else np.float64(net.values[name].number or 0.0)  # type: ignore[return-value]


def _told(y: Array, x: Array) -> str | None:
    """Return the known function that a result is, but for a factor."""
    y = np.broadcast_to(np.asarray(y, dtype=np.float64), x.shape)
    if not np.isfinite(y).all():
        return None
    best, error = None, TOLERANCE
    for name, function in KNOWN.items():
        f = function(x)
        factor = float((y * f).sum() / max(1e-300, float((f * f).sum())))
        off = float(np.abs(y - factor * f).max() / max(1e-300, float(np.abs(y).max())))
        if factor and off < error:
            best, error = name, off
    return best
