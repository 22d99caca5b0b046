"""Graphs from JSON files, in the form that `Graph.to_dict` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sim.base.errors import InputError, demand, did_you_mean
from sim.base.reading import read_json
from sim.graph import Graph, Op, Tensor, View

FORMAT = "carat-graph-1"
"""Name and version of the format; a file without one is of this version."""


def load(path: Path | str) -> Graph:
    """Read a graph from the JSON file ``path``. Raises InputError (unreadable, not JSON, a wrong graph)."""
    demand("path", path, (Path, str), 'the path of a file, e.g. "graph.json"')
    data = read_json(Path(path))
    try:
        return from_dict(data)
    except InputError as error:
        raise InputError([f"{path}: {problem}" for problem in error.problems]) from None


def from_dict(data: Any) -> Graph:
    """Build a graph from the plain form of `Graph.to_dict`; operators may be in any order.

    ``attrs``, ``layer`` and ``sizes`` may be left out, and a view may be a tensor's name, meaning all of it.
    Raises InputError listing all problems.
    """
    if problems := _record_problems(data):
        raise InputError(problems)
    tensors = [Tensor(**{**record, "shape": tuple(record["shape"])}) for record in data["tensors"]]
    known = {tensor.name: tensor for tensor in tensors}

    def view(record: str | dict[str, Any]) -> View:
        if isinstance(record, dict):
            return View(**record)
        # A name without a tensor becomes a view of it, so that the graph's check reports the name.
        return View.whole(known.get(record, Tensor(record, (1,), "int8", "input")))

    ops = [
        Op(**{**record, "inputs": tuple(map(view, record["inputs"])), "output": view(record["output"])})
        for record in data["ops"]
    ]
    return Graph.from_ops(data["name"], tensors, ops).sized(data.get("sizes", {}))


TENSOR_KEYS = {"name": "text", "shape": "list of whole numbers", "dtype": "text", "kind": "text"}
OP_KEYS = {"name": "text", "kind": "text", "inputs": "list", "output": "view"}
OP_OPTIONS = {"attrs": "object of plain values", "layer": "whole number or null"}
VIEW_KEYS = {
    "tensor": "text",
    **dict.fromkeys(("batch", "rows", "cols", "row_stride", "batch_stride"), "whole number"),
}
VIEW_OPTIONS = {"offset": "whole number"}
"""Keys of the records of a graph file, with the type of each (`_is`)."""


def _is(what: str, value: Any) -> bool:
    """Return whether a JSON value is a ``what``; true and false are not numbers."""
    match what:
        case "text":
            return isinstance(value, str)
        case "whole number":
            return isinstance(value, int) and not isinstance(value, bool)
        case "whole number or null":
            return value is None or _is("whole number", value)
        case "list":
            return isinstance(value, list | tuple)
        case "list of whole numbers":
            return _is("list", value) and len(value) > 0 and all(_is("whole number", n) for n in value)
        case "object of plain values":
            return isinstance(value, dict) and not any(isinstance(v, dict | list) for v in value.values())
    return True


def _check(where: str, value: Any, keys: dict[str, str], options: dict[str, str]) -> list[str]:
    """Check one record: all of ``keys``, some of ``options``, nothing else, each of its type."""
    if not isinstance(value, dict):
        return [f"{where}: must be an object with {', '.join(keys)}, not {value!r}"]
    legal = keys | options
    problems = [f"{where}: {key!r} is missing" for key in keys if key not in value]
    for key, entry in value.items():
        if key not in legal:
            problems.append(f"{where}: unknown key {key!r}{did_you_mean(key, legal)}")
        elif not _is(legal[key], entry):
            problems.append(f"{where}: {key} is {entry!r}, must be: {legal[key]}")
    return problems


def _record_problems(data: Any) -> list[str]:
    """Check keys and types of a graph in plain form, so that its parts can be built."""
    options = {"format": "text", "sizes": "object of plain values"}
    problems = _check("top level", data, {"name": "text", "tensors": "list", "ops": "list"}, options)
    if problems:
        return problems
    if data.get("format", FORMAT) != FORMAT:
        return [f"top level: format is {data['format']!r}, this version reads {FORMAT!r}"]
    for index, entry in enumerate(data["tensors"]):
        problems += _check(f"tensors[{index}]", entry, TENSOR_KEYS, {})
    for index, entry in enumerate(data["ops"]):
        found = _check(f"ops[{index}]", entry, OP_KEYS, OP_OPTIONS)
        views = {} if found else {"output": entry["output"]}
        views |= {} if found else {f"inputs[{i}]": view for i, view in enumerate(entry["inputs"])}
        for where, view in views.items():
            if not isinstance(view, str):
                found += _check(f"ops[{index}].{where}", view, VIEW_KEYS, VIEW_OPTIONS)
        problems += found
    return problems
