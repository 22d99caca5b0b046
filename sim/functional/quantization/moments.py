"""Second moments of the operands of weights: means of products of the columns of calibration rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.graph import Graph

Array = npt.NDArray[Any]

BATCH = 512
"""Rows that are gathered before their products are summed."""


@dataclass
class Moments:
    """``sums``: by tensor float32[columns, columns]; ``counts``: of how many rows."""

    sums: dict[str, Array] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _rows: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, values: Mapping[str, Array], names: Collection[str]) -> None:
        """Add the rows of some tensors."""
        for name in names:
            rows = self._rows.setdefault(name, [])
            rows.append(values[name].reshape(-1, values[name].shape[-1]).astype(np.float32))
            if sum(map(len, rows)) >= BATCH:
                self.flush(name)

    def flush(self, name: str) -> None:
        """Sum the products of the rows that were gathered."""
        if rows := self._rows.pop(name, []):
            whole = np.concatenate(rows)
            self.sums[name] = self.sums.get(name, np.float32(0)) + whole.T @ whole
            self.counts[name] = self.counts.get(name, 0) + len(whole)

    def of(self, name: str) -> Array | None:
        """Return the means of products [columns, columns] of a tensor; None for one that was not added."""
        self.flush(name)
        return np.asarray(self.sums[name] / np.float32(self.counts[name])) if name in self.sums else None


def multiplied(graph: Graph, fixed: Collection[str] = ()) -> set[str]:
    """Return the tensors that are multiplied by weights; for those that a quantize operator writes, its input.

    ``fixed``: weights that are ignored (`structure.structural`).
    """
    written = {op.output.tensor: op.inputs[0].tensor for op in graph.ops if "copies" in op.attrs}
    found = set()
    for op in graph.ops:
        if graph.multiplies_weights(op) and op.inputs[1].tensor not in fixed:
            name = op.inputs[0].tensor
            found.add(written.get(name, name))
    return found
