"""Tensors of a graph, and windows of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from sim.graph.dtypes import DTYPE_BYTES


@dataclass(frozen=True)
class Tensor:
    """A dense row-major tensor. ``kind``: "input", "weight" (constant), "activation" (computed) or "state".

    A state outlives the graph, as a KV cache does: operators write parts of it, and read what earlier graphs wrote.
    """

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
    A row stride of 0 repeats one row.
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
