"""Formats of weights in DRAM that the load path expands: bits of every block of the array, by formula.

========== ==========================================================================================
bitmap     one bit per element, then the non-zero values
rle        per non-zero value the zeros before it in 4 bits, row after row; a longer run, and the one that ends
           the block, costs fillers (zeros stored as values)
csr        per block row a pointer of ceil(log2(cells + 1)) bits; per value its column
csc        the same by columns: per value its row
narrow     every value in fewer bits, all of them stored
codebook   per value an index into a table of shared values; the table once per matrix
circulant  of each b x b circulant the values that the rows and columns of a load meet: at most b, its first row.
           On an array smaller than b that is once for every DIM rows: what a load expands, it brings
========== ==========================================================================================

Values and their index are packed bit by bit inside a block (`codec` does it); blocks are padded where they are loaded
(`sim.lower`).
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, log2

import numpy as np
import numpy.typing as npt

from sim.sparsity.masks.patterns import Mask

Bits = npt.NDArray[np.int64]

RUN_BITS = 4
"""Width of a run of zeros (the run-length fields of Eyeriss and EIE are 5 and 4 bits)."""

SPARSE_FORMATS = ("bitmap", "rle", "csr", "csc")


def block_bits(mask: Mask, dim: int, value_bits: int, form: str) -> Bits:
    """Return the bits of each dim x dim block of a masked matrix in a sparse format, int64[kb, jb].

    Edge blocks are padded with zeros to whole blocks. Raises ValueError for a format that stores no mask.
    """
    k, n = mask.shape
    whole = np.zeros((-(-k // dim) * dim, -(-n // dim) * dim), np.bool_)
    whole[:k, :n] = mask
    cells = whole.reshape(whole.shape[0] // dim, dim, whole.shape[1] // dim, dim).transpose(0, 2, 1, 3)
    values: Bits = cells.sum(axis=(2, 3), dtype=np.int64)
    place, pointer = max(1, ceil(log2(dim))), ceil(log2(dim * dim + 1))
    match form:
        case "bitmap":
            return values * value_bits + dim * dim
        case "rle":
            return (values + _fillers(cells)) * (value_bits + RUN_BITS)
        case "csr" | "csc":
            return values * (value_bits + place) + dim * pointer
    raise ValueError(f"{form} stores no mask")


def _fillers(cells: Mask) -> Bits:
    """Return by block the zeros stored as values: one per 2**RUN_BITS zeros, and one if zeros end the block.

    Without the latter the end of a block could not be recognised.
    """
    reach = 2**RUN_BITS
    flat = cells.reshape(*cells.shape[:2], -1)
    fillers, run = (np.zeros(cells.shape[:2], np.int64) for _ in range(2))
    for place in range(flat.shape[-1]):
        kept = flat[..., place]
        fillers += np.where(kept, run // reach, 0)
        run = np.where(kept, 0, run + 1)
    fillers += -(-run // reach)
    return fillers


def circulant_pieces(rows: range, cols: range, block: int) -> list[tuple[int, int]]:
    """Return (first value, values) of each circulant that a window of a matrix of block x block circulants meets.

    Row r, column c of a circulant holds value (c - r) mod ``block`` of its first row; a window whose height and width
    add up to ``block`` or more uses all values, numbered from 0.
    """
    found = []
    for high in _cut(rows, block):
        for wide in _cut(cols, block):
            count = len(high) + len(wide) - 1
            first = (wide.start - (high.stop - 1)) % block
            found.append((0, block) if count >= block else (first, count))
    return found


def _cut(span: range, block: int) -> list[range]:
    """Divide a range at multiples of ``block``."""
    edges = [span.start, *range((span.start // block + 1) * block, span.stop, block), span.stop]
    return [range(first, last) for first, last in pairwise(edges)]


def circulant_bits(shape: tuple[int, int], dim: int, block: int, value_bits: int) -> Bits:
    """Return the bits of each dim x dim block of a [K, N] matrix of circulants, beyond those of the blocks on its left.

    A load that begins inside a circulant also loads the values of the blocks on its left (`circulant_pieces`).
    """
    k, n = shape
    found = np.zeros((-(-k // dim), -(-n // dim)), np.int64)
    for q, j in np.ndindex(found.shape):
        rows = range(q * dim, min((q + 1) * dim, k))
        before, with_it = (
            sum(count for _, count in circulant_pieces(rows, range(left, min(stop, n)), block)) if stop > left else 0
            for left, stop in (
                (j * dim // block * block, j * dim),
                (j * dim // block * block, (j + 1) * dim),
            )
        )
        found[q, j] = (with_it - before) * value_bits
    return found


def uniform_bits(shape: tuple[int, int], dim: int, bits: float) -> Bits:
    """Return ``bits`` per element for every block of a [K, N] matrix.

    Edge blocks count their elements inside the matrix.
    """
    inside = [np.minimum(dim, size - dim * np.arange(-(-size // dim))) for size in shape]
    cells = inside[0][:, None] * inside[1][None, :]
    return np.ceil(cells * bits).astype(np.int64)
