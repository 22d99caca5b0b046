"""Places of values: tensors of the graph under construction, and windows of them.

A result is stored as its reader needs it: before a Transpose in the transposed order, before a Concat in its part of
the joined tensor, so that neither moves an element.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from sim.graph import Tensor
from workloads.networks.builder import Network
from workloads.onnx.net import Net, Node, Value
from workloads.onnx.strided import Strided

LAYER = re.compile(r"(?:^|[./_])(?:layers?|h|blocks?|layer_module)[._/](\d+)(?=[./_]|$)")
"""A layer's number in the name of a node, as exporters write module paths."""


class Places:
    """Tensors and windows of the values of one network."""

    def __init__(self, net: Net, name: str, dtype: str):
        self.net = net
        self.graph = Network(name, dtype)
        self.arrays: dict[str, Strided] = {}
        self.tensors: dict[str, Tensor] = {}
        self.named: set[str] = set()

    def tensor(self, name: str, shape: Sequence[int], kind: str = "activation", dtype: str | None = None) -> Tensor:
        """Add a tensor of rows and columns; its name is numbered if it is in use."""
        cols = shape[-1] if shape else 1
        rows = 1
        for size in shape[:-1]:
            rows *= size
        flat = (rows, cols) if len(shape) > 1 else (cols,)
        while name in self.tensors:
            name = f"{name}'"
        self.tensors[name] = self.graph.tensor(name, flat, dtype, kind)
        return self.tensors[name]

    def at(self, name: str) -> str:
        """Return a unique operator name: the node's without a leading slash, numbered if needed."""
        wanted = found = name.lstrip("/") or "operator"
        number = 1
        while found in self.named:
            number += 1
            found = f"{wanted}.{number}"
        self.named.add(found)
        return found

    def layer(self, node: Node) -> int | None:
        """Return the layer in a node's name."""
        found = LAYER.search(node.name)
        return int(found[1]) if found else None

    def width(self, array: Strided) -> int:
        """Return the columns of the tensor that an array is a window of."""
        return self.tensors[array.tensor].shape[-1]

    def own(self, name: str, shape: Sequence[int], like: Strided | None = None, dtype: str | None = None) -> Strided:
        """Return a new tensor as an array, its axes in memory in the order of those of ``like``."""
        order = order_like(like, shape) if like is not None and len(like.axes) == len(shape) else None
        order = list(range(len(shape))) if order is None else order
        inner = self._columns(shape, order, like)
        tensor = self.tensor(name, (*_outer(shape, inner), inner), dtype=dtype)
        return Strided.dense(tensor.name, shape, order)

    def _columns(self, shape: Sequence[int], order: Sequence[int], like: Strided | None) -> int:
        """Return the columns of a new tensor: those of the tensor it is modelled on, or its innermost axis."""
        total = 1
        for size in shape:
            total *= size
        if (
            like is not None
            and like.tensor
            and (width := self.width(like)) > 1
            and total % width == 0
            and list(order) != sorted(order)
        ):
            return width
        return next((shape[axis] for axis in reversed(order) if shape[axis] > 1), 1)

    def result(self, node: Node, like: Strided | None = None, place: int = 0, unit: int = -1) -> Strided:
        """Return the place of a node's result; its axis ``unit`` has stride 1."""
        name = node.outputs[place]
        if name in self.arrays:
            return self.arrays[name]
        shape = self.net.values[name].shape or ()
        if like is not None and like.tensor and unit == -1 and len(like.axes) == len(shape):
            order = order_like(like, shape) or list(range(len(shape)))
            unit = next((axis for axis in reversed(order) if shape[axis] > 1), -1)
        wanted = self._wanted(name, like, unit)
        found = wanted.array() if wanted else None
        if found is None or wanted is None or not _lies_in_a_run(found, unit):
            found = self.own(name.lstrip("/"), shape, like, self._dtype(node, name))
            self.arrays[name] = found
        else:
            wanted.keep(self)
        return self.arrays[name]

    def _dtype(self, node: Node, name: str) -> str | None:
        """Return the type of sums for products that only leave the network (scores of words or classes)."""
        leaves = name in self.net.outputs and not self.net.readers(name)
        return self.graph.sums if leaves and node.op in ("MatMul", "Gemm") else None

    def _wanted(self, name: str, like: Strided | None, unit: int) -> _Chain | None:
        """Return the nodes after a value that move no element if it is stored as they need it; None without any.

        ``like``: an array in whose order of axes the value would be stored otherwise; ``unit``: its axis of stride 1.
        """
        chain = _Chain(name, self.net.values[name].shape or ())
        while (reader := self.net.sole_reader(name)) is not None and reader.output not in self.arrays:
            moves = reader.op in ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
            joins = reader.op == "Concat" and reader.inputs.count(name) == 1
            if not moves and not joins:
                break
            chain.steps.append((reader, name, self.net.values[name].shape or ()))
            name = reader.output
            if joins:
                break
        else:
            if reader is not None and reader.op == "Concat" and reader.inputs.count(name) == 1:
                chain.steps.append((reader, name, self.net.values[name].shape or ()))
        if not any(reader.op in ("Transpose", "Concat") for reader, _, _ in chain.steps):
            return None  # all orders of elements are equally good
        last, source, _ = chain.steps[-1]
        if last.op == "Concat":
            chain.end = self.part_of(last, source, self._order(chain, last, like, unit))
        if chain.end is None and last.op == "Concat":
            return None
        if chain.end is None:
            chain.name, chain.shape = last.output, self.net.values[last.output].shape or ()
            chain.end = Strided.dense("", chain.shape)
        return chain

    def _order(self, chain: _Chain, concat: Node, like: Strided | None, unit: int) -> list[int] | None:
        """Return the order of a joined tensor's axes in which a part can be stored in place."""
        shape = self.net.values[concat.output].shape or ()
        source = chain.steps[-1][1]
        for order in filter(None, (chain.order(like), list(range(len(shape))))):
            whole = Strided.dense("", shape, order)
            start, size = self._range(concat, source)
            chain.end = whole.sliced(concat.attrs["axis"] % len(shape), start, size)
            made = chain.array()
            if made is not None and _lies_in_a_run(made, unit):
                return order
        return None

    def _range(self, concat: Node, name: str) -> tuple[int, int]:
        """Return the start and the size of a part of a joined tensor."""
        axis = concat.attrs["axis"] % len(self.net.values[concat.output].shape or ())
        start = 0
        for given in concat.inputs:
            size = (self.net.values[given].shape or ())[axis]
            if given == name:
                return start, size
            start += size
        raise KeyError(name)

    def part_of(self, concat: Node, name: str, order: Sequence[int] | None = None) -> Strided | None:
        """Return the part of a joined tensor for a value. ``order``: of its axes in memory, if it is new."""
        if concat.output not in self.arrays:
            shape = self.net.values[concat.output].shape or ()
            order = list(range(len(shape)) if order is None else order)
            behind = order[order.index(concat.attrs["axis"] % len(shape)) + 1 :]
            cols = prod(shape[axis] for axis in behind) if behind else shape[order[-1]]
            tensor = self.tensor(concat.output.lstrip("/"), (*_outer(shape, cols), cols))
            whole = Strided.dense(tensor.name, shape, order)
            if self._cache(concat):
                self._as_state(whole.tensor)
            self.arrays[concat.output] = whole
        whole = self.arrays[concat.output]
        return whole.sliced(concat.attrs["axis"] % len(whole.axes), *self._range(concat, name))

    def _cache(self, concat: Node) -> bool:
        """Return whether a Concat appends to a cache: its first part is an input without other readers."""
        first = concat.inputs[0]
        return first in self.net.inputs and len(self.net.readers(first)) == 1 and len(concat.inputs) == 2

    def _as_state(self, name: str) -> None:
        old = self.tensors[name]
        new = Tensor(old.name, old.shape, old.dtype, "state")
        self.tensors[name] = new
        self.graph.tensors[self.graph.tensors.index(old)] = new

    def given(self, value: Value, dtype: str | None = None) -> Strided:
        """Return an input tensor for a value that is known or prepared outside."""
        tensor = self.tensor(value.name.lstrip("/"), value.shape or (1,), "input", dtype)
        return Strided.dense(tensor.name, value.shape or ())


@dataclass
class _Chain:
    """Nodes that move elements, from a value on: (node, operand, operand's shape); ``end``: place of the last result.

    ``end`` without a tensor: in a new one, which `keep` adds.
    """

    name: str
    shape: tuple[int, ...]
    steps: list[tuple[Node, str, tuple[int, ...]]] = field(default_factory=list)
    end: Strided | None = None
    places: dict[str, Strided] = field(default_factory=dict)

    def order(self, like: Strided | None) -> list[int] | None:
        """Return the order of axes in which the joined tensor has the layout of its part; None: unchanged."""
        if len(self.steps) > 1 and (maker := self.steps[-2][0]).op == "Transpose":
            turned = order_of(maker, len(self.steps[-2][2]))
            return sorted(range(len(turned)), key=lambda axis: turned[axis])
        if len(self.steps) == 1 and like is not None and len(like.axes) == len(self.steps[0][2]):
            return order_like(like, self.steps[0][2])
        return None

    def array(self) -> Strided | None:
        """Return the resulting place of the first value; None if some step cannot be undone."""
        at = self.end
        for node, source, shape in reversed(self.steps):
            if at is None:
                return None
            if node.op != "Concat":
                self.places[node.output] = at
                at = at.restored(order_of(node, len(shape))) if node.op == "Transpose" else at.reshaped(shape)
            if at is not None:
                self.places[source] = at
        return at

    def keep(self, places: Places) -> None:
        """Keep the places, in a new tensor if they have none."""
        tensor = ""
        if self.end is not None and not self.end.tensor:
            tensor = places.own(self.name.lstrip("/"), self.shape).tensor
        for name, array in self.places.items():
            places.arrays[name] = replace(array, tensor=tensor or array.tensor)


def _lies_in_a_run(array: Strided, unit: int) -> bool:
    columns = array.axes[unit] if array.axes else ()
    return not columns or (len(columns) == 1 and columns[0][1] == 1)


def _outer(shape: Sequence[int], inner: int) -> tuple[int, ...]:
    total = 1
    for size in shape:
        total *= size
    return () if len(shape) < 2 and total == inner else (total // inner,)


def order_like(like: Strided, shape: Sequence[int]) -> list[int] | None:
    """Return the order in memory of the axes of an array; None if one of them repeats.

    Axes of one element stay in place.
    """
    strides = [axis[0][1] if axis else 0 for axis in like.axes]
    if not all(stride for stride, size in zip(strides, shape, strict=True) if size > 1):
        return None
    turned = iter(sorted((axis for axis, size in enumerate(shape) if size > 1), key=lambda axis: -strides[axis]))
    return [next(turned) if size > 1 else axis for axis, size in enumerate(shape)]


def order_of(node: Node, rank: int) -> list[int]:
    """Return the order of axes of a Transpose."""
    return list(node.attrs.get("perm") or reversed(range(rank)))
