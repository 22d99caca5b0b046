"""Which tensors may have a factor of their own for each column.

The array multiplies integers and scales its results by one number. A factor by column of a result needs a reader that
takes it back: a host that converts each element anyway, or a product with weights, whose rows take it at no cost.
"""

from __future__ import annotations

from collections.abc import Collection

from sim.graph import Graph, Op


def free(graph: Graph, name: str, on_array: Collection[str]) -> bool:
    """Return whether all that reads a tensor takes a factor by column. ``on_array``: operators that the array runs."""
    return all(_takes(graph, op, name, on_array) for op in graph.consumers(name))


def _takes(graph: Graph, op: Op, name: str, on_array: Collection[str]) -> bool:
    if op.name not in on_array:
        return True
    if op.kind != "matmul" or op.attrs["transpose_a"]:
        return False
    places = [place for place, view in enumerate(op.inputs) if view.tensor == name]
    if places == [0]:
        return graph.tensors[op.inputs[1].tensor].kind == "weight"
    # V of an attention head: its columns are the columns of the context
    return places == [1] and not op.attrs["transpose_b"] and free(graph, op.output.tensor, on_array)
