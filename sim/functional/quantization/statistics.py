"""Statistics of each tensor over calibration sequences: largest magnitude by column, values to try a scale on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional import host
from sim.functional.quantization.moments import Moments, multiplied
from sim.functional.quantization.structure import structural
from sim.graph import Graph
from sim.graph.kinds.elementwise import parts, spread

Array = npt.NDArray[Any]
Sources = Mapping[str, tuple[str, Array, Array]]
"""Tensor -> (tensor that was seen, its column for each column, by how many its value is shared)."""

MOST_ROWS = 2048
"""Rows of a tensor that are kept; the largest magnitudes are those of all rows."""

WIDENED_ROWS = 512
"""Rows kept of what is widened for the integer GELU: the mean of its error is known to 1/20 of its deviation."""


@dataclass
class Statistics:
    """``largest``: by tensor float32[columns], or [1] where sequences differ in their number of columns.

    ``rows``: by tensor some rows [n, columns], for `clipping`. ``energies``: by tensor that a LayerNorm reads, the
    largest sum of squared deviations of a row. ``moments``: of what weights are multiplied by, for `rounding`.
    """

    largest: dict[str, Array] = field(default_factory=dict)
    rows: dict[str, list[Array]] = field(default_factory=dict)
    energies: dict[str, float] = field(default_factory=dict)
    moments: Moments = field(default_factory=Moments)

    def add(self, graph: Graph, values: Mapping[str, Array], keep: Collection[str] = (), most: int = MOST_ROWS) -> None:
        """Take in the values of one sequence. ``keep``: tensors whose rows are kept."""
        for name, array in values.items():
            tensor = graph.tensors.get(name)
            if tensor is None or tensor.kind == "weight" or array.dtype.kind != "f":
                continue
            flat = array.reshape(-1, array.shape[-1])
            top = np.abs(flat).max(axis=0, initial=0)
            before = self.largest.get(name, top)
            if before.shape != top.shape:  # scores: as many columns as the sequence has tokens
                before, top = before.max(keepdims=True), top.max(keepdims=True)
            self.largest[name] = np.maximum(before, top)
            if name in keep:
                have = self.rows.setdefault(name, [])
                if sum(map(len, have)) < most:
                    have.append(flat)
        for op in graph.ops:
            if op.record.standardises:
                name = op.inputs[0].tensor
                x = values[name].astype(np.float64)
                energy = float(((x - x.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1).max())
                self.energies[name] = max(self.energies.get(name, 0.0), energy)

    def derive(self, graph: Graph) -> None:
        """Add the tensors that quantize operators make of others: with an offset, or with split columns."""
        for op in graph.ops:
            source, name, copies = op.inputs[0].tensor, op.output.tensor, op.attrs.get("copies", ())
            if "copies" in op.attrs and op.attrs["offset"] is None and source in self.largest:
                self.largest[name] = spread(self.largest[source], copies)
                self.rows[name] = [spread(self.sample(source), copies)]
                order = np.array([*range(op.inputs[0].cols), *copies])
                self.moments.sources[name] = (source, order, parts(op.inputs[0].cols, copies)[order])

    def arranged(self, sources: Sources) -> Statistics:
        """Return the statistics of tensors that others were rearranged into."""
        found = Statistics(dict(self.largest), dict(self.rows), self.energies, self.moments.arranged(sources))
        for name, (source, columns, shares) in sources.items():
            found.largest[name] = (self.largest[source][columns] / shares).astype(np.float32)
            if self.rows.get(source):
                found.rows[name] = [(rows[:, columns] / shares).astype(np.float32) for rows in self.rows[source]]
        return found

    def magnitude(self, name: str) -> float:
        """Return the largest magnitude of a tensor; 0 for one that was never seen."""
        return float(self.largest[name].max(initial=0)) if name in self.largest else 0.0

    def sample(self, name: str) -> Array:
        """Return the rows kept of a tensor, [n, columns]; of one without rows its largest magnitudes as one row."""
        kept = self.rows.get(name)
        if not kept:
            return self.largest[name][None]
        if len({rows.shape[1] for rows in kept}) > 1:
            return np.concatenate([rows.reshape(-1, 1) for rows in kept])
        return np.concatenate(kept)


def measure(
    graphs: Iterable[tuple[Graph, Mapping[str, Array]]], epsilon: float, head_dim: int, *, rows: bool = False
) -> Statistics:
    """Return the statistics of sequences, each a graph of its length and what that is given, in float32.

    ``rows``: keep rows of activations, which `clipping` tries scales on.
    """
    found = Statistics()
    names: set[str] | None = None
    widened: set[str] = set()
    for graph, given in graphs:
        if names is None:  # graphs of all lengths have the same
            names, widened = multiplied(graph, structural(graph, given)), _widened(graph)
        activations = {name for name, tensor in graph.tensors.items() if tensor.kind == "activation"}
        values = host.forward(graph, given, epsilon, head_dim)
        found.add(graph, values, activations if rows else widened, MOST_ROWS if rows else WIDENED_ROWS)
        found.moments.add(values, names)
    return found


def _widened(graph: Graph) -> set[str]:
    """Return the int8 tensors whose columns a product widens for the integer GELU."""
    makers = [maker for op in graph.ops if op.record.feed_forward for maker in graph.producers(op.inputs[0].tensor)]
    return {maker.inputs[0].tensor for maker in makers if maker.is_matmul}
