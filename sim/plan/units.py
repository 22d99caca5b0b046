"""Operators of side units: ranking, choice and prediction of scores, transforms of blocks."""

from __future__ import annotations

from dataclasses import replace

from sim.base.errors import InputError
from sim.graph import Op
from sim.plan import array
from sim.plan.context import Planning
from sim.plan.step import Step, UnitStep
from sim.side_units import ranking
from sim.side_units.transforms import inverse_transform, transform

UNITS = {
    "top_k": ranking.top_k,
    "mask": ranking.mask,
    "predict": ranking.predict,
    "fft": transform,
    "ifft": inverse_transform,
}
"""Function that computes the work of each operator kind that such a unit runs."""


def unit(op: Op, at: Planning, fused: Op | None = None) -> list[Step]:
    """Return an operator on a side unit; the host has no price for it."""
    kind = f"{op.kind}+{fused.kind}" if fused else op.kind
    try:
        work = UNITS[op.kind](op, at.hw, at.words.of)
    except InputError as error:
        at.refuse(op, error.problems[0])
        return []
    sizes = (op.output.rows, op.output.cols, 0, op.batch)
    return [UnitStep(op.name, kind, op.layer, *sizes, side_work=work, macs_switched=work.multiplications)]


def predict(op: Op, at: Planning, fused: Op | None = None) -> list[Step]:
    """Return scores at low precision: by the predictor, or without one by the array at its own width."""
    if at.hw.sparsity.predictor_macs_per_cycle:
        return unit(op, at)
    product = replace(op, kind="matmul", attrs={"transpose_b": True})
    return [replace(step, kind="predict") for step in array.matmul(product, at, None)]


PLANNED = {**dict.fromkeys(UNITS, unit), "predict": predict}
"""Planners of the operators of these units."""
