"""Encoders as points of a search: sizes of each layer, cost on a machine, and variation of sizes.

The cost of a candidate is the sum of the halves of its layers (attention, feed-forward), each simulated once in a layer
of a candidate that has it: a search has few different halves, and many networks made of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from sim.hardware import Hardware
from sim.run.pipeline import simulate
from sim.timing.disk import default_timings
from sim.timing.memo import Memo
from workloads.encoder import LayerSizes, encoder_stack

FEED_FORWARD = ("FF1", "gelu", "FF2", "layernorm2", "residual_add2")
"""Operators of a layer's second half; all others belong to its attention."""


@dataclass(frozen=True)
class Layer:
    """One layer: ``heads``, ``ffn`` neurons, ``tokens`` that it processes, ``pattern`` of its weights (None: dense).

    ``pattern``: as for `sim.simulate(sparsity=...)`: "2:4", "w4a8", "block16:0.5" ...
    """

    heads: int
    ffn: int
    tokens: int = 512
    pattern: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A candidate: an encoder of ``hidden`` columns whose heads have ``head_dim`` columns each."""

    hidden: int
    layers: tuple[Layer, ...]
    head_dim: int = 64

    def graph(self) -> Graph:
        """Return the workload, dense. Raises InputError for illegal sizes."""
        sizes = [LayerSizes(layer.heads, layer.ffn, layer.tokens) for layer in self.layers]
        return encoder_stack(sizes, self.hidden, self.head_dim)

    @property
    def weights(self) -> int:
        """Weights of all products: four projections and two of the feed-forward half a layer."""
        return sum(4 * self.hidden * layer.heads * self.head_dim + 2 * self.hidden * layer.ffn for layer in self.layers)

    def words(self) -> dict[str, Any]:
        """Return the network as columns of a table; sizes of the layers are joined by spaces."""
        found: dict[str, Any] = {"layers": len(self.layers), "hidden": self.hidden}
        for name in ("heads", "ffn", "tokens"):
            found[name] = " ".join(str(getattr(layer, name)) for layer in self.layers)
        found["patterns"] = " ".join(layer.pattern or "dense" for layer in self.layers)
        return found

    def with_layer(self, index: int, **changes: Any) -> Candidate:
        """Return the network with one layer changed; fewer tokens apply to all later layers, too."""
        layers = list(self.layers)
        layers[index] = replace(layers[index], **changes)
        if "tokens" in changes:
            most = changes["tokens"]
            layers[index:] = [replace(layer, tokens=min(layer.tokens, most)) for layer in layers[index:]]
        return replace(self, layers=tuple(layers))


@dataclass(frozen=True)
class Cost:
    """Cost of a run; costs of parts can be added."""

    cycles: int
    energy_pj: float

    def __add__(self, other: Cost) -> Cost:
        """Return the sum of both."""
        return Cost(self.cycles + other.cycles, self.energy_pj + other.energy_pj)

    def score(self, metric: str, clock_mhz: float) -> float:
        """Return "cycles", "energy" in pJ, or "edp" in J s."""
        time_s = self.cycles / (clock_mhz * 1e6)
        return {"cycles": float(self.cycles), "energy": self.energy_pj, "edp": self.energy_pj * 1e-12 * time_s}[metric]


METRICS = ("cycles", "energy", "edp")

Half = tuple[Any, ...]
"""Sizes that determine the cost of half a layer."""


@dataclass
class Costs:
    """Costs of networks on a machine; ``halves``: those simulated so far, ``simulated``: layers run for them."""

    hw: Hardware
    halves: dict[Half, Cost] = field(default_factory=dict)
    simulated: int = 0

    def __post_init__(self) -> None:
        """Share programs between layers, and timings with earlier searches."""
        self._memo = Memo(default_timings())

    def of(self, network: Candidate) -> Cost:
        """Return the sum of the halves of a network's layers. Raises InputError if the machine refuses a layer."""
        total = Cost(0, 0.0)
        before = network.layers[0].tokens
        for layer in network.layers:
            if layer.tokens < before:
                total += self._dropping(network.hidden, layer.tokens)
            before = layer.tokens
            for half in self._halves(network, layer):
                if half not in self.halves:
                    self._simulate(network, layer)
                total += self.halves[half]
        return total

    def _dropping(self, hidden: int, tokens: int) -> Cost:
        """Return the cost of moving the remaining tokens."""
        key: Half = ("drop", hidden, tokens)
        if key not in self.halves:
            x, kept = (Tensor(name, (tokens, hidden), "int8", kind) for name, kind in
                       (("x", "input"), ("kept", "activation")))  # fmt: skip
            move = Op("drop", "copy", (View.whole(x),), View.whole(kept))
            result = simulate(Graph.from_ops("drop", (x, kept), (move,)), self.hw, memo=self._memo)
            self.halves[key] = Cost(result.cycles, result.totals["energy_pj"])
        return self.halves[key]

    def whole(self, network: Candidate) -> Cost:
        """Return the cost of a dense network simulated in one piece."""
        if any(layer.pattern for layer in network.layers):
            raise InputError("a network with patterns is priced layer by layer: each has its own rules")
        result = simulate(network.graph(), self.hw, memo=self._memo)
        return Cost(result.cycles, result.totals["energy_pj"])

    def _halves(self, network: Candidate, layer: Layer) -> tuple[Half, Half]:
        shared = (network.hidden, layer.tokens, layer.pattern)
        return ("attention", network.head_dim, layer.heads, *shared), ("ffn", layer.ffn, *shared)

    def _simulate(self, network: Candidate, layer: Layer) -> None:
        """Simulate a network of this layer alone and split its rows."""
        alone = replace(network, layers=(layer,))
        result = simulate(alone.graph(), self.hw, sparsity=layer.pattern, memo=self._memo)
        self.simulated += 1
        parts = {"attention": Cost(0, 0.0), "ffn": Cost(0, 0.0)}
        for row in result.rows:
            name = row["op"].partition(".")[2].split(".")[0].split("+")[0]
            half = "ffn" if name in FEED_FORWARD else "attention"
            parts[half] += Cost(row["cycles"], row["energy_pj"])
        for key, part in zip(self._halves(network, layer), parts.values(), strict=True):
            self.halves.setdefault(key, part)


@dataclass(frozen=True)
class NetworkSpace:
    """Networks that a search may make. By default the space of Kim et al., section 6.4 (docs/reference/papers.md 1.9).

    ``depths``: numbers of layers; ``heads``, ``ffn``: of each layer separately; ``hidden``: of all layers.
    """

    depths: tuple[int, ...] = (3, 4, 5, 6)
    heads: tuple[int, ...] = (4, 6, 8, 10, 12)
    hidden: tuple[int, ...] = tuple(range(384, 769, 96))
    ffn: tuple[int, ...] = tuple(range(768, 3073, 128))
    tokens: int = 512
    head_dim: int = 64

    def __post_init__(self) -> None:
        """Raise InputError for an empty list or a size that is no whole number above 0."""
        problems = []
        for name in ("depths", "heads", "hidden", "ffn"):
            given = getattr(self, name)
            if not given:
                problems.append(f"networks: {name} is empty; it needs at least one size")
            problems += [
                f"networks: {name} {size!r} must be a whole number >= 1 (nearest legal: 1)"
                for size in given
                if not isinstance(size, int) or size < 1
            ]
        problems += [
            f"networks: {name} {getattr(self, name)!r} must be >= 1 (nearest legal: 1)"
            for name in ("tokens", "head_dim")
            if getattr(self, name) < 1
        ]
        if problems:
            raise InputError(problems)

    @property
    def size(self) -> int:
        """Number of networks."""
        layer = len(self.heads) * len(self.ffn)
        return sum(len(self.hidden) * layer**depth for depth in self.depths)

    @property
    def largest(self) -> Candidate:
        """The network of the largest sizes: the baseline that a search starts from."""
        layer = self._layer(max(self.heads), max(self.ffn))
        return Candidate(max(self.hidden), (layer,) * max(self.depths), self.head_dim)

    def _layer(self, heads: int, ffn: int) -> Layer:
        return Layer(heads, ffn, self.tokens)

    def draw(self, rng: random.Random) -> Candidate:
        """Return a network with every size drawn independently."""
        depth = rng.choice(self.depths)
        layers = tuple(self._layer(rng.choice(self.heads), rng.choice(self.ffn)) for _ in range(depth))
        return Candidate(rng.choice(self.hidden), layers, self.head_dim)

    def crossed(self, one: Candidate, other: Candidate, rng: random.Random) -> Candidate:
        """Return a network that has each size of one of two parents; the depth of one of them."""
        depth = len(rng.choice((one, other)).layers)
        layers = []
        for index in range(depth):
            having = [parent for parent in (one, other) if index < len(parent.layers)]
            heads, ffn = (rng.choice(having).layers[index] for _ in range(2))
            layers.append(self._layer(heads.heads, ffn.ffn))
        return Candidate(rng.choice((one, other)).hidden, tuple(layers), self.head_dim)

    def mutated(self, network: Candidate, rate: float, rng: random.Random) -> Candidate:
        """Return the network with each size drawn anew with a probability."""
        fresh = self.draw(rng)
        depth = rng.choice(self.depths) if rng.random() < rate else len(network.layers)
        layers = []
        for index in range(depth):
            layer = network.layers[index] if index < len(network.layers) else self.draw(rng).layers[0]
            heads = rng.choice(self.heads) if rng.random() < rate else layer.heads
            ffn = rng.choice(self.ffn) if rng.random() < rate else layer.ffn
            layers.append(self._layer(heads, ffn))
        return Candidate(fresh.hidden if rng.random() < rate else network.hidden, tuple(layers), self.head_dim)


def parse(words: Mapping[str, Any], tokens: int) -> Candidate:
    """Return the network of a table's row: hidden; heads and ffn, one a layer. Raises InputError."""
    try:
        heads, ffn = (_sizes(words[name]) for name in ("heads", "ffn"))
        hidden = int(words["hidden"])
    except (KeyError, ValueError) as error:
        raise InputError(
            f"network: hidden, heads and ffn are needed, e.g. 768, '12 12', '3072 3072' ({error})"
        ) from error
    if len(heads) != len(ffn):
        raise InputError(f"network: {len(heads)} layers by heads, {len(ffn)} by ffn; they must be equally many")
    return Candidate(hidden, tuple(Layer(h, f, tokens) for h, f in zip(heads, ffn, strict=True)))


def _sizes(text: Any) -> list[int]:
    """Return "12 6 12" or "12x3" as numbers."""
    found: list[int] = []
    for part in str(text).replace(",", " ").split():
        size, times, count = part.partition("x")
        found += [int(size)] * (int(count) if times else 1)
    return found


def merged(networks: Iterable[Candidate]) -> list[Candidate]:
    """Return the networks without repetitions, in their order."""
    return list(dict.fromkeys(networks))
