"""A workload as a graph of operators over named tensors, independent of hardware.

Building a `Graph` checks every rule and raises one `InputError` that lists all broken ones, so every `Graph` is valid.
Shapes, strides and offsets count elements, never bytes; C[M,N] = A[M,K] x B[K,N].
"""

from __future__ import annotations

import graphlib
import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from sim.base.errors import InputError, demand, did_you_mean
from sim.base.text import name_problem
from sim.graph.op import Op
from sim.graph.overlap import meet
from sim.graph.rules import order_problems, rule_problems, writers
from sim.graph.tensors import Tensor


@dataclass(frozen=True)
class Graph:
    """Operators in an order in which they can run. Raises `InputError` listing every broken rule.

    ``sizes``: the builder's arguments (seq, batch, ...), which distinguish graphs of one name in reports; may be empty.
    """

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    sizes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        demand(f"graph {self.name}: tensors", self.tensors, Mapping, "a mapping of names to Tensors")
        demand(f"graph {self.name}: ops", self.ops, Iterable, "a tuple of Ops")
        for tensor in self.tensors.values():
            demand(f"graph {self.name}: tensors", tensor, Tensor, "a Tensor")
        for op in self.ops:
            demand(f"graph {self.name}: ops", op, Op, "an Op")
        self._fill(self.tensors, self.ops, rule_problems(self.tensors, tuple(self.ops)))

    def _fill(self, tensors: Mapping[str, Tensor], ops: Iterable[Op], problems: Sequence[str]) -> None:
        """Set tensors and operators, of which all rules but those of order were checked, with ``problems``."""
        object.__setattr__(self, "tensors", MappingProxyType(dict(tensors)))
        object.__setattr__(self, "ops", tuple(ops))
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))
        problems = problems or order_problems(self.ops, self.tensors)
        bad = name_problem(self.name)
        problems = [f"its name {bad}", *problems] if bad else problems
        if problems:
            shown = f"{self.name!r:.60}" if bad else self.name
            raise InputError([f"graph {shown}: {problem}" for problem in problems])

    def __reduce__(self) -> tuple[type[Graph], tuple[Any, ...]]:
        """Pickle by value: a read-only mapping cannot be pickled."""
        return Graph, (self.name, dict(self.tensors), self.ops, dict(self.sizes))

    def __hash__(self) -> int:
        """Hash of names and shapes, which distinguish graphs in practice, in a fraction of the time of `key`."""
        return hash((self.name, *((tensor.name, tensor.shape) for tensor in self.tensors.values())))

    @classmethod
    def from_ops(cls, name: str, tensors: Iterable[Tensor], ops: Iterable[Op]) -> Graph:
        """Build a graph from operators in any order; among operators whose inputs are ready the given order is kept.

        Raises InputError on duplicate tensor names, on a cycle (which it names) and on every rule of `Graph`.
        """
        tensors, ops = list(tensors), list(ops)
        for what, given, kind in (("tensors", tensors, Tensor), ("ops", ops, Op)):
            for place, one in enumerate(given):
                demand(f"graph {name}: {what}[{place}]", one, kind, f"a {kind.__name__}")
        names = [tensor.name for tensor in tensors]
        if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
            raise InputError(f"graph {name}: tensors named more than once: {', '.join(map(repr, repeated))}")
        by_name = dict(zip(names, tensors, strict=True))
        problems = rule_problems(by_name, ops)
        graph = object.__new__(cls)
        object.__setattr__(graph, "name", name)
        object.__setattr__(graph, "sizes", {})
        graph._fill(by_name, ops if problems else _sorted(name, ops), problems)  # only valid windows can be sorted
        return graph

    def sized(self, sizes: Mapping[str, Any]) -> Graph:
        """Return the same graph with other ``sizes``; its rules are not checked again."""
        other = object.__new__(type(self))  # copy() would check them: graphs are pickled by value
        other.__dict__.update(vars(self))
        object.__setattr__(other, "sizes", MappingProxyType(dict(sizes)))
        return other

    @property
    def size_text(self) -> str:
        """The sizes as text, e.g. "seq=128,batch=1"; without sizes the shapes of the inputs ("input=128x768")."""
        shapes = {
            tensor.name: "x".join(map(str, tensor.shape)) for tensor in self.tensors.values() if tensor.kind == "input"
        }
        return ",".join(f"{name}={value}" for name, value in (self.sizes or shapes).items())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all matmuls and convolutions."""
        return sum(op.macs for op in self.ops)

    @property
    def parameters(self) -> int:
        """Number of weights (elements of all tensors of kind "weight")."""
        return sum(tensor.elements for tensor in self.tensors.values() if tensor.kind == "weight")

    @cached_property
    def key(self) -> str:
        """SHA-256 of the whole content except ``sizes``: a pruned graph equals the small one."""
        content = {name: part for name, part in self.to_dict().items() if name != "sizes"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def op(self, name: str) -> Op:
        """Return the operator called ``name``. Raises InputError for an unknown name."""
        if name not in self._by_name:
            raise InputError(f"graph {self.name}: no operator {name!r}{did_you_mean(name, self._by_name)}")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Op]:
        return {op.name: op for op in self.ops}

    @cached_property
    def _writers(self) -> dict[str, tuple[Op, ...]]:
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            found.setdefault(op.output.tensor, []).append(op)
        return {name: tuple(by) for name, by in found.items()}

    @cached_property
    def _readers(self) -> dict[str, tuple[Op, ...]]:
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(view.tensor for view in op.inputs):
                found.setdefault(name, []).append(op)
        return {name: tuple(by) for name, by in found.items()}

    def multiplies_weights(self, op: Op) -> bool:
        """Return whether an operator is a matmul whose second operand is a weight."""
        return op.is_matmul and self.tensors[op.inputs[1].tensor].kind == "weight"

    def producers(self, tensor: str) -> tuple[Op, ...]:
        """Return the operators that write ``tensor``, in order."""
        return self._writers.get(tensor, ())

    def consumers(self, tensor: str) -> tuple[Op, ...]:
        """Return the operators that read ``tensor`` as an input, in order."""
        return self._readers.get(tensor, ())

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain lists and dicts; `workloads.graph_file.from_dict` reads it back."""
        return {
            "name": self.name,
            **({"sizes": dict(self.sizes)} if self.sizes else {}),
            "tensors": [{**vars(tensor), "shape": list(tensor.shape)} for tensor in self.tensors.values()],
            "ops": [
                {
                    **vars(op),
                    "inputs": [dict(vars(view)) for view in op.inputs],
                    "output": dict(vars(op.output)),
                    "attrs": dict(op.attrs),
                }
                for op in self.ops
            ],
        }

    def __str__(self) -> str:
        """Return a table, one line an operator: name, kind, shapes, types, MACs."""
        rows = [("operator", "kind", "shapes", "types", "MACs")]
        for op in self.ops:
            views = (*op.inputs, op.output)
            shapes, dtypes = [str(v) for v in views], [self.tensors[v.tensor].dtype for v in views]
            rows.append((op.name, op.kind, _arrow(shapes), _arrow(dtypes), f"{op.macs:,}" if op.macs else ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        pattern = "  ".join([*(f"{{:<{width}}}" for width in widths[:-1]), f"{{:>{widths[-1]}}}"])
        title = f"{self.name}: {len(self.ops)} operators, {self.macs:,} MACs, {self.parameters:,} weights"
        return "\n".join([title, *(pattern.format(*row).rstrip() for row in rows)])


def _arrow(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} -> {parts[-1]}"


def _sorted(name: str, ops: Sequence[Op]) -> list[Op]:
    """Return ``ops`` in topological order, earliest given first; a cycle is an InputError naming it."""
    written = writers(ops)
    sorter = graphlib.TopologicalSorter[int]()
    for index, op in enumerate(ops):
        read = [(view, *write) for view in op.inputs for write in written.get(view.tensor, [])]
        sorter.add(index, *(at for view, at, out in read if meet(view, out)))
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        path = " -> ".join(ops[index].name for index in error.args[1])
        raise InputError(f"graph {name}: operators depend on each other in a cycle: {path}") from None
    order: list[Op] = []
    ready = list(sorter.get_ready())
    heapq.heapify(ready)
    while ready:
        index = heapq.heappop(ready)
        order.append(ops[index])
        sorter.done(index)
        for released in sorter.get_ready():
            heapq.heappush(ready, released)
    return order
