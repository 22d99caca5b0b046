"""The points of a sweep: from lists of values to one configuration each, in a fixed order."""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.base.store import point_key
from sim.base.version import code_version

if TYPE_CHECKING:
    from sim.graph import Graph
    from sim.hardware import Hardware
    from sim.sparsity.rules import AnySparsity
    from sim.timing.timer import Clock


@dataclass(frozen=True)
class Point:
    """One simulation of a sweep as it was asked for, in plain data."""

    hardware: str
    overrides: tuple[tuple[str, Any], ...]
    workload: str
    sizes: tuple[tuple[str, int], ...]
    sparsity: str | None
    prune: str | None
    seed: int
    clock: Clock
    dataflow: str | None

    @property
    def label(self) -> str:
        """One line for progress and messages."""
        parts = [self.workload, self.hardware, *(f"{key}={value}" for key, value in self.overrides)]
        return " ".join([*parts, *(str(part) for part in (self.sparsity, self.prune) if part)])

    def knobs(self) -> dict[str, Any]:
        """Return the leading columns of the point's row."""
        fixed = {"hardware": self.hardware, "workload": self.workload}
        chosen = {"sparsity": self.sparsity, "prune": self.prune, "seed": self.seed}
        return {**fixed, **dict(self.sizes), **dict(self.overrides), **chosen}


@dataclass(frozen=True)
class Task:
    """A point with its machine, graph and sparsity: all that a worker needs, wherever it is; no file is read there."""

    point: Point
    machine: Hardware
    graph: Graph
    version: str
    rules: AnySparsity | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to a worker: the graph as bytes, made once and there unpacked once."""
        return {**vars(self), "graph": _packed(self.graph)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, graph=_unpacked(state["graph"]))

    def config(self) -> dict[str, Any]:
        """Return everything that decides the point's row: code, full machine, options, and the graph by its key."""
        options = {key: value for key, value in asdict(self.point).items() if key != "overrides"}
        return {
            **options,
            "sizes": dict(self.point.sizes),
            "version": self.version,
            "machine": self.machine.model_dump(mode="json"),
            "graph": self.graph.key,
            "rules": None if self.rules is None else str(self.rules),
        }


@lru_cache(maxsize=8)  # workloads are few
def _packed(graph: Graph) -> bytes:
    return pickle.dumps(graph)


@lru_cache(maxsize=8)
def _unpacked(graph: bytes) -> Graph:
    unpacked: Graph = pickle.loads(graph)
    return unpacked


class Resolver:
    """Machines and graphs of the points of one sweep; equal ones are made once."""

    def __init__(self) -> None:
        self._machines: dict[str, Hardware] = {}
        self._graphs: dict[tuple[object, ...], Graph] = {}
        self._rules: dict[tuple[str, int], AnySparsity] = {}

    def task(self, point: Point) -> Task:
        """Return the point with its machine and graph. Raises InputError for one that is refused at the door."""
        from sim.sparsity.rules import Rules

        rules = self._sparsity(point)
        task = Task(point, self._machine(point), self._graph(point, rules), code_version(), rules)
        return replace(task, rules=replace(rules, prunings=())) if isinstance(rules, Rules) else task

    def _machine(self, point: Point) -> Hardware:
        from sim import hardware

        if point.hardware not in self._machines:
            self._machines[point.hardware] = hardware.load(point.hardware)
        base = self._machines[point.hardware]
        return base.with_(dict(point.overrides)) if point.overrides else base

    def _sparsity(self, point: Point) -> AnySparsity | None:
        from sim.run.pipeline import resolve_sparsity

        if point.sparsity is None:
            return None
        of = (point.sparsity, point.seed)
        if of not in self._rules:
            rules = resolve_sparsity(*of)
            assert rules is not None
            self._rules[of] = rules
        return self._rules[of]

    def _graph(self, point: Point, rules: AnySparsity | None) -> Graph:
        """Return the graph of a point, pruned."""
        from sim.run.pipeline import resolve_graph, resolve_pruning

        whole: tuple[object, ...] = (point.workload, point.sizes)
        if whole not in self._graphs:
            self._graphs[whole] = resolve_graph(point.workload, dict(point.sizes))
        cuts = rules.prunings if rules is not None else ()
        if point.prune is None and not cuts:
            return self._graphs[whole]
        of = (*whole, point.prune, (point.sparsity, point.seed) if cuts else None)
        if of not in self._graphs:
            self._graphs[of], _ = resolve_pruning(self._graphs[whole], point.prune, rules)
        return self._graphs[of]


def refused_config(point: Point) -> dict[str, Any]:
    """Return the configuration of a point that has no machine or graph: the request as it came."""
    return {**asdict(point), "version": code_version(), "refused": True}


def sweep_key(points: Sequence[Point]) -> str:
    """Return a name of the whole sweep: the same points in the same order, simulated by the same code."""
    return point_key({"version": code_version(), "points": [asdict(point) for point in points]})[:16]


def points(
    hardware: str | Sequence[str],
    grid: Mapping[str, Sequence[Any]],
    workloads: str | Sequence[str],
    sizes: Mapping[str, int],
    sparsity: str | Sequence[str | None] | None,
    prune: str | Sequence[str | None] | None,
    seed: int,
    clock: Clock,
    dataflow: str | None,
) -> list[Point]:
    """Return every combination (arguments: `sim.sweeps.sweep`). Raises InputError for an empty or ill-formed one."""
    settings = [tuple(itertools.chain(*choice)) for choice in itertools.product(*axes(grid))]
    lists = (_many(hardware), settings, _many(workloads), _many(sparsity), _many(prune))
    combined = [
        Point(machine, overrides, workload, tuple(sizes.items()), pattern, cut, seed, clock, dataflow)
        for machine, overrides, workload, pattern, cut in itertools.product(*lists)
    ]
    if not combined:
        raise InputError("sweep: no points; hardware, workloads and every list of the grid need at least one value")
    return combined


def shard_positions(shard: str | None, total: int) -> range:
    """Return the positions of shard "i/n" (1 <= i <= n) among ``total`` points: every n-th; None = all of them.

    Raises InputError for anything else.
    """
    if shard is None:
        return range(total)
    parts = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = (int(part) for part in parts.groups()) if parts else (0, 0)
    if not 1 <= index <= count:
        nearest = f"{min(max(index, 1), count)}/{count}" if count else "1/1"
        raise InputError(f"shard {shard}: must be i/n with 1 <= i <= n, e.g. 1/4; nearest legal: {nearest}")
    return range(index - 1, total, count)


def _many(value: Any) -> list[Any]:
    return [value] if value is None or isinstance(value, str) else list(value)


def axes(grid: Mapping[str, Sequence[Any]]) -> list[list[tuple[tuple[str, Any], ...]]]:
    """Return one list of settings per key of the grid, each setting a tuple of (dotted key, value).

    Raises InputError listing every key whose values are no list or do not fit it.
    """
    found, problems = [], []
    for joined, values in grid.items():
        keys = tuple(key.strip() for key in joined.split("+"))
        if isinstance(values, str) or not isinstance(values, Iterable):
            problems.append(f"grid: {joined!r} must be a list of values, got {values!r}")
            continue
        axis = []
        for value in values:
            parts = tuple(value) if isinstance(value, list | tuple) else (value,) * len(keys)
            if len(parts) == len(keys):
                axis.append(tuple(zip(keys, parts, strict=True)))
            else:
                problems.append(f"grid: {joined!r} joins {len(keys)} keys, {value!r} has {len(parts)} values")
        found.append(axis)
    if problems:
        raise InputError(problems)
    return found
