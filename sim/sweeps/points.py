"""The points of a sweep: from lists of values to one configuration each, in a fixed order."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, demand
from sim.base.reading import read_bytes
from sim.base.store import point_key
from sim.base.version import code_version
from sim.graph import Graph
from sim.hardware import Hardware
from sim.plan.schedules import text
from sim.run.request import Case, Request, Size

Workloads = Graph | str | Path | Sequence[Graph | str | Path]
"""Types of workloads of a sweep."""

MAX_POINTS = 1_000_000
"""Largest number of combinations of a grid: each is a row in memory, and takes at least a tenth of a second."""


def named(graph: Graph | str) -> str:
    """Return the name of a workload that is given by name, as a file or as a Graph."""
    return graph.name if isinstance(graph, Graph) else graph


def _contents(graph: Graph | str) -> str:
    """Return a key of a workload's contents if they are given: a Graph, or a file."""
    if isinstance(graph, Graph):
        return graph.key
    path = Path(graph)
    return hashlib.sha256(read_bytes(path)).hexdigest() if path.is_file() else ""


def knobs(point: Request) -> dict[str, Any]:
    """Return the leading columns of a point's row."""
    fixed = {"hardware": point.machine, "workload": named(point.graph)}
    chosen = {"sparsity": point.sparsity, "prune": point.prune, "schedule": text(point.schedule), "seed": point.seed}
    return {**fixed, **dict(point.sizes), **dict(point.overrides), **chosen}


@dataclass(frozen=True)
class PointTask:
    """A resolved point, with everything that a worker needs, and the version of the code that sent it."""

    case: Case
    version: str

    def config(self) -> dict[str, Any]:
        """Return everything that determines the point's row: code, full machine, options, and the graph by its key."""
        return {
            **_plain(self.case.request),
            "version": self.version,
            "machine": self.case.hw.model_dump(mode="json"),
            "graph": self.case.given.key,
            "rules": None if self.case.rules is None else str(self.case.rules),
        }


def _plain(point: Request) -> dict[str, Any]:
    """Return the request as plain data for JSON, without the overrides."""
    requested = {field.name: getattr(point, field.name) for field in fields(point) if field.name != "overrides"}
    words = {"hardware": requested.pop("machine"), "workload": named(requested.pop("graph"))}
    return {**requested, **words, "sizes": dict(point.sizes)}


def refused_config(point: Request) -> dict[str, Any]:
    """Return the configuration of a point that has no machine or graph: the request as given."""
    return {**_plain(point), "overrides": point.overrides, "version": code_version(), "refused": True}


def sweep_key(points: Sequence[Request]) -> str:
    """Return a key of the whole sweep: its points, their order and the code.

    A graph given as an object or a file is identified by its contents: a changed one is another sweep.
    """
    contents = {graph: _contents(graph) for graph in {point.graph for point in points}}
    listed = [
        {**_plain(point), "overrides": point.overrides, **({"contents": key} if (key := contents[point.graph]) else {})}
        for point in points
    ]
    return point_key({"version": code_version(), "points": listed})[:16]


def points(
    hardware: str | Sequence[str],
    grid: Mapping[str, Sequence[Any]],
    workloads: Workloads,
    requested: Mapping[str, Any],
) -> list[Request]:
    """Return every combination (arguments: `sim.sweeps.sweep`; ``requested``: fields of a request).

    Raises InputError for an empty or ill-formed one.
    """
    choices = axes(grid)
    if (count := prod(map(len, choices))) > MAX_POINTS:
        raise InputError(f"grid: {count:,} combinations; the limit is {MAX_POINTS:,}: give fewer values")
    settings = [tuple(itertools.chain(*choice)) for choice in itertools.product(*choices)]
    lists = (
        _names("hardware", hardware, Hardware, "write machine.model_dump_json() to NAME.json and give that path"),
        settings,
        _workloads(workloads),
        _many(requested.get("sparsity")),
        _many(requested.get("prune")),
        _schedules(requested.get("schedule")),
        _sizes(requested.get("sizes") or {}),
    )
    rest = {name: value for name, value in requested.items() if name not in ("sparsity", "prune", "schedule", "sizes")}
    combined = [
        Request(workload, machine, overrides, sizes, sparsity=pattern, prune=cut, schedule=order, **rest)
        for machine, overrides, workload, pattern, cut, order, sizes in itertools.product(*lists)
    ]
    if not combined:
        raise InputError("sweep: no points; hardware, workloads and every list of the grid need at least one value")
    return combined


def _workloads(given: Any) -> list[Graph | str]:
    """Return names, files and graphs. Raises InputError for anything else, and for unlike graphs of one name."""
    one = isinstance(given, str | Path | Graph) or not isinstance(given, Iterable)
    listed = [given] if one else list(given)
    problems = [
        f"workloads: {str(item)[:60]!r} must be a workload name, a graph file or a Graph, e.g. 'bert-base'"
        for item in listed
        if not isinstance(item, str | Path | Graph)
    ]
    found = [item if isinstance(item, Graph) else str(item) for item in listed if isinstance(item, str | Path | Graph)]
    keys: dict[str, set[str]] = {}
    for item in found:
        keys.setdefault(named(item), set()).add(item.key if isinstance(item, Graph) else "")
    problems += [
        f"workloads: {len(unlike)} different workloads are called {name!r}, and a row names only that; "
        f"give each Graph a name of its own: dataclasses.replace(graph, name={name + '-2'!r})"
        for name, unlike in keys.items()
        if len(unlike) > 1
    ]
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return found


def _names(what: str, given: Any, kind: type, instead: str) -> list[str]:
    """Return names of machines. Raises InputError for objects: rows and stores need names."""
    one = isinstance(given, str | Path | kind) or not isinstance(given, Iterable)
    names = [given] if one else list(given)
    problems = [
        f"{what}: a sweep takes names and paths, not a {type(name).__name__}; {instead}"
        for name in names
        if not isinstance(name, str | Path)
    ]
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return [str(name) for name in names]


def _sizes(given: Mapping[str, Any]) -> list[tuple[tuple[str, Size], ...]]:
    """Return every combination of sizes; one that is a list is an axis. Raises InputError."""
    if not isinstance(given, Mapping):
        raise InputError(f"sizes: {str(given)[:60]!r} must be a mapping, e.g. {{'seq': 128}}")
    values = {name: list(value) if isinstance(value, list | tuple) else [value] for name, value in given.items()}
    problems = [
        f"sizes: {name} = {given[name]!r} must be whole numbers or words, one or a list of them"
        for name, each in values.items()
        if not each or not all(isinstance(value, int | str) for value in each)
    ]
    if problems:
        raise InputError(problems)
    return [tuple(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def shard_positions(shard: str | None, total: int) -> range:
    """Return the positions of shard "i/n" (1 <= i <= n) among ``total`` points: every n-th; None = all of them.

    Raises InputError for anything else.
    """
    if shard is None:
        return range(total)
    demand("shard", shard, str, 'a text i/n, e.g. "1/4"')
    parts = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = (int(part) for part in parts.groups()) if parts else (0, 0)
    if not 1 <= index <= count:
        nearest = f"{min(max(index, 1), count)}/{count}" if count else "1/1"
        raise InputError(f"shard {shard}: must be i/n with 1 <= i <= n, e.g. 1/4; nearest legal: {nearest}")
    return range(index - 1, total, count)


def _schedules(value: Any) -> list[Any]:
    """Return the schedules of a sweep: one, for the network or by operators, or a list of such."""
    return [value] if isinstance(value, Mapping) else _many(value)


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def axes(grid: Mapping[str, Sequence[Any]]) -> list[list[tuple[tuple[str, Any], ...]]]:
    """Return one list of settings per key of the grid, each setting a tuple of (dotted key, value).

    Raises InputError listing every key whose values are no list or do not fit it.
    """
    if not isinstance(grid, Mapping):
        raise InputError(f"grid: {str(grid)[:60]!r} must be a mapping, e.g. {{'memory.latency_cycles': [20, 40]}}")
    found, problems = [], []
    for joined, values in grid.items():
        demand("grid", joined, str, 'the text of a key, e.g. "memory.latency_cycles"')
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
