"""Work items: the computation of one accelerator operator and the addresses of its operands, before lowering.

Each class defines its operands (`Item.places`), how to move it to other addresses (`Item.moved`), the fields that a
mapping may set and the operator kinds that it implements. All are frozen plain data, so equal items can be recognised
and simulated once. Addresses are DRAM bytes; strides count ELEMENTS of the operand's own type, as the arguments of
Gemmini's C library do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from sim.lower.conv.item import CONV_ORDER as CONV_ORDER
from sim.lower.conv.item import Conv as Conv
from sim.lower.item import DEFAULT_SCALE as DEFAULT_SCALE
from sim.lower.item import Item as Item
from sim.lower.item import Operand as Operand
from sim.lower.item import Place as Place
from sim.lower.item import Width as Width
from sim.lower.matmul_item import ACTIVATIONS as ACTIVATIONS
from sim.lower.matmul_item import DATAFLOWS as DATAFLOWS
from sim.lower.matmul_item import ROW_ACTIVATIONS as ROW_ACTIVATIONS
from sim.lower.matmul_item import Activation as Activation
from sim.lower.matmul_item import BiasKind as BiasKind
from sim.lower.matmul_item import Dataflow as Dataflow
from sim.lower.matmul_item import Halves as Halves
from sim.lower.matmul_item import Matmul as Matmul
from sim.lower.matmul_item import NormKind as NormKind
from sim.lower.matmul_item import Resident as Resident
from sim.lower.schedule_items import Chain as Chain
from sim.lower.schedule_items import RowsMatmul as RowsMatmul
from sim.lower.schedule_items import Streaming as Streaming

if TYPE_CHECKING:
    from sim.hardware import Hardware


class SparseItem(Item):
    """A form of a product with an index; each subclass has the fields ``matmul`` and ``index_address``."""

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
        """Return the operand of the index, or of the data stored instead of B."""
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
class BlockSparseMatmul(SparseItem):
    """A `Matmul` whose B is zero outside some DIM x DIM blocks; zero blocks are neither loaded nor computed.

    ``mask``: k_blocks rows of j_blocks booleans, True = the block has to be computed.
    ``index_address``: DRAM byte address of the block index (format: `sim.lower.sparse.blocksparse.index_bytes`).
    ``nonzeros``: weights in those blocks that are not zero; None = all of them. ``scheduled``: a block scheduler,
    not the CPU, issues the commands. ``indexed``: False if every block is present and no index is needed.
    """

    matmul: Matmul
    mask: tuple[tuple[bool, ...], ...]
    index_address: int
    nonzeros: int | None = None
    scheduled: bool = False
    indexed: bool = True

    def index_place(self) -> Place:
        """Return the operand of the block index: per column of blocks a bit for each block, in whole bytes."""
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
    """A `Matmul` whose B is stored without its zeros, with the way in which the machine uses it.

    ``rows``: per group of ``depth`` elements of K, per column of blocks, the packed rows kept
    (`sim.lower.sparse.blocks`). ``fetch_rows``: scratchpad rows of A from which one row of PEs selects its operands.
    ``row_index_bits``: index of one packed row of DIM values. ``stored_bits``: None, or the bits of each block in DRAM,
    expanded by the load path; then the packed rows are plain rows of K and no index is left after the decoder.
    ``index_address``: DRAM byte address of the index (of the stored stream). ``nonzeros``: weights that are not zero,
    for the multiply-accumulates.
    ``circulant``: rows and columns of the stored circulants (0: none).
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
        """Whether B is stored in DRAM in a compressed form that the load path expands."""
        return self.stored_bits is not None

    def index_place(self) -> Place:
        """Return the operand of the index, or of the stored B; its size is bounded by that of a dense B in int32."""
        name = "index" if self.stored_bits is None else "b"
        return Place(name, Operand(self.index_address, 0), 1, 4 * self.matmul.k * self.matmul.n, "byte")


@dataclass(frozen=True)
class SampledMatmul(SparseItem):
    """A `Matmul` of which only the elements selected by an index are computed, with several weights in each PE.

    ``picks`` "outputs": only chosen elements of C[m, n] (B stored as [n, k]); they are stored packed, row by row, each
    row at the address of the dense row. "inputs": A[m, k] is stored packed and its index names the rows of B for its
    values. ``counts``: sub-rows of DIM picks by row and window of ``resident`` * DIM columns (of K).
    ``row_elements``: largest number of elements of a packed row. ``index_address``: DRAM byte address of the index, of
    which each row has ``index_row_bytes``; ``index_bits`` go with each streamed sub-row.
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
        """Operand whose elements the index selects, "outputs" or "inputs"."""
        return self.picks

    def index_place(self) -> Place:
        """Return the operand of the index."""
        return Place("index", Operand(self.index_address, 0), 1, self.matmul.m * self.index_row_bytes, "byte")


@dataclass(frozen=True)
class ResidualAdd(Item):
    """C[rows, cols] = clip(c_scale * (a_scale * A + b_scale * B)), all of input type.

    Row stride 0: one row that is added to all. Without ``b`` the item is a copy: the hardware loop omits the traffic of
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
    def is_chainable(self) -> bool:
        """Every sum can be part of a chain."""
        return True

    @property
    def macs(self) -> int:
        """0: additions are no multiply-accumulates."""
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
    def is_chainable(self) -> bool:
        """Every pass over rows can be part of a chain."""
        return True

    @property
    def macs(self) -> int:
        """0: normalisation runs in units of its own."""
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
    """Return all operands of an item that are stored row by row, by field, moved ``rows`` rows forward."""
    places = work.places()
    return {name: of.forward(rows * of.row_stride, width, hw) for name, of, _, _, width in places}


Work = (
    Matmul
    | BlockSparseMatmul
    | PackedMatmul
    | SampledMatmul
    | RowsMatmul
    | Streaming
    | ResidualAdd
    | Norm
    | Conv
    | Chain
)
"""Work items that `sim.lower.lower` turns into a program."""
