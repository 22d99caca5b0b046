"""Schedules: order and fusion of operators in programs.

"library" is Gemmini's C library: operators in order, a fence behind each program, softmax and GELU applied on move-out.
The others change that, for the whole network or for operators by name; each uses commands of the machine only, and
gives the values of the library's order. An operator that cannot use its schedule keeps the library's program, and the
reason is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.base.errors import InputError, did_you_mean
from sim.plan.by_hand import names

if TYPE_CHECKING:
    from sim.graph import Graph
    from sim.hardware import Hardware

SCHEDULES = {
    "library": "operators in order, a fence behind each program; softmax and GELU on move-out",
    "unfused": "softmax as a pass of its own over sums in memory, not on its product's move-out",
    "fused": "LayerNorm, too, on its product's move-out, and softmax of rows up to the whole accumulator",
    "streaming": "scores, softmax and the product with the values in blocks of queries, scores never in memory",
    "overlap": "no fence between the programs of independent operators, heads among them",
    "resident": "rows that several operators read stay in the scratchpad from one to the next",
}
"""Names of schedules and their effects; joined by + they apply together."""

BEST = "best"
"""The schedule that a run searches for (`sim.run.scheduling`)."""

WHAT = {**SCHEDULES, BEST: "for each group of operators the fastest of these, found by running them"}
"""Schedules as `carat list` prints them."""

EXCLUSIVE = (("fused", "unfused"), ("unfused", "streaming"))
"""Schedules that contradict each other."""

NEEDS_NORMALISER = ("fused", "unfused", "streaming")
"""Schedules about normalised rows."""

Choices = Mapping[str, str]
"""Operator name or pattern -> schedules joined by +.

An operator's exact name has precedence, else the last matching pattern.
"""


@dataclass(frozen=True)
class Declined:
    """Why an operator keeps the library's program: the requested ``schedule``, and the ``reason``."""

    schedule: str
    reason: str

    def __str__(self) -> str:
        return f"not {self.schedule}: {self.reason}"


def read(given: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return operator pattern -> schedules of a request's field: one text for all operators, or a mapping."""
    if given is None:
        return {}
    return {"*": given} if isinstance(given, str) else dict(given)


def text(given: str | Mapping[str, str] | None) -> str | None:
    """Return a request's field as one text, for the column of a sweep; None for the library's order."""
    found = ",".join(requested if of == "*" else f"{of}={requested}" for of, requested in read(given).items())
    return found or None


def parts(text: str) -> tuple[str, ...]:
    """Return the schedules of a text like "fused+unfused"."""
    return tuple(part.strip() for part in text.split("+"))


def requested(choices: Choices) -> bool:
    """Return whether another schedule than the library's is requested for any operator."""
    return any(set(parts(text)) - {"library"} for text in choices.values())


def chosen(choices: Choices, name: str) -> frozenset[str]:
    """Return the schedules of the operator called ``name``, none for the library's."""
    if name in choices:
        return frozenset(parts(choices[name])) - {"library"}
    for pattern, text in reversed(list(choices.items())):
        if names(pattern, name):
            return frozenset(parts(text)) - {"library"}
    return frozenset()


def problems(choices: Choices) -> list[str]:
    """Return the problems of the names of schedules."""
    found = []
    for text in choices.values():
        requested = parts(text)
        known = list(WHAT)
        found += [
            f"schedule {part!r} is unknown; there are {', '.join(known)}{did_you_mean(part, known)}"
            for part in requested
            if part not in known
        ]
        if len(requested) > 1 and (alone := [part for part in requested if part in ("library", BEST)]):
            found.append(f"schedule {text!r}: {alone[0]} cannot be joined with others; nearest: {alone[0]}")
        found += [
            f"schedule {text!r}: {one} and {other} contradict each other; nearest: {one}"
            for one, other in EXCLUSIVE
            if one in requested and other in requested
        ]
    return list(dict.fromkeys(found))


def refuse(choices: Choices, graph: Graph, hw: Hardware) -> None:
    """Raise InputError for schedules of unknown operators, and for schedules that the machine does not support."""
    found = problems(choices)
    operators = [op.name for op in graph.ops]
    known = set(operators)
    for pattern in choices:
        if pattern not in known and not any(names(pattern, name) for name in operators):
            hint = did_you_mean(pattern, operators)
            found.append(f"schedule: no operator of {graph.name} is named {pattern!r}{hint}")
    if BEST in choices.values():
        found.append("schedule best: only a run finds it, a plan cannot (nearest: carat run, or library)")
    wanted = {part for text in choices.values() for part in parts(text)}
    if not hw.features.normalizations:
        found += [
            f"schedule {name}: {hw.name} has no normalisation units, and softmax and LayerNorm run on its host "
            "(nearest: --set features.normalizations=true --set features.nonlinear_activations=true, or library)"
            for name in NEEDS_NORMALISER
            if name in wanted
        ]
    if found:
        raise InputError(found)
