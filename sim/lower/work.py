"""Work items: what one accelerator operator computes and where its operands lie, before any command exists.

Each says of itself which operands it has (`Item.places`), how it moves to other addresses (`Item.moved`), which of its
fields a mapping may set and which operators of a graph become it.

All are frozen plain data, so two operators that are equal can be recognised and simulated once. Addresses
are DRAM bytes; strides count ELEMENTS of the operand's own type, as the arguments of Gemmini's C library
do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from sim.lower.conv_item import CONV_ORDER as CONV_ORDER
from sim.lower.conv_item import Conv as Conv
from sim.lower.item import DEFAULT_SCALE as DEFAULT_SCALE
from sim.lower.item import Item as Item
from sim.lower.item import Operand as Operand
from sim.lower.item import Place as Place
from sim.lower.item import Width as Width

if TYPE_CHECKING:
    from sim.hardware import Hardware

Activation = Literal["none", "relu", "layernorm", "igelu", "softmax"]
ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "layernorm", "igelu", "softmax")
"""In the order of their codes in the command set (gemmini.h)."""

BiasKind = Literal["none", "full", "row"]
Dataflow = Literal["WS", "OS"]
DATAFLOWS: tuple[Dataflow, ...] = get_args(Dataflow)
Resident = Literal["library", "none", "a", "b", "ab"]
Halves = Literal["slot", "together", "apart"]
NormKind = Literal["layernorm", "softmax"]

ROW_ACTIVATIONS = ("softmax", "layernorm")
"""Activations that need a whole row of the result."""


class SparseItem(Item):
    """A form of a product with an index: ``matmul`` and ``index_address`` stand in each of its classes."""

    matmul: Matmul
    index_address: int
    PACED: ClassVar[bool] = True
    DIVISIBLE: ClassVar[bool] = False

    @property
    def product(self) -> Matmul:
        """The dense product."""
        return self.matmul

    @property
    def title(self) -> str:
        """Function and sizes, for people."""
        return f"sparse {self.matmul.title}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense product."""
        return self.matmul.macs

    @property
    def is_scheduled(self) -> bool:
        """Whether a block scheduler, not the CPU, issues its commands."""
        return False

    def index_place(self) -> Place:
        """Return where the index lies, or what is stored instead of B."""
        raise TypeError(f"{type(self).__name__} names no index")

    def places(self) -> list[Place]:
        """Return the operands of the item."""
        return [self.index_place(), *self.matmul.places()]

    def addresses(self) -> list[int]:
        """Return the DRAM addresses of all operands."""
        return [*self.matmul.addresses(), self.index_address]

    def moved(self, to: Mapping[int, int]) -> Self:
        """Return the item with each operand at the address that ``to`` gives for its own."""
        moved: dict[str, Any] = {"matmul": self.matmul.moved(to), "index_address": to[self.index_address]}
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class Matmul(Item):
    """C[m, n] = activation(scale * (A[m, k] x B[k, n] + D)).

    ``a``, ``b``: input type; with ``transpose_a`` A is stored as [k, m], with ``transpose_b`` B as [n, k].
    ``d``: bias in accumulator type (input type with ``low_d``), [m, n] for bias "full", one row [n] for
    "row". With bias "none" only its ``row_stride`` matters: the library configures it all the same. ``c``:
    input type, or accumulator type with ``full_c``. ``tile``: (I, J, K) in blocks of DIM; None = the
    library's own choice. ``loop_order``: order of the tile loops, outermost first, a permutation of "ijk"
    (the library's is "ijk"); ``any_order``: also one that mixes the partial sums of several tiles, as programs have
    that were only timed. ``resident``: operands that stay in the scratchpad over the tiles that use them
    again, or "library" = by its rule. ``halves``: "slot" = the loop's slot decides in which half of the
    scratchpad a tile lies (as in the library); "together", "apart" = the program does, A and B alternating
    from one half or from opposite ones (`sim.lower.residency`; all three WS only). ``bert_scale``: scale of
    the integer GELU and softmax polynomials (I-BERT).
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
        """Return the operands: A, B, C and the bias where there is one."""
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


@dataclass(frozen=True)
class BlockSparseMatmul(SparseItem):
    """A `Matmul` whose B is zero outside some DIM x DIM blocks; zero blocks are neither loaded nor computed.

    ``mask``: k_blocks rows of j_blocks booleans, True = the block has to be computed.
    ``index_address``: DRAM byte address of the block index (format: `sim.lower.sparse.blocksparse.index_bytes`).
    ``nonzeros``: weights in those blocks that are not zero; None = all of them. ``scheduled``: a block scheduler,
    not the CPU, issues the commands. ``indexed``: False where every block is there and no index is needed.
    """

    matmul: Matmul
    mask: tuple[tuple[bool, ...], ...]
    index_address: int
    nonzeros: int | None = None
    scheduled: bool = False
    indexed: bool = True

    def index_place(self) -> Place:
        """Return where the block index lies: per column of blocks a bit for each block, in whole bytes."""
        size = len(self.mask[0]) * -(-len(self.mask) // 8) if self.mask else 0
        return Place("index", Operand(self.index_address, 0), 1, size, "byte")

    @property
    def is_scheduled(self) -> bool:
        """Whether a block scheduler issues its commands."""
        return self.scheduled

    @property
    def nonzero_blocks(self) -> int:
        """Number of blocks of B that are computed."""
        return sum(sum(row) for row in self.mask)


@dataclass(frozen=True)
class PackedMatmul(SparseItem):
    """A `Matmul` whose B is stored with its zeros squeezed out, and what the machine does about it.

    ``rows``: per group of ``depth`` elements of K, per column of blocks, the packed rows kept (`sparseblocks`).
    ``fetch_rows``: scratchpad rows of A that one row of PEs picks its operands from. ``row_index_bits``: index of one
    packed row of DIM values. ``stored_bits``: None, or the bits of each block in DRAM, expanded by the load path; then
    the packed rows are plain rows of K and there is no index behind the decoder. ``index_address``: DRAM byte address
    of the index (of the stored stream). ``nonzeros``: weights that are not zero, for the multiply-accumulates.
    ``circulant``: stored are circulants of so many rows and columns (0: none).
    """

    matmul: Matmul
    rows: tuple[tuple[int, ...], ...]
    depth: int
    fetch_rows: int
    row_index_bits: int
    index_address: int
    nonzeros: int
    stored_bits: tuple[tuple[int, ...], ...] | None = None
    circulant: int = 0

    PACKED = True

    @property
    def is_stored_smaller(self) -> bool:
        """Whether B lies in DRAM in a compressed form that the load path expands."""
        return self.stored_bits is not None

    def index_place(self) -> Place:
        """Return where the index, or B as it is stored, lies: smaller than B dense in int32, nothing lies behind it."""
        name = "index" if self.stored_bits is None else "b"
        return Place(name, Operand(self.index_address, 0), 1, 4 * self.matmul.k * self.matmul.n, "byte")


@dataclass(frozen=True)
class SampledMatmul(SparseItem):
    """A `Matmul` of which only what an index picks is computed, from weights several of which lie in each PE.

    ``picks`` "outputs": of C[m, n] only chosen elements (B stored as [n, k]); they leave packed, row by row, each row
    from the place on where the dense one begins. "inputs": A[m, k] lies there packed and its index says which rows of
    B its values meet. ``counts``: sub-rows of DIM picks by row and window of ``resident`` * DIM columns (of K).
    ``row_elements``: the most elements of a packed row. ``index_address``: DRAM byte address of the index, of which
    each row has ``index_row_bytes``; ``index_bits`` go with each streamed sub-row.
    """

    matmul: Matmul
    picks: Literal["outputs", "inputs"]
    counts: tuple[tuple[int, ...], ...]
    resident: int
    row_elements: int
    index_address: int
    index_row_bytes: int
    index_bits: int

    PACKED = True

    @property
    def picked(self) -> str:
        """Elements that the index picks, of the "outputs" or the "inputs"."""
        return self.picks

    def index_place(self) -> Place:
        """Return where the index lies."""
        return Place("index", Operand(self.index_address, 0), 1, self.matmul.m * self.index_row_bytes, "byte")


@dataclass(frozen=True)
class ResidualAdd(Item):
    """C[rows, cols] = clip(c_scale * (a_scale * A + b_scale * B)), all of input type.

    Row stride 0: one row that is added to all. Without ``b`` it is a copy: the hardware loop leaves out the traffic of
    an operand whose address is 0. ``tile``: (rows, cols) in elements of one hardware loop; None = the library's own
    choice.
    """

    rows: int
    cols: int
    a: Operand
    b: Operand | None
    c: Operand
    relu: bool = False
    a_scale: float = 1.0
    b_scale: float = 1.0
    c_scale: float = 1.0
    tile: tuple[int, int] | None = None

    MAPPING_FIELDS = ("tile",)
    OPERATORS = ("residual_add", "copy")
    TILE_SIZES = 2

    @property
    def macs(self) -> int:
        """Additions are no multiply-accumulates."""
        return 0

    def places(self) -> list[Place]:
        """Return the operands."""
        found = [Place("a", self.a, self.rows, self.cols, "a"), Place("c", self.c, self.rows, self.cols, "c")]
        return found if self.b is None else [found[0], Place("b", self.b, self.rows, self.cols, "b"), found[1]]

    @property
    def title(self) -> str:
        """Function and sizes, for people."""
        return f"{'copy' if self.b is None else 'resadd'} {self.rows}x{self.cols}"

    @property
    def divisible_rows(self) -> int:
        """Rows of the result."""
        return self.rows

    def row_part(self, start: int, end: int, hw: Hardware) -> Self:
        """Return the addition of the rows ``start`` to ``end``, in the same tensors."""
        return replace(self, rows=end - start, tile=None, **rows_forward(self, start, hw))


@dataclass(frozen=True)
class Norm(Item):
    """C[rows, cols] = kind(X) row by row; X of accumulator type (input type with ``low_x``), C of input type.

    ``tile_rows``: rows in the accumulator at once; None = the library's choice, as many as fit.
    """

    rows: int
    cols: int
    kind: NormKind
    x: Operand
    c: Operand
    scale: float = 1.0
    bert_scale: float = DEFAULT_SCALE
    tile_rows: int | None = None
    low_x: bool = False

    MAPPING_FIELDS = ("tile_rows",)
    OPERATORS = ("layernorm", "softmax")
    TILE_SIZES = 1

    @property
    def macs(self) -> int:
        """Normalisation runs in its own units."""
        return 0

    def places(self) -> list[Place]:
        """Return the operands."""
        wide: Width = "a" if self.low_x else "sums"
        return [Place("x", self.x, self.rows, self.cols, wide), Place("c", self.c, self.rows, self.cols, "c")]

    @property
    def title(self) -> str:
        """Function and sizes, for people."""
        return f"{self.kind} {self.rows}x{self.cols}"

    @property
    def divisible_rows(self) -> int:
        """Rows of the result."""
        return self.rows

    def row_part(self, start: int, end: int, hw: Hardware) -> Self:
        """Return the normalisation of the rows ``start`` to ``end``, in the same tensors."""
        return replace(self, rows=end - start, tile_rows=None, **rows_forward(self, start, hw))


def rows_forward(work: Item, rows: int, hw: Hardware) -> dict[str, Any]:
    """Return all operands of an item that lie row by row, by field, from row ``rows`` on."""
    places = work.places()
    return {name: of.forward(rows * of.row_stride, width, hw) for name, of, _, _, width in places}


Work = Matmul | BlockSparseMatmul | PackedMatmul | SampledMatmul | ResidualAdd | Norm | Conv
"""Whatever `sim.lower.lower` can turn into a program."""
