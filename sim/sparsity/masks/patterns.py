"""Which weights are zero: masks drawn from a density and a seed, exact in number and nested.

A mask is bool[K, N], True where the weight is kept. It depends on nothing but the operator's name, the seed, the
density and the shape; for one seed what a lower density keeps, a higher one keeps too.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
"""Weights of B by (k, n), or blocks of B by (k, j): True where something is stored and computed."""


COMPARED = 8
"""Ranks of a group up to which comparing all pairs is faster than sorting."""


def order(name: str, count: int) -> npt.NDArray[np.uint64]:
    """Return ``count`` random ranks that are the same on every machine and for every numpy.

    Ranks are the hashes of a counter started by the name: the SplitMix64 finaliser (Steele, Lea, Flood 2014).
    """
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    x = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def kept(density: float, cells: int) -> int:
    """Return round(density * cells) (a half rounds to even), but at least one cell of a density above 0."""
    return max(round(density * cells), int(density > 0))


def random_cells(name: str, shape: tuple[int, int], density: float) -> Mask:
    """Return a mask with exactly `kept` True cells."""
    cells = shape[0] * shape[1]
    count = kept(density, cells)
    mask = np.zeros(cells, np.bool_)
    if count:
        ranks = order(name, cells)
        mask[np.argpartition(ranks, count - 1)[:count]] = True
    return mask.reshape(shape)


def random_groups(name: str, shape: tuple[int, int], keep: int, group: int) -> Mask:
    """Return an N:M mask: in every column, of each ``group`` weights along K ``keep`` stay (fewer at a short end)."""
    k, n = shape
    groups = -(-k // group)
    ranks = order(name, groups * group * n).reshape(groups, group, n)
    inside = (np.arange(groups * group) < k).reshape(groups, group, 1)
    ranks = np.where(inside, ranks, np.iinfo(np.uint64).max)
    place = _places(ranks)
    place[~np.broadcast_to(inside, place.shape)] = keep
    return np.asarray(place < keep).reshape(groups * group, n)[:k]


def _places(ranks: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the place of each rank in its group, ascending, [groups, group, columns]; of equals the first leads."""
    group = ranks.shape[1]
    if group > COMPARED:
        return ranks.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    found = np.zeros(ranks.shape, np.int64)
    for one in range(group):
        for other in range(one):
            ahead = ranks[:, other] <= ranks[:, one]
            found[:, one] += ahead
            found[:, other] += ~ahead
    return found


def enlarged(blocks: Mask, block: int, shape: tuple[int, int]) -> Mask:
    """Return the mask of weights whose blocks of ``block`` x ``block`` are given."""
    k, n = shape
    wide: Mask = np.repeat(np.repeat(blocks, block, axis=0)[:k], block, axis=1)[:, :n]
    return wide


def touched(mask: Mask, dim: int) -> Mask:
    """Return which dim x dim blocks hold any kept weight, bool[ceil(K/dim), ceil(N/dim)]."""
    k, n = mask.shape
    whole = np.zeros((-(-k // dim) * dim, -(-n // dim) * dim), np.bool_)
    whole[:k, :n] = mask
    return np.asarray(whole.reshape(whole.shape[0] // dim, dim, -1, dim).any(axis=(1, 3)), np.bool_)


def n_of_m(mask: Mask, keep: int, group: int) -> bool:
    """Return whether no column has more than ``keep`` weights in any group of ``group`` along K."""
    k, n = mask.shape
    whole = np.zeros((-(-k // group) * group, n), np.bool_)
    whole[:k] = mask
    return bool(whole.reshape(-1, group, n).sum(axis=1).max(initial=0) <= keep)
