"""Outlier columns: selecting them, and splitting a column into integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sim.graph.kinds.elementwise import parts

Array = npt.NDArray[Any]


def choose(largest: Array, extra: int) -> tuple[int, ...]:
    """Return the columns to which ``extra`` copies are given, one by one to the column with the largest share.

    ``largest``: by column the largest magnitude. Columns are in ascending order, repeated by the number of their
    copies.
    """
    shares, counts = largest.astype(np.float64).copy(), np.ones(len(largest), np.int64)
    for _ in range(extra):
        column = int(shares.argmax())
        counts[column] += 1
        shares[column] = largest[column] / counts[column]
    return tuple(int(column) for column in np.repeat(np.arange(len(largest)), counts - 1))


def split(values: Array, copies: tuple[int, ...], scale: Array | float, top: int) -> Array:
    """Return float values [..., columns] as integers [..., columns + copies] whose parts add up to the rounded value.

    ``scale``: of each column. A column of n parts keeps magnitudes up to n * ``top`` without loss.
    """
    columns = values.shape[-1]
    count = parts(columns, copies)
    whole = np.rint(values.astype(np.float64) / scale)
    whole = np.clip(whole, -top * count, top * count).astype(np.int64)
    # part i of n of a whole number q is floor((q + i) / n): they differ by at most 1 and sum to q
    number = np.zeros(len(copies), np.int64)
    seen = np.zeros(columns, np.int64)
    for place, column in enumerate(copies):
        seen[column] += 1
        number[place] = seen[column]
    taken = whole[..., list(copies)]
    return np.concatenate([whole // count, (taken + number) // count[list(copies)]], axis=-1)
