"""ONNX files: bytes to a checked protobuf message; weights are read from the file at first use.

Weights outside the file must be in files of its folder, with plain relative names; no other file is opened. Local
functions are inlined, so that only operators are left.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import InputError, some
from sim.base.reading import ARRAY_BYTES, LONGEST_NAME, MESSAGE_CHARACTERS, below, limit_bytes, read_bytes, regular
from workloads.onnx.net import Array

if TYPE_CHECKING:
    import onnx

MODEL_BYTES = 2**31 - 1
"""Largest protobuf message in bytes: weights of larger models are outside the file."""
MAX_NODES = 200_000
"""A decoder of 100 layers has 20,000."""
MAX_RANK = 16


def needed() -> Any:
    """Return the package onnx. Raises InputError if it is not installed."""
    try:
        import onnx  # an extra, and 0.3 s: not for start-up
    except ImportError:
        raise InputError(
            "reading ONNX needs the package onnx, which is not installed: pip install onnx, or '.[onnx]' in a checkout"
        ) from None
    return onnx


def read(path: Path) -> onnx.ModelProto:
    """Return the model of a file, its functions inlined. Raises InputError for a file that is not a valid ONNX file."""
    onnx = needed()
    from google.protobuf.message import DecodeError
    from onnx.inliner import inline_local_functions

    raw = read_bytes(path, MODEL_BYTES, "ONNX file")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except (DecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not an ONNX file: {str(error)[:MESSAGE_CHARACTERS]}") from None
    if not model.graph.node:
        raise InputError(f"{path}: not an ONNX file, or one without operators")
    if len(model.graph.node) > MAX_NODES:
        raise InputError(f"{path}: {len(model.graph.node):,} operators, at most {MAX_NODES:,} are supported")
    if model.functions:
        try:
            model = inline_local_functions(model)
        except Exception as error:  # the inliner raises the exceptions of its C++ part, without a common class
            raise InputError(f"{path}: its functions cannot be inlined: {_one_line(error)}") from None
    problems = _problems(model)
    if problems:
        raise InputError([f"{path}: {problem}" for problem in some(problems)])
    return model


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MESSAGE_CHARACTERS]


def _problems(model: onnx.ModelProto) -> list[str]:
    """Return the problems of names, shapes of weights, and the order of operators."""
    graph = model.graph
    seen = {tensor.name for tensor in graph.initializer} | {given.name for given in graph.input}
    seen |= {tensor.values.name for tensor in graph.sparse_initializer}
    makers: dict[str, str] = {}
    problems = [
        f"weight {tensor.name[:80]!r}: {fault}" for tensor in graph.initializer if (fault := shape_fault(tensor))
    ]
    everything = seen | {name for node in graph.node for name in node.output}
    for number, node in enumerate(graph.node):
        what = (
            f"operator {node.name[:80]!r} ({node.op_type[:40]})" if node.name else f"operator {number} ({node.op_type})"
        )
        if any(len(name) > LONGEST_NAME for name in (*node.input, *node.output, node.name)):
            problems.append(f"{what[:120]}: a name of more than {LONGEST_NAME:,} characters")
            continue
        for name in node.input:
            if name and name not in seen:
                late = "is computed only later: operators depend on each other in a cycle, or are in a wrong order"
                problems.append(
                    f"{what}: input {name!r} {late if name in everything else 'is not the result of any operator'}"
                )
        for name in filter(None, node.output):
            if name in makers:
                problems.append(f"{what}: {name!r} is already the result of {makers[name]}")
            makers[name] = what
            seen.add(name)
    problems += [
        f"output {out.name!r} is not the result of any operator" for out in graph.output if out.name not in seen
    ]
    return problems


def shape_fault(tensor: onnx.TensorProto) -> str | None:
    """Return the problem of a weight's shape, or None."""
    if len(tensor.dims) > MAX_RANK:
        return f"{len(tensor.dims)} axes, at most {MAX_RANK} are supported"
    if any(size < 0 for size in tensor.dims):
        return f"shape {list(tensor.dims)} has a negative size"
    count = int(np.prod(tensor.dims, dtype=object))
    return f"{count:,} elements" if count > ARRAY_BYTES else None


def elements(tensor: onnx.TensorProto, folder: Path) -> Array:
    """Return the numbers of a weight, from its external file if it has one. Raises InputError."""
    onnx = needed()
    where = f"weight {tensor.name[:80]!r}"
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.raw_data = _outside(tensor, folder, where)
        del copy.external_data[:]
        copy.data_location = onnx.TensorProto.DEFAULT
        tensor = copy
    try:
        array: Array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"{where}: {_one_line(error)}") from None
    return array


def _outside(tensor: onnx.TensorProto, folder: Path, where: str) -> bytes:
    """Return the bytes of a weight in another file of the folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = below(folder, entries.get("location", ""), where, "external data")
    try:
        first, length = (int(entries.get(key, "0") or 0) for key in ("offset", "length"))
    except ValueError:
        raise InputError(f"{where}: offset and length of its external data must be whole numbers") from None
    size = regular(path, "file of weights")
    length = length or size - first
    if first < 0 or length < 0 or first + length > size:
        raise InputError(f"{where}: bytes {first:,} to {first + length:,} of {path.name}, which has {size:,}")
    if length > limit_bytes(ARRAY_BYTES):
        raise InputError(f"{where}: {length:,} bytes, at most {limit_bytes(ARRAY_BYTES):,} are supported")
    with path.open("rb") as file:
        file.seek(first)
        return file.read(length)
