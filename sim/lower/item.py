"""The base of all work items: operands in DRAM, and the properties that other rooms read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

if TYPE_CHECKING:
    from sim.hardware import Hardware

DEFAULT_SCALE = 0.05
"""Output scale of the recorded matmul and conv programs; it affects values only, not time."""


@dataclass(frozen=True)
class Operand:
    """A matrix in DRAM: byte address of its first element, elements from row to row (0: one repeated row)."""

    address: int
    row_stride: int

    def forward(self, elements: int, width: Width, hw: Hardware) -> Operand:
        """Return the operand that begins ``elements`` elements later."""
        bits = 8 if width == "byte" else 8 * hw.acc_bytes if width == "sums" else hw.bits(width)
        return replace(self, address=self.address + elements * bits // 8)


Width = Literal["a", "b", "c", "word", "sums", "byte"]
"""Kinds of elements: those of A, B or C in memory, of a scratchpad word, of accumulator type, or plain bytes."""


class Place(NamedTuple):
    """An operand of a work item: field name, operand, rows and columns, kind of its elements."""

    name: str
    operand: Operand
    rows: int
    cols: int
    width: Width


class Item:
    """The base of all work items."""

    MAPPING_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields that a mapping may set."""
    OPERATORS: ClassVar[tuple[str, ...]] = ()
    """Operator kinds of the graph that become this item."""
    TILE_SIZES: ClassVar[int] = 0
    """Number of sizes of its tile; 0 = no tile."""
    PACED: ClassVar[bool] = False
    """Whether lowering depends on the memory's latency and bandwidth."""
    DIVISIBLE: ClassVar[bool] = True
    """Whether several cores can share the item, if it is large enough."""
    PACKED: ClassVar[bool] = False
    """Whether an operand is packed or stored in a compressed form: the executor then needs the unit that decodes it."""

    @property
    def product(self) -> Any:
        """The dense product (a `Matmul`) of which the item is a form; None for other items."""
        return None

    @property
    def chained(self) -> tuple[Any, ...]:
        """The items that run in sequence in one program; empty for a single item."""
        return ()

    @property
    def rows_read(self) -> tuple[Any, ...] | None:
        """What tells the A of a product by hardware loops from others'; None of other items."""
        return None

    @property
    def is_chainable(self) -> bool:
        """Whether the item may be part of a chain (`sim.lower.chain`)."""
        return False

    @property
    def is_loops(self) -> bool:
        """Whether its program consists of configurations and hardware loops of a product only."""
        return False

    @property
    def title(self) -> str:
        """Function and sizes, for people."""
        return type(self).__name__

    @property
    def picked(self) -> str:
        """Operand whose elements an index selects, "outputs" or "inputs"; "" if everything is computed."""
        return ""

    @property
    def is_stored_smaller(self) -> bool:
        """Whether its weights are stored in DRAM in a compressed form that the load path expands."""
        return False

    @property
    def divisible_columns(self) -> int:
        """Columns of the result that can be divided among cores; 0: the item cannot be divided by columns."""
        return 0

    @property
    def divisible_rows(self) -> int:
        """Rows of the result that can be divided among cores; 0: the item cannot be divided by rows."""
        return 0

    def column_part(self, start: int, end: int, hw: Hardware) -> Self:
        """Return the item of the result's columns ``start`` to ``end``, in the same tensors."""
        raise TypeError(f"{type(self).__name__} is not divided by columns")

    def row_part(self, start: int, end: int, hw: Hardware) -> Self:
        """Return the item of the result's rows ``start`` to ``end``, in the same tensors."""
        raise TypeError(f"{type(self).__name__} is not divided by rows")

    def places(self) -> list[Place]:
        """Return the operands of the item."""
        raise TypeError(f"{type(self).__name__} names no operands")

    def addresses(self) -> list[int]:
        """Return the DRAM addresses of all operands."""
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return [value.address for value in values if isinstance(value, Operand)]

    def moved(self, to: Mapping[int, int]) -> Self:
        """Return the item with the address of each operand mapped by ``to``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        operands = {name: value for name, value in values.items() if isinstance(value, Operand)}
        moved: dict[str, Any] = {name: replace(one, address=to[one.address]) for name, one in operands.items()}
        return replace(self, **moved)  # type: ignore[type-var]
