"""Level of each value of an ONNX file (`net.Level`), by rule."""

from __future__ import annotations

from typing import Any

from workloads.onnx.net import Level, Node, Value

SMALL = 4096
"""Most elements of a constant that is read on import: scalars, shapes, biases and gains."""

FEW = 1 << 20
"""Most elements of a value computed on import: masks of 1,024 x 1,024 tokens, tables of sines."""

MOVES = frozenset(
    (
        *("Identity", "Cast", "CastLike", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"),
        *("Slice", "Expand", "Dropout", "Split", "Tile"),
    )
)
"""Operators that only move elements or change their type."""
PRODUCTS = frozenset(("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum"))
RECURRENT = frozenset(("LSTM", "GRU", "RNN"))


def of_input(name: str, dtype: int, onnx: Any) -> Level:
    """Return the level of a network's input: ids and positions (int32, int64), flags and masks are given."""
    types = onnx.TensorProto
    ids = dtype in (types.INT64, types.INT32, types.BOOL)
    return Level.GIVEN if ids or "mask" in name.lower() else Level.COMPUTED


def of_node(node: Node, inputs: list[Value | None]) -> Level:
    """Return the level of a node's results."""
    values = [value for value in inputs if value is not None]
    levels = [value.level for value in values]
    most = max(levels, default=Level.CONSTANT)
    if node.op == "Gather" and is_look_up(values):
        return max(Level.LOOKED_UP, values[0].level)
    if most is Level.GIVEN and (node.op in RECURRENT or (node.op in PRODUCTS and any(map(is_matrix, values)))):
        return Level.COMPUTED
    if most is Level.LOOKED_UP and node.op not in MOVES:
        only_sum = node.op in ("Add", "Where") and levels.count(Level.LOOKED_UP) == 1
        scaled = node.op in ("Mul", "Div") and any(value.is_single and value.level <= Level.GIVEN for value in values)
        return Level.LOOKED_UP if only_sum or scaled else Level.COMPUTED
    return most


def is_look_up(values: list[Value]) -> bool:
    """Return whether a Gather takes rows of a table of weights."""
    table, ids = values[0], values[1]
    floats = table.data is None or table.data.dtype.kind == "f" or table.data.dtype.itemsize == 1
    rows = table.level is Level.CONSTANT and table.shape is not None and len(table.shape) == 2 and table.shape[1] > 1
    return rows and floats and ids.shape is not None and len(ids.shape) > 0 and ids.level <= Level.GIVEN


def is_matrix(value: Value) -> bool:
    """Return whether a value is a matrix of weights."""
    return value.level is Level.CONSTANT and value.shape is not None and len(value.shape) == 2 and min(value.shape) > 1
