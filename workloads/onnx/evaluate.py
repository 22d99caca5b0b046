"""Operators that are computed on import (shapes, positions, masks), by the reference implementation of onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx.levels import FEW
from workloads.onnx.net import Array, Node
from workloads.onnx.reading import elements

if TYPE_CHECKING:
    from workloads.onnx.resolve import ShapeResolver

DRAWN = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)
"""Operators whose results are random."""


def _sized(node: Node, inputs: list[Array | None]) -> int:
    """Return an upper bound of a result's elements if an operand's value sets its size; 0: bounded by its operands."""
    numbers = [array for array in inputs if array is not None]
    if node.op in ("ConstantOfShape", "Expand", "Tile"):
        shape = numbers[-1].reshape(-1).astype(object)
        factor = numbers[0].size if node.op == "Tile" else 1
        return int(abs(np.prod(shape, dtype=object)) * factor) if shape.size else 1
    if node.op == "Range" and len(numbers) == 3:
        start, limit, delta = (float(number.reshape(-1)[0]) for number in numbers)
        return int(abs((limit - start) / delta)) + 1 if delta else 0
    if node.op in ("Pad", "Resize", "OneHot", "Upsample", "MaxUnpool"):
        return (
            sum(int(abs(number.astype(np.float64)).sum()) for number in numbers if number.size < 64) * numbers[0].size
        )
    return 0


def computed(node: Node, inputs: list[Array | None], resolver: ShapeResolver) -> list[Array] | None:
    """Return the results of a node, None if they are too large or cannot be computed."""
    if node.op in DRAWN or (node.op != "Constant" and not inputs):
        return None
    if node.op == "Constant":
        return [_constant(node, resolver)]
    if _sized(node, inputs) > FEW:
        return None
    if _spread([array.shape for array in inputs if array is not None], node.op) > FEW:
        return None
    if node.op == "GatherElements":  # the reference implementation fails on some shapes
        return [np.take_along_axis(inputs[0], inputs[1], node.attrs.get("axis", 0))]  # type: ignore[arg-type]
    onnx = resolver.onnx
    from onnx.reference import ReferenceEvaluator  # with onnx, an extra

    names = [f"i{index}" if array is not None else "" for index, array in enumerate(inputs)]
    outputs = [f"o{index}" for index in range(len(node.outputs))]
    try:
        proto = onnx.helper.make_node(node.op, names, outputs, **node.attrs)
        opsets = [onnx.helper.make_opsetid("", resolver.opsets.get("", 1))]
        given = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, inputs, strict=True)
            if array is not None
        ]
        made = [onnx.helper.make_tensor_value_info(name, 0, None) for name in outputs]
        graph = onnx.helper.make_graph([proto], "one", given, made)
        evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets))
        feeds = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
        with np.errstate(all="ignore"):
            results = evaluator.run(None, feeds)
    except Exception:  # errors of many classes; a wrong operand is refused by the rules of shapes
        return None
    return [np.asarray(result) for result in results]


def _spread(shapes: list[tuple[int, ...]], op: str) -> int:
    """Return the number of elements of a product or of broadcast operands; 0 for other operators."""
    try:
        if op in ("MatMul", "Gemm", "Einsum"):
            return (
                int(np.prod([max(shape, default=1) for shape in shapes], dtype=object)) if op != "Einsum" else 1 << 62
            )
        return int(np.prod(np.broadcast_shapes(*shapes), dtype=object))
    except ValueError:
        return 0


def _constant(node: Node, resolver: ShapeResolver) -> Array:
    attrs: dict[str, Any] = node.attrs
    if "value" in attrs:
        return elements(attrs["value"], resolver.path.parent)
    for name, dtype in (
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", np.float32),
        ("value_floats", np.float32),
    ):
        if name in attrs:
            return np.array(attrs[name], dtype)
    raise resolver.wrong(node, "a constant without numbers")
