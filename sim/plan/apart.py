"""Softmax as a separate pass: the product stores its sums in memory, in accumulator type, and the pass loads them.

Sums are not rounded to elements in between, so the result equals the fused one bit for bit.
"""

from __future__ import annotations

from dataclasses import replace

from sim.graph import Op
from sim.lower.polynomials import SOFTMAX_BERT_SCALE
from sim.lower.work import Norm, Operand, Work
from sim.plan import array, by_hand
from sim.plan.context import Planning
from sim.plan.step import ArrayStep, Step


def softmax(op: Op, reader: Op, at: Planning) -> list[Step]:
    """Return a product and the softmax after it as two steps."""
    m, n, _ = op.mnk
    size_bytes = m * n * at.hw.acc_bytes
    first = at.place_index(op.batch * size_bytes)
    sums = [Operand(first + b * size_bytes, n) for b in range(op.batch)]
    steps: list[Step] = []
    for step in array.matmul(op, at, None):
        works = tuple(_with_sums(work, place) for work, place in zip(step.works, sums, strict=True))
        steps.append(replace(step, works=works, schedule="unfused"))  # type: ignore[call-arg]
    if not steps:
        return steps
    results = at.operands(reader.output, op.batch)
    passes: list[Work] = []
    for x, c in zip(sums, results, strict=True):
        item = Norm(m, n, "softmax", x, c, bert_scale=SOFTMAX_BERT_SCALE)
        passes += [by_hand.mapped(part, reader.name, at.mapping) for part in array.in_calls(item, at.hw)]
    sizes, machine = (m, n, 0, op.batch), at.machine(op, reader.output)
    behind = ArrayStep(reader.name, "softmax", reader.layer, *sizes, tuple(passes), machine=machine, schedule="unfused")
    return [*steps, behind]


def _with_sums(work: Work, place: Operand) -> Work:
    """Return the product with its sums in memory."""
    return replace(work.product, c=place, full_c=True, scale=1.0)
