"""Operators on the machine's vector unit, which the array cannot run."""

from __future__ import annotations

from dataclasses import replace

from sim.graph import Op, View
from sim.plan.context import Planning
from sim.plan.step import Fallback, Step, VectorStep
from sim.side_units import vector

LANES = 16
"""Lanes of the unit that a fallback's message proposes: the columns of the published array."""


def takes(op: Op, at: Planning) -> bool:
    """Return whether the unit runs an operator that the array does not."""
    named = () if at.hw.host == "none" else at.hw.host.takes
    return at.hw.vector.lanes > 0 and op.kind in vector.COUNTS and op.kind not in named


def way_out(op: Op, at: Planning, fallback: Fallback) -> Fallback:
    """Return the fallback; the vector unit is the way out if nothing else is and the unit runs the operator."""
    if fallback.way_out or op.kind not in vector.COUNTS or at.hw.vector.lanes:
        return fallback
    return replace(fallback, way_out=f"vector.lanes = {LANES}")


def step(op: Op, at: Planning, before: Op | None) -> list[Step]:
    """Return an operator on the unit, with the operator before it whose result is passed on within the lanes."""

    def scaled(view: View) -> bool:
        return not at.floats and at.role(view) == "element"

    kind = op.kind if before is None else f"{before.kind}+{op.kind}"
    ops = (op.name,) if before is None else (before.name, op.name)
    sizes = (op.output.rows, op.output.cols, 0, op.output.batch)
    done = vector.work(op, at.hw, at.words.of, scaled, before)
    return [VectorStep(op.name, kind, op.layer, *sizes, vector_work=done, ops=ops)]


def reader(op: Op, at: Planning) -> Op | None:
    """Return the product or sum on the unit that receives the operator's result within the lanes, or None.

    It is the only reader of the result, reads it element by element, and no other operator writes it.
    """
    if op.kind not in vector.CHAINED or not takes(op, at) or op.kind in at.hw.array_operators:
        return None
    if at.graph.tensors[op.inputs[0].tensor].kind == "state":  # it may be written again before the reader runs
        return None
    readers = at.graph.consumers(op.output.tensor)
    if len(readers) != 1 or len(at.graph.producers(op.output.tensor)) != 1:
        return None
    (found,) = readers
    on_unit = found.kind in vector.HANDED_TO and takes(found, at)
    once = found.inputs.count(op.output) == 1 and op.inputs[0].shape == found.output.shape
    return found if on_unit and once else None


def producer(op: Op, at: Planning) -> Op | None:
    """Return the first operator whose result ``op`` receives within the lanes (see `reader`), or None."""
    for view in op.inputs:
        for made in at.graph.producers(view.tensor):
            if reader(made, at) is op:
                return made
    return None


def handed_on(op: Op, at: Planning) -> bool:
    """Return whether an operator has no step of its own because its reader's step computes it."""
    found = reader(op, at)
    return found is not None and producer(found, at) is op
