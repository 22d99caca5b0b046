"""Demands of a workload without a machine: FLOPs, bytes, intensity, parameters and KV bytes, by kind and by layer.

FLOPs of a product are 2 M N K, of other kinds the kind's number per output element (`sim.graph.kinds`), 1 by default.
Bytes are ideal traffic: every operand read once, every result written once, no fusion, with the tensors' element types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.graph import Graph, Op, kinds
from sim.graph.dtypes import DTYPE_BYTES


@dataclass(frozen=True)
class Load:
    """Operators, MACs, FLOPs and ideal bytes of a part of a graph."""

    ops: int = 0
    macs: int = 0
    flops: float = 0.0
    bytes: int = 0

    def __add__(self, other: Load) -> Load:
        """Return both parts together."""
        return Load(self.ops + other.ops, self.macs + other.macs, self.flops + other.flops, self.bytes + other.bytes)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, with the arithmetic intensity in FLOPs per byte."""
        intensity = self.flops / self.bytes if self.bytes else None
        return {
            "ops": self.ops, "macs": self.macs, "flops": self.flops, "bytes": self.bytes, "intensity": intensity,
        }  # fmt: skip


def load_of(op: Op, graph: Graph) -> Load:
    """Return the demands of one operator."""
    kind = kinds.find(op.kind)
    own = 0.0 if kind.product or kind.hands_on else (kind.per_element or (1.0, 0.0))[0]
    moved = 0
    for view in (*op.inputs, op.output):
        rows = 1 if view.row_stride == 0 else view.rows
        moved += view.batch * rows * view.cols * DTYPE_BYTES[graph.tensors[view.tensor].dtype]
    moved += sum(graph.tensors[name].bytes for name in (op.attrs[a] for a in kind.weight_attributes) if name)
    return Load(1, op.macs, 2.0 * op.macs + own * op.output.elements, moved)


def grouped(graph: Graph, key: Callable[[Op], str]) -> dict[str, Load]:
    """Return the load of the operators with equal ``key``, in order of appearance."""
    found: dict[str, Load] = {}
    for op in graph.ops:
        name = key(op)
        found[name] = found.get(name, Load()) + load_of(op, graph)
    return found


def analyze(graph: Graph) -> dict[str, Any]:
    """Return totals, loads by operator kind and by layer, and bytes of weights and caches, as plain data."""
    loads = grouped(graph, lambda op: op.kind)
    total = sum(loads.values(), Load())
    by_kind = {kind: load.to_dict() for kind, load in loads.items()}
    layers = grouped(graph, lambda op: "outside layers" if op.layer is None else f"L{op.layer}")
    sizes: dict[str, int] = {}
    for tensor in graph.tensors.values():
        sizes[tensor.kind] = sizes.get(tensor.kind, 0) + tensor.bytes
    return {
        "workload": graph.name,
        "total": total.to_dict(),
        "parameters": graph.parameters,
        "weight_bytes": sizes.get("weight", 0),
        "kv_bytes": sizes.get("state", 0),
        "activation_bytes": sizes.get("activation", 0),
        "by_kind": by_kind,
        "by_layer": {layer: load.to_dict() for layer, load in layers.items()},
    }
