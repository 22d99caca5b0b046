"""Encode weights in the formats of `formats`: bits of every block of the array, lowest bit first.

The executor's load path expands them again (`sim.functional.kernels.decode`). A value is the bit pattern of an element;
pattern 0 is a zero. Lengths are those of `formats.block_bits` and `Compression.block_bits`, bit for bit.
"""

from __future__ import annotations

from math import ceil, log2

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.sparsity.masks import formats

Array = npt.NDArray[np.int64]
BitString = npt.NDArray[np.uint8]


def encode_block(
    patterns: Array, dim: int, width: int, form: str, size: int = 0, table: Array | None = None
) -> BitString:
    """Return the bits of one block, patterns [rows, cols] of at most ``dim`` x ``dim``; of all forms but circulants.

    ``width``: bits of an element. ``size``: bits (narrow), entries (codebook). ``table``: patterns
    of the shared values of a codebook. Raises InputError for weights that the format cannot hold.
    """
    whole = np.zeros((dim, dim), np.int64)
    whole[: patterns.shape[0], : patterns.shape[1]] = patterns
    match form:
        case "bitmap":
            return _joined((whole != 0).reshape(-1), 1, whole[whole != 0], width)
        case "rle":
            return _runs(whole.reshape(-1), width)
        case "csr":
            return _indexed(whole, width)
        case "csc":
            return _indexed(whole.T, width)
        case "narrow":
            return _bits(_narrowed(patterns, width, size), size)
        case "codebook":
            assert table is not None
            return _bits(_numbers(patterns, table), max(1, ceil(log2(len(table)))))
    raise InputError(f"weights: no format {form!r}")


def _bits(values: npt.NDArray[np.integer], width: int) -> BitString:
    """Return all values in ``width`` bits each, concatenated."""
    wide = np.asarray(values, np.int64).reshape(-1, 1) >> np.arange(width)
    return (wide & 1).astype(np.uint8).reshape(-1)


def _joined(*parts: object) -> BitString:
    """Return the bits of values and widths of several lists, alternating."""
    return np.concatenate([_bits(np.asarray(v), int(str(w))) for v, w in zip(parts[::2], parts[1::2], strict=True)])


def _runs(cells: Array, width: int) -> BitString:
    """Return the bits of runs: zeros before a value, then the value.

    A zero as value if the run is too long or the block ends.
    """
    longest = 2**formats.RUN_BITS - 1
    entries: list[tuple[int, int]] = []
    run = 0
    for cell in cells.tolist():
        if cell or run == longest:
            entries.append((run, cell))
            run = 0
        else:
            run += 1
    if run:
        entries.append((longest, 0))
    found = np.array(entries, np.int64).reshape(-1, 2)
    return np.concatenate([_bits(found[:, :1], formats.RUN_BITS).reshape(-1, formats.RUN_BITS),
                           _bits(found[:, 1:], width).reshape(-1, width)], axis=1).reshape(-1)  # fmt: skip


def _indexed(whole: Array, width: int) -> BitString:
    """Return the end of each line, then position and value of each of its elements."""
    dim = len(whole)
    ends = np.cumsum((whole != 0).sum(axis=1))
    place = max(1, ceil(log2(dim)))
    lines, places = np.nonzero(whole)
    entries = [_bits(places, place).reshape(-1, place), _bits(whole[lines, places], width).reshape(-1, width)]
    return np.concatenate([_bits(ends, ceil(log2(dim * dim + 1))), np.concatenate(entries, axis=1).reshape(-1)])


def _narrowed(patterns: Array, width: int, size: int) -> Array:
    signed = np.where(patterns >> (width - 1), patterns - (1 << width), patterns)
    low, high = -(1 << size - 1), (1 << size - 1) - 1
    if signed.min(initial=0) < low or signed.max(initial=0) > high:
        worst = int(signed.flat[np.abs(signed).argmax()])
        raise InputError(f"weights: {worst} does not fit {size} bits ({low} to {high}); nearest: {low} or {high}")
    return signed


def _numbers(patterns: Array, table: Array) -> Array:
    places = np.searchsorted(table, patterns).clip(0, len(table) - 1)
    if not np.array_equal(table[places], patterns):
        raise InputError(f"weights: a value is not among the {len(table)} of the codebook")
    return np.asarray(places, np.int64)


def check_circulant(patterns: Array, size: int) -> None:
    """Raise InputError for a matrix [K, N] that does not consist of circulants of ``size``."""
    rows, cols = patterns.shape
    if rows % size or cols % size:
        raise InputError(f"weights: {rows}x{cols} is not made of whole circulants of {size}")
    parts = patterns.reshape(rows // size, size, cols // size, size)
    turned = (np.arange(size)[None, :] - np.arange(size)[:, None]) % size
    if not np.array_equal(parts, parts[:, 0][:, :, turned].transpose(0, 2, 1, 3)):
        raise InputError(f"weights: not made of circulants of {size}")


def encode_circulant(patterns: Array, rows: range, cols: range, width: int, size: int) -> BitString:
    """Return the bits of a window of a matrix [K, N] of circulants of ``size``, in the order of one load.

    Circulant by circulant, row by row (`sim.sparsity.masks.formats.circulant_pieces`).
    """
    corners = [
        (high, wide)
        for high in range(rows.start // size, -(-rows.stop // size))
        for wide in range(cols.start // size, -(-cols.stop // size))
    ]
    found = []
    for (high, wide), (first, count) in zip(corners, formats.circulant_pieces(rows, cols, size), strict=True):
        line = patterns[high * size, wide * size : (wide + 1) * size]
        found.append(_bits(line[(first + np.arange(count)) % size], width))
    return np.concatenate(found)
