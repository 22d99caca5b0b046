"""Packing: rows left of a weight matrix after removing the zeros of each block column along K.

The hardware selects operands: each PE of a row takes one of the ``window`` activations that its row receives. A window
has as many packed rows as its fullest column has weights: this imbalance depends on the mask. With N:M sparsity all
windows have the same number.

Conversely, each PE may hold several weights and select one for every row that passes: a row of chosen scores
(of chosen activations) is then streamed as *sub-rows*, each with at most one choice per line of PEs (`sub_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import Literal

import numpy as np
import numpy.typing as npt

from sim.sparsity.masks.patterns import Mask


@dataclass(frozen=True)
class Packing:
    """``rows``: packed rows by (group, block column); a group is ``depth`` elements of K, fed together.

    ``row_index_bits``: index of one packed row: for each value its activation within the window, and for the row its
    window within the group.
    """

    rows: npt.NDArray[np.int64]
    depth: int
    fetch_rows: int
    row_index_bits: int

    def blocks(self, dim: int) -> int:
        """Return the blocks of ``dim`` packed rows that have to be loaded and computed."""
        return int((-(-self.rows // dim)).sum())

    def padded_rows(self, dim: int, together: int) -> int:
        """Return the rows of values that are loaded: ``together`` aligned neighbours have lines of one length."""
        place = np.arange(self.fetch_rows)[None, :, None] * dim
        rows = np.clip(self.rows[:, None, :] - place, 0, dim)
        edges = range(0, rows.shape[2], together)
        longest = np.maximum.reduceat(rows, edges, axis=2)
        return int((np.add.reduceat(rows > 0, edges, axis=2) * longest).sum())


def pack(mask: Mask, dim: int, fetch_rows: int, window: int, keep: int | None = None) -> Packing:
    """Pack a mask bool[K, N] for an array of ``dim`` columns fed ``fetch_rows * dim`` activations at once.

    ``window``: activations from which a PE selects. ``keep``: rows of every window (N:M), None = as many as its fullest
    column needs; then the index of a packed row also names its window.
    """
    k, n = mask.shape
    windows = fetch_rows * dim // window
    depth = windows * window
    groups, columns = -(-k // depth), -(-n // dim)
    whole = np.zeros((groups * depth, columns * dim), np.bool_)
    whole[:k, :n] = mask
    counts = whole.reshape(groups, windows, window, columns, dim).sum(axis=2)
    fullest = counts.max(axis=-1)  # [group, window, column]
    if keep is not None:
        inside = np.clip(k - np.arange(groups * windows) * window, 0, keep).reshape(groups, windows, 1)
        fullest = np.broadcast_to(inside, fullest.shape)
    bits = dim * ceil(log2(window)) if window > 1 else 0
    if keep is None and windows > 1:
        bits += ceil(log2(windows))
    return Packing(fullest.sum(axis=1, dtype=np.int64), depth, fetch_rows, bits)


def best(mask: Mask, dim: int, fetch_rows: int, window: int, keep: int | None = None) -> Packing:
    """Return the packing with the fewest blocks among all widths of the feed up to ``fetch_rows`` (powers of two)."""
    widths = [2**power for power in range(fetch_rows.bit_length()) if 2**power * dim >= window]
    return min((pack(mask, dim, width, window, keep) for width in widths), key=lambda found: found.blocks(dim))


Reach = Literal["pe", "line"]
"""Weights among which a PE selects: its own, or those of all PEs of its line (a row or a column of the array)."""

Counts = npt.NDArray[np.int64]


def sub_rows(mask: Mask, dim: int, resident: int, reach: Reach) -> Counts:
    """Return the number of sub-rows of each row of a mask bool[rows, K] in each window of K, int64[rows, windows].

    A window is the ``resident`` * ``dim`` columns whose weights are in the array together. With reach "line" every
    place of a sub-row takes any column of the window that is left: ceil(kept / dim) sub-rows. With "pe" place p takes
    only columns p, p + dim, ...: the fullest place decides.
    """
    rows, k = mask.shape
    window = resident * dim
    windows = -(-k // window)
    whole = np.zeros((rows, windows * window), np.bool_)
    whole[:, :k] = mask
    by_place = whole.reshape(rows, windows, resident, dim)
    if reach == "line":
        return np.asarray(-(-by_place.sum(axis=(2, 3)) // dim), np.int64)
    return np.asarray(by_place.sum(axis=2).max(axis=-1), np.int64)


def sub_row_columns(kept: npt.NDArray[np.bool_], dim: int, resident: int, reach: Reach) -> list[npt.NDArray[np.int64]]:
    """Return the sub-rows of one row in one window: the column in each of ``dim`` places, -1 where there is none.

    ``kept``: bool[at most resident * dim]. Their number is that of `sub_rows`.
    """
    columns = np.flatnonzero(kept)
    if reach == "line":
        padded = np.full(-(-columns.size // dim) * dim, -1, np.int64)
        padded[: columns.size] = columns
        return list(padded.reshape(-1, dim))
    by_place = [columns[columns % dim == place] for place in range(dim)]
    deepest = max((one.size for one in by_place), default=0)
    found = np.full((deepest, dim), -1, np.int64)
    for place, one in enumerate(by_place):
        found[: one.size, place] = one
    return list(found)
