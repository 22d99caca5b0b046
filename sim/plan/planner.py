"""Graph x machine -> steps: fusion, the engine of each operator, and the work items of the array.

Operators that the array cannot run go to the host CPU, with the reason. An operator without an engine or a price is an
InputError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from sim.base.errors import InputError, by_reason
from sim.graph import Graph, Op
from sim.plan import array, by_hand, schedules, units, vector
from sim.plan.apart import softmax as softmax_apart
from sim.plan.checks import misfits, refuse_request, refuse_size, unlowerable, unpriced
from sim.plan.context import Planning
from sim.plan.host import host
from sim.plan.placement import BASE_ADDRESS, place
from sim.plan.schedules import fusion, streaming
from sim.plan.schedules.overlap import overlapped
from sim.plan.step import ArrayStep, Fallback
from sim.plan.step import Step as Step
from sim.plan.word_sizes import WordSizes
from sim.timing.items import Equivalents

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.sparsity.rules import Rules


def steps_of(at: Planning) -> list[Step]:
    """Return the steps of the graph in order; operators that cannot run are noted in ``at.refused``."""
    steps: list[Step] = []
    done: set[str] = set()
    for op in at.graph.ops:
        if op.name not in done and not vector.handed_on(op, at):
            attention = None if _taken(op, at) else streaming.planned(op, at)
            if attention is not None:
                done |= set(attention[0])
                steps += attention[1]
                continue
            fused = _fused(op, at)
            apart = None if fused or _taken(op, at) else fusion.apart(op, at)
            fusion.note_apart(op, at)
            done |= {other.name for other in (fused, apart) if other}
            steps += softmax_apart(op, apart, at) if apart else _steps(op, at, fused)
    return steps


ON_ARRAY: dict[str, Callable[[Op, Planning, Op | None], list[Step]]] = {
    "matmul": array.matmul,
    "conv": array.conv,
    "depthwise_conv": array.conv,
    **units.PLANNED,
}
"""Planners of operators that run on the array or a side unit, or are refused, but never run on the host."""


def _taken(op: Op, at: Planning) -> bool:
    """Return whether the machine's host runs the operator although the array could.

    A host that runs products also runs convolutions.
    """
    takes = at.hw.host.takes if at.hw.host != "none" else ()
    return bool(takes) and (op.kind in takes or (op.is_convolution and "matmul" in takes))


def _fused(op: Op, at: Planning) -> Op | None:
    if _taken(op, at):
        return None
    return fusion.pooling(op, at) if op.is_convolution else fusion.fused(op, at)


def _steps(op: Op, at: Planning, fused: Op | None) -> list[Step]:
    if _taken(op, at) and (op.is_matmul or op.is_convolution):
        return host(op, at, Fallback("host.takes names matmul", "host.takes without 'matmul'"))
    if op.kind in ON_ARRAY:
        return ON_ARRAY[op.kind](op, at, fused)
    planned = array.PASSES[op.kind](op, at) if op.kind in array.PASSES else None
    if planned is None:
        planned = Fallback(f"no unit but the host CPU runs {op.kind}")
    if not isinstance(planned, Fallback):
        return planned
    if vector.takes(op, at):
        return vector.step(op, at, vector.producer(op, at))
    return host(op, at, vector.way_out(op, at, planned))


def plan(
    graph: Graph,
    hw: Hardware,
    *,
    dataflow: str | None = None,
    sparsity: Rules | None = None,
    mapping: by_hand.Choices | None = None,
    schedule: schedules.Choices | None = None,
) -> tuple[Step, ...]:
    """Return the steps of ``graph`` on ``hw`` in order.

    ``dataflow``: "WS" or "OS" for the matmuls that can choose; None = what the array is built for (WS when both).
    ``mapping``: operator name or pattern -> fields of `sim.lower.work.Matmul` by hand ({"tile": (5, 5, 48)}).
    ``schedule``: operator name or pattern -> schedules (`sim.plan.schedules`), None = the library's order. Raises
    InputError naming each operator that the machine (array and host) cannot run or has no price for.
    """
    order = tuple((schedule or {}).items())
    if sparsity is None and not mapping and hw.words is None:
        steps = _dense(graph, hw.unpaced, dataflow, order)
        if not any(step.engine in ("unit", "vector") for step in steps):  # side units depend on the speed of the memory
            return steps
    return _planned(graph, hw, dataflow, sparsity, mapping, order)


@lru_cache(maxsize=8)  # a sweep over memory speeds plans each array once
def _dense(graph: Graph, hw: Hardware, dataflow: str | None, order: tuple[tuple[str, str], ...]) -> tuple[Step, ...]:
    return _planned(graph, hw, dataflow, None, None, order)


def _planned(
    graph: Graph,
    hw: Hardware,
    dataflow: str | None,
    sparsity: Rules | None,
    mapping: by_hand.Choices | None,
    order: tuple[tuple[str, str], ...] = (),
) -> tuple[Step, ...]:
    schedules.refuse(dict(order), graph, hw)
    chosen = dataflow or ("OS" if hw.array.dataflow == "OS" else "WS")
    refuse_request(graph, chosen, mapping or {})
    if sparsity is not None:
        sparsity.check(graph, hw.dim)
    words = WordSizes(graph, hw, sparsity)
    addresses, free = place(graph, hw, words.bits)
    refuse_size(free - BASE_ADDRESS, hw)
    at = Planning(graph, hw, chosen, sparsity, mapping or {}, addresses, free, words, dict(order))
    steps = [step.with_(declined=at.declined.get(step.name)) for step in steps_of(at)]
    steps = overlapped(steps, at)
    refused = [*at.refused, *unpriced(steps, hw), *misfits(steps, hw, mapping or {})]
    same = Equivalents(sorted((*addresses.values(), *at.index_addresses)))

    def compared(step: ArrayStep) -> ArrayStep:
        equivalent = tuple(same(work, step.machine or hw) for work in step.works)
        return step.with_(equivalent=equivalent, others=tuple(map(compared, step.others)))

    steps = [compared(step) if isinstance(step, ArrayStep) else step for step in steps]
    refused += unlowerable(steps, hw) if not refused else []
    if refused:
        cannot = f"cannot run on {hw.name}"
        raise InputError([f"operator{'s' * (',' in n)} {n} {cannot}: {reason}" for n, reason in by_reason(refused)])
    return tuple(steps)
