"""Formats in which weights lie in DRAM when the load path expands them: bits of every block of the array, by formula.

========== ==========================================================================================
bitmap     one bit per element, then the non-zero values
rle        per non-zero value the zeros before it in 4 bits, row after row; a longer run, and the one that ends
           the block, costs fillers (zeros stored as values)
csr        per block row a pointer of ceil(log2(cells + 1)) bits; per value its column
csc        the same by columns: per value its row
narrow     every value in fewer bits, all of them stored
codebook   per value an index into a table of shared values; the table once per matrix
circulant  of each b x b circulant block its first row
========== ==========================================================================================

Values and their index are packed bit by bit inside a block (`codec` does it); blocks are padded where they are loaded
(`sim.lower`).
"""

from __future__ import annotations

from math import ceil, log2

import numpy as np
import numpy.typing as npt

from sim.sparsity.patterns import Mask

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
    """Return by block the zeros that are stored as values: one per 2**RUN_BITS zeros, and one for what ends the block.

    Without the latter a block would not say where the next one begins.
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


def uniform_bits(shape: tuple[int, int], dim: int, bits: float) -> Bits:
    """Return ``bits`` per element for every block of a [K, N] matrix; edge blocks count what lies inside."""
    inside = [np.minimum(dim, size - dim * np.arange(-(-size // dim))) for size in shape]
    cells = inside[0][:, None] * inside[1][None, :]
    return np.ceil(cells * bits).astype(np.int64)
