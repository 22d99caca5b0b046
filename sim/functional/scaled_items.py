"""Work items of an inference with the scales of its tensors: one function a kind of work item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.graph import Op
from sim.lower.polynomials import ERF_A
from sim.lower.work import BlockSparseMatmul, Matmul, Norm, ResidualAdd, Work

if TYPE_CHECKING:
    from sim.functional.running import Run
    from sim.plan.planner import Step


def with_scales(work: Work, op: Op, step: Step, run: Run) -> Work:
    """Return the work item with the scales of its tensors."""
    return SCALED[type(work)](work, op, step, run)


def _addition(work: ResidualAdd, op: Op, step: Step, run: Run) -> ResidualAdd:
    a, b = (run.numbers.scale[view.tensor] for view in op.inputs)
    out = run.numbers.scale[op.output.tensor]
    return replace(work, a_scale=single(a / out), b_scale=single(b / out))


def _normalisation(work: Norm, op: Op, step: Step, run: Run) -> Norm:
    if work.kind == "softmax":
        return replace(work, bert_scale=run.scale_of(op.inputs[0].tensor))
    return replace(work, scale=1 / run.step_of(op.output))


def _blocks(work: BlockSparseMatmul, op: Op, step: Step, run: Run) -> BlockSparseMatmul:
    return replace(work, matmul=_product(work.matmul, op, step, run))


def _product(work: Matmul, op: Op, step: Step, run: Run) -> Matmul:
    sums = run.product_scale(op)
    a_scale, b_scale = (0.5**cut for cut in run.cut(op))
    if min(a_scale, b_scale) < 1 and run.hw.dma.mvin_scale_units == "none":
        raise InputError(
            f"{op.name}: operands have more bits in memory than it multiplies, and loads of {run.hw.name} do not "
            "scale (nearest: dma.mvin_scale_units, or the same type for all that read them)"
        )
    work = replace(work, a_scale=a_scale, b_scale=b_scale)
    if work.activation == "softmax":
        return replace(work, bert_scale=sums)
    output = run.output_of(step)
    if work.activation == "igelu":
        # GELU's result is q * (erf + 1) with the scale of q times that of erf, a * scale**2 / 2, halved
        return replace(work, bert_scale=sums, scale=sums * ERF_A * sums**2 / 4 / run.step_of(output))
    scale = 1.0 if work.full_c else single(sums / run.numbers.scale[output.tensor])
    if run.hw.accumulator.scale_units == "none":  # the accumulator does not scale: the load of A does
        return replace(work, scale=1.0, a_scale=scale * a_scale)
    return replace(work, scale=scale)


SCALED: dict[type[Work], Callable[[Any, Op, Step, Run], Work]] = {
    Matmul: _product,
    BlockSparseMatmul: _blocks,
    ResidualAdd: _addition,
    Norm: _normalisation,
}


def single(scale: float) -> float:
    """Return a scale rounded to exactly 1 if it is close to 1: the mvin scaler passes such rows at full speed."""
    return 1.0 if abs(scale - 1.0) < 1e-6 else scale
