"""Mappings that a caller gives: which operators take which fields, and what is wrong with a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from sim.base.errors import did_you_mean
from sim.lower.work import Conv, Matmul, Norm, ResidualAdd

if TYPE_CHECKING:
    from sim.graph import Graph

Choices = Mapping[str, Mapping[str, Any]]
"""Operator name or pattern -> fields of its work items."""

Mapped = TypeVar("Mapped", Matmul, Conv, ResidualAdd, Norm)

BY_HAND: dict[type, tuple[str, ...]] = {
    Matmul: ("tile", "loop_order", "dataflow", "resident", "halves"),
    Conv: ("tile",),
    ResidualAdd: ("tile",),
    Norm: ("tile_rows",),
}
"""Fields of each kind of work item that a mapping may set."""

KINDS: dict[type, tuple[str, ...]] = {
    Matmul: ("matmul",),
    Conv: ("conv",),
    ResidualAdd: ("residual_add",),
    Norm: ("layernorm", "softmax"),
}
"""Operators of the graph that become each kind of work item."""

SIZES: dict[int, type] = {2: ResidualAdd, 3: Matmul, 7: Conv}
"""Work item that a tile of so many sizes is for."""


def item_of(choice: Mapping[str, Any]) -> type:
    """Return the kind of work item that a choice is for: its tile tells, a matmul where there is none."""
    if "tile_rows" in choice:
        return Norm
    tile = choice.get("tile", ())
    return SIZES.get(len(tile), Matmul) if isinstance(tile, list | tuple) else Matmul


def mapped(work: Mapped, name: str, choices: Choices) -> Mapped:
    """Return the item with the last choice that names its operator and has its fields."""
    for pattern, choice in reversed(list(choices.items())):
        if fnmatchcase(name, pattern) and item_of(choice) is type(work):
            return replace(work, **{field: _fixed(choice[field]) for field in BY_HAND[type(work)] if field in choice})
    return work


def _fixed(value: Any) -> Any:
    """Return lists as tuples: a work item is looked up by its fields."""
    return tuple(value) if isinstance(value, list) else value


def problems(graph: Graph, choices: Choices) -> list[str]:
    """Return what is wrong with the names and keys of ``choices``; sizes are for the lowering to judge."""
    found = []
    known = sorted({name for names in BY_HAND.values() for name in names})
    for pattern, choice in choices.items():
        kinds = KINDS[item_of(choice)]
        names = [op.name for op in graph.ops if op.kind in kinds]
        if not any(fnmatchcase(name, pattern) for name in names):
            found.append(f"mapping: no {kinds[0]} of {graph.name} is named {pattern!r}{did_you_mean(pattern, names)}")
        found += [
            f"mapping of {pattern!r}: unknown key {key!r}{did_you_mean(key, known)}"
            for key in choice
            if key not in known
        ]
        tile = choice.get("tile", ())
        if not isinstance(tile, list | tuple) or any(isinstance(n, bool) or not isinstance(n, Integral) for n in tile):
            found.append(f"mapping of {pattern!r}: tile is {tile!r}, must be whole numbers, e.g. (5, 5, 48)")
    return found
