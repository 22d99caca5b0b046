"""Named dimensions of a model's inputs, and the numbers that the user gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sim.base.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import onnx

MAX_SIZE = 1 << 24
"""Limit of one dimension: four times the keys that a cache may have."""

UNNAMED = ("", "?", "None", "-1")
"""Text that exporters write for a dimension without a name; others write a size below 1."""

UNREAD = {14: "complex64", 15: "complex128"}
"""Element types (TensorProto.DataType) that no machine supports."""

WHOLE = (6, 7)
"""Element types int32 and int64."""

Shapes = dict[str, tuple[int, ...]]


def parse(text: str) -> dict[str, int]:
    """Read "batch=1,seq=128". Raises InputError listing the parts that are not NAME=NUMBER."""
    found: dict[str, int] = {}
    problems = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = (word.strip() for word in part.rpartition("="))
        if not (name and equals and value.isascii() and value.isdecimal() and len(value) < 10):
            problems.append(f"--dim {part[:60]}: must be NAME=NUMBER, e.g. batch=1,seq=128")
        elif found.get(name, int(value)) != int(value):
            problems.append(f"--dim {name}: given as {found[name]} and {int(value)}; give it once")
        else:
            found[name] = int(value)
    if problems:
        raise InputError(problems)
    return found


def shapes(what: str, graph: onnx.GraphProto, given: Mapping[str, object]) -> Shapes:
    """Return the shape of each input that is not a weight.

    Raises InputError listing each dimension without a number.
    """
    problems = [
        f"{what}: dimension {name} is {value!r}, must be a whole number from 1 to {MAX_SIZE:,}"
        for name, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE
    ]
    if problems:
        raise InputError(problems)
    weights = {tensor.name for tensor in graph.initializer}
    given = {name: value for name, value in given.items() if name not in numbers(graph)}
    requested: dict[str, list[str]] = {}
    wanted: dict[str, list[str | int]] = {}
    for value in graph.input:
        if value.name not in weights:
            wanted[value.name] = _axes(what, value)
            for axis in wanted[value.name]:
                if isinstance(axis, str):
                    for name in _names(axis):
                        requested.setdefault(name, []).append(value.name)
    known = _matched(what, requested, given)
    if missing := [name for name in requested if name not in known]:
        named = ", ".join(f"{name} (of {', '.join(dict.fromkeys(requested[name]))})" for name in missing)
        example = ",".join(f"{name}={1 if 'batch' in name or name.endswith('.0') else 128}" for name in missing)
        raise InputError(f"{what}: dimensions without a number: {named}; give them, e.g. --dim {example}")
    return {
        name: tuple(
            axis if isinstance(axis, int) else sum(known.get(part) or int(part) for part in _terms(axis))
            for axis in axes
        )
        for name, axes in wanted.items()
    }


def numbers(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the type of each input that is one whole number (a sampling rate, a length), by name.

    Its value may be given like the number of a dimension.
    """
    weights = {tensor.name for tensor in graph.initializer}
    found = {}
    for value in graph.input:
        kind = value.type.tensor_type
        sizes = [dim.dim_value for dim in kind.shape.dim]
        if value.name not in weights and kind.elem_type in WHOLE and all(size == 1 for size in sizes):
            found[value.name] = kind.elem_type
    return found


def _axes(what: str, value: onnx.ValueInfoProto) -> list[str | int]:
    if value.type.WhichOneof("value") != "tensor_type":
        raise InputError(f"{what}: input {value.name!r} is not a tensor; sequences and maps are not supported")
    if value.type.tensor_type.elem_type in UNREAD:
        kind = UNREAD[value.type.tensor_type.elem_type]
        raise InputError(
            f"{what}: input {value.name!r} is of {kind} numbers; only floats, integers and bool are supported"
        )
    if not value.type.tensor_type.HasField("shape"):
        raise InputError(f"{what}: input {value.name!r} has no shape: its number of axes is unknown")
    axes: list[str | int] = []
    for index, dim in enumerate(value.type.tensor_type.shape.dim):
        name = dim.dim_param.strip()
        if dim.HasField("dim_value") and not name and dim.dim_value > 0:
            if dim.dim_value > MAX_SIZE:
                raise InputError(
                    f"{what}: input {value.name!r}: axis {index} has {dim.dim_value:,} elements, "
                    f"must be 1 to {MAX_SIZE:,}"
                )
            axes.append(dim.dim_value)
        else:
            axes.append(f"{value.name}.{index}" if name in UNNAMED else name)
    return axes


def _terms(axis: str) -> list[str]:
    """Return the parts of "past_sequence_length + 1", a name as exporters write it."""
    parts = [part.strip() for part in axis.split("+")]
    sound = all(re.fullmatch(r"[\w.:/ -]+", part) for part in parts)
    return parts if len(parts) > 1 and sound else [axis]


def _names(axis: str) -> list[str]:
    return [part for part in _terms(axis) if not part.isdecimal()]


def _matched(what: str, requested: Mapping[str, object], given: Mapping[str, object]) -> dict[str, int]:
    """Return the number of each name, given by the name or a prefix of it (seq for sequence_length)."""
    known: dict[str, int] = {}
    problems = []
    for name, value in given.items():
        hits = [name] if name in requested else [one for one in requested if one.startswith(name)]
        if not hits:
            problems.append(
                f"{what}: no dimension {name!r}{did_you_mean(name, requested)}"
                if requested
                else f"{what}: all dimensions are fixed; {name} cannot be given"
            )
        for hit in hits:
            if hit == name or hit not in given:
                known[hit] = int(str(value))
    if problems:
        raise InputError(problems)
    return known
