"""The first printable door: a workload as a graph of operators over named tensors. It knows no hardware.

A `Graph` is valid from the moment it exists: building one checks every rule and raises one `InputError` that
lists all broken ones. Shapes, strides and offsets count elements, never bytes; C[M,N] = A[M,K] x B[K,N].
"""

from __future__ import annotations

import graphlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.graph.rules import ACCUMULATOR as ACCUMULATOR
from sim.graph.rules import ATTRIBUTES, DTYPE_BYTES, meet, order_problems, rule_problems, writers


@dataclass(frozen=True)
class Tensor:
    """A dense row-major tensor. ``kind``: "input", "weight" (constant) or "activation" (computed)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.elements * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True)
class View:
    """A window of ``rows`` x ``cols`` elements of a tensor, repeated ``batch`` times; strides count elements.

    Element (b, r, c) is element ``offset + b*batch_stride + r*row_stride + c`` of the flat tensor. Head h of
    Q[l, d] is ``View("Q", batch=heads, rows=l, cols=d/heads, row_stride=d, batch_stride=d/heads)``.
    A row stride of 0 reads one row again and again.
    """

    tensor: str
    batch: int
    rows: int
    cols: int
    row_stride: int
    batch_stride: int
    offset: int = 0

    @classmethod
    def whole(cls, tensor: Tensor) -> View:
        """Return all of ``tensor``: its last two axes are rows and columns, the others the batch."""
        rows, cols = (1, *tensor.shape)[-2:]
        return cls(tensor.name, prod(tensor.shape[:-2]), rows, cols, cols, rows * cols)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, rows, cols)."""
        return self.batch, self.rows, self.cols

    @property
    def elements(self) -> int:
        """Number of elements read or written, each repetition counted."""
        return self.batch * self.rows * self.cols

    @property
    def end(self) -> int:
        """One past the last flat element that the window touches."""
        return self.offset + (self.batch - 1) * self.batch_stride + (self.rows - 1) * self.row_stride + self.cols

    def __str__(self) -> str:
        """Return e.g. ``12x128x64``."""
        return "x".join(str(n) for n in (self.shape if self.batch != 1 else self.shape[1:]))


@dataclass(frozen=True)
class Op:
    """One operator. Attributes that are left out take the defaults of `ATTRIBUTES`.

    kind, inputs, attributes:
      matmul        A, B[, bias]; transpose_a, transpose_b, activation ("none" or "relu"), scale,
                    repeating_bias (True: the bias is one row, added to every output row)
      conv          image, weights[, bias]; in_rows, in_cols, kernel, stride, padding, activation, scale.
                    Images are [pixels, channels], one behind the other; weights are [kernel row, kernel
                    column, in channel; out channel]; the bias is one row
      maxpool       image; in_rows, in_cols, kernel, stride, padding
      softmax, layernorm, gelu, tanh    one input; layernorm may name its weights gamma and beta
      residual_add  two inputs; activation ("none" or "relu")
      copy          one input, moved to other rows
      gather        one input; columns: which of them come side by side
      fft, ifft     one input; block: real numbers of a transform; ifft: activation
      top_k         scores -> places of the largest ones: which columns of the input stay
      predict       queries, keys -> scores as they come out at low precision
      mask          predicted scores -> a bit for each that is to be computed; rule ("top_k" or "threshold")
      embedding     ids, table
      quantize, dequantize    one input
    A batch is as many independent operators; an input of batch 1 serves all of them.
    """

    name: str
    kind: str
    inputs: tuple[View, ...]
    output: View
    attrs: Mapping[str, Any] = field(default_factory=dict)
    layer: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "attrs", MappingProxyType({**ATTRIBUTES.get(self.kind, {}), **self.attrs}))

    def __reduce__(self) -> tuple[type[Op], tuple[Any, ...]]:
        """Pickle by value: a read-only mapping does not pickle itself."""
        return Op, (self.name, self.kind, self.inputs, self.output, dict(self.attrs), self.layer)

    @property
    def batch(self) -> int:
        """Number of independent repetitions."""
        return self.output.batch

    @property
    def mnk(self) -> tuple[int, int, int]:
        """(M, N, K) of one repetition of a matmul, or of the one that a convolution is; else (rows, cols, 0)."""
        if self.kind == "conv":
            return self.output.rows, self.output.cols, self.inputs[1].rows
        if self.kind != "matmul":
            return self.output.rows, self.output.cols, 0
        a = self.inputs[0]
        return self.output.rows, self.output.cols, a.rows if self.attrs["transpose_a"] else a.cols

    @property
    def macs(self) -> int:
        """Multiply-accumulates: batch * M * N * K of a matmul or convolution, 0 of anything else."""
        m, n, k = self.mnk
        return self.batch * m * n * k


@dataclass(frozen=True)
class Graph:
    """Operators in an order in which they can run. Raises `InputError` listing every broken rule."""

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "ops", tuple(self.ops))
        problems = rule_problems(self.tensors, self.ops) or order_problems(self.ops, self.tensors)
        if problems:
            raise InputError([f"graph {self.name}: {problem}" for problem in problems])

    def __reduce__(self) -> tuple[type[Graph], tuple[Any, ...]]:
        """Pickle by value: a read-only mapping does not pickle itself."""
        return Graph, (self.name, dict(self.tensors), self.ops)

    def __hash__(self) -> int:
        return hash(self.key)

    @classmethod
    def from_ops(cls, name: str, tensors: Iterable[Tensor], ops: Iterable[Op]) -> Graph:
        """Build a graph from operators in any order; among those that are ready the given order is kept.

        Raises InputError on duplicate tensor names, on a cycle (which it names) and on every rule of `Graph`.
        """
        tensors, ops = list(tensors), list(ops)
        names = [tensor.name for tensor in tensors]
        if repeated := sorted({n for n in names if names.count(n) > 1}):
            raise InputError(f"graph {name}: tensors named more than once: {', '.join(map(repr, repeated))}")
        by_name = dict(zip(names, tensors, strict=True))
        # Only sound windows can be sorted; broken ones go to the constructor, which tells them all.
        return cls(name, by_name, tuple(ops if rule_problems(by_name, ops) else _sorted(name, ops)))

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
        """A sha256 of the whole content."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def op(self, name: str) -> Op:
        """Return the operator called ``name``. Raises InputError for an unknown name."""
        by_name = {op.name: op for op in self.ops}
        if name not in by_name:
            raise InputError(f"graph {self.name}: no operator {name!r}{did_you_mean(name, by_name)}")
        return by_name[name]

    def producers(self, tensor: str) -> tuple[Op, ...]:
        """Return the operators that write ``tensor``, in order."""
        return tuple(op for op in self.ops if op.output.tensor == tensor)

    def consumers(self, tensor: str) -> tuple[Op, ...]:
        """Return the operators that read ``tensor`` as an input, in order."""
        return tuple(op for op in self.ops if any(view.tensor == tensor for view in op.inputs))

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain lists and dicts; `workloads.graph_file.from_dict` reads it back."""
        return {
            "name": self.name,
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
    ready = sorted(sorter.get_ready())
    while ready:
        index = ready.pop(0)
        order.append(ops[index])
        sorter.done(index)
        ready = sorted([*ready, *sorter.get_ready()])
    return order
