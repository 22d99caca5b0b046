"""FLOPs, bytes and arithmetic intensity of a graph by the counting rule of Kim et al. (arXiv 2302.14017).

Ideal traffic: each operand is read once and each result written once, one byte an element, no fusion, biases
not counted. Additions and multiplications are counted separately: a product with weights is 2*M*N*K FLOPs, one of two
activations M*N*(2*K-1). Sections 3.1-3.2, Tables 3 and 10, Figures 4 to 6 there.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Op, kinds

GROUPS = ("mha_projections", "act_to_act", "ffn", "other")
"""The rows of Table 3."""


@dataclass(frozen=True)
class WorkCount:
    """Operations and ideal traffic of a part of a graph."""

    flops: float = 0.0
    bytes: float = 0.0

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, FLOPs per byte; 0 of an empty part."""
        return self.flops / self.bytes if self.bytes else 0.0

    def __add__(self, other: WorkCount) -> WorkCount:
        """Return both parts together."""
        return WorkCount(self.flops + other.flops, self.bytes + other.bytes)


def group(op: Op, graph: Graph) -> str:
    """Return the operator's group, one of `GROUPS`: weights next to a GELU make it "ffn"."""
    if not op.is_matmul:
        return "other"
    if not graph.multiplies_weights(op):
        return "act_to_act"
    beside = (*graph.producers(op.inputs[0].tensor), *graph.consumers(op.output.tensor))
    return "ffn" if any(neighbour.record.feed_forward for neighbour in beside) else "mha_projections"


def count(op: Op, graph: Graph) -> WorkCount:
    """Return FLOPs and bytes of one operator. Raises InputError for a kind the paper doesn't count."""
    if op.is_matmul:
        m, n, k = op.mnk
        per_output = 2 * k - 1 if group(op, graph) == "act_to_act" else 2 * k
        shared = 1 if op.inputs[1].batch < op.batch else op.batch
        return WorkCount(op.batch * m * n * per_output, op.batch * (m * k + m * n) + shared * k * n)
    per_element = kinds.find(op.kind).per_element
    if per_element is None:
        counted = ", ".join(kind.name for kind in kinds.KINDS.values() if kind.per_element)
        rule = f"Kim et al. count only matmul, {counted}"
        raise InputError(f"graph {graph.name}: {op.name} is {op.kind}; {rule} (leave embeddings and pooler out)")
    flops, size = per_element
    weights = sum(graph.tensors[name].elements for name in op.attrs.values() if name in graph.tensors)
    return WorkCount(flops * op.output.elements, size * op.output.elements + weights)


def analyse(graph: Graph) -> dict[str, WorkCount]:
    """Return the counts of each of `GROUPS` and of their "total". Raises InputError as `count` does."""
    counts = dict.fromkeys(GROUPS, WorkCount())
    for op in graph.ops:
        name = group(op, graph)
        counts[name] += count(op, graph)
    return {**counts, "total": sum(counts.values(), WorkCount())}
