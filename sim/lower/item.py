"""The base of all work items: operands in DRAM, and the properties that other rooms ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

if TYPE_CHECKING:
    from sim.hardware import Hardware

DEFAULT_SCALE = 0.05
"""Output scale of the recorded matmul and conv programs; values only, no effect on time."""


@dataclass(frozen=True)
class Operand:
    """A matrix in DRAM: byte address of its first element, elements from row to row (0: one row)."""

    address: int
    row_stride: int

    def forward(self, elements: int, width: Width, hw: Hardware) -> Operand:
        """Return the operand that begins ``elements`` elements further on."""
        bits = 8 if width == "byte" else 8 * hw.acc_bytes if width == "sums" else hw.bits(width)
        return replace(self, address=self.address + elements * bits // 8)


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
    """The base of all work items."""

    MAPPING_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields that a mapping may set."""
    OPERATORS: ClassVar[tuple[str, ...]] = ()
    """Operator kinds of the graph that become this item."""
    TILE_SIZES: ClassVar[int] = 0
    """Sizes of its tile; 0 where it has none."""
    PACED: ClassVar[bool] = False
    """Whether lowering depends on the memory's latency and bandwidth."""
    DIVISIBLE: ClassVar[bool] = True
    """Whether several cores can share it, if it is large enough."""
    PACKED: ClassVar[bool] = False
    """Whether an operand lies packed or stored: the executor needs a unit that says how."""

    @property
    def product(self) -> Any:
        """The dense product (a `Matmul`) that the item is, or is a sparse form of; None where it is none."""
        return None

    @property
    def chained(self) -> tuple[Any, ...]:
        """The items that it runs one behind the other in one program; none where it is a single one."""
        return ()

    @property
    def rows_read(self) -> tuple[Any, ...] | None:
        """What tells the A of a product by hardware loops from others'; None of other items."""
        return None

    @property
    def is_chainable(self) -> bool:
        """Whether it may be a part of a chain (`sim.lower.chain`)."""
        return False

    @property
    def is_loops(self) -> bool:
        """Whether its program is hardware loops of a product alone, behind their configurations."""
        return False

    @property
    def title(self) -> str:
        """Function and sizes, for people."""
        return type(self).__name__

    @property
    def picked(self) -> str:
        """Elements that an index picks for it, of its "outputs" or "inputs"; empty where it computes everything."""
        return ""

    @property
    def is_stored_smaller(self) -> bool:
        """Whether its weights lie in DRAM in a compressed form that the load path expands."""
        return False

    @property
    def divisible_columns(self) -> int:
        """Columns of the result among which several cores can divide it; 0: it has to stay whole."""
        return 0

    @property
    def divisible_rows(self) -> int:
        """Rows of the result among which several cores can divide it; 0: it has to stay whole."""
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
        """Return the item with each operand at the address that ``to`` gives for its own."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        operands = {name: value for name, value in values.items() if isinstance(value, Operand)}
        moved: dict[str, Any] = {name: replace(one, address=to[one.address]) for name, one in operands.items()}
        return replace(self, **moved)  # type: ignore[type-var]
