"""The request for a simulation, and the one place that resolves it to a machine, a graph and rules of sparsity."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

import workloads
from sim import hardware
from sim.base.errors import InputError
from sim.graph import Graph
from sim.hardware import Hardware
from sim.plan import schedules
from sim.plan.planner import plan
from sim.run.limits import check_sizes
from sim.run.nearest import legal_at_once
from sim.sparsity.edits import prune
from sim.sparsity.edits.pruning import Pruning, together
from sim.sparsity.edits.pruning import parse as parse_pruning
from sim.sparsity.edits.saliency import choose
from sim.sparsity.masks.zeros import ZeroRule
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse as parse_sparsity
from workloads.limits import few_repeats, unlimited

if TYPE_CHECKING:
    from sim.plan.step import Step
    from sim.sparsity.edits.saliency import Selection
    from sim.timing.timing import Clock

T = TypeVar("T")

CLOCKS = ("periodic", "leap", "reference")

Size = int | str
"""Size of a workload: a number (seq, layers), or a word (dtype)."""


KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "graph": ((Graph, str, Path), 'a workload name, a .json file or a Graph, e.g. "bert-base"'),
    "machine": ((Hardware, str, Path, Mapping), 'a machine name, a file, tables or a Hardware, e.g. "gemmini_ibert"'),
    "overrides": ((Mapping, tuple, NoneType), 'a mapping, e.g. {"memory.latency_cycles": 100}'),
    "sizes": ((Mapping, tuple, NoneType), 'a mapping, e.g. {"seq": 128}'),
    "sparsity": ((str, Rules, ZeroRule, NoneType), 'text, Rules or a ZeroRule, e.g. "block16:0.5"'),
    "prune": ((str, Pruning, NoneType), 'text or a Pruning, e.g. "heads=8"'),
    "seed": ((int,), "a whole number >= 0"),
    "mapping": ((Mapping, NoneType), 'a mapping of mappings, e.g. {"*.FF1": {"tile": (2, 8, 8)}}'),
    "schedule": ((str, Mapping, NoneType), 'text or a mapping, e.g. "fused" or {"*.FF2": "fused"}'),
    "allow_large": ((bool,), "True or False"),
}
"""Field of a `Request` -> its legal types, and their description in messages."""


@dataclass(frozen=True)
class Request:
    """One simulation as requested; plain data if machine and graph are given by name.

    ``graph``: a workload's name or JSON file with its ``sizes`` (seq, batch, ...), or a Graph. ``machine``: a name, a
    TOML file, tables or a Hardware; ``overrides``: dotted key -> value. ``sparsity``: "block16:0.5", a file of masks, a
    SPEC.toml, or rules; ``seed``: of masks that are drawn. ``prune``: "heads=8,layers=6" or a Pruning. ``clock``,
    ``dataflow``, ``mapping``, ``schedule``: as for `sim.simulate`. ``allow_large``: accept sizes beyond the limits of
    `sim.run.limits` and `workloads.limits`, which take hours and much memory. ``sizes`` and ``overrides`` may be
    mappings.
    """

    graph: Graph | str
    machine: Hardware | str | Mapping[str, Any]
    overrides: tuple[tuple[str, Any], ...] = ()
    sizes: tuple[tuple[str, Size], ...] = ()
    sparsity: Rules | ZeroRule | str | None = None
    prune: Pruning | str | None = None
    seed: int = 0
    clock: Clock = "periodic"
    dataflow: str | None = None
    mapping: Mapping[str, Mapping[str, Any]] | None = None
    schedule: str | Mapping[str, str] | None = None
    allow_large: bool = False

    def __post_init__(self) -> None:
        """Raise InputError listing every field of a wrong type; convert mappings to pairs and paths to text."""
        problems = list(self._wrong())
        if problems:
            raise InputError(problems)
        for name in ("overrides", "sizes"):
            given = getattr(self, name) or ()
            pairs = given.items() if isinstance(given, Mapping) else given
            object.__setattr__(self, name, tuple(pairs))
        for name in ("graph", "machine"):
            if isinstance(given := getattr(self, name), Path):
                object.__setattr__(self, name, str(given))

    def _wrong(self) -> Iterator[str]:
        for name, (accepted, example) in KINDS.items():
            given: Any = getattr(self, name)
            if not isinstance(given, accepted):
                yield f"{name}: {str(given)[:60]!r} must be {example}"
        if self.seed is True or self.seed is False or (isinstance(self.seed, int) and self.seed < 0):
            yield f"seed: {self.seed!r} must be a whole number >= 0 (nearest: 0)"
        sizes: Any = self.sizes
        for name, value in dict(sizes or ()).items() if isinstance(sizes, Mapping | tuple) else ():
            if not isinstance(value, int | float | str | NoneType):
                yield f"sizes: {name} = {str(value)[:60]!r} must be one number or one word"
        if self.clock not in CLOCKS:
            yield f"clock: {self.clock!r} is none of {', '.join(CLOCKS)}"
        mapping: Any = self.mapping
        if isinstance(mapping, Mapping):
            for pattern, tile in mapping.items():
                if not isinstance(tile, Mapping):
                    yield f'mapping: {pattern!r}: {str(tile)[:60]!r} must be a mapping, e.g. {{"tile": (2, 8, 8)}}'
        yield from self._wrong_schedules()

    def _wrong_schedules(self) -> Iterator[str]:
        given: Any = self.schedule
        texts = given if isinstance(given, Mapping) else {"*": given} if isinstance(given, str) else {}
        for pattern, text in texts.items():
            if not isinstance(text, str):
                yield f'schedule: {pattern!r}: {str(text)[:60]!r} must be text, e.g. "fused"'
        if all(isinstance(text, str) for text in texts.values()):
            yield from schedules.problems(texts)

    @classmethod
    def of(cls, graph: Graph | str | Path, machine: Any, requested: Mapping[str, Any]) -> Request:
        """Return the request of keyword arguments: fields by name, all others are sizes of the workload."""
        names = {field.name for field in fields(cls)} - {"graph", "machine", "sizes"}
        options = {name: value for name, value in requested.items() if name in names}
        sizes = {name: value for name, value in requested.items() if name not in names}
        close = {name: get_close_matches(name, names, n=1, cutoff=0.8) for name in sizes}
        if problems := [f"no argument {name!r} (did you mean {near[0]!r}?)" for name, near in close.items() if near]:
            raise InputError(problems)
        return cls(graph, machine, sizes=sizes, **options)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """One line for progress and messages."""
        graph = self.graph.name if isinstance(self.graph, Graph) else self.graph
        machine = self.machine.name if isinstance(self.machine, Hardware) else str(self.machine)
        changed = [f"{key}={value}" for key, value in self.overrides]
        return " ".join([graph, machine, *changed, *(str(part) for part in (self.sparsity, self.prune) if part)])


@dataclass(frozen=True)
class Case:
    """A resolved request: everything that determines its result, with all files read.

    ``given``: the graph, pruned, before ``rules`` edit it. ``kept``: indices that pruning by saliency kept, by name.
    """

    request: Request
    hw: Hardware
    given: Graph
    rules: Rules | None = None
    kept: Selection = field(default_factory=dict)

    @cached_property
    def graph(self) -> Graph:
        """The graph that is run: ``given`` after the edits of the sparsity rules. Raises InputError."""
        return self.rules.edit(self.given) if self.rules is not None else self.given

    def steps(self) -> tuple[Step, ...]:
        """Return the plan. Raises InputError listing the operators that no engine of the machine can run."""
        requested = self.request
        return plan(
            self.graph, self.hw, dataflow=requested.dataflow, sparsity=self.rules, mapping=requested.mapping,
            schedule=self.schedule,
        )  # fmt: skip

    @property
    def schedule(self) -> dict[str, str]:
        """Operator pattern -> schedules."""
        return schedules.read(self.request.schedule)

    def on(self, overrides: Mapping[str, Any]) -> Case:
        """Return the case on its machine with ``overrides``. Raises InputError for an illegal machine."""
        changed = replace(self, hw=self.hw.with_(overrides))
        changed.__dict__["graph"] = self.graph  # a graph does not depend on the machine: no new edit is needed
        return changed

    def mapped(self, mapping: Mapping[str, Mapping[str, Any]]) -> Case:
        """Return the case with another mapping of its matmuls."""
        changed = replace(self, request=replace(self.request, mapping=mapping or None))
        changed.__dict__["graph"] = self.graph
        return changed

    def scheduled(self, schedule: str | Mapping[str, str] | None) -> Case:
        """Return the case under another schedule."""
        changed = replace(self, request=replace(self.request, schedule=schedule or None))
        changed.__dict__["graph"] = self.graph
        return changed

    def __getstate__(self) -> dict[str, Any]:
        """Return the content sent to a worker: the graph as bytes, pickled once and unpickled once."""
        names = [field.name for field in fields(self)]
        return {name: _packed(self.given) if name == "given" else getattr(self, name) for name in names}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, given=_unpacked(state["given"]))


@lru_cache(maxsize=8)  # few workloads
def _packed(graph: Graph) -> bytes:
    return pickle.dumps(graph)


@lru_cache(maxsize=8)
def _unpacked(graph: bytes) -> Graph:
    unpacked: Graph = pickle.loads(graph)
    return unpacked


class Resolver:
    """Resolves requests; machines, graphs and rules that several of them name are made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Any] = {}

    def case(self, request: Request) -> Case:
        """Return the request with its machine and graph. Raises InputError for illegal requests."""
        hw, rules = self.machine(request), self._rules(request)
        graph = self.graph(request)
        if request.prune is None and not (rules is not None and rules.prunings):
            return Case(request, hw, graph, rules)
        key = (request.graph, request.sizes, request.prune, request.sparsity, request.seed)
        given, kept = self._once(("pruned", key), lambda: _pruned(graph, request.prune, rules))
        return Case(request, hw, given, rules, kept)

    def machine(self, request: Request) -> Hardware:
        """Return the machine with its overrides. Raises InputError listing every broken rule."""
        base = self._once(("machine", request.machine), lambda: hardware.load(request.machine))
        return base.with_(dict(request.overrides)) if request.overrides else base

    def graph(self, request: Request) -> Graph:
        """Return the graph with its sizes, whole. Raises InputError, whose legal sizes all rules accept."""
        try:
            return self._checked(request)
        except InputError as refused:
            if not isinstance(request.graph, str) or request.graph.endswith((".onnx", ".pt2")):
                raise

            def accept(sizes: dict[str, Any], counted: bool) -> Graph:
                small, times = few_repeats(sizes) if counted else (sizes, 1.0)
                return self._checked(replace(request, sizes=tuple(small.items())), times)

            raise legal_at_once(refused, dict(request.sizes), accept) from None

    def _checked(self, request: Request, times: float = 1.0) -> Graph:
        """Return the graph, whose tensors may be ``times`` as large."""
        with unlimited() if request.allow_large else nullcontext():
            graph = self._graph(request)
        check_sizes(graph, request.graph, dict(request.sizes), request.allow_large, times)
        return graph

    def _graph(self, request: Request) -> Graph:
        if isinstance(request.graph, Graph):
            if request.sizes:
                names = ", ".join(name for name, _ in request.sizes)
                raise InputError(f"sizes {names} need a workload name; graph {request.graph.name} has fixed sizes")
            return request.graph
        name, sizes = request.graph, dict(request.sizes)
        return self._once(("graph", name, request.sizes), lambda: workloads.build(name, **sizes))

    def _rules(self, request: Request) -> Rules | None:
        given = request.sparsity
        if isinstance(given, ZeroRule):
            return Rules(zeros=(given,))
        if not isinstance(given, str):
            return given
        return self._once(("rules", given, request.seed), lambda: parse_sparsity(given, seed=request.seed))

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return the result of ``make``, made once where the key is plain data."""
        try:
            known = key in self._made
        except TypeError:  # tables, objects
            return make()
        made: T = self._made[key] if known else make()
        self._made[key] = made
        return made


def resolve(request: Request) -> Case:
    """Return one request resolved. Raises InputError."""
    return Resolver().case(request)


def _pruned(graph: Graph, requested: Pruning | str | None, rules: Rules | None) -> tuple[Graph, Selection]:
    """Return the graph pruned by ``requested`` and the [[prune]] tables of ``rules``, and the indices kept."""
    cuts = list(rules.prunings) if rules is not None else []
    if requested is not None:
        cuts.insert(0, parse_pruning(requested) if isinstance(requested, str) else requested)
    small = prune.prune(graph, together(cuts))
    return small, {name: kept for cut in cuts for name, kept in choose(graph, cut).items()}
