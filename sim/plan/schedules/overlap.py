"""The schedule "overlap": programs of independent operators in one, without a fence between (`sim.lower.chain`).

Repetitions of an operator (heads) never read what another writes, and neither do operators that only share inputs, such
as the products of queries, keys and values. What they have in flight together is drained once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sim.graph import Op
from sim.lower.work import Chain
from sim.plan.context import Planning
from sim.plan.schedules import Declined
from sim.plan.step import ArrayStep, Step

MOST_PARTS = 24
"""Parts of a chain: two dozen drains in one leave a twentieth of what fences cost."""


def overlapped(steps: Iterable[Step], at: Planning) -> list[Step]:
    """Return steps with independent ones in a row joined, each group one step, named after the first."""
    if not at.schedules:
        return list(steps)
    ops = {op.name: op for op in at.graph.ops}
    groups: list[list[Step]] = []
    for step in steps:
        if groups and all(_independent(step, other, at, ops) for other in groups[-1]):
            groups[-1].append(step)
        else:
            groups.append([step])
    return [_joined(group) if _able(group[0], at) else group[0] for group in groups]


def _able(step: Step, at: Planning) -> bool:
    """Return whether a step's programs may be parts of a chain under its schedule."""
    chainable = bool(step.works) and all(work.is_chainable for work in step.works)
    return chainable and not (isinstance(step, ArrayStep) and step.others) and at.asks(step.name, "overlap")


def _independent(step: Step, other: Step, at: Planning, ops: Mapping[str, Op]) -> bool:
    """Return whether two steps can run in any order, in one word mode: neither reads what the other writes."""
    if not (_able(step, at) and _able(other, at) and step.machine == other.machine):
        return False
    (reads, writes), (other_reads, other_writes) = _tensors(step, ops), _tensors(other, ops)
    return not (reads & other_writes or writes & other_reads)


def _tensors(step: Step, ops: Mapping[str, Op]) -> tuple[set[str], set[str]]:
    """Return the tensors that a step reads and writes."""
    own = [ops[name] for name in (step.name, *step.covers)]
    return {view.tensor for op in own for view in op.inputs}, {op.output.tensor for op in own}


def _joined(group: list[Step]) -> Step:
    """Return the steps of a group as one, its programs in chains; the steps' own programs stay to be compared."""
    first: Any = group[0]
    works = [work for step in group for work in step.works]
    if len(works) == 1:
        reason = "a single program, and what comes before or behind it is of its own results"
        alone: Step = replace(first, declined=Declined("overlap", reason))
        return alone
    covers = tuple(name for step in group for name in (step.name, *step.covers))[1:]
    kinds, schedules = (dict.fromkeys(getattr(step, name) for step in group) for name in ("kind", "schedule"))
    whole = replace(
        first,
        kind=" & ".join(kinds),
        batch=sum(step.batch for step in group),
        works=tuple(works),
        covers=covers,
        **{name: sum(getattr(step, name) for step in group) for name in ("macs", "macs_done", "macs_switched")},
    )
    chains = tuple(Chain(tuple(works[n : n + MOST_PARTS])) for n in range(0, len(works), MOST_PARTS))
    name = "; ".join([*filter(None, schedules), "overlap"])
    joined: Step = replace(whole, works=chains, schedule=name, others=(whole,))
    return joined
