"""Work items of schedules other than the library's: rows normalised in the accumulator, attention in blocks, chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from sim.lower.item import Item, Operand, Place
from sim.lower.matmul_item import Matmul


@dataclass(frozen=True)
class RowsMatmul(Item):
    """A `Matmul` whose rows are normalised in the accumulator, DIM whole rows at a time.

    The library's loop keeps two tiles in the accumulator, so that a row may fill half of it at most. Here all commands
    are single ones, and a row may fill the whole: ``matmul`` is a product with activation "softmax" or "layernorm".
    ``turned``: address at which a transposed B is stored in the order of multiplication, [k, n], by a product with
    ``identity``, which is stored like a weight; a block of B takes twice as long through the transposer as without.
    """

    matmul: Matmul
    identity: Operand | None = None
    turned: Operand | None = None

    DIVISIBLE: ClassVar[bool] = False

    @property
    def is_chainable(self) -> bool:
        """False if repetitions share the address of a turned B."""
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
    """Items in one program, in order, with fences only before the parts numbered in ``fences``.

    Parts without a fence between them are independent: none reads or writes what another writes. ``keeps``: parts that
    find their A in the scratchpad, where the part before left it, and do not load it (`sim.lower.chain`).
    """

    parts: tuple[Any, ...]
    fences: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()

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


@dataclass(frozen=True)
class Streaming(Item):
    """Attention in blocks of queries: scores, softmax and the product with the values, of whole rows on chip.

    ``parts``: for each head the product of scores (activation "softmax", [m, n]) and the product after it ([m, o] over
    n), whose A is the result of the first. A block has ``strips`` strips of ``height`` queries; ``slots`` blocks of
    scores are in the accumulator. ``buffer``: two blocks of probabilities in memory, as there is no path from the
    accumulator to the scratchpad. ``identity``, ``turned``: with both, keys that are stored by rows are first stored in
    the order of multiplication, one head after the other, each [k, n].
    """

    parts: tuple[Matmul, ...]
    buffer: Operand
    height: int
    strips: int
    slots: int
    identity: Operand | None = None
    turned: Operand | None = None

    DIVISIBLE: ClassVar[bool] = False

    @property
    def chained(self) -> tuple[Any, ...]:
        """The products."""
        return self.parts

    @property
    def heads(self) -> tuple[tuple[Matmul, Matmul], ...]:
        """For each head the product of scores and the one after it."""
        return tuple(zip(self.parts[::2], self.parts[1::2], strict=True))

    @property
    def block(self) -> int:
        """Queries of a block."""
        return self.height * self.strips

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all products."""
        return sum(part.macs for part in self.parts)

    @property
    def title(self) -> str:
        """Function and sizes, for people."""
        scores, context = self.heads[0]
        return f"streaming {scores.m}x{scores.n}x{scores.k}x{context.n}, {len(self.heads)} heads"

    def places(self) -> list[Place]:
        """Return the operands: queries, keys, values, biases, results, and the buffers."""
        used = [[place for place in part.places() if place.name != "ca"[side]] for pair in self.heads
                for side, part in enumerate(pair)]  # fmt: skip
        scores = self.parts[0]
        found = [place for places in used for place in places]
        found.append(Place("buffer", self.buffer, 2 * self.block, scores.n, "c"))
        if self.identity is not None and self.turned is not None:
            found.append(Place("identity", self.identity, scores.k, scores.k, "a"))
            found.append(Place("turned", self.turned, len(self.heads) * scores.k, scores.n, "c"))
        return found

    def addresses(self) -> list[int]:
        """Return the DRAM addresses of all operands."""
        return [address for part in self.parts for address in part.addresses()] + Item.addresses(self)

    def moved(self, to: Mapping[int, int]) -> Self:
        """Return the item with each operand at the address that ``to`` gives for its own."""
        return replace(Item.moved(self, to), parts=tuple(part.moved(to) for part in self.parts))
