"""The work item of a matrix product, and the legal words of its fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from sim.lower.item import DEFAULT_SCALE, Item, Operand, Place

if TYPE_CHECKING:
    from sim.hardware import Hardware

Activation = Literal["none", "relu", "layernorm", "igelu", "softmax"]
ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "layernorm", "igelu", "softmax")
"""Activations in the order of their codes in the command set (gemmini.h)."""

BiasKind = Literal["none", "full", "row"]
Dataflow = Literal["WS", "OS"]
DATAFLOWS: tuple[Dataflow, ...] = get_args(Dataflow)
Resident = Literal["library", "none", "a", "b", "ab"]
Halves = Literal["slot", "together", "apart"]
NormKind = Literal["layernorm", "softmax"]

ROW_ACTIVATIONS = ("softmax", "layernorm")
"""Activations that need a whole row of the result."""


@dataclass(frozen=True)
class Matmul(Item):
    """C[m, n] = activation(scale * (A[m, k] x B[k, n] + D)).

    ``a``, ``b``: input type; with ``transpose_a`` A is stored as [k, m], with ``transpose_b`` B as [n, k].
    ``d``: bias in accumulator type (input type with ``low_d``), [m, n] for bias "full", one row [n] for
    "row". With bias "none" only its ``row_stride`` matters: the library configures the bias anyway. ``c``:
    input type, or accumulator type with ``full_c``. ``tile``: (I, J, K) in blocks of DIM; None = the
    library's own choice. ``loop_order``: order of the tile loops, outermost first, a permutation of "ijk"
    (the library's is "ijk"); ``any_order``: allow an order that mixes the partial sums of several tiles, as in programs
    that were only timed. ``resident``: operands that stay in the scratchpad over the tiles that use them again, or
    "library" = by its rule. ``halves``: the half of the scratchpad for a tile: "slot" = by the loop's slot (as in the
    library); "together", "apart" = set by the program, A and B alternating from one half or from opposite
    ones (`sim.lower.residency`; all three WS only). ``bert_scale``: scale of the integer GELU and softmax polynomials
    (I-BERT).
    """

    m: int
    n: int
    k: int
    a: Operand
    b: Operand
    c: Operand
    d: Operand | None = None
    bias: BiasKind = "none"
    transpose_a: bool = False
    transpose_b: bool = False
    activation: Activation = "none"
    full_c: bool = False
    low_d: bool = False
    dataflow: Dataflow = "WS"
    tile: tuple[int, int, int] | None = None
    loop_order: str = "ijk"
    resident: Resident = "library"
    halves: Halves = "slot"
    any_order: bool = False
    scale: float = DEFAULT_SCALE
    bert_scale: float = DEFAULT_SCALE
    a_scale: float = 1.0
    b_scale: float = 1.0
    d_scale: float = 1.0

    MAPPING_FIELDS = ("tile", "loop_order", "dataflow", "resident", "halves")
    OPERATORS = ("matmul",)
    TILE_SIZES = 3

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the product: m * n * k."""
        return self.m * self.n * self.k

    @property
    def rows_read(self) -> tuple[Any, ...] | None:
        """Place, size and form of A; None of output-stationary tiles, which load it anew each."""
        return (self.a, self.m, self.k, self.transpose_a, self.a_scale) if self.is_loops else None

    @property
    def is_chainable(self) -> bool:
        """Every product can be part of a chain."""
        return True

    @property
    def is_loops(self) -> bool:
        """Whether hardware loops compute it: output-stationary tiles are single commands of the CPU."""
        return self.dataflow == "WS"

    @property
    def product(self) -> Matmul:
        """The product itself."""
        return self

    @property
    def title(self) -> str:
        """Function and sizes, for people."""
        activation = "" if self.activation == "none" else f"+{self.activation}"
        return f"matmul{activation} {self.m}x{self.n}x{self.k}"

    @property
    def divisible_columns(self) -> int:
        """Columns of the product, unless its activation needs whole rows."""
        return 0 if self.activation in ROW_ACTIVATIONS else self.n

    @property
    def divisible_rows(self) -> int:
        """Rows of the product."""
        return self.m

    def column_part(self, start: int, end: int, hw: Hardware) -> Self:
        """Return the product with the columns ``start`` to ``end`` of B, in the same tensors."""
        forward_b = start * (self.b.row_stride if self.transpose_b else 1)
        return replace(
            self,
            n=end - start,
            b=self.b.forward(forward_b, "b", hw),
            c=self.c.forward(start, "sums" if self.full_c else "c", hw),
            d=None if self.d is None else self.d.forward(start, "word" if self.low_d else "sums", hw),
            tile=None,
        )

    def row_part(self, start: int, end: int, hw: Hardware) -> Self:
        """Return the product with the rows ``start`` to ``end`` of A, in the same tensors."""
        moved: dict[str, Any] = {}
        for place in self.places():
            if place.name in ("a", "c") or (place.name == "d" and self.bias == "full"):
                stride = 1 if place.name == "a" and self.transpose_a else place.operand.row_stride
                moved[place.name] = place.operand.forward(start * stride, place.width, hw)
        return replace(self, m=end - start, tile=None, **moved)

    def places(self) -> list[Place]:
        """Return the operands: A, B, C and the bias if there is one."""
        a = (self.k, self.m) if self.transpose_a else (self.m, self.k)
        b = (self.n, self.k) if self.transpose_b else (self.k, self.n)
        found = [
            Place("a", self.a, *a, "a"),
            Place("b", self.b, *b, "b"),
            Place("c", self.c, self.m, self.n, "sums" if self.full_c else "c"),
        ]
        if self.d is not None:
            rows = self.m if self.bias == "full" else 1
            found.append(Place("d", self.d, rows, self.n, "word" if self.low_d else "sums"))
        return found
