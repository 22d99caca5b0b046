"""Early exit: the average cost of a network whose inputs leave after different layers, in given shares.

The shares are given, as they depend on accuracy; the cycles of each layer come from a run of the whole network. After
each layer but the last an exit classifies the first token: a product, which is simulated. The decision (the entropy of
some classes, on the host) is not priced.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.graph import Graph, View
from sim.graph.encoder import Parts
from sim.run.pipeline import simulate

if TYPE_CHECKING:
    from sim.run.result import Result

CLASSES = 2
"""Classes of an exit, as of most of GLUE's tasks."""


@dataclass(frozen=True)
class Exit:
    """A layer: share of inputs that leave after it, and the cost of one of them."""

    layer: int
    share: float
    cycles: int
    energy_pj: float


@dataclass(frozen=True)
class Exits:
    """Exits in order; ``whole``: cycles of the run of the whole network; ``classifier``: the product of one exit."""

    exits: tuple[Exit, ...]
    whole_cycles: int
    classifier_cycles: int

    @property
    def cycles(self) -> float:
        """Cycles of an input on average."""
        return sum(one.share * one.cycles for one in self.exits)

    @property
    def energy_pj(self) -> float:
        """Energy of an input on average."""
        return sum(one.share * one.energy_pj for one in self.exits)

    @property
    def layers(self) -> float:
        """Layers that an input goes through on average."""
        return sum(one.share * (number + 1) for number, one in enumerate(self.exits))


def early_exit(result: Result, shares: tuple[float, ...], classes: int = CLASSES) -> Exits:
    """Return the cost of a run's network if ``shares`` of the inputs leave after each layer.

    Operators outside layers (embedding, pooler) count for every input. Raises InputError for a network without layers,
    for shares of another number of layers, and for shares that do not add up to 1.
    """
    layers = sorted({row["layer"] for row in result.rows if row["layer"] is not None})
    if problems := _problems(result, shares, len(layers)):
        raise InputError(problems)
    classifier = simulate(_classifier(result.case.graph, layers[0], classes), result.hardware, progress=False)
    common = [row for row in result.rows if row["layer"] is None]
    found, exits = [], len(layers) - 1
    costs = [[row for row in result.rows if row["layer"] == layer] for layer in layers]
    cycles = accumulate(sum(row["cycles"] for row in rows) for rows in costs)
    energy = accumulate(sum(row["energy_pj"] for row in rows) for rows in costs)
    for number, (layer, share, spent, used) in enumerate(zip(layers, shares, cycles, energy, strict=True)):
        tried = min(number + 1, exits)
        spent += sum(row["cycles"] for row in common) + tried * classifier.cycles
        used += sum(row["energy_pj"] for row in common) + tried * classifier.totals["energy_pj"]
        found.append(Exit(layer, share, spent, used))
    return Exits(tuple(found), result.cycles, classifier.cycles)


def _problems(result: Result, shares: tuple[float, ...], layers: int) -> list[str]:
    problems = []
    if layers < 2:
        problems.append(f"exits: {result.totals['workload']} has {layers} layers; an exit needs two at least")
    elif len(shares) != layers:
        problems.append(f"exits: {len(shares)} shares, {result.totals['workload']} has {layers} layers")
    if any(not 0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > ROUNDING:
        most = [min(max(0.0, share), 1.0) for share in (*shares, *[0.0] * layers)][:layers]
        near = [share / sum(most) if sum(most) else 1 / layers for share in most]
        problems.append(
            f"exits: the shares add up to {sum(shares):g}; each must be 0 to 1, and all 1 (nearest: "
            f"{','.join(f'{share:.8g}' for share in near)})"
        )
    return problems


ROUNDING = 1e-6
"""Tolerance of the sum of shares written in decimals."""


def _classifier(graph: Graph, layer: int, classes: int) -> Graph:
    """Return the product of an exit: the first token of a layer's result by a matrix of ``classes`` columns."""
    last = [op for op in graph.ops if op.layer == layer][-1].output
    parts = Parts(graph.tensors[last.tensor].dtype)
    token, weights = parts.tensor("token", (1, last.cols), kind="input"), parts.weight("exit", (last.cols, classes))
    scores = parts.tensor("classes", (1, classes))
    parts.op("classify", "matmul", [View.whole(token), View.whole(weights)], View.whole(scores), None)
    return Graph("exit", {tensor.name: tensor for tensor in parts.tensors}, tuple(parts.ops))
