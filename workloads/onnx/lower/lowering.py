"""One lowering: arrays of values are made at first use, operators are added in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sim.base.errors import InputError
from sim.graph import Tensor, View
from workloads.onnx.lower.places import Places, order_of
from workloads.onnx.lower.windows import NoWindow, element_views
from workloads.onnx.net import Level, Net, Node, Value
from workloads.onnx.strided import Strided

CHAIN = ("Transpose", "Reshape", "Cast", "Identity", "Mul", "Sub", "Squeeze", "Unsqueeze", "Expand", "Slice")
"""Operators between a weight and the product that reads it: its layout and its coding."""


IMAGES = ("Conv", "ConvTranspose", "GlobalAveragePool", "MaxPool", "AveragePool", "BatchNormalization")
"""Operators that read the channels of a pixel as a row."""

MISFITS = (AssertionError, ArithmeticError, LookupError, TypeError, ValueError, NoWindow)
"""Errors that rules raise for operators whose operands or attributes are not those of the standard."""


def _cut(part: list[Any] | dict[Any, Any], mark: int) -> None:
    """Remove the entries of a list or a table after a mark."""
    if isinstance(part, list):
        del part[mark:]
    else:
        for name in list(part)[mark:]:
            del part[name]


class NodeLowering(Places):
    """Lowers the nodes of a network with rules by operator."""

    def __init__(self, net: Net, name: str, dtype: str, rules: Mapping[str, Callable[[NodeLowering, Node], None]]):
        super().__init__(net, name, dtype)
        self.rules = rules
        self.done: set[int] = set()

    def run(self) -> None:
        """Lower all computed nodes; look-ups are lowered when a computed node reads them."""
        for node in self.net.nodes:
            if any(self.net.values[name].level is Level.COMPUTED for name in node.outputs):
                self.node(node)
        for name in self.net.outputs:  # a network of look-ups only
            if self.net.values[name].level is Level.LOOKED_UP:
                self.array(name)

    def node(self, node: Node) -> None:
        """Lower one node, once."""
        if id(node) in self.done:
            return
        self.done.add(id(node))
        marks = [len(part) for part in self._parts()]
        try:
            try:
                self.rules.get(node.op, self.rules[""])(self, node)
            except NoWindow:  # strides cannot express it, so the host runs it
                for part, mark in zip(self._parts(), marks, strict=True):
                    _cut(part, mark)
                self.rules[""](self, node)
        except MISFITS as error:
            shapes = ", ".join(str(list(value.shape or ())) for value in self.net.known(node))
            raise InputError(f"operator {node.name!r} ({node.op}) of {shapes}: its operands are illegal") from error

    def _parts(self) -> tuple[Any, ...]:
        return self.graph.ops, self.graph.tensors, self.tensors, self.arrays

    def array(self, name: str) -> Strided:
        """Return the array of a value; a constant becomes a weight, a given value an input."""
        if name in self.arrays:
            return self.arrays[name]
        value = self.net.values[name]
        if value.level is Level.CONSTANT:
            self.arrays[name] = self.weight(value)
        elif value.level is Level.GIVEN:
            self.arrays[name] = self.given(value)
        elif name in self.net.inputs:
            self.arrays[name] = self.input(value)
        else:
            maker = self.net.makers[name]
            self.done.discard(id(maker))  # lowered before, for a reader that was then run on the host
            self.node(maker)
        return self.arrays[name]

    def input(self, value: Value) -> Strided:
        """Return an input of the network; images are stored pixel by pixel."""
        shape = value.shape or ()
        images = any(reader.op in IMAGES for reader in self.net.readers(value.name))
        order = [0, *range(2, len(shape)), 1] if images and len(shape) > 2 else list(range(len(shape)))
        tensor = self.tensor(value.name, [shape[axis] for axis in order], "input")
        return Strided.dense(tensor.name, shape, order)

    def root(self, name: str) -> str:
        """Return the initializer that a constant is computed from: the largest of several."""
        while (maker := self.net.makers.get(name)) is not None and maker.inputs:
            known = [self.net.values[given] for given in maker.inputs if given]
            name = max(known, key=lambda value: value.elements).name
        return name

    def weight(self, value: Value, dtype: str | None = None) -> Strided:
        """Return a constant as a tensor of weights, stored as its readers read it.

        A table whose readers need different layouts is stored once, as in the file.
        """
        root = self.root(value.name)
        if root != value.name and not self._alone(value.name):
            base = self.arrays.get(root) or self.weight(self.net.values[root], dtype)
            self.arrays[root] = base
            array = self._through(value.name, base)
            if array is not None:
                return array
        shape = value.shape or ()
        return Strided.dense(self._stored(value, shape, dtype).name, shape)

    def turned(self, name: str) -> Strided:
        """Return a matrix transposed; weights without other readers are stored so."""
        value = self.net.values[name]
        if value.level is not Level.CONSTANT or name in self.arrays or not self._alone(name):
            return self.array(name).transposed([1, 0])
        shape = tuple(reversed(value.shape or ()))
        self.arrays[name] = Strided.dense(self._stored(value, shape, None).name, shape).transposed([1, 0])
        return self.arrays[name].transposed([1, 0])

    def _stored(self, value: Value, shape: tuple[int, ...], dtype: str | None) -> Tensor:
        """Add the tensor of a constant under the name of its initializer."""
        root = self.root(value.name)
        kind = "weight" if root in self.net.weights or value.name in self.net.weights else "input"
        return self.tensor(root.lstrip("/"), shape, kind, dtype)

    def _alone(self, name: str) -> bool:
        """Return whether each value from a constant back to its initializer has one reader."""
        while True:
            if len(self.net.readers(name)) > 1:
                return False
            maker = self.net.makers.get(name)
            if maker is None or not maker.inputs:
                return True
            name = max(
                (self.net.values[given] for given in maker.inputs if given), key=lambda value: value.elements
            ).name

    def _through(self, name: str, base: Strided) -> Strided | None:
        """Return a constant as a window of its initializer's tensor."""
        maker = self.net.makers.get(name)
        if maker is None:
            return base
        source = max((self.net.values[given] for given in maker.inputs if given), key=lambda value: value.elements)
        inner = self._through(source.name, base)
        shape = self.net.values[name].shape or ()
        if inner is None:
            return None
        if maker.op == "Transpose":
            return inner.transposed(order_of(maker, len(shape)))
        return (
            inner if shape == source.shape else inner.reshaped(shape) if maker.op != "Expand" else inner.spread(shape)
        )

    def sums_row(self, name: str, shape: Sequence[int]) -> Strided:
        """Return the addend of the sums of a product, in their type, broadcast to its shape."""
        value = self.net.values[name]
        if name not in self.arrays:
            if value.level is Level.CONSTANT:
                self.arrays[name] = self.weight(value, self.graph.sums)
            else:
                self.arrays[name] = self.given(value, self.graph.sums)
        return self.arrays[name].spread(shape)

    def apply(
        self,
        kind: str,
        node: Node,
        windows: Iterator[tuple[View, ...]] | Sequence[tuple[View, ...]],
        name: str = "",
        **attrs: Any,
    ) -> None:
        """Add an operator for each tuple of windows (operands, result last)."""
        found = list(windows)
        at = self.at(name or node.name)
        for place, views in enumerate(found):
            each = f"{at}.{place}" if len(found) > 1 else at
            self.graph.op(each, kind, list(views[:-1]), views[-1], self.layer(node), **attrs)

    def copied(self, node: Node, source: Strided, target: Strided | None = None, name: str = "") -> Strided:
        """Return a copy of an array: by default dense in a new tensor."""
        shape = source.shape
        if target is None:
            target = self.own(f"{node.output.lstrip('/')}.copied", shape)
        try:
            self.apply(
                "copy", node, list(element_views((source, target), self.width(target))), name or f"{node.name}.copy"
            )
        except NoWindow:
            try:
                self.foreign(node, [source], target, "rearrange", name or f"{node.name}.rearrange")
            except NoWindow:  # part of a row that other operators also write: element by element
                views = element_views((source, target), self.width(target), single=True)
                self.apply("copy", node, list(views), name or f"{node.name}.copy")
        return target

    def foreign(self, node: Node, sources: Sequence[Strided], target: Strided, what: str, name: str = "") -> None:
        """Add an operator that the host runs at the price of `sim.graph.kinds.foreign`."""
        views = [self.covering(source) for source in sources]
        at = self.at(name or node.name)
        self.graph.op(at, "foreign", views, self.whole(target), self.layer(node), what=what)

    def covering(self, array: Strided) -> View:
        """Return a window of an array's tensor with as many elements as the array, or else all of the tensor."""
        tensor = self.tensors[array.tensor]
        try:
            (views,) = element_views((array,), self.width(array))
            return views[0]
        except (NoWindow, ValueError):
            return View.whole(tensor)

    def whole(self, array: Strided) -> View:
        """Return the window of a result. Raises NoWindow if there is none."""
        ((view,),) = list(element_views((array,), self.width(array)))
        return view

    def relu_behind(self, node: Node) -> bool:
        """Return whether the only reader of a node's result is a ReLU, which its operator then applies."""
        reader = self.net.sole_reader(node.output)
        if reader is None or reader.op != "Relu":
            return False
        self.done.add(id(reader))
        node.outputs = [reader.output, *node.outputs[1:]]
        return True

    def number(self, name: str) -> np.ndarray[Any, Any] | None:
        """Return the elements of a small constant."""
        return self.net.values[name].data if name else None
