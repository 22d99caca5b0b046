"""Products: MatMul and Gemm with their biases, attention as the two products around a softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.graph import View
from workloads.onnx.expand import ATTENTION
from workloads.onnx.lower.windows import MAX_STEPS, NoWindow, element_views, steps
from workloads.onnx.net import Level, Node
from workloads.onnx.strided import Axis, Common, Strided, joined, loops

if TYPE_CHECKING:
    from workloads.onnx.lower.lowering import NodeLowering


def matmul(at: NodeLowering, node: Node) -> None:
    """A product of matrices with equal outer axes, or with one matrix for all rows."""
    values = at.net.values
    relu = at.relu_behind(node)
    shape = values[node.output].shape or ()
    a, b = (at.array(name) for name in node.inputs[:2])
    a = replace(a, axes=((), *a.axes)) if len(a.axes) == 1 else a
    b = replace(b, axes=(*b.axes, ())) if len(b.axes) == 1 else b
    if len(shape) < max(len(a.axes), len(b.axes)):  # of a vector
        target = at.result(node)
        place = target.axes if len(values[node.inputs[0]].shape or ()) > 1 else ((), *target.axes)
        target = replace(target, axes=(*place, ()) if len(values[node.inputs[1]].shape or ()) == 1 else place)
    else:
        target = at.result(node, like=None)
    bias = None
    if len(node.inputs) > 2:
        bias = at.sums_row(node.inputs[2], target.shape)
    add_product(at, node, a, b, target, bias, "relu" if relu else "none")


def gemm(at: NodeLowering, node: Node) -> None:
    """Gemm: A or B transposed; C a row, or a matrix that is added."""
    relu = at.relu_behind(node)
    a = at.array(node.inputs[0])
    a = a.transposed([1, 0]) if node.attrs.get("transA") else a
    b = at.turned(node.inputs[1]) if node.attrs.get("transB") else at.array(node.inputs[1])
    target = at.result(node)
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        if at.net.values[node.inputs[2]].level <= Level.GIVEN:
            bias = at.sums_row(node.inputs[2], target.shape)
        else:
            summed = at.own(f"{node.output}.product", target.shape)
            add_product(at, node, a, b, summed, None, "none")
            at.apply("residual_add", node, [tuple(map(at.whole, (summed, at.array(node.inputs[2]), target)))],
                     f"{node.name}.sum", activation="relu" if relu else "none")  # fmt: skip
            return
    add_product(at, node, a, b, target, bias, "relu" if relu else "none")


def add_product(
    at: NodeLowering,
    node: Node,
    a: Strided,
    b: Strided,
    c: Strided,
    bias: Strided | None,
    activation: str,
    name: str = "",
) -> None:
    """Add A B (+ bias): one operator, or one for each step of outer axes that no window covers."""
    attrs: dict[str, object] = {"activation": activation}
    outer = c.shape[:-2]
    a, b = a.spread((*outer, *a.shape[-2:])), b.spread((*outer, *b.shape[-2:]))
    a, attrs["transpose_a"] = _turned(at, node, a, rows_behind=True)
    b, attrs["transpose_b"] = _turned(at, node, b, rows_behind=False)
    arrays = [a, b, c] if bias is None else [a, b, c, bias]
    attrs["repeating_bias"] = bias is not None and all(stride == 0 for _, stride in bias.axes[-2])
    parts = _outer_loops(at, arrays, bool(attrs["transpose_a"]))
    if parts is None:
        a, b = (at.copied(node, each) for each in (a, b))
        arrays[:2] = [a.spread((*outer, *a.shape[-2:])), b.spread((*outer, *b.shape[-2:]))]
        attrs["transpose_a"], attrs["transpose_b"] = False, False
        parts = _outer_loops(at, arrays, False)
    if parts is None:
        raise NoWindow(-1)
    views = list(_product_views(arrays, parts, attrs))
    at.apply("matmul", node, [(*one[:2], *one[3:], one[2]) for one in views], name, **attrs)


def _turned(at: NodeLowering, node: Node, array: Strided, rows_behind: bool) -> tuple[Strided, bool]:
    """Return an operand whose last two axes are each one run, one of them of stride 1, and the index of that axis."""
    *_, first, second = array.axes
    if array.row_stride_one() and (len(first) < 2 or rows_behind):
        return array, False
    if len(first) <= 1 and len(second) <= 1 and (not first or first[0][1] == 1):
        return array, True
    return at.copied(node, array).spread(array.shape), False


def _outer_loops(at: NodeLowering, arrays: Sequence[Strided], transposed_a: bool) -> list[Common] | None:
    """Return the loops over outer axes and rows, outermost first; B has no step along rows."""
    places = [array.axes for array in arrays]
    rank = len(arrays[2].axes)
    parts: list[Common] = []
    for axis in range(rank - 2):
        found = loops([axes[axis] for axes in places])
        if found is None:
            return None
        parts += found
    count = arrays[2].shape[-2]
    still: Axis = ((count, 0),) if count > 1 else ()
    rows = [axes[-2] if place != 1 else still for place, axes in enumerate(places)]
    found = loops(rows)
    if found is None or (transposed_a and len(found) > 1):
        return None
    return joined([*parts, *found])


def _product_views(
    arrays: Sequence[Strided], parts: list[Common], attrs: dict[str, object]
) -> Iterator[tuple[View, ...]]:
    """Yield the windows of A, B, C (and the bias) at each step."""
    a, b, c = arrays[:3]
    inner, cols = a.shape[-1], c.shape[-1]
    if parts and all(strides[1] == 0 for _, strides in parts):  # one matrix for all rows: the longest run of rows
        parts.append(parts.pop(max(range(len(parts)), key=lambda place: (parts[place][0], place))))
    rows, row_strides = parts.pop() if parts and parts[-1][1][1] == 0 else (1, None)
    batch, batch_strides = parts.pop() if parts else (1, (0,) * len(arrays))
    k_stride = b.axes[-2][0][1] if b.axes[-2] else cols
    for offsets in steps(parts, len(arrays)):
        at = [array.offset + offset for array, offset in zip(arrays, offsets, strict=True)]
        a_row = row_strides[0] if row_strides else inner
        if attrs["transpose_a"]:
            a_view = _view(
                a.tensor, batch, inner, rows, a.axes[-1][0][1] if a.axes[-1] else rows, batch_strides[0], at[0]
            )
        else:
            a_view = _view(a.tensor, batch, rows, inner, a_row, batch_strides[0], at[0])
        if attrs["transpose_b"]:
            b_row = b.axes[-1][0][1] if b.axes[-1] else inner
            b_view = _view(b.tensor, batch, cols, inner, b_row, batch_strides[1], at[1])
        else:
            b_view = _view(b.tensor, batch, inner, cols, k_stride, batch_strides[1], at[1])
        c_view = _view(c.tensor, batch, rows, cols, row_strides[2] if row_strides else cols, batch_strides[2], at[2])
        views = [a_view, b_view, c_view]
        if len(arrays) > 3:
            bias_rows = 1 if attrs["repeating_bias"] else rows
            stride = row_strides[3] if row_strides and bias_rows > 1 else 0 if attrs["repeating_bias"] else cols
            views.append(_view(arrays[3].tensor, batch, bias_rows, cols, stride, batch_strides[3], at[3]))
        yield tuple(views)


def _view(tensor: str, batch: int, rows: int, cols: int, row: int, step: int, offset: int) -> View:
    """Return a window; an operand without a step along the batch has a batch of 1."""
    count = batch if step else 1
    row = row or (cols if rows > 1 else 0)
    return View(tensor, count, rows, cols, row, step if count > 1 else rows * row, offset)


def attention(at: NodeLowering, node: Node) -> None:
    """Softmax(Q K^T + bias) V: each step has its own tensor of scores, so that softmax is fused."""
    arrays = [four(at, node, name) for name in node.inputs[:3]]
    q, k, v = arrays
    heads = q.shape[1]
    target = at.result(node)
    c = target if len(target.axes) == 4 else replace(target, axes=((), *target.axes))
    if k.shape[1] != heads:
        k, v = (_repeated(array, heads) for array in (k, v))
    k = k.transposed([0, 1, 3, 2])
    bias, added = None, None
    if len(node.inputs) > 3:  # a given bias is added to the sums, a computed one to their results
        shape = (*q.shape[:3], k.shape[3])
        if at.net.values[node.inputs[3]].level is Level.COMPUTED:
            added = at.array(node.inputs[3]).spread(shape)
        else:
            bias = at.sums_row(node.inputs[3], shape)
    names = node.attrs.get("parts") or tuple(f"{node.name}.{part}" for part in ("scores", "softmax", "context"))
    for q1, k1, v1, c1, bias1 in _by_step(q, k, v, c, added or bias):
        shape = (*q1.shape[:3], k1.shape[3])
        label = names[0].lstrip("/")
        scores, shares = (at.own(f"{label}.{what}", shape) for what in ("scores", "shares"))
        mark = len(at.graph.ops)
        add_product(at, node, q1, k1, scores, bias1 if added is None else None, "none", names[0])
        made = at.graph.ops[mark:]
        if added is not None and bias1 is not None:
            scores, raw = at.own(f"{label}.sums", shape), scores
            views = list(element_views((raw, bias1, scores), at.width(scores)))
            mark = len(at.graph.ops)
            at.apply("residual_add", node, views, f"{names[0]}.bias")
            made = at.graph.ops[mark:]
        for op in made:
            out = op.output
            result = replace(out, tensor=shares.tensor)
            at.apply("softmax", node, [(out, result)], names[1])
        add_product(at, node, shares, v1, c1, None, "none", names[2])


def four(at: NodeLowering, node: Node, name: str) -> Strided:
    """Return an operand of attention with four axes."""
    array = at.array(name)
    return array if len(array.axes) == 4 else replace(array, axes=((), *array.axes))


def _repeated(array: Strided, heads: int) -> Strided:
    """Return K or V with each of its heads for several heads of Q."""
    groups = array.axes[1]
    repeats = heads // array.shape[1]
    return replace(array, axes=(array.axes[0], (*groups, (repeats, 0)), *array.axes[2:]))


def _by_step(
    q: Strided, k: Strided, v: Strided, c: Strided, bias: Strided | None
) -> Iterator[tuple[Strided, Strided, Strided, Strided, Strided | None]]:
    """Yield the operands of each step: a sequence, and with several queries a head of K shared by heads of Q."""
    batch, heads = q.shape[:2]
    groups = (
        next((size for size, stride in k.axes[1] if stride), 1) if any(not stride for _, stride in k.axes[1]) else 1
    )
    shared = heads // groups if groups > 1 or any(not stride for _, stride in k.axes[1]) else 1
    split = groups if shared > 1 and q.shape[2] > 1 else 1
    if batch * split > MAX_STEPS:
        raise InputError(
            f"attention of {batch:,} sequences and {split:,} groups of heads: at most {MAX_STEPS:,} are supported"
        )
    for item in range(batch):
        for group in range(split):

            def part(array: Strided, item: int = item, group: int = group) -> Strided:
                one = array.sliced(0, item, 1) if batch > 1 else array
                assert one is not None
                if split > 1:
                    cut = one.sliced(1, group * shared, shared)
                    assert cut is not None
                    return cut
                return one

            yield part(q), part(k), part(v), part(c), None if bias is None else part(bias)


RULES: dict[str, Callable[[NodeLowering, Node], None]] = {"MatMul": matmul, "Gemm": gemm, ATTENTION: attention}
