"""Weight compression without zeros: low rank, block-circulant matrices, codebooks, fewer bits.

*low_rank* is an edit of the graph: W[K,N] becomes U[K,r] x V[r,N], two products on unmodified hardware. The others
are formats that the load path expands (traffic only; `sparsity.decoder`): *narrow* stores every weight in ``bits``,
*codebook* an index into ``entries`` shared values, *circulant* the first row of every block x block circulant (of one
larger than the array, for every DIM rows), which the array multiplies out like any matrix; with ``via = "fft"`` it is
an edit of the graph too (`circulant`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import ceil, log2
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sim.base.errors import InputError, by_reason, did_you_mean, some
from sim.graph import Graph, Op, Tensor, View
from sim.sparsity.edits import circulant, fitting
from sim.sparsity.masks import files, formats
from sim.sparsity.structure import covers, weighted
from sim.sparsity.table import Count, Error, SchemeTable, rule

KINDS = {"low_rank": "rank", "circulant": "block", "codebook": "entries", "narrow": "bits", "smallest": "error"}
"""Kind -> the size that it needs; "smallest": per matrix the stored form with the fewest bytes within the error."""

STORED = ("codebook", "narrow", "circulant")

WHAT = {
    "low_rank": "rank: two thin factors instead of a matrix, two products on unmodified hardware",
    "circulant": 'block: first rows of circulant blocks; multiplied out, or by transforms (via = "fft")',
    "codebook": "entries: an index into shared values per weight, expanded by the load path",
    "narrow": "bits: fewer bits per weight, expanded by the load path",
    "smallest": "error: per matrix the stored format with the fewest bits whose error on real weights is within it",
}
"""Meaning of each kind, for `carat list`."""


@dataclass(frozen=True)
class Compression:
    """The compression of the weights of the operators named.

    ``weights``: the real ones by operator or tensor, if a file gives them; ``error``: largest relative error
    (`sim.sparsity.edits.fitting`).
    """

    kind: str
    operators: str = "*"
    rank: int = 0
    block: int = 0
    entries: int = 0
    bits: int = 0
    via: str = "direct"
    error: float = 0.0
    weights: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def edits(self) -> bool:
        """Whether it changes the graph rather than the storage of weights."""
        return self.kind == "low_rank" or self.via == "fft"

    def applies_to(self, op: Op, graph: Graph) -> bool:
        """Return whether ``op`` is a matmul by a weight that the rule names."""
        if not graph.multiplies_weights(op):
            return False
        return any(fnmatchcase(name, self.operators) for name in (op.name, op.inputs[1].tensor))

    def block_bits(self, op: Op, dim: int, value_bits: int) -> formats.Bits:
        """Return the bits stored per dim x dim block of ``op``'s weights (table of a codebook in the first block)."""
        _, n, k = op.mnk
        if self.kind == "circulant":
            return formats.circulant_bits((k, n), dim, self.block, value_bits)
        each = {"narrow": self.bits, "codebook": ceil(log2(max(2, self.entries)))}[self.kind]
        bits = formats.uniform_bits((k, n), dim, each)
        if self.kind == "codebook":
            bits[0, 0] += self.entries * value_bits
        return bits

    def table_bytes(self, value_bits: int) -> int:
        """Return the bytes stored in addition to the weights: the table of a codebook."""
        return self.entries * value_bits // 8 if self.kind == "codebook" else 0

    def problems(self, graph: Graph) -> list[str]:
        """Return the problems of the compression for a graph."""
        named = [op for op in graph.ops if self.applies_to(op, graph)]
        found = []
        if not named:
            hint = did_you_mean(self.operators, [op.name for op in weighted(graph)])
            found.append(f"{self.kind}: no matmul with weights of {graph.name} is named {self.operators!r}{hint}")
        reasons = []
        for op in named:
            _, n, k = op.mnk
            wrong = circulant.problems(op, graph, self.block) if self.via == "fft" else []
            if self.kind == "low_rank" and self.rank > min(n, k):
                wrong.append(f"{k}x{n}: rank {self.rank} is at most {min(n, k)} (nearest: {min(n, k)})")
            if self.kind == "circulant" and (k % self.block or n % self.block):
                whole = _divisor(k, n, self.block)
                wrong.append(f"{k}x{n}: block {self.block} must divide both (nearest: {whole})")
            reasons += [(op.name, reason) for reason in wrong]
            found += self._misfit(op)
        found += [f"{self.kind}: {names}: {reason}" for names, reason in by_reason(reasons)]
        if self.weights and not found and self.kind != "smallest":
            found += [problem for op in named for problem in self._too_coarse(op)]
        return some(found)

    def given(self, op: Op) -> npt.NDArray[Any] | None:
        """Return the real weights of an operator, None if no file has them."""
        names = (op.name, op.inputs[1].tensor, f"{op.name}.weight", "*")
        return next((self.weights[name] for name in names if name in self.weights), None)

    def fitted(self, op: Op, decoder: tuple[str, ...], dim: int, value_bits: int) -> Compression:
        """Return the compression itself, or for "smallest" the stored form with the fewest bits within the error.

        Raises InputError if no form of the decoder is within the error.
        """
        weights = self.given(op)
        if self.kind != "smallest" or weights is None:
            return self
        real = np.asarray(weights, np.float64)
        sizes = {kind: fitting.least(real, kind, self.error) for kind in STORED if kind in decoder}
        able = [self._at(kind, size) for kind, size in sizes.items() if size is not None]
        if not able:
            raise InputError(
                f"smallest: no format of {', '.join(sizes) or 'none'} keeps {op.name} within an error of "
                f"{self.error:g}; allow a larger error, or leave the operator uncompressed"
            )
        return min(able, key=lambda one: int(one.block_bits(op, dim, value_bits).sum()))

    def _at(self, kind: str, size: int) -> Compression:
        sizes = {name: size if KINDS[kind] == name else 0 for name in ("entries", "bits", "block")}
        return replace(self, kind=kind, entries=sizes["entries"], bits=sizes["bits"], block=sizes["block"])

    def _misfit(self, op: Op) -> list[str]:
        _, n, k = op.mnk
        weights = self.given(op)
        if self.weights and weights is None:
            return [f"{self.kind}: the file of weights has none of {op.name}{did_you_mean(op.name, self.weights)}"]
        if weights is not None and weights.shape != (k, n):
            return [f"{self.kind}: {op.name} is {k}x{n}, its weights in the file are of shape {weights.shape}"]
        return []

    def _too_coarse(self, op: Op) -> list[str]:
        """Return the problems of the compression for the real weights of ``op``."""
        real, size = np.asarray(self.given(op), np.float64), KINDS[self.kind]
        value = getattr(self, size)
        if self.kind == "codebook" and not self.error:
            values = fitting.distinct(real)
            few = f"codebook: {op.name}: {value} entries cannot hold {values} values"
            return [f"{few} (nearest: {values}, or an error above 0)"] if values > value else []
        found = fitting.error(real, self.kind, value)
        if found <= self.error:
            return []
        enough = fitting.least(real, self.kind, self.error)
        nearest = f"nearest: {size} = {enough}" if enough else f"no {size} is enough; nearest: error = {found:.3g}"
        what = f"{self.kind}: {op.name}: {size} {value} leaves an error of {found:.3g}"
        return [f"{what}, more than {self.error:g} ({nearest})"]


def _divisor(k: int, n: int, near: int) -> int:
    return min((d for d in range(1, min(k, n) + 1) if k % d == 0 == n % d), key=lambda d: abs(d - near))


class CompressTable(SchemeTable):
    """[[compress]] of a SPEC.toml. ``weights``: a file of the real ones, on which ``error`` is checked."""

    kind: Literal["low_rank", "circulant", "codebook", "narrow", "smallest"]
    operators: str = "*"
    rank: Count | None = None
    block: Count | None = None
    entries: Annotated[int, Field(ge=2, le=256)] | None = None
    bits: Literal[2, 4] | None = None
    via: Literal["direct", "fft"] = "direct"
    error: Error = 0.0
    weights: str | None = None

    def problems(self, given: frozenset[str]) -> list[str]:
        """Return the problems: each kind takes one size; an error needs the weights."""
        if "kind" not in self.model_fields_set:
            return []
        size, found = KINDS[self.kind], list[str]()
        foreign = [key for key in KINDS.values() if key in given and key not in (size, "error")]
        found += [f"{self.kind} takes {size}, not {key}" for key in dict.fromkeys(foreign)]
        if size not in given:
            found.append(f"{self.kind} needs {size}, {rule(CompressTable.model_fields[size])}")
        if ("error" in given or self.kind == "smallest") and "weights" not in given:
            found.append(f"{self.kind} with an error needs the real weights: weights = a file")
        if "via" in given and self.kind != "circulant":
            found.append(f"via of {self.kind}: circulant takes direct or fft, others nothing")
        return found


def from_table(table: CompressTable, folder: Path) -> Compression:
    """Return the rules of a table, the real weights read from ``folder``. Raises InputError for a wrong file."""
    sizes = {key: getattr(table, key) or 0 for key in ("rank", "block", "entries", "bits")}
    real = {} if table.weights is None else files.read(folder / table.weights)
    return Compression(table.kind, table.operators, **sizes, via=table.via, error=table.error, weights=real)


def edit(graph: Graph, compression: Compression) -> Graph:
    """Return the graph with every named product factored, if the compression is low_rank or by transforms."""
    if not compression.edits:
        return graph
    if compression.via == "fft":
        return circulant.edit(graph, [op for op in graph.ops if compression.applies_to(op, graph)], compression.block)
    tensors = dict(graph.tensors)
    ops: list[Op] = []
    for op in graph.ops:
        if not compression.applies_to(op, graph):
            ops.append(op)
        else:
            ops += _factored(tensors, op, compression.rank)
    used = {view.tensor for op in ops for view in (*op.inputs, op.output)}
    used |= {name for op in ops for name in op.attrs.values() if isinstance(name, str)}
    return Graph(
        graph.name, {name: tensor for name, tensor in tensors.items() if name in used}, tuple(ops), graph.sizes
    )


def _add(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: str, kind: str) -> View:
    tensors[name] = Tensor(name, shape, dtype, kind)
    return View.whole(tensors[name])


def _factored(tensors: dict[str, Tensor], op: Op, rank: int) -> list[Op]:
    """Return the two products of a factored one: A x U, then x V with the bias, at the windows of the first."""
    m, n, k = op.mnk
    b = op.inputs[1]
    weight = tensors[b.tensor]
    name = weight.name if covers(b, weight) else f"{weight.name}.{op.name}"  # each window has factors of its own
    many = (b.batch,) if b.batch > 1 else ()
    u = _add(tensors, f"{name}.U", (*many, k, rank), weight.dtype, "weight")
    v = _add(tensors, f"{name}.V", (*many, rank, n), weight.dtype, "weight")
    rows = (op.batch,) if op.batch > 1 else ()
    inner = _add(tensors, f"{op.name}.inner", (*rows, m, rank), weight.dtype, "activation")
    transposed = {"transpose_a": op.attrs["transpose_a"]}
    first = Op(f"{op.name}.U", "matmul", (op.inputs[0], u), inner, transposed, op.layer)
    attrs = {**op.attrs, "transpose_a": False, "transpose_b": False}
    return [first, replace(op, inputs=(inner, v, *op.inputs[2:]), attrs=attrs)]
