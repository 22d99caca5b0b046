"""Maps of a whole workload: one mapping per operator of a graph on one machine, found or given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph
from sim.hardware import Hardware
from sim.mapping.journal import Journal
from sim.mapping.kinds import kind_of, library
from sim.mapping.kinds.kind import Reach
from sim.mapping.opmapping import OpMapping, Tiled
from sim.mapping.searching import EFFORT_CYCLES, Found, Objective, search
from sim.mapping.workers import Workers
from sim.plan.planner import Step, plan
from sim.plan.schedules import Choices
from sim.run.columns import CAUSES
from sim.run.pipeline import simulate
from sim.run.result import Result
from sim.timing.memo import Memo

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class MapEntry:
    """One mapping and the operators that share it (equal in shape, operand layout and flags).

    ``cycles``, ``library_cycles``: one invocation from loop slot 0, simulated; 0 = not known (maps by hand).
    ``exhaustive``: nothing legal within reach is better; ``gap``: upper bound of the share by which the best possible
    mapping is better (-1: not known).
    """

    operators: tuple[str, ...]
    shape: str
    mapping: OpMapping
    cycles: int = 0
    library_cycles: int = 0
    exhaustive: bool = False
    gap: float = -1.0


@dataclass(frozen=True)
class Maps:
    """All mappings of a workload on the machine with ``hardware_key``."""

    workload: str
    hardware: str
    hardware_key: str
    dim: int
    objective: str
    entries: tuple[MapEntry, ...]

    def by_operator(self) -> dict[str, OpMapping]:
        """Return operator name -> mapping."""
        return {name: entry.mapping for entry in self.entries for name in entry.operators}

    def fields(self) -> dict[str, dict[str, Any]]:
        """Return operator name -> fields of its work items, for `sim.simulate(mapping=...)`."""
        return {name: mapping.fields() for name, mapping in self.by_operator().items()}


def operators(
    graph: Graph, hw: Hardware, dataflow: str | None = None, schedule: Choices | None = None
) -> dict[str, tuple[Step, Tiled]]:
    """Return the operators of ``graph`` with tiles to choose, each with the work item that is simulated.

    ``schedule``: as of `sim.plan.planner.plan`.
    """
    steps = plan(graph, hw, dataflow=dataflow, schedule=schedule)
    firsts = [(step, step.equivalent[0]) for step in steps if step.equivalent]
    return {
        step.name: (step, item)
        for step, item in firsts
        if isinstance(item, Tiled)
        and step.kind.split("+")[0] in item.OPERATORS  # other operators cannot be named in a mapping
    }


class Searched(NamedTuple):
    """Subject of a search for mappings: a graph on a machine, its operators under a schedule (None: the library's)."""

    graph: Graph
    hw: Hardware
    schedule: Choices | None = None


def find(
    searched: Searched,
    *,
    objective: Objective = "cycles",
    reach: Reach = "call",
    effort_cycles: int = EFFORT_CYCLES,
    jobs: int = 1,
    journal: Journal | None = None,
    progress: Progress = lambda done, total, label: None,
) -> Maps:
    """Search a mapping for each distinct operator of a graph and return the maps.

    An operator starts with the loop slot that the operator before it leaves; if that makes a found mapping slower than
    the library's in the run of the whole workload, the library's is kept. Raises InputError as `search` does, and when
    the graph has no operator with tiles.
    """
    graph, hw, schedule = searched
    groups: dict[Tiled, list[str]] = {}
    for name, (_, item) in operators(graph, hw, schedule=schedule).items():
        groups.setdefault(item, []).append(name)
    if not groups:
        raise InputError(f"{graph.name} on {hw.name}: no operator has tiles to choose")
    found: list[tuple[list[str], Found]] = []
    with Workers(jobs) as workers:
        for number, (item, names) in enumerate(groups.items()):
            progress(number, len(groups) + 1, f"mapping {names[0]}")
            one = search(
                item,
                hw,
                objective=objective,
                reach=reach,
                effort_cycles=effort_cycles,
                workers=workers,
                journal=journal,
            )
            found.append((names, one))
    progress(len(groups), len(groups) + 1, "whole workload")
    entries = tuple(
        MapEntry(
            tuple(names),
            kind_of(one.work).shape(one.work),
            one.mapping,
            one.best.cycles,
            one.library.cycles,
            one.exhaustive,
            -1.0 if one.gap is None else round(one.gap, 6),
        )
        for names, one in found
    )
    maps = Maps(graph.name, hw.name, hw.key, hw.dim, objective, entries)
    settled = settle(maps, graph, hw, Memo(), schedule)
    progress(len(groups) + 1, len(groups) + 1, "")
    return settled


def settle(maps: Maps, graph: Graph, hw: Hardware, memo: Memo, schedule: Choices | None = None) -> Maps:
    """Return ``maps`` with the library's mapping wherever it is better in the whole run."""
    before = {row["op"]: row for row in simulate(graph, hw, memo=memo, schedule=schedule).rows}
    items = {name: item for name, (_, item) in operators(graph, hw, schedule=schedule).items()}
    while True:
        after = simulate(graph, hw, mapping=maps.fields(), memo=memo, schedule=schedule).rows
        worse = {row["op"] for row in after if _score(row, maps) > _score(before[row["op"]], maps)}
        entries = []
        for entry in maps.entries:
            first = library(items[entry.operators[0]], hw)
            if worse & set(entry.operators) and entry.mapping != first:
                entry = replace(entry, mapping=first, cycles=entry.library_cycles, exhaustive=False, gap=-1.0)
            entries.append(entry)
        if tuple(entries) == maps.entries:
            return maps
        maps = replace(maps, entries=tuple(entries))


def _score(row: Mapping[str, Any], maps: Maps) -> float:
    cycles, energy_pj = row["cycles"], row["energy_pj"]
    return float({"cycles": cycles, "energy": energy_pj, "edp": cycles * energy_pj}[maps.objective])


def check(maps: Maps, graph: Graph, hw: Hardware, where: str, schedule: Choices | None = None) -> None:
    """Raise InputError if ``maps`` belong to another machine or do not cover the graph with legal mappings.

    ``where``: name of the maps in the messages. Reports all problems in one error.
    """
    found: list[str] = []
    if maps.hardware_key != hw.key:
        other = (
            "whose parameters differ from those of the machine of that name"
            if maps.hardware == hw.name
            else f"not for {hw.name}"
        )
        found.append(
            f"{where}: found for the machine {maps.hardware} (key {maps.hardware_key[:12]}), {other} (key "
            f"{hw.key[:12]}): cycles and fit differ; run `carat map {graph.name} --hw ...` for this machine"
        )
    items = {name: item for name, (_, item) in operators(graph, hw, schedule=schedule).items()}
    given = maps.by_operator()
    found += [
        f"{where}: no operator {name!r} with tiles in {graph.name} on {hw.name}{did_you_mean(name, items)}"
        for name in given
        if name not in items
    ]
    missing = [name for name in items if name not in given]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        found.append(
            f"{where}: no mapping for {', '.join(missing[:3])}{more} of {graph.name}: every operator with "
            "tiles needs one"
        )
    for entry in maps.entries:
        present = [name for name in entry.operators if name in items]
        shapes = {kind_of(items[name]).shape(items[name]): name for name in present}
        wrong = {shape: name for shape, name in shapes.items() if entry.shape and shape != entry.shape}
        found += [
            f"{where}: mapping of {name!r} is for {entry.shape}, but the operator is {shape}"
            for shape, name in wrong.items()
        ]
        for shape, name in shapes.items():
            if shape not in wrong:
                broken = kind_of(items[name]).problems(items[name], entry.mapping, hw)
                found += [f"{where}: mapping of {name!r}: {problem}" for problem in broken]
    if found:
        raise InputError(found)


@dataclass(frozen=True)
class Change:
    """Operators with equal cycles before and after mapping: cycles of one, and the change by cause."""

    operators: tuple[str, ...]
    before_cycles: int
    after_cycles: int
    saved: tuple[tuple[str, int], ...]


def compare(before: Result, after: Result) -> list[Change]:
    """Return the changes by a mapping, operators in order of execution, equal ones together.

    ``saved``: (cause, cycles saved), the largest first; a cause that grew is negative.
    """
    groups: dict[tuple[int, int, tuple[tuple[str, int], ...], str, str], list[str]] = {}
    for old, new in zip(before.rows, after.rows, strict=True):
        saved = {cause: old[f"{cause}_cycles"] - new[f"{cause}_cycles"] for cause in CAUSES}
        order = sorted(((c, n) for c, n in saved.items() if n), key=lambda item: (-item[1], item[0]))
        shape = f"{old['m']}x{old['n']}x{old['k']}"
        key = (old["cycles"], new["cycles"], tuple(order), old["op_kind"], shape)
        groups.setdefault(key, []).append(old["op"])
    return [Change(tuple(names), key[0], key[1], key[2]) for key, names in groups.items()]
