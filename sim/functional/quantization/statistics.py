"""Statistics of each tensor over calibration sequences.

Largest magnitude by column, sample values for trying scales.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional import host
from sim.functional.quantization.kept import name_of, recalled
from sim.functional.quantization.moments import Moments, multiplied
from sim.functional.quantization.structure import structural
from sim.graph import Graph
from sim.graph.kinds.elementwise import parts, spread

Array = npt.NDArray[Any]
Sources = Mapping[str, tuple[str, Array, Array]]
"""Tensor -> (calibrated tensor, its column for each column, number of columns that share its value)."""

MAX_ROWS = 2048
"""Number of rows kept of a tensor, evenly from all sequences; the largest magnitudes are those of all rows."""

WIDENED_ROWS = 512
"""Rows kept of inputs of the integer GELU: enough to know the mean of its error to 1/20 of its deviation."""


@dataclass
class Statistics:
    """``largest``: by tensor float32[columns], or [1] if sequences differ in their number of columns.

    ``energies``: by tensor that a LayerNorm reads, the largest sum of squared deviations of a row. ``widths``: columns
    of the operands of weights. ``gathered``: data that needs a forward pass of all sequences, computed on request
    (`Gathered`). ``sources``: tensors from which others were rearranged. ``key``: digest of the calibration, "" if
    nothing of it is cached.
    """

    largest: dict[str, Array] = field(default_factory=dict)
    energies: dict[str, float] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    gathered: Callable[[], Gathered] = field(default_factory=lambda: cache(Gathered))
    sources: dict[str, tuple[str, Array, Array]] = field(default_factory=dict)
    key: str = ""

    def add(self, graph: Graph, values: Mapping[str, Array]) -> None:
        """Add the values of one sequence, or of several of one length with a first axis of sequences."""
        for name, array in values.items():
            tensor = graph.tensors.get(name)
            if tensor is None or tensor.kind == "weight" or array.dtype.kind != "f":
                continue
            flat = array.reshape(-1, array.shape[-1])
            top = np.maximum(flat.max(axis=0, initial=0), -flat.min(axis=0, initial=0))
            before = self.largest.get(name, top)
            if before.shape != top.shape:  # scores: as many columns as the sequence has tokens
                before, top = before.max(keepdims=True), top.max(keepdims=True)
            self.largest[name] = np.maximum(before, top)
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
                order = np.array([*range(op.inputs[0].cols), *copies])
                self.sources[name] = (source, order, parts(op.inputs[0].cols, copies)[order])

    def arranged(self, sources: Sources) -> Statistics:
        """Return the statistics with those of rearranged tensors."""
        found = replace(self, largest=dict(self.largest), sources={**self.sources, **sources})
        for name, (source, columns, shares) in sources.items():
            found.largest[name] = (self.largest[source][columns] / shares).astype(np.float32)
        return found

    def magnitude(self, name: str) -> float:
        """Return the largest magnitude of a tensor; 0 for one without statistics."""
        return float(self.largest[name].max(initial=0)) if name in self.largest else 0.0

    def width(self, name: str) -> int:
        """Return the columns of a tensor that has `moments`; 0 for one that has none."""
        source, columns, _ = self.sources.get(name, (name, None, None))
        return 0 if source not in self.widths else self.widths[source] if columns is None else len(columns)

    def moments(self, name: str) -> Array:
        """Return the means of products [columns, columns] of a tensor."""
        source, columns, shares = self.sources.get(name, (name, None, None))
        found = self.gathered().moments.of(source)
        assert found is not None
        if columns is None or shares is None:
            return found
        return np.asarray(found[np.ix_(columns, columns)] / np.outer(shares, shares))

    def rows(self, name: str) -> list[Array]:
        """Return rows [n, columns] of a tensor, in parts; empty if none were kept."""
        source, columns, shares = self.sources.get(name, (name, None, None))
        kept = self.gathered().rows.get(source, [])
        if columns is None or shares is None:
            return kept
        return [(rows[:, columns] / shares).astype(np.float32) for rows in kept]

    def sample(self, name: str) -> Array:
        """Return the rows kept of a tensor, [n, columns]; without rows its largest magnitudes as one row."""
        kept = self.rows(name)
        if not kept:
            return self.largest[name][None]
        if len({rows.shape[1] for rows in kept}) > 1:
            return np.concatenate([rows.reshape(-1, 1) for rows in kept])
        return np.concatenate(kept)


@dataclass
class Gathered:
    """``rows``: by tensor some rows [n, columns], for `clipping` and `bias`. ``moments``: for `rounding`."""

    rows: dict[str, list[Array]] = field(default_factory=dict)
    moments: Moments = field(default_factory=Moments)


@dataclass(frozen=True)
class Together:
    """Sequences of one length: their graph, the weights it is given, and its inputs [sequences, *shape]."""

    graph: Graph
    given: Mapping[str, Array]
    sequences: Mapping[str, Array]


def measure(
    lots: Callable[[], Iterable[Together]],
    tokens: int,
    epsilon: float,
    head_dim: int,
    *,
    rows: bool = False,
    key: str = "",
) -> Statistics:
    """Return the statistics of sequences in float32, each at its own length.

    ``lots``: the sequences, with ``tokens`` tokens in all; read again if `Gathered` data is not available. ``rows``:
    keep rows of activations, on which `clipping` tries scales. ``key``: digest of all arguments; results cached under
    it are not measured again.
    """
    found = Statistics(key=key)
    gathered: list[Gathered] = []

    def run() -> dict[str, Array]:
        seen, kept = _measured(lots(), tokens, epsilon, head_dim, rows)
        gathered.append(kept)
        return _packed(seen)

    def again() -> Gathered:
        if not gathered:
            run()
        return gathered[-1]

    packed = recalled(name_of("statistics", key), run, on_disk=True) if key else run()
    for name, values in packed.items():
        what, _, tensor = name.partition(" ")
        if what == "largest":
            found.largest[tensor] = values
        elif what == "energy":
            found.energies[tensor] = float(values[0])
        else:
            found.widths[tensor] = int(values[0])
    found.gathered = again
    return found


def _packed(seen: Statistics) -> dict[str, Array]:
    packed = {f"largest {name}": values for name, values in seen.largest.items()}
    packed |= {f"energy {name}": np.array([value]) for name, value in seen.energies.items()}
    return packed | {f"width {name}": np.array([value]) for name, value in seen.widths.items()}


def _measured(
    lots: Iterable[Together], tokens: int, epsilon: float, head_dim: int, rows: bool
) -> tuple[Statistics, Gathered]:
    """Return the statistics of sequences, and their gathered data."""
    found, gathered = Statistics(), Gathered()
    names: set[str] | None = None
    widened: set[str] = set()
    every = max(1, -(-tokens // (MAX_ROWS if rows else WIDENED_ROWS)))
    for lot in lots:
        graph = lot.graph
        if names is None:  # graphs of all lengths have the same
            names, widened = multiplied(graph, structural(graph, lot.given)), _widened(graph)
        activations = {name for name, tensor in graph.tensors.items() if tensor.kind == "activation"}
        values = host.forward_together(graph, lot.given, lot.sequences, epsilon, head_dim)
        found.add(graph, values)
        for name in activations if rows else widened:
            if values[name].dtype.kind == "f":
                flat = values[name].reshape(-1, values[name].shape[-1])
                gathered.rows.setdefault(name, []).append(flat[::every].copy())
        gathered.moments.add(values, names)
    found.widths = {name: len(gathered.moments.of(name)) for name in names or ()}  # type: ignore[arg-type]
    return found, gathered


def _widened(graph: Graph) -> set[str]:
    """Return the int8 tensors whose columns a product widens for the integer GELU."""
    makers = [maker for op in graph.ops if op.record.feed_forward for maker in graph.producers(op.inputs[0].tensor)]
    return {maker.inputs[0].tensor for maker in makers if maker.is_matmul}
