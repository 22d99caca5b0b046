"""Recognise structure in a graph by kinds of operators, not by their names."""

from __future__ import annotations

from sim.graph import Graph, Op, Tensor, View


def weighted(graph: Graph) -> list[Op]:
    """Return the matmuls whose second operand is a weight."""
    return [op for op in graph.ops if graph.multiplies_weights(op)]


def covers(view: View, tensor: Tensor) -> bool:
    """Return whether a window covers its whole tensor."""
    return view.offset == 0 and view.elements == tensor.elements


def neurons(graph: Graph) -> list[Op]:
    """Return the operators whose columns are the neurons of feed-forward layers: their nonlinearities.

    These are GELU, SiLU, and a product by weights with its own ReLU if its result (or its square) is multiplied by
    weights.
    """
    found = []
    for op in graph.ops:
        relu = op.is_matmul and op.attrs["activation"] == "relu" and graph.multiplies_weights(op)
        if relu:
            relu = any(
                graph.multiplies_weights(reader) or (reader.record.columns and reader.record.columns.when == "any")
                for reader in graph.consumers(op.output.tensor)
            )
        if op.record.feed_forward or op.record.gates or relu:
            found.append(op)
    return found


Attention = tuple[Op, Op, Op]
"""Operators of an attention: scores, softmax, context."""


def attention_blocks(graph: Graph) -> list[Attention]:
    """Return all attention of a graph, or nothing if some softmax is not only between two matmuls.

    A softmax whose result no operator reads belongs to a router and is passed over.
    """
    softmaxes = [op for op in graph.ops if op.kind == "softmax" and graph.consumers(op.output.tensor)]
    found: list[Attention] = []
    for softmax in softmaxes:
        before = graph.producers(softmax.inputs[0].tensor)
        after = [op for op in graph.consumers(softmax.output.tensor) if op.kind != "top_k"]
        if len(before) == len(after) == 1 and before[0].is_matmul and after[0].is_matmul:
            found.append((before[0], softmax, after[0]))
    return found if len(found) == len(softmaxes) else []
