"""Limits of tensors and products, within which a run takes minutes; larger sizes need allow_large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import workloads
from sim.base.errors import InputError
from sim.graph import Graph
from workloads.limits import smaller

LARGE_ELEMENTS = 1 << 32
"""Elements of one tensor: attention of 12 heads over 16,384 tokens has 3.2 G scores and is simulated in minutes."""
MAX_ELEMENTS = 1 << 33
"""Elements of one tensor even with allow_large.

In the widest type it still fits into a region of `sim.timing.items`.
"""
LARGE_MACS = 1 << 42
"""Multiply-accumulates of one product (of a head, an image): some ten million commands, lowered in a minute."""


def check_sizes(
    graph: Graph, source: Graph | str, sizes: Mapping[str, object], allow_large: bool, times: float = 1.0
) -> None:
    """Raise InputError for a tensor or a product that is too large, with sizes of ``source`` that are legal.

    ``times``: tensors are as many times as large as in ``graph``.
    """
    problem = _elements(graph, allow_large, times) or ("" if allow_large else _macs(graph))
    if problem:
        legal = next(_smaller(source, sizes, allow_large), "smaller sizes") if isinstance(source, str) else "less of it"
        way_out = "" if allow_large else ", or --allow-large (allow_large=True)"
        raise InputError(f"{graph.name}: {problem}; nearest: {legal}{way_out}")


def _elements(graph: Graph, allow_large: bool, times: float = 1.0) -> str:
    """Return the problem of the largest tensor, "" if none; even with allow_large it must fit the address regions."""
    most = MAX_ELEMENTS if allow_large else LARGE_ELEMENTS
    largest = max(graph.tensors.values(), key=lambda tensor: tensor.elements)
    if largest.elements * times <= most:
        return ""
    return f"tensor {largest.name} has {round(largest.elements * times):,} elements; the limit is {most:,}"


def _macs(graph: Graph) -> str:
    """Return the problem of the largest product, "" if none: its program alone takes minutes and gigabytes."""
    largest = max(graph.ops, key=lambda op: op.macs // max(1, op.batch), default=None)
    if largest is None or (macs := largest.macs // max(1, largest.batch)) <= LARGE_MACS:
        return ""
    return f"operator {largest.name} has {macs:,} multiply-accumulates in one product; the limit is {LARGE_MACS:,}"


def _smaller(name: str, sizes: Mapping[str, object], allow_large: bool) -> Iterator[str]:
    """Yield legal smaller values of each size of a named workload, the others unchanged."""

    def made(**sizes: object) -> None:
        graph = workloads.build(name, **sizes)
        if _elements(graph, allow_large) or (not allow_large and _macs(graph)):
            raise InputError("still too large")

    builder = {**workloads.WORKLOADS, **workloads.NETWORKS}.get(name)
    return smaller(builder, sizes, made) if builder is not None else iter(())
