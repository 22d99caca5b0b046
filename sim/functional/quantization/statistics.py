"""What calibration sequences show of each tensor: its largest magnitude by column, and rows to try a scale on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional import host
from sim.graph import Graph
from sim.graph.kinds.elementwise import spread

Array = npt.NDArray[Any]

MOST_ROWS = 2048
"""Rows of a tensor that are kept; the largest magnitudes are those of all rows."""


@dataclass
class Statistics:
    """``largest``: by tensor float32[columns], or [1] where sequences differ in their number of columns.

    ``rows``: by tensor some rows [n, columns]. ``energies``: by tensor that a LayerNorm reads, the largest sum of
    squared deviations of a row.
    """

    largest: dict[str, Array] = field(default_factory=dict)
    rows: dict[str, list[Array]] = field(default_factory=dict)
    energies: dict[str, float] = field(default_factory=dict)

    def add(self, graph: Graph, values: Mapping[str, Array], keep: Collection[str] = ()) -> None:
        """Take in the values of one sequence. ``keep``: tensors whose rows are kept."""
        for name, array in values.items():
            if array.dtype.kind != "f":
                continue
            flat = array.reshape(-1, array.shape[-1])
            top = np.abs(flat).max(axis=0, initial=0)
            before = self.largest.get(name, top)
            if before.shape != top.shape:  # scores: as many columns as the sequence has tokens
                before, top = before.max(keepdims=True), top.max(keepdims=True)
            self.largest[name] = np.maximum(before, top)
            if name in keep:
                have = self.rows.setdefault(name, [])
                if sum(map(len, have)) < MOST_ROWS:
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

    def arranged(self, sources: Mapping[str, tuple[str, Array, Array]]) -> Statistics:
        """Return the statistics of tensors that others were rearranged into.

        ``sources``: tensor -> (tensor that was seen, its column for each column, by how many its value is shared).
        """
        found = Statistics(dict(self.largest), dict(self.rows), self.energies)
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


def measure(graphs: Iterable[tuple[Graph, Mapping[str, Array]]], epsilon: float, head_dim: int) -> Statistics:
    """Return the statistics of sequences, each a graph of its length and what that is given, in float32."""
    found = Statistics()
    for graph, given in graphs:
        activations = {name for name, tensor in graph.tensors.items() if tensor.kind == "activation"}
        found.add(graph, host.forward(graph, given, epsilon, head_dim), activations)
    return found
