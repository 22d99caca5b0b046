"""The schedules "overlap" and "resident": programs of independent operators in one (`sim.lower.chain`).

Repetitions of an operator (heads) never read what another writes, and neither do operators that only share inputs, such
as the products of queries, keys and values. Without a fence between, what they have in flight together is drained once;
and an input that they share can stay in the scratchpad (`sim.plan.schedules.resident`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sim.graph import Op
from sim.lower.work import Chain
from sim.plan.context import Planning
from sim.plan.schedules import Declined, resident
from sim.plan.step import ArrayStep, Step

MAX_PARTS = 24
"""Largest number of parts of a chain: with 24 parts a twenty-fourth of the drains is left."""


def overlapped(steps: Iterable[Step], at: Planning) -> list[Step]:
    """Return the steps with each run of independent steps joined into one, named after the first."""
    if not at.schedules:
        return list(steps)
    ops = {op.name: op for op in at.graph.ops}
    groups: list[list[Step]] = []
    for step in steps:
        if groups and all(_independent(step, other, at, ops) for other in groups[-1]):
            groups[-1].append(step)
        else:
            groups.append([step])
    return [step for group in groups for step in (_together(group, at) if _able(group[0], at) else group)]


def _able(step: Step, at: Planning) -> bool:
    """Return whether a step's programs may be parts of a chain under its schedule."""
    chainable = bool(step.works) and all(work.is_chainable for work in step.works)
    return chainable and not (isinstance(step, ArrayStep) and step.others) and bool(_requested(step, at))


def _requested(step: Step, at: Planning) -> frozenset[str]:
    """Return which of the schedules of this module a step is to have."""
    return frozenset(name for name in ("overlap", "resident") if at.asks(step.name, name))


def _independent(step: Step, other: Step, at: Planning, ops: Mapping[str, Op]) -> bool:
    """Return whether two steps can run in any order, in one word mode: neither reads what the other writes."""
    if not (_able(step, at) and _able(other, at) and step.machine == other.machine):
        return False
    if _requested(step, at) != _requested(other, at):
        return False
    (reads, writes), (other_reads, other_writes) = _tensors(step, ops), _tensors(other, ops)
    return not (reads & other_writes or writes & other_reads)


def _tensors(step: Step, ops: Mapping[str, Op]) -> tuple[set[str], set[str]]:
    """Return the tensors that a step reads and writes."""
    own = [ops[name] for name in (step.name, *step.covers)]
    return {view.tensor for op in own for view in op.inputs}, {op.output.tensor for op in own}


def _together(group: list[Step], at: Planning) -> list[Step]:
    """Return a group as the schedules requested have it: as one step, or as it was with the reason."""
    requested = _requested(group[0], at)
    works = [work for step in group for work in step.works]
    if "resident" in requested and resident.shares(works):
        return [_resident(group, at, requested)]
    if "overlap" in requested and len(works) > 1:
        return [_joined(group)]
    if "overlap" in requested:
        reason = Declined("overlap", "a single program, and the operators before and after it depend on it")
    else:
        reason = Declined("resident", "no operator beside it that is independent of it reads the same rows")
    return [_declined(step, reason) for step in group]


def _declined(step: Any, reason: Declined) -> Step:
    found: Step = replace(step, declined=step.declined or reason)
    return found


def _resident(group: list[Step], at: Planning, requested: frozenset[str]) -> Step:
    """Return a group as one step whose shared inputs stay; its other programs are those of overlap, and its own."""
    whole: Any = _whole(group)
    joined: Any = _joined(group)
    rest = (replace(joined, others=()), whole) if "overlap" in requested else (whole,)
    found = [
        replace(whole, works=chains, schedule=_named(group, "resident"))
        for chains in resident.programs(whole.works, group[0].machine or at.hw, MAX_PARTS)
    ]
    if not found:
        reason = Declined("resident", "no strip of the rows that are shared fits the scratchpad beside weights")
        return _declined(replace(rest[0], others=rest[1:]), reason)
    step: Step = replace(found[0], others=(*found[1:], *rest))
    return step


def _named(group: list[Step], schedule: str) -> str:
    """Return the schedules of a group's steps, and the one that joins them."""
    return "; ".join([*filter(None, dict.fromkeys(step.schedule for step in group)), schedule])


def _whole(group: list[Step]) -> Step:
    """Return the steps of a group as one that runs their own programs."""
    first: Any = group[0]
    covers = tuple(name for step in group for name in (step.name, *step.covers))[1:]
    whole: Step = replace(
        first,
        kind=" & ".join(dict.fromkeys(step.kind for step in group)),
        batch=sum(step.batch for step in group),
        works=tuple(work for step in group for work in step.works),
        covers=covers,
        **{name: sum(getattr(step, name) for step in group) for name in ("macs", "macs_done", "macs_switched")},
    )
    return whole


def _joined(group: list[Step]) -> Step:
    """Return the steps of a group as one, its programs in chains; the separate programs stay as alternatives."""
    whole: Any = _whole(group)
    works = whole.works
    chains = tuple(Chain(tuple(works[n : n + MAX_PARTS])) for n in range(0, len(works), MAX_PARTS))
    joined: Step = replace(whole, works=chains, schedule=_named(group, "overlap"), others=(whole,))
    return joined
