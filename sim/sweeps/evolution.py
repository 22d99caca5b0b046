"""Evolutionary search of networks: quality by a function of the user, energy-delay product by simulation."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sim.base.errors import InputError, did_you_mean
from sim.base.pareto import pareto
from sim.hardware import Hardware
from sim.run.progress import Progress, shown
from sim.sweeps.networks import METRICS, Candidate, Cost, Costs, NetworkSpace, merged

if TYPE_CHECKING:
    import pandas as pd

Quality = Callable[[Candidate], float]
"""Loss of quality of a network: smaller is better (perplexity, error); a table, a model's evaluation, a proxy."""


def search_networks(
    hw: Hardware,
    quality: Quality | Mapping[Candidate, float],
    *,
    space: NetworkSpace | None = None,
    population: int = 40,
    rounds: int = 40,
    mutation: float = 0.2,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> pd.DataFrame:
    """Return every network tried with its quality, cycles, energy and energy-delay product; ``best``: the front.

    ``quality``: a function, or a table of networks, all of which are tried. With a function the search begins with the
    largest network of ``space`` and random ones; each round keeps the best ``population`` by fronts of quality and
    energy-delay product, and adds as many children, half of them by crossover, each size drawn anew with probability
    ``mutation``.

    The same seed gives the same table. Raises InputError for a number out of range and for networks that the machine
    refuses.
    """
    _check(population, rounds, mutation, seed)
    rng, costs = random.Random(seed), Costs(hw)
    tried: dict[Candidate, tuple[float, Cost]] = {}
    with shown("search", progress) as bar:

        def add(networks: Sequence[Candidate], done: int, total: int) -> None:
            for number, network in enumerate(networks):
                if network not in tried:
                    bar(done * len(networks) + number, total * len(networks), f"round {done}")
                    tried[network] = (_quality(quality, network), costs.of(network))

        if isinstance(quality, Mapping):
            add(list(quality), 0, 1)
        else:
            room = space or NetworkSpace()
            alive = merged([room.largest, *(room.draw(rng) for _ in range(population - 1))])
            add(alive, 0, rounds + 1)
            for number in range(rounds):
                children = _children(room, alive, population, mutation, rng)
                add(children, number + 1, rounds + 1)
                alive = _survivors(merged([*alive, *children]), tried, population, hw.clock_mhz)
        bar(1, 1, "")
    return _table(tried, hw.clock_mhz)


def _check(population: int, rounds: int, mutation: float, seed: int) -> None:
    problems = [
        f"{name}: {value}; the rule is {name} >= {least} (nearest legal: {least})"
        for name, value, least in (("population", population, 2), ("rounds", rounds, 0), ("seed", seed, 0))
        if value < least
    ]
    if not 0 <= mutation <= 1:
        problems.append(f"mutation: {mutation}; the rule is 0 to 1 (nearest legal: {min(max(mutation, 0), 1)})")
    if problems:
        raise InputError(problems)


def _quality(quality: Quality | Mapping[Candidate, float], network: Candidate) -> float:
    value = quality[network] if isinstance(quality, Mapping) else quality(network)
    if not isinstance(value, int | float) or value != value:
        raise InputError(f"quality: {value!r} of {network.words()} must be a number, smaller is better")
    return float(value)


def _children(
    space: NetworkSpace, alive: Sequence[Candidate], count: int, mutation: float, rng: random.Random
) -> list[Candidate]:
    """Return ``count`` children: every other one has two parents."""
    found = []
    for number in range(count):
        parent = rng.choice(alive)
        child = space.crossed(parent, rng.choice(alive), rng) if number % 2 else parent
        found.append(space.mutated(child, mutation, rng))
    return merged(found)


def _survivors(
    networks: Sequence[Candidate], tried: Mapping[Candidate, tuple[float, Cost]], count: int, clock_mhz: float
) -> list[Candidate]:
    """Return the best by fronts; of the last front, which does not fit whole, networks spread evenly over it."""
    left, kept = list(networks), list[Candidate]()
    while left and len(kept) < count:
        scores = {network: (tried[network][0], tried[network][1].score("edp", clock_mhz)) for network in left}
        marks = pareto([scores[network] for network in left])
        front = sorted((n for n, mark in zip(left, marks, strict=True) if mark), key=lambda n: scores[n])
        room = count - len(kept)
        if len(front) > room:
            step = (len(front) - 1) / max(1, room - 1)
            front = merged(front[round(number * step)] for number in range(room))
        kept += front
        left = [network for network in left if network not in set(front)]
    return kept[:count]


def _table(tried: Mapping[Candidate, tuple[float, Cost]], clock_mhz: float) -> pd.DataFrame:
    import pandas as pd  # heavy library

    rows = [
        {
            **network.words(),
            "weights": network.weights,
            "quality": quality,
            "cycles": cost.cycles,
            "energy_pj": cost.energy_pj,
            "edp_js": cost.score("edp", clock_mhz),
        }
        for network, (quality, cost) in tried.items()
    ]
    table = pd.DataFrame(rows)
    table["best"] = pareto([(row["quality"], row["edp_js"]) for row in rows])
    return table


def shrink(
    hw: Hardware,
    network: Candidate,
    damage: Quality,
    steps: Sequence[tuple[str, Sequence[object]]],
    *,
    target: float,
    metric: str = "cycles",
    greedy: bool = True,
) -> list[tuple[str, Candidate, float, Cost]]:
    """Shrink a network, with simulated costs, until ``metric`` is at most ``target`` times its first value.

    ``steps``: name of a layer's field ("heads", "ffn", "tokens", "pattern") and its values, largest first: each step
    changes one layer to the next value. ``damage``: like a quality, smaller is better. Steps are ordered by cost saved
    over damage added. ``greedy``: the order is computed again after each step; else once. Returns the steps:
    description, network after it, its damage and cost; the original network comes first. Raises InputError for a target
    that no step reaches.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r} is unknown{did_you_mean(metric, METRICS)}")
    if not 0 < target < 1:
        raise InputError(f"target: {target}; the rule is above 0 and below 1, a share of the network's {metric}")
    costs = Costs(hw)
    done = [("start", network, damage(network), costs.of(network))]
    goal = target * done[0][3].score(metric, hw.clock_mhz)
    weigh = _Weigh(costs, damage, metric, hw.clock_mhz)
    planned = [] if greedy else weigh.ordered(network, done[0][2], steps)
    while (now := done[-1])[3].score(metric, hw.clock_mhz) > goal:
        if greedy:
            listed = weigh.ordered(now[1], now[2], steps)
            chosen = listed[0] if listed else None
        else:
            chosen = planned.pop(0) if planned else None
            if chosen is None and (planned := weigh.ordered(now[1], now[2], steps)):
                chosen = planned.pop(0)
        if chosen is None:
            share = now[3].score(metric, hw.clock_mhz) / done[0][3].score(metric, hw.clock_mhz)
            raise InputError(
                f"target {target:g}: the smallest network takes {share:.3f} of the {metric}; nearest: {share:.3f}"
            )
        field, index = chosen
        smaller = next_step(now[1], field, index, dict(steps)[field])
        if smaller is not None:
            value = getattr(smaller.layers[index], field)
            done.append((f"L{index}.{field}={value}", smaller, damage(smaller), costs.of(smaller)))
    return done


class _Weigh:
    """Orders steps by their value."""

    def __init__(self, costs: Costs, damage: Quality, metric: str, clock_mhz: float):
        self.costs, self.damage, self.metric, self.clock_mhz = costs, damage, metric, clock_mhz

    def ordered(
        self, network: Candidate, damage: float, steps: Sequence[tuple[str, Sequence[object]]]
    ) -> list[tuple[str, int]]:
        """Return the steps that save cost, the largest saving per damage first."""
        before = self.costs.of(network).score(self.metric, self.clock_mhz)
        found = []
        for field, values in steps:
            for index in range(len(network.layers)):
                smaller = next_step(network, field, index, values)
                if smaller is None:
                    continue
                saved = before - self.costs.of(smaller).score(self.metric, self.clock_mhz)
                added = self.damage(smaller) - damage
                if saved > 0:
                    worth = saved / added if added > 0 else float("inf")
                    found.append((-worth, -saved, field, index))
        return [(field, index) for _, _, field, index in sorted(found)]


def next_step(network: Candidate, field: str, index: int, values: Sequence[object]) -> Candidate | None:
    """Return the network with a layer's field at its next value; None after the last."""
    present = getattr(network.layers[index], field)
    at = list(values).index(present) if present in values else -1
    return network.with_layer(index, **{field: values[at + 1]}) if at + 1 < len(values) else None


def log_weights(network: Candidate) -> float:
    """Return minus the binary logarithm of the number of weights.

    A proxy without training, which is no measure of accuracy.
    """
    return -float(network.weights.bit_length() - 1) - network.weights / (1 << network.weights.bit_length())
