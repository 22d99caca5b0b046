"""Masks of weights drawn from a density and a seed, exact in number and nested.

A mask is bool[K, N], True where the weight is kept. It depends only on the operator's name, the seed, the density and
the shape; for one seed a higher density keeps every weight that a lower one keeps.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
"""Weights of B by (k, n), or blocks of B by (k, j): True where something is stored and computed."""


COMPARED = 8
"""Ranks of a group up to which comparing all pairs is faster than sorting."""

COUNTER_STEP = 0x9E3779B97F4A7C15
FINALISER = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
    (np.uint64(31), np.uint64(1)),
)
"""Shifts and factors of SplitMix64 (Steele, Lea, Flood 2014)."""

PIECE = 1 << 15
"""Ranks computed in one piece: 256 KiB."""

WIDTHS = 6
"""Standard deviations around the expected quantile of even ranks that are searched first."""


def order(name: str, count: int) -> npt.NDArray[np.uint64]:
    """Return ``count`` random ranks that are the same on every machine and with every release of numpy.

    Ranks are hashes of a counter that starts at a hash of the name; all differ, as `FINALISER` is a bijection.
    """
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    found = np.empty(count, np.uint64)
    steps = np.arange(1, min(count, PIECE) + 1, dtype=np.uint64) * np.uint64(COUNTER_STEP)
    for begin in range(0, count, PIECE):  # pieces that fit the cache
        x = found[begin : begin + PIECE]
        np.add(steps[: len(x)], np.uint64((start + begin * COUNTER_STEP) % 2**64), out=x)
        shifted = np.empty_like(x)
        for shift, factor in FINALISER:
            x ^= np.right_shift(x, shift, out=shifted)
            x *= factor
    return found


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
        np.less_equal(ranks, _lowest(ranks, count), out=mask)
    return mask.reshape(shape)


def _lowest(ranks: npt.NDArray[np.uint64], count: int) -> np.uint64:
    """Return the highest of the ``count`` lowest ranks; no two are equal.

    Ranks are spread evenly, so it is close to its share of their range: only ranks near that value are sorted.
    """
    spread = WIDTHS * (count * (len(ranks) - count) / len(ranks)) ** 0.5 + 1
    low, high = (min(max(count + side * spread, 0) / len(ranks), 1.0) for side in (-1, 1))
    bounds = [min(int(edge * 2.0**64), 2**64 - 1) for edge in (low, high)]
    above = ranks >= np.uint64(bounds[0])
    below = len(ranks) - int(np.count_nonzero(above))
    close = ranks[above & (ranks <= np.uint64(bounds[1]))]
    if not below < count <= below + len(close):
        close, below = ranks, 0
    found: np.uint64 = np.partition(close, count - below - 1)[count - below - 1]
    return found


def random_groups(name: str, shape: tuple[int, int], keep: int, group: int) -> Mask:
    """Return an N:M mask.

    In every column ``keep`` of each ``group`` weights along K are kept (fewer at a short end).
    """
    k, n = shape
    groups = -(-k // group)
    ranks = order(name, groups * group * n).reshape(groups, group, n)
    last = k - (groups - 1) * group
    ranks[-1, last:] = np.iinfo(np.uint64).max
    place = _places(ranks)
    place[-1, last:] = keep
    return np.asarray(place < keep).reshape(groups * group, n)[:k]


def _places(ranks: npt.NDArray[np.uint64]) -> npt.NDArray[np.signedinteger]:
    """Return the position of each rank in its group, ascending, [groups, group, columns]; of equals the first leads."""
    group = ranks.shape[1]
    if group > COMPARED:
        return ranks.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    found = np.zeros(ranks.shape, np.int8)
    for one in range(group):
        for other in range(one):
            ahead = ranks[:, other] <= ranks[:, one]
            found[:, one] += ahead
            found[:, other] += ~ahead
    return found


def enlarged(blocks: Mask, block: int, shape: tuple[int, int]) -> Mask:
    """Return the mask of weights of a mask of ``block`` x ``block`` blocks."""
    k, n = shape
    wide: Mask = np.repeat(np.repeat(blocks, block, axis=0)[:k], block, axis=1)[:, :n]
    return wide


def touched(mask: Mask, dim: int) -> Mask:
    """Return whether each dim x dim block holds a kept weight, bool[ceil(K/dim), ceil(N/dim)]."""
    k, n = mask.shape
    rows = np.zeros((-(-k // dim), -(-n // dim) * dim), np.bool_)
    for number, row in enumerate(rows):  # whole rows at once: nine times as fast as any() over both axes
        mask[number * dim : (number + 1) * dim].any(axis=0, out=row[:n])
    return np.asarray(rows.reshape(len(rows), -1, dim).any(axis=2), np.bool_)


def weights_in(blocks: Mask, block: int, shape: tuple[int, int]) -> int:
    """Return the number of weights in each ``block`` x ``block`` block of a matrix of ``shape``."""
    high, wide = (np.minimum(block, size - block * np.arange(-(-size // block))) for size in shape)
    return int(high @ (blocks @ wide))


def n_of_m(mask: Mask, keep: int, group: int) -> bool:
    """Return whether no column has more than ``keep`` weights in any group of ``group`` along K."""
    k, n = mask.shape
    whole = np.zeros((-(-k // group) * group, n), np.bool_)
    whole[:k] = mask
    return bool(whole.reshape(-1, group, n).sum(axis=1).max(initial=0) <= keep)
