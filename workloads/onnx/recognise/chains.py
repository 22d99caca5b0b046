"""Chains of operators that depend on one value: their growth, and their results on sample numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workloads.onnx.net import Array, Level, Net, Node

LONGEST = 40
"""Most nodes of a chain: a GELU by tanh has 9, a partial rotary embedding about 20."""

_erf = np.vectorize(math.erf, otypes=[float])


def _power(x: Array, y: Array) -> Array:
    return np.asarray(np.power(x, y))


def _clip(x: Array, low: Any = None, high: Any = None) -> Array:
    return np.asarray(np.clip(x, -np.inf if low is None else low, np.inf if high is None else high))


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


ELEMENTS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": _power,
    "Sqrt": np.sqrt,
    "Reciprocal": lambda x: 1 / x,
    "Erf": _erf,
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Exp": np.exp,
    "Log": np.log,
    "Neg": np.negative,
    "Abs": np.abs,
    "Relu": lambda x: np.maximum(x, 0),
    "Softplus": lambda x: np.logaddexp(0, x),
    "Min": lambda *x: np.minimum.reduce(np.broadcast_arrays(*x)),
    "Max": lambda *x: np.maximum.reduce(np.broadcast_arrays(*x)),
    "Clip": _clip,
    "Identity": lambda x: x,
    "Cast": lambda x: x,
    "IsNaN": np.isnan,
    "Where": np.where,
    "Not": np.logical_not,
    "Greater": np.greater,
    "Less": np.less,
    "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal,
    "Equal": np.equal,
    "Softmax": softmax,
}
"""Operators of a chain, each on arrays in float64."""

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceMean": np.mean,
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceSumSquare": lambda x, **axes: np.sum(x * x, **axes),
    "ReduceL2": lambda x, **axes: np.sqrt(np.sum(x * x, **axes)),
}
"""Reductions over the last axis, which is kept with one element."""


@dataclass
class NodeChain:
    """Nodes that depend only on ``source`` and on numbers, in order; ``others``: further operands, by name."""

    source: str
    nodes: list[Node] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def up_to(self, last: Node) -> list[Node]:
        """Return the nodes that ``last`` needs."""
        makers = {name: node for node in self.nodes for name in node.outputs}
        needed, waiting = {id(last)}, [last]
        while waiting:
            for name in waiting.pop().inputs:
                maker = makers.get(name)
                if maker is not None and id(maker) not in needed:
                    needed.add(id(maker))
                    waiting.append(maker)
        return [node for node in self.nodes if id(node) in needed]


def grown(net: Net, source: str, takes: Callable[[Node, set[str]], bool]) -> NodeChain:
    """Return the chain of nodes after ``source`` that ``takes`` accepts, given the names inside."""
    chain, inside = NodeChain(source), {source}
    waiting = list(net.readers(source))
    seen: set[int] = set()
    while waiting and len(chain.nodes) < LONGEST:
        node = waiting.pop(0)
        if id(node) in seen or net.makers.get(node.output) is not node:
            continue
        if not takes(node, inside):
            continue
        seen.add(id(node))
        chain.nodes.append(node)
        for name in node.outputs:
            inside.add(name)
            waiting += net.readers(name)
    return chain


def closed(net: Net, nodes: list[Node]) -> bool:
    """Return whether only the last of ``nodes`` is read from outside."""
    here = {id(node) for node in nodes}
    return all(
        name not in net.outputs and all(id(reader) in here for reader in net.readers(name))
        for node in nodes[:-1]
        for name in node.outputs
    )


def replace(net: Net, nodes: list[Node], new: Node) -> None:
    """Replace a closed chain by one node."""
    net.put(nodes[-1], new)
    for node in nodes[:-1]:
        net.remove(node)
    gone = {id(node) for node in nodes[:-1]}
    net.nodes = [node for node in net.nodes if id(node) not in gone]


def is_number(net: Net, name: str) -> bool:
    """Return whether a value is one known number."""
    value = net.values[name]
    return value.level is Level.CONSTANT and value.number is not None
