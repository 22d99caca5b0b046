"""A work item cut into pieces for several cores: whole blocks of columns or rows of its result.

Pieces lie in the same tensors as the item: a piece of columns reads all of A and its columns of B, a piece of rows its
rows of A and all of B. Traffic that several cores cause follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import TYPE_CHECKING, TypeVar

from sim.base.errors import InputError
from sim.lower.item import Item
from sim.lower.work import Work

if TYPE_CHECKING:
    from sim.hardware import Hardware

Range = tuple[int, int]
Cut = TypeVar("Cut", bound=Item)


def shares(works: Sequence[Work], cores: int, hw: Hardware, *, rows: bool = False) -> list[tuple[Work, ...]]:
    """Return each core's share of an operator's work items, as even as whole blocks allow; some shares may be empty.

    Several items (heads, batch items) are distributed whole if their number is a multiple of the cores, else each is
    cut first. A single item is cut by columns, or by rows if that gives more pieces; ``rows``: always by rows. Raises
    InputError for an item that cannot be cut.
    """
    apart = cores // gcd(len(works), cores)
    pieces = [piece for work in works for piece in cut(work, apart, hw, rows=rows)]
    if len(pieces) < cores:
        pieces = [piece for work in works for piece in cut(work, cores, hw, rows=rows)]
    count = len(pieces)
    return [tuple(pieces[core * count // cores : (core + 1) * count // cores]) for core in range(cores)]


def cut(work: Cut, parts: int, hw: Hardware, *, rows: bool = False) -> list[Cut]:
    """Return a work item cut into at most ``parts`` pieces."""
    if not work.DIVISIBLE:
        raise InputError(f"several cores run dense operators; {type(work).__name__} cannot be cut")
    if parts == 1:
        return [work]
    across = [] if rows else _ranges(work.divisible_columns, parts, hw.dim)
    down = _ranges(work.divisible_rows, parts, hw.dim)
    if len(across) >= len(down):
        return [work.column_part(*part, hw) for part in across] or [work]
    return [work.row_part(*part, hw) for part in down]


def _ranges(size: int, parts: int, dim: int) -> list[Range]:
    """Split ``size`` elements at whole blocks into parts of nearly equal size, the first ones a block larger."""
    blocks = -(-size // dim)
    parts = min(parts, blocks)
    ends = [-(-blocks * (part + 1) // parts) for part in range(parts)]
    return [(dim * start, min(size, dim * end)) for start, end in zip([0, *ends], ends, strict=False)]
