"""The schedule "streaming": scores, softmax and the product with the values as one program in blocks of queries.

Such a program is described in `sim.lower.streaming`. The run compares several cuts, and the library's programs if they
give the same values, and takes the fastest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from sim.base.errors import InputError
from sim.graph import Op
from sim.hardware import Hardware
from sim.lower import check
from sim.lower.streaming import accumulator_rows
from sim.lower.tiling import blocks_of
from sim.lower.work import Matmul, Operand, Streaming
from sim.plan import array, by_hand
from sim.plan.context import Planning
from sim.plan.schedules import fusion
from sim.plan.step import Step

MAX_STRIPS = 8
"""Strips of a block: with eight, loading a block of weights takes an eighth of the time of multiplying with it."""

MIN_BLOCKS = 48
"""Least blocks of an item: the first and the last two do not overlap with others, so heads are put together."""


class Attention(NamedTuple):
    """Operators of an attention: the product of scores, the softmax of them, and the product with the values."""

    scores: Op
    softmax: Op
    context: Op


def _attention(op: Op, at: Planning) -> Attention | None:
    """Return the attention that begins with a product, if its schedule is "streaming" and possible.

    Else record why not.
    """
    if "streaming" not in at.schedule(op) or not op.is_matmul:
        return None
    readers = [
        reader for reader in at.graph.consumers(op.output.tensor) if array.ON_MOVE_OUT.get(reader.kind) == "softmax"
    ]
    if not readers:
        return None
    behind = at.graph.consumers(readers[0].output.tensor)
    reason = _why_not(op, readers[0], behind, at)
    if reason:
        for one in (op, readers[0], *behind):
            at.decline(one, "streaming", reason)
        return None
    return Attention(op, readers[0], behind[0])


def _why_not(scores: Op, softmax: Op, behind: tuple[Op, ...], at: Planning) -> str:
    """Return why three operators cannot be one program; "" if they can."""
    if softmax.kind not in at.hw.array_operators:
        return f"softmax runs on the host of {at.hw.name}"
    if at.hw.array.dataflow == "OS":
        return "normalised rows need dataflow WS, the array has only OS"
    if any(by_hand.names(pattern, one.name) for pattern in at.mapping for one in (scores, *behind)):
        return "its products are mapped by hand"
    if at.sparsity is not None:
        return "under rules of sparsity scores and probabilities have programs of their own"
    if len(at.graph.consumers(scores.output.tensor)) > 1 or len(behind) != 1:
        return f"other operators read {scores.output.tensor} or {softmax.output.tensor}, which must then be in memory"
    (context,) = behind
    if not context.is_matmul or context.inputs[0] != softmax.output:
        return f"{context.name} does not multiply the probabilities with values"
    if softmax.inputs[:1] != (scores.output,) or context.batch != scores.batch:
        return f"{softmax.name} reads another window than the product writes"
    order = {op.name: number for number, op in enumerate(at.graph.ops)}
    makers = [maker for view in context.inputs[1:] for maker in at.graph.producers(view.tensor)]
    if any(order[maker.name] > order[scores.name] for maker in makers):
        return f"the values are computed after {scores.name}"
    if at.machine(scores, softmax.output) is not None or at.machine(context, context.output) is not None:
        return "its products have word sizes of their own"
    if any(at.role(view) != "element" for view in (softmax.output, context.output)):
        return f"its results are not all {at.hw.array.input_type}"
    return ""


def planned(op: Op, at: Planning) -> tuple[tuple[str, ...], list[Step]] | None:
    """Return the operators of an attention and its step; None, with the reason recorded, if there is none."""
    found = _attention(op, at)
    if found is None:
        return None
    fused = fusion.fused(op, at)
    own = [*array.matmul(op, at, found.softmax), *array.matmul(found.context, at, None)]
    names = tuple(one.name for one in found)
    if at.is_refused(op) or at.is_refused(found.context):
        return names, own
    pairs = list(zip(*(step.works for step in own), strict=True))
    cuts, problem = _cuts([(one.product, two.product) for one, two in pairs], at)
    if not cuts:
        for one in found:
            at.decline(one, "streaming", problem)
        return None
    first: Any = own[0]
    whole = replace(
        first,
        kind=f"{op.kind}+softmax+{found.context.kind}",
        works=tuple(work for pair in pairs for work in pair),
        covers=names[1:],
        **{name: sum(getattr(step, name) for step in own) for name in ("macs", "macs_done", "macs_switched")},
    )
    programs = [replace(whole, works=works, schedule="streaming") for works in cuts]
    return names, [replace(programs[0], others=(*programs[1:], *([whole] if fused else ())))]


def _cuts(heads: list[tuple[Matmul, Matmul]], at: Planning) -> tuple[list[tuple[Streaming, ...]], str]:
    """Return the items of each cut that the machine supports, or none and the reason."""
    hw, (scores, context) = at.hw, heads[0]
    found, problem = [], ""
    for height, strips, slots in _shapes(scores, context, hw):
        items = _items(heads, (height, strips, slots), at)
        try:
            check(items[0], hw)
        except InputError as error:
            problem = problem or "; ".join(error.problems)
            continue
        found.append(items)
    need = accumulator_rows(blocks_of(scores.n, hw.dim), blocks_of(context.n, hw.dim), 2, 1, 1)
    return found, problem or (
        f"two rows of {scores.n:,} scores and their results take {need:,} rows of the accumulator, {hw.acc_rows:,} "
        f"there (nearest: accumulator.capacity_bytes = {1 << (need * hw.dim * hw.acc_bytes - 1).bit_length()})"
    )


def _shapes(scores: Matmul, context: Matmul, hw: Hardware) -> Iterator[tuple[int, int, int]]:
    """Yield height, strips and slots of blocks that fit the accumulator, with two slots and with one.

    If not even DIM rows fit, a strip has as many pairs of rows as fit: the normaliser has two statistics registers.
    """
    n, o = (blocks_of(size, hw.dim) for size in (scores.n, context.n))
    for slots in (2, 1):
        rows = hw.acc_rows // (slots * (n + o))
        every = blocks_of(scores.m, hw.dim)
        most = min(rows // hw.dim, MAX_STRIPS, every)
        if most:
            blocks = -(-every // most)
            yield hw.dim, -(-every // blocks), slots
        elif rows >= 2:
            yield min(rows // 2 * 2, hw.dim), 1, slots


def _items(heads: list[tuple[Matmul, Matmul]], shape: tuple[int, int, int], at: Planning) -> tuple[Streaming, ...]:
    """Return the items of a cut, each with as many heads as together have `MIN_BLOCKS` blocks."""
    height, strips, slots = shape
    scores, hw = heads[0][0], at.hw
    together = min(len(heads), -(-MIN_BLOCKS // -(-scores.m // (height * strips))))
    buffer = Operand(at.place_index(2 * height * strips * scores.n * hw.input_bytes), scores.n)
    identity = turned = None
    if (
        scores.transpose_b and strips == 1
    ):  # each block of weights is used by one strip: the transposer takes half of the time
        identity = Operand(at.place_index(scores.k * scores.k * hw.input_bytes), scores.k)
        turned = Operand(at.place_index(together * scores.k * scores.n * hw.input_bytes), scores.n)
    groups = [heads[first : first + together] for first in range(0, len(heads), together)]
    return tuple(
        Streaming(tuple(part for pair in group for part in pair), buffer, height, strips, slots, identity, turned)
        for group in groups
    )
