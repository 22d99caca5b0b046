"""Work items of schedules other than the library's: rows normalised where they lie, programs without a fence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sim.lower.item import Item, Operand, Place
from sim.lower.matmul_item import Matmul

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class RowsMatmul(Item):
    """A `Matmul` whose rows are normalised where they lie, DIM whole rows at a time in all of the accumulator.

    The library's loop keeps two tiles in the accumulator, so that a row may fill half of it at most. Here every command
    is one of its own, and a row may fill the whole: ``matmul`` is a product with activation "softmax" or "layernorm".
    ``turned``: where a transposed B is put as it is multiplied, [k, n], by a product with ``identity``, which lies in
    memory as a weight does; the array takes a block of B twice as long through its transposer as without.
    """

    matmul: Matmul
    identity: Operand | None = None
    turned: Operand | None = None

    DIVISIBLE: ClassVar[bool] = False

    @property
    def is_chainable(self) -> bool:
        """Not where repetitions share the place of a turned B."""
        return self.turned is None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the product."""
        return self.matmul.macs

    @property
    def product(self) -> Matmul:
        """The product."""
        return self.matmul

    def places(self) -> list[Place]:
        """Return the operands of the product, and those of the transposition before it."""
        k, n = self.matmul.k, self.matmul.n
        sizes = (("identity", self.identity, k, k, "a"), ("turned", self.turned, k, n, "c"))
        return [*self.matmul.places(), *(Place(name, at, *size) for name, at, *size in sizes if at is not None)]  # type: ignore[arg-type]

    def addresses(self) -> list[int]:
        """Return the DRAM addresses of all operands."""
        return [*self.matmul.addresses(), *Item.addresses(self)]

    def moved(self, to: Mapping[int, int]) -> Self:
        """Return the item with each operand at the address that ``to`` gives for its own."""
        return replace(Item.moved(self, to), matmul=self.matmul.moved(to))


@dataclass(frozen=True)
class Chain(Item):
    """Items in one program, in order, without a fence between them but in front of the parts numbered in ``fences``.

    Parts without a fence between them are independent: none reads or writes what another writes.
    """

    parts: tuple[Any, ...]
    fences: tuple[int, ...] = ()

    DIVISIBLE: ClassVar[bool] = False

    @property
    def chained(self) -> tuple[Any, ...]:
        """The parts."""
        return self.parts

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all parts."""
        return sum(part.macs for part in self.parts)

    def places(self) -> list[Place]:
        """Return the operands of all parts."""
        return [place for part in self.parts for place in part.places()]

    def addresses(self) -> list[int]:
        """Return the DRAM addresses of all operands."""
        return [address for part in self.parts for address in part.addresses()]

    def moved(self, to: Mapping[int, int]) -> Self:
        """Return the item with each operand at the address that ``to`` gives for its own."""
        return replace(self, parts=tuple(part.moved(to) for part in self.parts))
