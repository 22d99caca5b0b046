"""From a re-fused network to a graph: views for operators that move no element, operators for all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.base.errors import InputError
from sim.graph import Graph
from workloads.onnx.lower import elements, moves, products, recurrent, sliding
from workloads.onnx.lower.lowering import NodeLowering
from workloads.onnx.net import Level, Net
from workloads.onnx.resolve import unknown_text

RULES: dict[str, Callable[..., Any]] = {
    **products.RULES,
    **elements.RULES,
    **moves.RULES,
    **sliding.RULES,
    **recurrent.RULES,
}
"""Operator -> its lowering."""


def lower(net: Net, name: str, path: str, dtype: str, unknown: str) -> Graph:
    """Return the graph of a network. Raises InputError listing all unknown operators."""
    missing: dict[str, list[str]] = {}
    for node in net.nodes:
        if node.op not in RULES and any(net.values[out].level is Level.COMPUTED for out in node.outputs):
            kind = f"{node.domain}.{node.op}" if node.domain else node.op
            missing.setdefault(kind, []).append(node.name)
    if missing and unknown != "host":
        raise InputError(unknown_text(path, missing))
    lowering = NodeLowering(net, name, dtype, RULES)
    lowering.run()
    if not lowering.graph.ops:
        raise InputError(f"{path}: nothing is computed from its inputs")
    return Graph.from_ops(name, lowering.graph.tensors, lowering.graph.ops)
