"""The weights of an ONNX file as matrices [K, N], by their names in the imported graph.

They are not stored with the graph: the numbers are found by name and read when masks of zeros or magnitudes are needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sim.base.errors import InputError
from workloads.onnx.net import Array
from workloads.onnx.reading import elements, needed, read

PRODUCTS = {
    "MatMul": (1, None),
    "Gemm": (1, None),
    "Conv": (1, None),
    "ConvTranspose": (1, None),
    "FusedMatMul": (1, None),
    "MatMulInteger": (1, 3),
    "ConvInteger": (1, 3),
    "QLinearMatMul": (3, 5),
    "QLinearConv": (3, 5),
    "QGemm": (3, 5),
    "MatMulIntegerToFloat": (1, 5),
    "DynamicQuantizeMatMul": (1, 3),
    "Attention": (1, None),
    "QAttention": (1, 7),
}
"""Operator -> input indices of its matrix of weights and of that matrix's zero point."""

CODED = ("Cast", "Mul", "Sub", "DequantizeLinear")
MOVED = ("Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten")
"""Operators between a stored weight and the product that reads it."""


def weights(path: Path) -> dict[str, Array]:
    """Return each matrix of weights [K, N] by the name of its tensor. Raises InputError."""
    reader = _Reader(path)
    found: dict[str, Array] = {}
    for node in reader.model.graph.node:
        place, zero = PRODUCTS.get(node.op_type, (None, None))
        if place is None or place >= len(node.input):
            continue
        names: list[str] = []
        array = reader.value(node.input[place], names)
        if array is None or array.ndim < 2:
            continue
        if zero is not None and zero < len(node.input) and node.input[zero]:
            point = reader.value(node.input[zero], [])
            array = array if point is None else array.astype(np.int32) - point
        turned = {attribute.name: attribute.i for attribute in node.attribute if attribute.name == "transB"}
        matrix = _matrix(array, node.op_type, bool(turned.get("transB")))
        if matrix is not None:
            found |= {name.lstrip("/"): matrix for name in names}
    if not found:
        raise InputError(f"{path}: no operator multiplies by weights of the file")
    return found


def _matrix(array: Array, op: str, turned: bool) -> Array | None:
    """Return weights as the graph has them: [K, N]; of a convolution [kernel row, kernel column, channel; filter]."""
    if op == "ConvTranspose":
        return np.moveaxis(array, 1, -1).reshape(array.shape[0], -1)
    if "Conv" in op:
        order = [*range(2, array.ndim), 1, 0]
        return array.transpose(order).reshape(-1, array.shape[0])
    if array.ndim != 2:
        return None
    return array.T if turned else array


class _Reader:
    """Evaluates constants of one model: initializers followed by operators that recode or move them."""

    def __init__(self, path: Path):
        self.path, self.model = path, read(path)
        self.onnx = needed()
        self.stored = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.makers = {name: node for node in self.model.graph.node for name in node.output}

    def value(self, name: str, names: list[str], depth: int = 0) -> Array | None:
        """Return a constant, or None; ``names``: its name and those of the values it is computed from."""
        names.append(name)
        if name in self.stored:
            return elements(self.stored[name], self.path.parent)
        node = self.makers.get(name)
        if node is None or depth > len(CODED + MOVED):
            return None
        if node.op_type == "Constant":
            tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
            return None if tensor is None else elements(tensor, self.path.parent)
        if node.op_type not in CODED + MOVED:
            return None
        given = [self.value(part, names if place == 0 else [], depth + 1) for place, part in enumerate(node.input)]
        if any(part is None for part in given):
            return None
        return self.computed(node.op_type, [part for part in given if part is not None], node)

    def computed(self, op: str, given: list[Array], node: Any) -> Array:
        """Return the result of one operator; scales are nonzero, so that zeros stay zeros."""
        attribute_value = self.onnx.helper.get_attribute_value
        attributes = {one.name: attribute_value(one) for one in node.attribute}
        x = given[0]
        if op == "DequantizeLinear":
            return x.astype(np.float32) - (_along(given[2], x, attributes.get("axis", 1)) if len(given) > 2 else 0)
        if op in ("Mul", "Sub"):
            return np.asarray(x * given[1] if op == "Mul" else x - given[1])
        if op == "Transpose":
            return x.transpose(attributes.get("perm"))
        if op in ("Reshape", "Flatten"):
            return x.reshape(given[1]) if len(given) > 1 else x
        return x


def _along(point: Array, x: Array, axis: int) -> Array:
    """Return zero points, one or one per element of an axis, in a shape that broadcasts."""
    if point.ndim == 1 and point.size > 1 and point.size == x.shape[axis]:
        return point.astype(np.float32).reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])
    return point.astype(np.float32)
