"""A work item cut into pieces for several cores: whole blocks of columns or rows of its result.

Pieces lie in the same tensors as the item: a piece of columns reads all of A and its columns of B, a piece of rows its
rows of A and all of B. Traffic that several cores cause follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.lower.item import Operand, Width
from sim.lower.work import Conv, Matmul, Norm, ResidualAdd, Work

if TYPE_CHECKING:
    from sim.hardware import Hardware

BY_ROW = ("softmax", "layernorm")
"""Activations that need a whole row of the result."""

Range = tuple[int, int]

Piece = Matmul | Norm | ResidualAdd | Conv
"""Items that can be cut."""


def shares(works: Sequence[Work], cores: int, hw: Hardware, *, rows: bool = False) -> list[tuple[Piece, ...]]:
    """Return what each core does of an operator's work items, as evenly as whole blocks allow; some may get nothing.

    Several items (heads, batch items) are dealt out whole; where they do not come out even, each is cut first. A
    single item is cut by columns, or by rows where that gives more pieces; ``rows``: always by rows.
    Raises InputError for an item that cannot be cut.
    """
    apart = cores // gcd(len(works), cores)
    pieces = [piece for work in works for piece in cut(work, apart, hw, rows=rows)]
    if len(pieces) < cores:
        pieces = [piece for work in works for piece in cut(work, cores, hw, rows=rows)]
    count = len(pieces)
    return [tuple(pieces[core * count // cores : (core + 1) * count // cores]) for core in range(cores)]


def cut(work: Work, parts: int, hw: Hardware, *, rows: bool = False) -> list[Piece]:
    """Return a work item cut into at most ``parts`` pieces."""
    if not isinstance(work, (Matmul, Norm, ResidualAdd, Conv)):
        raise InputError(f"several cores run dense operators; {type(work).__name__} cannot be cut")
    if parts == 1:
        return [work]
    across = [] if rows else _ranges(_columns(work), parts, hw.dim)
    down = _ranges(_rows(work), parts, hw.dim)
    if isinstance(work, Conv) or len(across) >= len(down):
        return [_of_columns(work, part, hw) for part in across] or [work]
    return [_of_rows(work, part, hw) for part in down]


def _ranges(size: int, parts: int, dim: int) -> list[Range]:
    """Split ``size`` elements at whole blocks into parts of nearly equal size, the first ones a block larger."""
    blocks = -(-size // dim)
    parts = min(parts, blocks)
    ends = [-(-blocks * (part + 1) // parts) for part in range(parts)]
    return [(dim * start, min(size, dim * end)) for start, end in zip([0, *ends], ends, strict=False)]


def _columns(work: Piece) -> int:
    """Return the columns by which an item can be cut, 0: none."""
    if isinstance(work, Matmul):
        return 0 if work.activation in BY_ROW else work.n
    if isinstance(work, Conv):
        turned = work.trans_weight_0132 or work.trans_weight_1203 or work.trans_output_1203
        return 0 if work.depthwise or turned else work.out_channels
    return 0


def _rows(work: Piece) -> int:
    if isinstance(work, Conv):
        return 0
    return work.m if isinstance(work, Matmul) else work.rows


def _moved(operand: Operand, elements: int, width: Width, hw: Hardware) -> Operand:
    bits = 8 if width == "byte" else 8 * hw.acc_bytes if width == "sums" else hw.bits(width)
    return replace(operand, address=operand.address + elements * bits // 8)


def _of_columns(work: Any, part: Range, hw: Hardware) -> Piece:
    """Return the columns of a product, or the output channels of a convolution, from one to another."""
    start, end = part
    sums: Width = "sums"
    if isinstance(work, Conv):
        bias = None if work.bias is None else _moved(work.bias, start, sums, hw)
        return replace(
            work, out_channels=end - start, weights=_moved(work.weights, start, "b", hw),
            c=_moved(work.c, start, "c", hw), bias=bias, tile=None,
        )  # fmt: skip
    to = start * (work.b.row_stride if work.transpose_b else 1)
    d = None if work.d is None else _moved(work.d, start, "word" if work.low_d else sums, hw)
    product: Matmul = replace(
        work, n=end - start, b=_moved(work.b, to, "b", hw), c=_moved(work.c, start, sums if work.full_c else "c", hw),
        d=d, tile=None,
    )  # fmt: skip
    return product


def _of_rows(work: Any, part: Range, hw: Hardware) -> Piece:
    """Return the rows of a result from one to another."""
    start, end = part
    moved: dict[str, Any] = {}
    for place in work.places():
        operand, by_row = place.operand, place.name != "b" or not isinstance(work, Matmul)
        if isinstance(work, Matmul) and place.name == "d" and work.bias != "full":
            by_row = False
        if by_row:
            one = isinstance(work, Matmul) and place.name == "a" and work.transpose_a
            moved[place.name] = _moved(operand, start * (1 if one else operand.row_stride), place.width, hw)
    if isinstance(work, Matmul):
        return replace(work, m=end - start, tile=None, **moved)
    if isinstance(work, Norm):
        return replace(work, rows=end - start, tile_rows=None, **moved)
    added: ResidualAdd = replace(work, rows=end - start, tile=None, **moved)
    return added
