"""The network of an ONNX file between reading and lowering: nodes over named values of known shapes.

The level of a value decides its place in the graph (`Level`): constants are weights, values computed from ids and masks
alone are inputs, rows of tables are looked up, and all others are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Level(IntEnum):
    """Inputs that a value depends on: the highest level among its operands.

    CONSTANT: initializers; GIVEN: integer inputs (ids, positions) and masks; LOOKED_UP: rows of a table at given ids;
    COMPUTED: anything else.
    """

    CONSTANT = 0
    GIVEN = 1
    LOOKED_UP = 2
    COMPUTED = 3


@dataclass(eq=False)
class Value:
    """A tensor of the file. ``data``: its elements if they are known and few; ``load`` reads those of a weight."""

    name: str
    shape: tuple[int, ...] | None
    dtype: int
    level: Level
    data: Array | None = None
    load: Callable[[], Array] | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape or (), dtype=object))

    @property
    def number(self) -> float | None:
        """The value's number, None if it has several or is unknown."""
        return float(self.data.reshape(-1)[0]) if self.data is not None and self.data.size == 1 else None

    @property
    def is_single(self) -> bool:
        """Whether it has exactly one element."""
        return self.elements == 1


@dataclass(eq=False)
class Node:
    """An operator of the file. An input that is left out is ''."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]


@dataclass
class Net:
    """Nodes in an executable order, and values by name; ``inputs`` and ``outputs``: those of the network.

    ``integer_sums``: results of integer products that are still to be multiplied by their scales; ``weights``:
    initializers.
    """

    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    makers: dict[str, Node] = field(default_factory=dict)
    integer_sums: set[str] = field(default_factory=set)
    weights: set[str] = field(default_factory=set)
    _readers: dict[str, list[Node]] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Append a node."""
        self.nodes.append(node)
        self.enter(node)

    def enter(self, node: Node) -> None:
        """Enter a node into the tables."""
        for name in node.outputs:
            if name:
                self.makers[name] = node
        for name in dict.fromkeys(node.inputs):
            if name:
                self._readers.setdefault(name, []).append(node)

    def readers(self, name: str) -> list[Node]:
        """Return the nodes that read a value."""
        return self._readers.get(name, [])

    def sole_reader(self, name: str) -> Node | None:
        """Return the only node that reads a value; None if there are several, or the value is an output."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def known(self, node: Node) -> Iterator[Value]:
        """Yield the inputs of a node that are not left out."""
        return (self.values[name] for name in node.inputs if name)

    def remove(self, node: Node) -> None:
        """Take a node out of the tables; `swept` takes it out of the order."""
        for name in dict.fromkeys(node.inputs):
            if name and node in self._readers.get(name, ()):
                self._readers[name].remove(node)
        for name in node.outputs:
            if self.makers.get(name) is node:
                del self.makers[name]

    def put(self, old: Node, new: Node) -> None:
        """Replace a node by another, which computes the same value."""
        at = self.nodes.index(old)
        self.remove(old)
        self.nodes[at] = new
        self.enter(new)

    def alias(self, name: str, source: str) -> None:
        """Let all readers of a value read another one."""
        for node in list(self.readers(name)):
            node.inputs = [source if given == name else given for given in node.inputs]
            if node not in self._readers.setdefault(source, []):
                self._readers[source].append(node)
        self._readers.pop(name, None)
        self.outputs = [source if given == name else given for given in self.outputs]

    def sweep(self) -> None:
        """Remove the nodes that no output of the network depends on."""
        alive: set[int] = set()
        waiting = list(self.outputs)
        while waiting:
            node = self.makers.get(waiting.pop())
            if node is not None and id(node) not in alive:
                alive.add(id(node))
                waiting += [name for name in node.inputs if name]
        for node in self.nodes:
            if id(node) not in alive:
                self.remove(node)
        self.nodes = [node for node in self.nodes if id(node) in alive]
