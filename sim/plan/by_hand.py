"""Mappings given by hand: the fields that operators take, and the problems of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from sim.base.errors import did_you_mean
from sim.lower.work import Conv, Item, Matmul, Norm, ResidualAdd

if TYPE_CHECKING:
    from sim.graph import Graph

Choices = Mapping[str, Mapping[str, Any]]
"""Operator name or pattern -> fields of its work items."""

Mapped = TypeVar("Mapped", Matmul, Conv, ResidualAdd, Norm)

MAPPED: tuple[type[Item], ...] = (Matmul, Conv, ResidualAdd, Norm)
"""Work items that can be mapped by hand."""


WORDS = ("loop_order", "resident", "halves", "dataflow")
"""Fields of a mapping whose values are words."""


def item_of(choice: Mapping[str, Any]) -> type[Item]:
    """Return the kind of work item that a choice is for, by the number of its tile's sizes; without a tile a matmul."""
    if "tile_rows" in choice:
        return Norm
    tile = choice.get("tile", ())
    sizes = {item.TILE_SIZES: item for item in MAPPED if "tile" in item.MAPPING_FIELDS}
    return sizes.get(len(tile), Matmul) if isinstance(tile, list | tuple) else Matmul


def names(pattern: str, name: str) -> bool:
    """Return whether a pattern of a mapping matches the operator: its exact name, or with * and ?."""
    return pattern == name or fnmatchcase(name, pattern)


def mapped(work: Mapped, name: str, choices: Choices) -> Mapped:
    """Return the item with the fields of the last choice that matches its operator and its kind."""
    if not choices:
        return work
    for pattern, choice in reversed(list(choices.items())):
        if names(pattern, name) and item_of(choice) is type(work):
            return replace(work, **{field: _fixed(choice[field]) for field in work.MAPPING_FIELDS if field in choice})
    return work


def _fixed(value: Any) -> Any:
    """Return lists as tuples: a work item is looked up by its fields."""
    return tuple(value) if isinstance(value, list) else value


def problems(graph: Graph, choices: Choices) -> list[str]:
    """Return the problems of the names and keys of ``choices``; sizes are checked by the lowering."""
    found = []
    known = sorted({name for item in MAPPED for name in item.MAPPING_FIELDS})
    for pattern, choice in choices.items():
        kinds = item_of(choice).OPERATORS
        able = [op.name for op in graph.ops if op.kind in kinds]
        if not any(names(pattern, name) for name in able):
            found.append(
                f"mapping: no {' or '.join(kinds)} of {graph.name} is named {pattern!r}{did_you_mean(pattern, able)}"
            )
        found += [
            f"mapping of {pattern!r}: unknown key {key!r}{did_you_mean(key, known)}"
            for key in choice
            if key not in known
        ]
        found += [
            f"mapping of {pattern!r}: {key} is {value!r}, must be a word"
            for key, value in choice.items()
            if key in WORDS and not isinstance(value, str)
        ]
        tile = choice.get("tile", ())
        if not isinstance(tile, list | tuple) or any(isinstance(n, bool) or not isinstance(n, Integral) for n in tile):
            found.append(f"mapping of {pattern!r}: tile is {tile!r}, must be whole numbers, e.g. (5, 5, 48)")
    return found
