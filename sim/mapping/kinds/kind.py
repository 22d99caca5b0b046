"""A kind of work item for the search: its mappings, their rules, and a lower bound of the cost of each."""

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
""""call": mappings that the library's explicit-tile call can express.

"hardware": all that the hardware loop supports.
"""


def even_sizes(total: int) -> list[int]:
    """Return the sizes ceil(total / n) of all n, ascending."""
    return sorted({-(-total // n) for n in range(1, total + 1)})


class MappedKind(ABC):
    """One kind; subclasses define the methods."""

    LARGEST_FIRST: ClassVar[bool] = True
    """Whether, of mappings with equal bounds, the largest tiles are tried first.

    The halos of a convolution then overlap least.
    """

    @abstractmethod
    def shape(self, work: Any) -> str:
        """Return the sizes and flags that determine the mapping, as text."""

    @abstractmethod
    def limits(self, work: Any, hw: Hardware) -> tuple[int, ...]:
        """Return the whole operator as one tile."""

    @abstractmethod
    def library(self, work: Any, hw: Hardware) -> OpMapping:
        """Return the mapping of Gemmini's C library. Raises InputError if no tile fits."""

    @abstractmethod
    def check(self, mapped: Any, hw: Hardware) -> None:
        """Raise InputError for each rule that a mapped item breaks."""

    @abstractmethod
    def space(self, work: Any, hw: Hardware, *, even: bool, reach: Reach) -> Iterator[OpMapping]:
        """Yield the legal mappings; ``even``: only those with even tiles."""

    @abstractmethod
    def demand(self, work: Any, mapping: OpMapping, hw: Hardware) -> Demand:
        """Return the least use of the shared resources by a mapping."""

    @abstractmethod
    def size(self, work: Any, hw: Hardware, reach: Reach) -> int:
        """Return an upper estimate of the number of mappings in `space`, without listing them."""

    def problems(self, work: Any, mapping: OpMapping, hw: Hardware) -> list[str]:
        """Return every rule that ``mapping`` breaks; empty if lowering accepts it."""
        try:
            self.check(mapping.apply(work), hw)
        except InputError as error:
            return list(error.problems)
        return []

    def is_legal(self, work: Any, mapping: OpMapping, hw: Hardware) -> bool:
        """Whether lowering accepts the mapping."""
        return not self.problems(work, mapping, hw)

    def steps(self, work: Any, hw: Hardware) -> list[int]:
        """Return the step of a tile's size along each axis."""
        return [hw.dim] * len(self.limits(work, hw))

    def seeds(self, work: Any, hw: Hardware) -> list[OpMapping]:
        """Return the starting points of hill climbing in addition to the even mappings."""
        return []

    def other_dataflow(self, work: Any, hw: Hardware) -> Any:
        """Return the item in the machine's other dataflow, None if there is none."""
        return None

    def variants(self, work: Any, mapping: OpMapping, hw: Hardware) -> list[OpMapping]:
        """Return the other mappings of the hardware loop with the same tile."""
        return []

    def neighbours(self, work: Any, mapping: OpMapping, hw: Hardware, reach: Reach) -> list[OpMapping]:
        """Return the legal mappings one or two steps away along one axis, or one step along two axes.

        With reach "hardware" also the other mappings of the loop with the same tile.
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
