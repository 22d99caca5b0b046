"""Errors of compressions of real weights, and the least size within a given error.

The error is that of the Frobenius norm, |W - W'| / |W|, of the best compression of each kind that we know of:

========= ==============================================================================================
low_rank  the singular values left out (Eckart and Young: no matrix of that rank is nearer)
circulant the mean along each wrapped diagonal of a block (the nearest circulant in that norm)
codebook  Lloyd's iteration on the distinct values, from their quantiles; none where every value has an entry
narrow    the best of 40 symmetric steps, with 2^(bits - 1) - 1 levels on either side of zero
========= ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float64]

ROUNDS = 40
"""Iterations of Lloyd's algorithm, and steps tried for narrow integers.

More do not change the third digit of the error.
"""

SIZES: dict[str, tuple[int, ...]] = {"codebook": tuple(2**bits for bits in range(1, 9)), "narrow": (2, 4)}
"""Sizes of the kinds with few sizes, from the fewest stored bytes to the most."""


def error(weights: Weights, kind: str, size: int) -> float:
    """Return the relative error of a kind of compression at a size (`sim.sparsity.edits.compress.KINDS`)."""
    whole = float(np.linalg.norm(weights))
    if whole == 0:
        return 0.0
    if kind == "low_rank":
        tail = np.linalg.svd(weights, compute_uv=False)[size:]
        return float(np.linalg.norm(tail)) / whole
    return float(np.linalg.norm(weights - _nearest(weights, kind, size))) / whole


def distinct(weights: Weights) -> int:
    """Return the number of distinct values."""
    return int(np.unique(weights).size)


def least(weights: Weights, kind: str, demanded: float) -> int | None:
    """Return the size with the fewest stored bytes whose error is at most ``demanded``, None if there is none."""
    if kind == "low_rank":
        squares = np.linalg.svd(weights, compute_uv=False)[::-1] ** 2
        left_out = int(np.searchsorted(np.cumsum(squares), demanded**2 * squares.sum(), side="right"))
        return max(1, len(squares) - left_out)
    return next((size for size in _sizes(weights, kind) if error(weights, kind, size) <= demanded), None)


def _sizes(weights: Weights, kind: str) -> Iterable[int]:
    """Return the sizes from the fewest stored bytes to the most: large circulants first."""
    if kind != "circulant":
        return SIZES[kind]
    k, n = weights.shape
    powers = takewhile(lambda size: k % size == n % size == 0, (2**power for power in count(1)))
    return sorted(powers, reverse=True)


def _nearest(weights: Weights, kind: str, size: int) -> Weights:
    if kind == "circulant":
        return _circulant(weights, size)
    values, where, counts = np.unique(weights, return_inverse=True, return_counts=True)
    if kind == "codebook":
        shared = _lloyd(values, counts, size)
        return shared[where].reshape(weights.shape)
    return min(_rounded(weights, 2 ** (size - 1) - 1), key=lambda near: float(np.linalg.norm(weights - near)))


def _circulant(weights: Weights, block: int) -> Weights:
    """Replace each wrapped diagonal of every block x block by its mean."""
    k, n = weights.shape
    cells = weights.reshape(k // block, block, n // block, block).transpose(0, 2, 1, 3)
    rows = np.arange(block)
    diagonal = (rows[None, :] - rows[:, None]) % block
    first = np.stack([cells[:, :, diagonal == d].mean(axis=-1) for d in range(block)], axis=-1)
    near: Weights = first[:, :, diagonal].transpose(0, 2, 1, 3).reshape(k, n)
    return near


def _lloyd(values: Weights, counts: npt.NDArray[Any], entries: int) -> Weights:
    """Return the codebook entry of every distinct value (ascending)."""
    if len(values) <= entries:
        return values
    mass = np.cumsum(counts) / counts.sum()
    centres = values[np.searchsorted(mass, (np.arange(entries) + 0.5) / entries)]
    for _ in range(ROUNDS):
        nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        weight = np.bincount(nearest, counts, entries)
        sums = np.bincount(nearest, counts * values, entries)
        centres = np.sort(np.where(weight > 0, sums / np.maximum(weight, 1), centres))
    final: Weights = centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, values)]
    return final


def _rounded(weights: Weights, most: int) -> Iterator[Weights]:
    """Yield the weights rounded to integers of at most ``most`` in magnitude, for steps up to one that clips none."""
    for step in np.abs(weights).max() / most * np.arange(1, ROUNDS + 1) / ROUNDS:
        yield step * np.clip(np.round(weights / step), -most, most)
