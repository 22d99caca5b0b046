"""Rotary embeddings by their values.

With cosines of 0.6 and sines of 0.8 all pairs of columns are rotated by the same angle.

The chain after a value may slice, negate, join, reshape, and multiply by tables that are inputs or looked up. The
result shows whether pairs are halves of a head or neighbours, and the number of rotated columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from workloads.onnx.expand import ROPE
from workloads.onnx.net import Array, Level, Net, Node
from workloads.onnx.recognise import chains
from workloads.onnx.recognise.chains import NodeChain

MOVES = frozenset(
    [
        "Slice",
        "Split",
        "Concat",
        "Neg",
        "Reshape",
        "Unsqueeze",
        "Squeeze",
        "Transpose",
        "Mul",
        "Add",
        "Sub",
        "Identity",
        "Cast",
        "Gather",
    ]
)
MAX_TABLES = 6
COSINE, SINE = 0.6, 0.8
ROWS = 1 << 12
"""Most elements in the axes before the last for which a sample has the value's size.

Above it the chain is left unchanged.
"""
MAX_ELEMENTS = 1 << 25


def recognise(net: Net) -> None:
    """Replace each chain that is a rotary embedding by one node."""
    known: dict[tuple[Any, ...], tuple[int, bool, int] | None] = {}
    for name in [*net.inputs, *(name for node in list(net.nodes) for name in node.outputs)]:
        value = net.values.get(name)
        if value is not None and value.level is Level.COMPUTED and value.shape and len(net.readers(name)) > 1:
            _one(net, name, known)


def _one(net: Net, source: str, known: dict[tuple[Any, ...], tuple[int, bool, int] | None]) -> None:
    if not any(reader.op == "Mul" and _is_table(net, reader, source) for reader in _near(net, source)):
        return
    chain = chains.grown(net, source, lambda node, inside: _takes(net, node, inside))
    shape = net.values[source].shape or ()
    if net.values[source].elements > MAX_ELEMENTS or shape[-1] % 2:
        return
    tables = _tables(net, chain)
    if not 1 < len(tables) <= MAX_TABLES:
        return
    key = _signature(net, chain, tables)
    if key not in known:
        known[key] = _recognised(net, chain, tables, shape)
    if (found := known[key]) is not None:
        place, interleaved, rotated = found
        nodes = chain.up_to(chain.nodes[place])
        attrs = {"interleaved": int(interleaved), "rotated": rotated}
        chains.replace(net, nodes, Node(ROPE, [source], [nodes[-1].output], attrs, nodes[-1].name))


def _near(net: Net, source: str) -> Iterator[Node]:
    """Yield the readers of a value, and of slices of it."""
    for reader in net.readers(source):
        yield reader
        if reader.op in ("Slice", "Split", "Gather", "Reshape"):
            for name in reader.outputs:
                yield from net.readers(name)


def _is_table(net: Net, node: Node, source: str) -> bool:
    return any(net.values[name].level <= Level.LOOKED_UP and not net.values[name].is_single for name in node.inputs)


def _takes(net: Net, node: Node, inside: set[str]) -> bool:
    if node.domain or node.op not in MOVES or not any(name in inside for name in node.inputs):
        return False
    if node.op in ("Mul", "Add", "Sub", "Concat"):
        return all(name in inside or net.values[name].level <= Level.LOOKED_UP for name in node.inputs) and (
            node.op != "Concat" or all(name in inside for name in node.inputs)
        )
    return all(name in inside or not name or net.values[name].data is not None for name in node.inputs)


def _tables(net: Net, chain: NodeChain) -> list[str]:
    """Return the tables of cosines and sines: the factors other than single numbers."""
    inside = {name for node in chain.nodes for name in node.outputs} | {chain.source}
    outer = [name for node in chain.nodes if node.op == "Mul" for name in node.inputs if name not in inside]
    return list(dict.fromkeys(name for name in outer if not chains.is_number(net, name)))


def _signature(net: Net, chain: NodeChain, tables: list[str]) -> tuple[Any, ...]:
    """Return a key equal for chains of the same form, as layers repeat."""
    numbers: dict[str, Any] = {chain.source: ("x", net.values[chain.source].shape)}
    numbers |= {name: ("t", place, net.values[name].shape) for place, name in enumerate(tables)}
    parts: list[Any] = []
    for place, node in enumerate(chain.nodes):
        given = []
        for name in node.inputs:
            data = net.values[name].data if name else None
            given.append(numbers.get(name) or (None if data is None else (data.shape, data.tobytes()[:256])))
        parts.append((node.op, repr(sorted(node.attrs.items())), tuple(given), _closed_at(net, chain, node)))
        numbers |= {name: (place, index) for index, name in enumerate(node.outputs)}
    return tuple(parts)


def _closed_at(net: Net, chain: NodeChain, node: Node) -> bool:
    return chains.closed(net, chain.up_to(node))


def _recognised(net: Net, chain: NodeChain, tables: list[str], shape: tuple[int, ...]) -> tuple[int, bool, int] | None:
    """Return (index of the last node, pairs are neighbours, rotated columns), None if the chain is not a rotation."""
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    places = [place for place, node in enumerate(chain.nodes) if net.values[node.output].shape == shape]
    places = [place for place in reversed(places) if _closed_at(net, chain, chain.nodes[place])]
    for chosen in product((COSINE, SINE), repeat=len(tables)):
        if len(set(chosen)) < 2:
            continue
        values = {chain.source: x} | {
            name: np.full(net.values[name].shape or (), number, np.float32)
            for name, number in zip(tables, chosen, strict=True)
        }
        if not _run(net, chain, values):
            return None
        for place in places:
            y = values.get(chain.nodes[place].output)
            turned = None if y is None or y.shape != x.shape else _turned(x, y)
            if turned is not None:
                return (place, *turned)
    return None


def _turned(x: Array, y: Array) -> tuple[bool, int] | None:
    changed = np.flatnonzero(np.abs(y - x).reshape(-1, x.shape[-1]).max(axis=0) > 1e-3)
    if not changed.size or (rotated := int(changed[-1]) + 1) % 2:
        return None
    for interleaved in (False, True):
        even = np.arange(0, rotated, 2) if interleaved else np.arange(rotated // 2)
        odd = even + (1 if interleaved else rotated // 2)
        wanted = x.copy()
        wanted[..., even] = COSINE * x[..., even] - SINE * x[..., odd]
        wanted[..., odd] = COSINE * x[..., odd] + SINE * x[..., even]
        if np.allclose(wanted, y, atol=1e-3):
            return interleaved, rotated
    return None


def _run(net: Net, chain: NodeChain, values: dict[str, Array]) -> bool:
    """Compute the chain on samples into ``values``; return False for a node of unknown form."""
    for node in chain.nodes:
        given = [values[name] if name in values else net.values[name].data if name else None for name in node.inputs]
        if any(name and array is None for name, array in zip(node.inputs, given, strict=True)):
            continue
        try:
            results = _moved(node, given, net)
        except (ValueError, IndexError, TypeError, KeyError):
            return False
        values |= dict(zip(node.outputs, results, strict=False))
    return True


def _moved(node: Node, given: list[Any], net: Net) -> list[Array]:
    """Return the results of one node; shapes are those inferred."""
    x, shapes = given[0], [net.values[name].shape or () for name in node.outputs]
    match node.op:
        case "Mul" | "Add" | "Sub" | "Neg":
            work = {"Mul": np.multiply, "Add": np.add, "Sub": np.subtract}
            return [-x if node.op == "Neg" else work[node.op](x, given[1])]
        case "Concat":
            return [np.concatenate(given, axis=node.attrs["axis"])]
        case "Transpose":
            return [np.transpose(x, node.attrs.get("perm"))]
        case "Gather":
            return [np.take(x, given[1], axis=node.attrs.get("axis", 0))]
        case "Split":
            axis = node.attrs.get("axis", 0)
            ends = np.cumsum([shape[axis] for shape in shapes])[:-1]
            return list(np.split(x, ends, axis=axis))
        case "Slice":
            return [
                x[slices(node, [None if array is None else array.reshape(-1).tolist() for array in given[1:]], x.ndim)]
            ]
    return [x.reshape(shapes[0])]  # Reshape, Squeeze, Unsqueeze, Identity, Cast


def slices(node: Node, given: list[list[int] | None], rank: int) -> tuple[slice, ...]:
    """Return the range that a Slice takes of each axis; its bounds are operands, or attributes before version 10."""
    starts, ends, axes, steps = (*given, None, None, None, None)[:4] if given else (None,) * 4
    starts = node.attrs["starts"] if starts is None else starts
    ends = node.attrs["ends"] if ends is None else ends
    axes = node.attrs.get("axes") if axes is None else axes
    taken = [slice(None)] * rank
    for place, axis in enumerate(range(len(starts)) if axes is None else axes):
        step = steps[place] if steps else 1
        end: int | None = int(ends[place])
        taken[int(axis) % rank] = slice(
            int(starts[place]), None if step < 0 and end is not None and end < -(1 << 30) else end, int(step)
        )
    return tuple(taken)
