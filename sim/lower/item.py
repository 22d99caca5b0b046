"""What all work items have in common: operands in DRAM, and what an item says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

DEFAULT_SCALE = 0.05
"""Output scale of the recorded matmul and conv programs; values only, no effect on time."""


@dataclass(frozen=True)
class Operand:
    """A matrix in DRAM: byte address of its first element, elements from row to row (0: one row)."""

    address: int
    row_stride: int


Width = Literal["a", "b", "c", "word", "sums", "byte"]
"""Elements of an operand: of A, B or C in memory, of a scratchpad word, of accumulator type, or plain bytes."""


class Place(NamedTuple):
    """An operand of a work item: the field that names it, where it lies, rows and columns, width of its elements."""

    name: str
    operand: Operand
    rows: int
    cols: int
    width: Width


class Item:
    """What all work items have in common."""

    MAPPING_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields that a mapping may set."""
    OPERATORS: ClassVar[tuple[str, ...]] = ()
    """Operator kinds of the graph that become this item."""
    TILE_SIZES: ClassVar[int] = 0
    """Sizes of its tile; 0 where it has none."""
    PACED: ClassVar[bool] = False
    """Whether lowering weighs what the memory takes for its answers."""

    @property
    def product(self) -> Any:
        """The dense product (a `Matmul`) that the item is, or is a sparse form of; None where it is none."""
        return None

    def places(self) -> list[Place]:
        """Return the operands of the item."""
        raise TypeError(f"{type(self).__name__} names no operands")

    def addresses(self) -> list[int]:
        """Return the DRAM addresses of all operands."""
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return [value.address for value in values if isinstance(value, Operand)]

    def moved(self, to: Mapping[int, int]) -> Self:
        """Return the item with each operand at the address that ``to`` gives for its own."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        operands = {name: value for name, value in values.items() if isinstance(value, Operand)}
        moved: dict[str, Any] = {name: replace(one, address=to[one.address]) for name, one in operands.items()}
        return replace(self, **moved)  # type: ignore[type-var]
