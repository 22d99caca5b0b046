"""Operators on elements or rows: sums, products, activations, norms, softmax, rotary embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx.expand import ROPE
from workloads.onnx.lower.foreign import PRICED, foreign
from workloads.onnx.lower.products import add_product
from workloads.onnx.lower.sliding import global_average
from workloads.onnx.lower.windows import NoWindow, element_views, row_views
from workloads.onnx.net import Level, Node
from workloads.onnx.recognise.simple import NORMS
from workloads.onnx.strided import Strided

if TYPE_CHECKING:
    from workloads.onnx.lower.lowering import NodeLowering

BINARY = {"Add": "residual_add", "Sub": "residual_add", "Mul": "multiply", "Div": "divide"}
UNARY = {
    "Relu": "relu",
    "Gelu": "gelu",
    "GeluTanh": "gelu",
    "Swish": "silu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Exp": "exp",
}
"""Operator -> kind. Both forms of GELU are one operator, computed on the array by the I-BERT polynomial."""


def binary(at: NodeLowering, node: Node) -> None:
    """A sum or a product of two operands, one of which may be one row for all."""
    kind = BINARY[node.op]
    attrs: dict[str, Any] = {"activation": "relu" if at.relu_behind(node) else "none"} if kind == "residual_add" else {}
    shape = at.net.values[node.output].shape or ()
    computed = [
        name for name in node.inputs if at.net.values[name].level > Level.GIVEN and at.net.values[name].shape == shape
    ]
    arrays = {name: at.array(name) for name in computed}
    for name in node.inputs:
        if name not in arrays and not at.net.values[name].is_single:
            arrays[name] = _operand(at, name, shape)
    like = arrays[computed[0]] if computed else None
    target = at.result(node, like)
    names = node.inputs
    if node.op in ("Add", "Mul") and len(names) == 2 and _is_narrow(at, names[0], shape):
        names = names[::-1]  # an operand of one number per row is the second
    lone = {name for name in names if at.net.values[name].is_single and name not in computed}
    sources = [_number_row(at, name, target) if name in lone else arrays[name].spread(shape) for name in names]
    for _ in range(len(sources) + 1):
        try:
            at.apply(kind, node, list(element_views((*sources, target), at.width(target), (1,))), **attrs)
            return
        except NoWindow as missing:
            place = missing.place
            if not 0 <= place < len(sources):
                place = next((index for index, one in enumerate(sources) if not one.row_stride_one()), 0)
            sources[place] = at.copied(node, sources[place])
    raise NoWindow(-1)


def _number_row(at: NodeLowering, name: str, target: Strided) -> Strided:
    """Return one number as a row of the width of a result's tensor, with stride 0."""
    width = at.width(target)
    kind = "weight" if name in at.net.weights else "input"
    tensor = at.tensor(f"{name.lstrip('/')}.row", (width,), kind)
    axes = tuple(tuple((size, stride if stride < width else 0) for size, stride in axis) for axis in target.axes)
    return Strided(tensor.name, axes)


def _is_narrow(at: NodeLowering, name: str, shape: Sequence[int]) -> bool:
    """Return whether a value has one number for each row of a result."""
    own = at.net.values[name].shape or ()
    return bool(own) and own[-1] == 1 < shape[-1]


def _operand(at: NodeLowering, name: str, shape: Sequence[int]) -> Strided:
    """Return an operand that is smaller than the result, or an input: a row of weights, or prepared in full width."""
    value = at.net.values[name]
    own = (1,) * (len(shape) - len(value.shape or ())) + tuple(value.shape or ())
    if value.level > Level.GIVEN or (own and own[-1] == shape[-1]) or _is_narrow(at, name, shape):
        return at.array(name)
    width = (*own[:-1], shape[-1]) if shape else ()
    kind = "weight" if name in at.net.weights else "input"
    tensor = at.tensor(f"{name.lstrip('/')}.row", width or (1,), kind)
    return Strided.dense(tensor.name, width)


def unary(at: NodeLowering, node: Node) -> None:
    """An activation."""
    kind = UNARY[node.op]
    if node.op == "Gelu" and node.attrs.get("approximate") in ("tanh", b"tanh"):
        kind = UNARY["GeluTanh"]
    source = at.array(node.inputs[0])
    target = at.result(node, source)
    _each(at, node, kind, source, target)


def _each(at: NodeLowering, node: Node, kind: str, source: Strided, target: Strided) -> None:
    try:
        views = list(element_views((source, target), at.width(target)))
    except NoWindow:
        views = list(element_views((at.copied(node, source), target), at.width(target)))
    at.apply(kind, node, views)


def rope(at: NodeLowering, node: Node) -> None:
    """A rotary embedding of heads, which are adjacent in a row if the columns allow it."""
    source = at.array(node.inputs[0])
    size = source.shape[-1]
    target = at.result(node, source)
    attrs: dict[str, Any] = {
        "head_dim": size,
        "rotated": node.attrs.get("rotated") or size,
        "style": "interleaved" if node.attrs.get("interleaved") else "half",
    }
    if not source.row_stride_one():
        source = at.copied(node, source)
    try:
        views = list(element_views((source, target), at.width(target)))
    except NoWindow:
        views = list(row_views((source, target)))
    if any(view.cols % size for each in views for view in each):
        views = list(row_views((source, target)))
    at.apply("rope", node, views, **attrs)


def rows(at: NodeLowering, node: Node) -> None:
    """Softmax, LayerNorm or RMSNorm over the last axis, or over one that is transposed to be the last."""
    kind = {"Softmax": "softmax", "LayerNormalization": "layernorm", "RMSNormalization": "rmsnorm"}[node.op]
    source = at.array(node.inputs[0])
    rank = len(source.axes)
    axis = int(node.attrs.get("axis", -1)) % rank
    target = at.result(node, source if source.row_stride_one() else None)
    if axis != rank - 1:
        if kind == "softmax":
            at.foreign(node, [source], target, "softmax of an inner axis")
            return
        source, target = _flat_rows(at, node, source, axis), target.reshaped((*target.shape[:axis], -1)) or target
    attrs: dict[str, Any] = {}
    for place, name in enumerate(("gamma", "beta")[: NORMS.get(node.op, 0)], 1):
        if place < len(node.inputs) and node.inputs[place]:
            weight = at.sums_row(node.inputs[place], target.shape[-1:])
            if at.tensors[weight.tensor].elements == target.shape[-1] and at.tensors[weight.tensor].kind == "weight":
                attrs[name] = weight.tensor
    try:
        views = list(row_views((source, target)))
    except NoWindow:
        views = list(row_views((at.copied(node, source), target)))
    at.apply(kind, node, views, **attrs)


def _flat_rows(at: NodeLowering, node: Node, source: Strided, axis: int) -> Strided:
    shape = (*source.shape[:axis], int(np.prod(source.shape[axis:])))
    flat = source.reshaped(shape)
    if flat is None or not flat.row_stride_one():
        flat = at.copied(node, source).reshaped(shape)
    assert flat is not None
    return flat


def reduce_sum(at: NodeLowering, node: Node) -> None:
    """A sum or mean over one axis: a product with ones; the divisor is folded into the scale."""
    source = at.array(node.inputs[0])
    axes = _axes(at, node, len(source.axes))
    if sorted(axes) == [2, 3] and len(source.axes) == 4:
        global_average(at, node)
        return
    if len(axes) != 1 or len(source.axes) < 2:
        foreign(at, node)
        return
    (axis,) = axes
    rank, count = len(source.axes), source.shape[axis]
    target = at.result(node)
    if not node.attrs.get("keepdims", 1):
        target = replace(target, axes=(*target.axes[:axis], (), *target.axes[axis:]))
    ones = at.tensors.get(f"ones{count}") or at.tensor(f"ones{count}", (1, count), "input")
    row = Strided.dense(ones.name, (1, count))
    if axis == rank - 1:
        add_product(at, node, source, row.transposed([1, 0]), target, None, "none")
        return
    order = [place for place in range(rank) if place not in (axis, rank - 1)] + [axis, rank - 1]
    add_product(at, node, row, source.transposed(order), target.transposed(order), None, "none")


def _axes(at: NodeLowering, node: Node, rank: int) -> list[int]:
    given = node.attrs.get("axes")
    if given is None and len(node.inputs) > 1 and (data := at.number(node.inputs[1])) is not None:
        given = data.reshape(-1).tolist()
    return [axis % rank for axis in given] if given is not None else list(range(rank))


def division(at: NodeLowering, node: Node) -> None:
    """A quotient: with a given divisor it is a product with reciprocals."""
    if at.net.values[node.inputs[1]].level <= Level.GIVEN:
        node.op = "Mul"
    binary(at, node)


RULES: dict[str, Callable[[NodeLowering, Node], None]] = {
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(("Softmax", "LayerNormalization", "RMSNormalization"), rows),
    ROPE: rope,
    "ReduceSum": reduce_sum,
    "ReduceMean": reduce_sum,
    **dict.fromkeys(PRICED, foreign),
    "Div": division,
    "": foreign,
}
