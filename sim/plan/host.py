"""Operators of the host CPU: those that the array cannot run, and the conversions that an integer machine needs.

On an integer machine an operator's operands are dequantised before it and its result is quantised after it, as separate
steps (Kim et al. 2302.14017, 3.4.2).
"""

from __future__ import annotations

from sim.graph import Op, View
from sim.plan.context import Planning
from sim.plan.step import Fallback, HostStep, Step


def host(op: Op, at: Planning, fallback: Fallback) -> list[Step]:
    """Return the operator on the host, between its conversions. ``fallback``: why the array does not run it."""
    on_integers = at.hw.host != "none" and (not at.hw.host.converts or op.is_matmul)
    converts = not at.floats and op.record.converts and not on_integers
    steps: list[Step] = []
    for index, view in enumerate(op.inputs):
        if converts and at.graph.tensors[view.tensor].kind != "weight" and at.role(view) != "other":
            suffix = f".dequantize{index}" if index else ".dequantize"
            steps.append(_step(op, op.name + suffix, "dequantize", view, fallback))
    steps.append(_step(op, op.name, op.kind, op.output, fallback, op.record.priced(op)))
    if converts and at.role(op.output) != "other":
        steps.append(_step(op, op.name + ".quantize", "quantize", op.output, fallback))
    if on_integers and at.hw.host != "none" and op.kind in at.hw.host.requantizes:
        steps.append(_step(op, op.name + ".requantize", "requantize", op.output, fallback))
    return steps


def _step(op: Op, name: str, kind: str, view: View, fallback: Fallback, elements: int | None = None) -> HostStep:
    if op.is_matmul and kind == op.kind:  # price of the library's CPU path (tiled_matmul_auto with CPU)
        sizes, macs = (*op.mnk, op.batch), op.macs
    else:
        sizes, macs = (view.rows, view.cols, 0, view.batch), 0
    count = view.elements if elements is None else elements
    return HostStep(name, kind, op.layer, *sizes, kind, count, fallback, macs, macs, macs)
