"""Functions of elements and of rows, recognised by their values: activations, softmax, LayerNorm, RMSNorm.

A chain of operators over one value and numbers is run on sample rows. If its result is a known function up to a factor,
the function replaces it: a factor changes the tensor's scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import permutations

import numpy as np

from workloads.onnx.net import Array, Level, Net, Node
from workloads.onnx.recognise import chains
from workloads.onnx.recognise.chains import ELEMENTS, REDUCTIONS, NodeChain

TOLERANCE = 1e-4
"""Tolerance relative to the largest result: half-precision constants differ by up to 5e-4.

Of the two GELUs the nearer is chosen.
"""
ROWS = 3
SAMPLES = 512
"""Elements of a sample row if no operator is a row function."""
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
    "HardSwish": lambda x: np.asarray(x * np.clip(x / 6 + 0.5, 0, 1)),
    "HardSigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
}
"""Functions that a chain may compute."""

STANDS_FOR = {"QuickGelu": "Swish", "Relu6": "Relu", "HardSwish": "Swish", "HardSigmoid": "Sigmoid"}
"""Functions priced as another: with a factor inside, with a bound given by saturation, with lines instead of curves."""


def recognise(net: Net) -> None:
    """Replace chains by known functions, starting at the inputs."""
    place = 0
    names = [*net.inputs, *(name for node in net.nodes for name in node.outputs)]
    while place < len(names):
        name = names[place]
        if name in net.values and net.values[name].level >= Level.LOOKED_UP and _one(net, name):
            continue  # operators after the function may be part of another one
        place += 1


def _one(net: Net, source: str) -> bool:
    """Replace the longest chain after a value that is a known function of it."""
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
        rows = list(dict.fromkeys(name for node in nodes for name in node.inputs if name and _is_row(net, name, shape)))
        if rows:
            found = _recognised_norm(results[last.output], x, {name: results[name] for name in rows})
        else:
            name = _recognised(results[last.output], x)
            found = None if name is None else (name, [])
        if found is not None and _put(net, source, nodes, *found):
            return True
    return False


def _put(net: Net, source: str, nodes: list[Node], name: str, weights: list[str]) -> bool:
    """Replace a chain by a function."""
    last = nodes[-1]
    if name == "Identity":
        if last.output in net.outputs and source in net.inputs:
            return False
        net.alias(last.output, source)
        for node in nodes:
            net.remove(node)
        gone = {id(node) for node in nodes}
        net.nodes = [node for node in net.nodes if id(node) not in gone]
        return True
    op = STANDS_FOR.get(name, name)
    attrs = {"axis": -1} if op == "Softmax" else {}
    chains.replace(net, nodes, Node(op, [source, *weights], [last.output], attrs, last.name))
    return True


ALONE = frozenset(("Relu", "Tanh", "Sigmoid", "Exp", "Softmax"))
"""Operators that are known functions."""
SHAPED = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Expand"))
"""Operators between a reduced axis and its later use; a mean of a row stays one number per row."""


def _takes(net: Net, node: Node, inside: set[str], shape: tuple[int, ...]) -> bool:
    """Return whether a node can belong to a chain.

    It is element-wise or reduces the last axis, with weights as other operands.
    """
    if node.domain or len(node.outputs) != 1:
        return False
    rank, out = len(shape), net.values[node.output].shape or ()
    if node.op in REDUCTIONS:
        full = net.values[node.inputs[0]].shape == shape
        return node.inputs[0] in inside and full and _over_last(net, node, rank)
    rows, narrow = int(np.prod(shape[:-1])), (*shape[:-1], 1)
    if node.op in SHAPED:
        mean = net.values[node.inputs[0]]
        of_rows = node.inputs[0] in inside and mean.elements == rows and mean.shape != shape
        return of_rows and (int(np.prod(out)) == rows or (out == shape and mean.shape == narrow))
    if node.op not in ELEMENTS or (node.op == "Softmax" and node.attrs.get("axis", -1) not in (-1, rank - 1)):
        return False
    given = [net.values[name] for name in node.inputs if name in inside]
    if out == shape:
        fits = all(value.shape in (shape, narrow) for value in given)
    else:
        fits = int(np.prod(out)) == rows and all(value.elements == rows for value in given)
    beside = (name for name in node.inputs if name and name not in inside)
    return fits and all(chains.is_number(net, name) or (out == shape and _is_row(net, name, shape)) for name in beside)


def _is_row(net: Net, name: str, shape: tuple[int, ...]) -> bool:
    """Return whether a value is a row of weights as wide as the chain's rows."""
    value = net.values[name]
    wide = value.elements == shape[-1] > 1 and (value.shape or (0,))[-1] == shape[-1]
    return value.level is Level.CONSTANT and wide


def _over_last(net: Net, node: Node, rank: int) -> bool:
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1]:
        data = net.values[node.inputs[1]].data
        axes = None if data is None else data.reshape(-1).tolist()
    return axes is not None and [axis % rank for axis in axes] == [rank - 1]


def _run(net: Net, chain: NodeChain, shape: tuple[int, ...]) -> tuple[dict[str, Array], Array]:
    """Return the result of each node on sample rows, sampled rows of weights, and the sample."""
    names = {name for node in chain.nodes for name in node.inputs if name}
    weights = sorted(name for name in names if name != chain.source and _is_row(net, name, shape))
    whole = weights or any(node.op in REDUCTIONS or node.op == "Softmax" for node in chain.nodes)
    width = min(shape[-1], LONGEST_ROW) if whole else SAMPLES
    random = np.random.default_rng(0)
    x = random.uniform(-4, 4, (ROWS, width)) + np.array([[0.0], [0.5], [-0.25]])
    values: dict[str, Array] = {chain.source: x} | {name: random.uniform(0.5, 1.5, (1, width)) for name in weights}
    with np.errstate(all="ignore"):
        for node in chain.nodes:
            taken = node.inputs[:1] if node.op in SHAPED or node.op in REDUCTIONS else node.inputs
            given = [_operand(net, values, name) for name in taken]
            if any(name and array is None for name, array in zip(taken, given, strict=True)):
                continue
            if node.op in REDUCTIONS:
                values[node.output] = REDUCTIONS[node.op](given[0], axis=-1, keepdims=True)
            elif node.op in SHAPED:
                values[node.output] = np.asarray(given[0])
            else:
                if node.op == "Clip" and len(given) == 1:
                    given += [node.attrs.get("min"), node.attrs.get("max")]
                values[node.output] = ELEMENTS[node.op](*given)
    return values, x


def _operand(net: Net, values: dict[str, Array], name: str) -> Array | None:
    if not name:
        return None
    number = net.values[name].number
    return values[name] if name in values else None if number is None else np.asarray(number)


def _off(y: Array, f: Array) -> tuple[float, float]:
    """Return the factor with which f is nearest to y, and the remaining error relative to the largest y."""
    factor = float((y * f).sum() / max(1e-300, float((f * f).sum())))
    return factor, float(np.abs(y - factor * f).max() / max(1e-300, float(np.abs(y).max())))


def _recognised(y: Array, x: Array) -> str | None:
    """Return the known function that equals a result up to a factor."""
    y = np.broadcast_to(np.asarray(y, dtype=np.float64), x.shape)
    if not np.isfinite(y).all():
        return None
    best, error = None, TOLERANCE
    with np.errstate(all="ignore"):
        for name, function in KNOWN.items():
            factor, off = _off(y, function(x))
            if factor and off < error:
                best, error = name, off
    return best


def _recognised_norm(y: Array, x: Array, rows: Mapping[str, Array]) -> tuple[str, list[str]] | None:
    """Return the norm that equals a result, with its rows of gain and shift."""
    y = np.broadcast_to(np.asarray(y, dtype=np.float64), x.shape)
    if not np.isfinite(y).all():
        return None
    choices: list[tuple[str, tuple[str, ...]]] = [("RMSNormalization", (gain,)) for gain in rows if len(rows) == 1]
    choices += [("LayerNormalization", order) for order in permutations(rows) if len(rows) <= 2]
    with np.errstate(all="ignore"):
        for name, order in choices:
            shift = rows[order[1]] if len(order) > 1 else 0.0
            factor, off = _off(y - shift, KNOWN[name](x) * rows[order[0]])
            if factor and off < TOLERANCE:
                return name, list(order)
    return None
