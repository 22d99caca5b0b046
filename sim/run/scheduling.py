"""The schedule "best": the network under each schedule, and for each group of operators the fastest one.

Groups are the smallest sets of operators that no step of any run divides. All runs are simulated; the result is the
fastest of them, and the library's is one, so it is never slower than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.plan import schedules

if TYPE_CHECKING:
    from sim.run.request import Case
    from sim.run.result import Result

CANDIDATES = (
    "library", "fused", "unfused", "overlap", "streaming", "overlap+resident",
    "fused+overlap", "unfused+overlap", "fused+streaming+overlap", "fused+streaming+overlap+resident",
)  # fmt: skip
"""Schedules that are tried, if the machine supports them."""

Rows = list[dict[str, Any]]


def wanted(case: Case) -> bool:
    """Return whether the schedule of any operator is "best"."""
    return schedules.BEST in case.schedule.values()


def best(case: Case, run: Callable[[Case], Result]) -> Result:
    """Return the fastest run of a case whose schedule is "best"; ``run`` simulates a case. Raises as ``run`` does."""
    tried = {}
    for candidate in CANDIDATES:
        given = {of: candidate if text == schedules.BEST else text for of, text in case.schedule.items()}
        try:
            tried[candidate] = run(case.scheduled(given))
        except InputError:
            if candidate == CANDIDATES[0]:
                raise
    open_names = {op.name for op in case.graph.ops if schedules.BEST in schedules.chosen(case.schedule, op.name)}
    found = dict(case.schedule)
    found |= {name: text for name, text in _quickest(tried).items() if name in open_names}
    found = {of: "library" if text == schedules.BEST else text for of, text in found.items()}
    return min((*tried.values(), run(case.scheduled(found))), key=lambda result: result.cycles)


def _quickest(tried: Mapping[str, Result]) -> dict[str, str]:
    """Return, for each operator, the candidate under which its group is fastest; of equal ones the first."""
    return {
        name: min(zip(tried, sides, strict=True), key=lambda one: sum(row["cycles"] for row in one[1]))[0]
        for names, sides in groups(list(tried.values()))
        for name in names
    }


def groups(results: Sequence[Result]) -> Iterator[tuple[tuple[str, ...], list[Rows]]]:
    """Yield each smallest set of operators that no step of any run divides, and its rows in each run."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for result in results:
        for step in result.steps:
            for name in step.covers:
                first[root(name)] = root(step.name)
    found: dict[str, tuple[dict[str, None], list[Rows]]] = {}
    for side, result in enumerate(results):
        for step, row in zip(result.steps, result.rows, strict=True):
            names, sides = found.setdefault(root(step.name), ({}, [[] for _ in results]))
            names.update(dict.fromkeys((step.name, *step.covers)))
            sides[side].append(row)
    for names, sides in found.values():
        yield tuple(names), sides
