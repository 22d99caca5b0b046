"""B of a sparse product as the array uses it: blocks of at most DIM packed rows, and the part of A for each.

All schemes that skip use this description. In a *block-sparse* B a block is DIM rows of K, present or not. In a
*packed* B zeros are removed along K: the K axis is cut into groups of ``depth`` elements, whose activations are fetched
together (``fetch`` scratchpad rows at once); of a group only the rows with a value anywhere in the block column are
kept, and each PE selects its activation by an index. Group s may then have up to ``fetch`` blocks per block column,
numbered q = s * fetch, s * fetch + 1, ... *Stored* blocks are expanded on the way into the scratchpad:
they take fewer bits in DRAM than their rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.lower.sparse.compiled.records import BITMAP, BITS, NO_INDEX
from sim.lower.tiling import blocks_of
from sim.lower.work import BlockSparseMatmul, PackedMatmul
from sim.sparsity.masks.formats import circulant_pieces

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

BITS_PER_BYTE = 8


def column_bytes(blocks_k: int) -> int:
    """Return the bytes of one column of a block index: one bit per block, whole bytes."""
    return blocks_of(blocks_k, BITS_PER_BYTE)


@dataclass(frozen=True)
class Blocks:
    """Blocks of B by (q, j).

    ``rows``: rows in use, 0 = no block. ``index_bits``: bits of index of each block, or None for a bitmap of blocks.
    ``stored_bits``: bits of each block in DRAM, or None if blocks are stored as they are used. ``circulant``: size of
    stored circulants, with elements of ``value_bits``.
    """

    dim: int
    k: int
    rows: Counts
    fetch: int
    depth: int
    index_bits: Counts | None = None
    stored_bits: Counts | None = None
    circulant: int = 0
    value_bits: int = 8

    @property
    def shape(self) -> tuple[int, int]:
        """(Q, J)."""
        return self.rows.shape[0], self.rows.shape[1]

    @cached_property
    def mask(self) -> Mask:
        """bool[Q, J]: whether there is a block."""
        found: Mask = self.rows > 0
        return found

    @property
    def dense(self) -> bool:
        """Whether this is an ordinary product: every block present, unpacked."""
        return self.fetch == 1 and self.index_bits is None and self.stored_bits is None and bool(self.mask.all())

    @property
    def index_kind(self) -> int:
        """What the index in front of a part is; the decoder takes that of stored blocks off."""
        if self.stored_bits is not None:
            return NO_INDEX
        return BITMAP if self.index_bits is None else BITS

    @property
    def aligned(self) -> bool:
        """Whether blocks of A are DIM elements apart, those of neighbouring groups included."""
        return self.depth == self.fetch * self.dim

    def a_column(self, k: int) -> int:
        """Return the first element of K in block ``k`` of A."""
        return k // self.fetch * self.depth + k % self.fetch * self.dim

    def a_width(self, k: int) -> int:
        """Return the elements of K in block ``k`` of A; 0 beyond the end of the group or the matrix."""
        inside = min(self.dim, self.depth - k % self.fetch * self.dim, self.k - self.a_column(k))
        return max(0, inside)

    @cached_property
    def _inside(self) -> Mask:
        """bool[Q]: whether a block of A has any element."""
        return np.array([self.a_width(k) > 0 for k in range(self.shape[0])])

    def a_group(self, group: int) -> int:
        """Return how many adjacent blocks of A one load may take, of the ``group`` that fit a request."""
        return group if self.aligned else min(group, self.fetch)

    def needs_a(self, used: Mask) -> Mask:
        """Return which blocks of A a set of rows q draws on; ``used``: [..., Q]."""
        groups = used.reshape(*used.shape[:-1], -1, self.fetch).any(axis=-1)
        needed: Mask = np.repeat(groups, self.fetch, axis=-1) & self._inside
        return needed

    def whole(self, depth: int) -> int:
        """Return the least number of rows q, at least ``depth``, that cuts no group."""
        return min(blocks_of(depth, self.fetch) * self.fetch, self.shape[0])

    def load_bits(self, q: int, j: int, shape: tuple[int, int]) -> int:
        """Return the stored bits that a load of ``shape`` (cols, rows) from block (q, j) on expands."""
        assert self.stored_bits is not None
        cols, rows = shape
        if not self.circulant:
            return int(self.stored_bits[q, j : j + blocks_of(cols, self.dim)].sum())
        window = range(q * self.dim, q * self.dim + rows), range(j * self.dim, j * self.dim + cols)
        return self.value_bits * sum(count for _, count in circulant_pieces(*window, self.circulant))

    def index_line_bytes(self, first: int, last: int, start: int, stop: int) -> int:
        """Return the bytes of index of the blocks in rows q first..last and columns start..stop."""
        assert self.index_bits is not None
        return blocks_of(int(self.index_bits[first:last, start:stop].sum()), BITS_PER_BYTE)


def block_sparse(work: BlockSparseMatmul, hw: Hardware) -> Blocks:
    """Return the blocks of a block-sparse B; edge blocks have the rows that lie inside the matrix."""
    mask = np.asarray(work.mask, dtype=bool)
    inside = np.minimum(hw.dim, work.matmul.k - hw.dim * np.arange(len(mask)))
    rows = mask * inside[:, None]
    return Blocks(hw.dim, work.matmul.k, rows, 1, hw.dim, None if work.indexed else np.zeros_like(rows))


def packed(work: PackedMatmul, hw: Hardware) -> Blocks:
    """Return the blocks of a packed or stored B: each group's rows cut into blocks of DIM, the last one shorter."""
    fill = np.asarray(work.rows, dtype=np.int64)
    place = np.arange(work.fetch_rows)[None, :, None] * hw.dim
    rows = np.clip(fill[:, None, :] - place, 0, hw.dim).reshape(-1, fill.shape[1])
    index = rows * work.row_index_bits if work.row_index_bits else None
    if index is None and work.stored_bits is None:
        index = np.zeros_like(rows)
    stored = None if work.stored_bits is None else np.asarray(work.stored_bits, dtype=np.int64)
    return Blocks(hw.dim, work.matmul.k, rows, work.fetch_rows, work.depth, index, stored, work.circulant, hw.bits("b"))
