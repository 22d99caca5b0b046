"""Columns that an array-only encoder keeps wide, and the groups of its neurons (`workloads.checkpoint.array`).

Choices follow from the calibration data and the weights: the cost of a choice is the noise that it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional.quantization import kept, outliers
from sim.functional.quantization.columns import shared_steps
from sim.functional.quantization.statistics import Statistics
from sim.functional.quantization.structure import placed, row_sums
from sim.graph import Graph
from sim.graph.kinds.elementwise import parts

Array = npt.NDArray[Any]

RATIO = 2.0
"""Largest over smallest magnitude within a group of neurons: at most one bit of resolution is lost."""

LARGEST_GROUP = 256
"""Neurons in a group: a square matrix widens them."""


@dataclass(frozen=True)
class Layout:
    """``copies``, ``groups``: as of `workloads.checkpoint.form.Form`.

    ``sources``: tensor -> (calibrated tensor, its column for each column, number of columns that share its value).
    """

    copies: dict[str, tuple[int, ...]] = field(default_factory=dict)
    groups: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    sources: dict[str, tuple[str, Array, Array]] = field(default_factory=dict)


def recalled(choose: Callable[[], Layout], key: str, *parts: object) -> Layout:
    """Return the layout of ``choose``, or what it was for the same statistics (``key``, "" for none) and ``parts``."""
    if not key:
        return choose()
    packed = kept.recalled(kept.name_of("layout", key, *parts), lambda: _packed(choose()), on_disk=True)
    found = Layout()
    for name, values in packed.items():
        what, tensor, *rest = name.split(" ")
        if what == "copies":
            found.copies[tensor] = tuple(values.tolist())
        elif what == "group":
            found.groups[tensor] = (*found.groups.get(tensor, ()), tuple(values.tolist()))
        elif what == "columns":
            found.sources[tensor] = (rest[0], values, packed[f"shares {tensor}"])
    return found


def _packed(layout: Layout) -> dict[str, Array]:
    found = {f"copies {name}": np.array(columns, np.int64) for name, columns in layout.copies.items()}
    for name, groups in layout.groups.items():
        found |= {f"group {name} {number}": np.array(group, np.int64) for number, group in enumerate(groups)}
    for name, (source, columns, shares) in layout.sources.items():
        found[f"columns {name} {source}"] = np.asarray(columns)
        found[f"shares {name}"] = np.asarray(shares)
    return found


def choose(graph: Graph, given: Mapping[str, Array], seen: Statistics, dim: int, extra: int) -> Layout:
    """Return the layout of an encoder from its graph without one, with ``extra`` columns behind each operand."""
    found = Layout()
    for op in graph.ops:
        name = op.output.tensor
        if op.record.standardises:
            _norm(graph, given, seen, name, extra, found)
        elif op.record.feed_forward and name not in found.groups:
            widened = graph.producers(op.inputs[0].tensor)[0]
            _neurons(graph, given, seen, (name, widened.inputs[0].tensor), dim, extra, found)
        elif row_sums(op, given, graph) and extra:
            _sums(graph, given, seen, op.inputs[0].tensor, extra, found)
    return found


def _readers(graph: Graph, given: Mapping[str, Array], name: str) -> list[Array]:
    """Return the magnitudes of the dense weights that multiply a tensor.

    Of other weights, if there are no dense ones.
    """
    found = [op.inputs[1].tensor for op in graph.consumers(name) if op.is_matmul and op.inputs[0].tensor == name]
    values = [np.abs(given[weight]) for weight in found]
    return [weights for weights in values if np.count_nonzero(weights) > max(weights.shape)] or values


def _norm(graph: Graph, given: Mapping[str, Array], seen: Statistics, name: str, extra: int, found: Layout) -> None:
    """Choose the outliers of LayerNorm's output, which has variance 1, and which columns are repeated.

    With k outliers the step of all others falls to that of column k + 1. An outlier's weights are relative to a step
    that is larger by this ratio: they, and other large ones, reduce the resolution of all weights, unless repeated
    columns share them.
    """
    largest = seen.largest[name].astype(np.float64)
    order = np.argsort(-largest, kind="stable")
    readers = _readers(graph, given, name)
    rows = np.max([weights.max(axis=1) / np.median(weights.max(axis=1)) for weights in readers], axis=0)
    best = np.inf
    outlier: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()
    for count in (0, *(n for n in (1, 2, 4, 8, 16, 32) if n <= min(extra, len(largest) - 1))):
        rest, shares = largest[order[count]], rows.copy()
        shares[order[:count]] *= largest[order[0]] / rest
        more = outliers.choose(shares, extra - count)
        shared = shares / parts(len(shares), more)
        # noise of all columns from the step of activations, and from that of weights, whose columns have variance 1
        noise = sum(rest**2 * (w[w > 0] ** 2).mean() + (np.median(w.max(axis=1)) * shared.max()) ** 2 for w in readers)
        if noise < best * (1 - 1e-9):
            wide = set(order[:count].tolist())
            best = noise
            outlier = tuple(sorted([*wide, *(column for column in more if column in wide)]))
            repeated = tuple(column for column in more if column not in wide)
    base = name.removesuffix(".normed")
    found.copies.update({key: them for key, them in ((name, outlier), (f"{base}.repeat", repeated)) if them})
    everything = np.arange(len(largest))
    columns = np.array([*everything, *outlier, *repeated])
    found.sources[name] = (name, columns, np.ones(len(columns)))
    found.sources[f"{base}.coarse"] = (name, everything, np.ones(len(largest)))


def _neurons(
    graph: Graph,
    given: Mapping[str, Array],
    seen: Statistics,
    names: tuple[str, str],
    dim: int,
    extra: int,
    found: Layout,
) -> None:
    """Group neurons by the magnitude of GELU's output.

    Repeat those whose weights would reduce the resolution of others.
    """
    active, expanded = names
    largest = seen.largest[active].astype(np.float64)
    order = np.argsort(-largest, kind="stable")
    groups, first = [], 0
    while first < len(order):
        end = first + dim
        while end < len(order) and end - first < LARGEST_GROUP and largest[order[end]] * RATIO > largest[order[first]]:
            end += dim
        groups.append(tuple(int(neuron) for neuron in order[first : min(end, len(order))]))
        first = end
    found.groups[active] = tuple(groups)
    steps = np.concatenate([np.full(len(group), largest[group[0]]) for group in groups])
    copies: tuple[int, ...] = ()
    (reader,) = graph.consumers(active)
    if extra:
        rows = np.abs(given[reader.inputs[1].tensor][order]) * steps[:, None]
        results = seen.largest[reader.output.tensor][
            placed(reader.output.offset, reader.output.cols, reader.output.row_stride)
        ]
        share = (rows / shared_steps(rows.max(axis=0), results)).max(axis=1)
        copies = outliers.choose(share, extra)
        found.copies[active] = copies
    whole = np.concatenate([order, order[list(copies)]])
    found.sources[expanded] = (expanded, order, np.ones(len(order)))
    found.sources[active] = (active, whole, np.ones(len(whole)))


def _sums(graph: Graph, given: Mapping[str, Array], seen: Statistics, name: str, extra: int, found: Layout) -> None:
    """Split the largest columns of a product's result, so that the scale of the sums need not follow them."""
    product = next((op for op in graph.producers(name) if op.is_matmul), None)
    if product is None:
        return
    width, cols = graph.tensors[name].shape[1], product.output.cols
    largest = seen.largest[name].astype(np.float64)
    copies = outliers.choose(largest[:cols], extra)
    found.copies[name] = copies
    order = np.array([*range(cols), *copies, *range(cols, width)])
    count = np.concatenate([parts(cols, copies), np.ones(width - cols, np.int64)])
    found.sources[name] = (name, order, count[order].astype(np.float64))
