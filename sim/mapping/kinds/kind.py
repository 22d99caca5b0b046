"""What the search knows of a kind of work item: its mappings, their rules, and the least that each costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar, Literal

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.mapping.bounds import Demand
from sim.mapping.opmapping import OpMapping

Reach = Literal["call", "hardware"]
REACHES: tuple[Reach, ...] = ("call", "hardware")
"""Mappings that the library's explicit-tile call can be given, or all that the hardware loop can do."""


def even_sizes(total: int) -> list[int]:
    """Return the sizes ceil(total / n) of all n, ascending."""
    return sorted({-(-total // n) for n in range(1, total + 1)})


class MappedKind(ABC):
    """One kind; a subclass states what differs."""

    LARGEST_FIRST: ClassVar[bool] = True
    """Of equal mappings the largest tiles are tried first: the halos of a convolution then overlap least."""

    @abstractmethod
    def shape(self, work: Any) -> str:
        """Return the sizes and flags that decide the mapping, in words."""

    @abstractmethod
    def limits(self, work: Any, hw: Hardware) -> tuple[int, ...]:
        """Return the whole operator as one tile."""

    @abstractmethod
    def library(self, work: Any, hw: Hardware) -> OpMapping:
        """Return the mapping that Gemmini's C library gives. Raises InputError when nothing fits."""

    @abstractmethod
    def check(self, mapped: Any, hw: Hardware) -> None:
        """Raise InputError for each rule that a mapped item breaks."""

    @abstractmethod
    def space(self, work: Any, hw: Hardware, *, even: bool, reach: Reach) -> Iterator[OpMapping]:
        """Yield the legal mappings; ``even``: those whose tiles come out even."""

    @abstractmethod
    def demand(self, work: Any, mapping: OpMapping, hw: Hardware) -> Demand:
        """Return what a mapping asks of the shared resources at least."""

    @abstractmethod
    def size(self, work: Any, hw: Hardware, reach: Reach) -> int:
        """Return an upper estimate of how many mappings `space` holds, without listing them."""

    def problems(self, work: Any, mapping: OpMapping, hw: Hardware) -> list[str]:
        """Return every rule that ``mapping`` breaks; empty when lowering takes it."""
        try:
            self.check(mapping.apply(work), hw)
        except InputError as error:
            return list(error.problems)
        return []

    def is_legal(self, work: Any, mapping: OpMapping, hw: Hardware) -> bool:
        """Whether lowering would take the mapping."""
        return not self.problems(work, mapping, hw)

    def steps(self, work: Any, hw: Hardware) -> list[int]:
        """Return by how much a tile grows along each axis in one step."""
        return [hw.dim] * len(self.limits(work, hw))

    def seeds(self, work: Any, hw: Hardware) -> list[OpMapping]:
        """Return where a climb begins beside the even mappings."""
        return []

    def other_dataflow(self, work: Any, hw: Hardware) -> Any:
        """Return the item in the machine's other dataflow, None where there is none."""
        return None

    def variants(self, work: Any, mapping: OpMapping, hw: Hardware) -> list[OpMapping]:
        """Return what else the hardware loop can do with the same tile."""
        return []

    def neighbours(self, work: Any, mapping: OpMapping, hw: Hardware, reach: Reach) -> list[OpMapping]:
        """Return the legal mappings one or two steps away along one axis, or one step along two axes.

        With reach "hardware" also everything else that the loop can do with the same tile.
        """
        limits, steps = self.limits(work, hw), self.steps(work, hw)
        found: dict[OpMapping, None] = {}
        for move in product((-2, -1, 0, 1, 2), repeat=len(limits)):
            if not 1 <= sum(map(abs, move)) <= 2:
                continue
            tile = tuple(
                min(limit, size + delta * by)
                for size, delta, by, limit in zip(mapping.tile, move, steps, limits, strict=True)
            )
            if min(tile) >= 1:
                found[replace(mapping, tile=tile)] = None
        if reach == "hardware":
            found |= dict.fromkeys(self.variants(work, mapping, hw))
        return [moved for moved in found if moved != mapping and self.is_legal(work, moved, hw)]
