"""Sparse and compressed weights in DRAM in the form of the machine's units: encoded streams, packed rows, their index.

Each function takes the work item whose program will run, and returns the unit to pass to `Machine.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.functional.kernels.records import STRIP
from sim.functional.machine import Machine
from sim.functional.unit import FORMS, Decoder, Selector
from sim.lower.sparse.blocksparse import layout
from sim.lower.work import PackedMatmul
from sim.sparsity.masks.codec import check_circulant, encode_block, encode_circulant

Array = npt.NDArray[Any]
Place = tuple[int, int]


def write_stored(machine: Machine, work: PackedMatmul, weights: Array, form: str, size: int = 0) -> Decoder:
    """Encode ``weights`` [K, N] into DRAM at the addresses of the loads of ``work``.

    ``form``, ``size``: as in `sim.sparsity.masks.formats` (size: bits, entries or block). Raises InputError for weights
    that the format cannot hold, and if a block takes other bits than in ``work``, whose mask is then not that of the
    weights.
    """
    if work.stored_bits is None or form not in FORMS:
        raise InputError(f"weights: a product with stored blocks and a format of {', '.join(FORMS)}, not {form!r}")
    hw, dim = machine.hw, machine.hw.dim
    if form == "narrow" and not machine.types["b"].startswith("int"):
        raise InputError(f"weights: {machine.types['b']} is not stored in {size} bits; nearest: codebook")
    codes, width = machine.patterns(weights, "b"), hw.bits("b")
    table = _table(codes, size) if form == "codebook" else None
    stored = layout(work, hw).stored
    if form == "circulant":
        check_circulant(codes, size)
        if size != work.circulant:
            raise InputError(f"weights: circulants of {size}, the program loads circulants of {work.circulant}")
        return Decoder(form, size, work.index_address, _write_circulants(machine, codes, width, size, stored))
    for (q, j), (address, count) in stored.items():
        parts = []
        for column in range(j, j + count):
            block = codes[q * dim : (q + 1) * dim, column * dim : (column + 1) * dim]
            bits = encode_block(block, dim, width, form, size, table)
            if table is not None and (q, column) == (0, 0):
                named = (table[:, None] >> np.arange(width)) & 1
                bits = np.concatenate([named.astype(np.uint8).reshape(-1), bits])
            if bits.size != work.stored_bits[q][column]:
                raise InputError(
                    f"weights: block ({q}, {column}) takes {bits.size} bits in {form}, the program says "
                    f"{work.stored_bits[q][column]}: its mask is not that of these weights"
                )
            parts.append(bits)
        machine.write_bytes(address, np.packbits(np.concatenate(parts), bitorder="little"))
    return Decoder(form, size, work.index_address)


def _write_circulants(
    machine: Machine,
    codes: npt.NDArray[np.int64],
    width: int,
    size: int,
    stored: Mapping[Place, Place],
) -> npt.NDArray[np.void]:
    """Encode a matrix of circulants load by load; return the position of each load within a circulant: STRIP[loads]."""
    dim, (k, n) = machine.hw.dim, codes.shape
    found = []
    for (q, j), (address, count) in stored.items():
        window = range(q * dim, min((q + 1) * dim, k)), range(j * dim, min((j + count) * dim, n))
        bits = encode_circulant(codes, *window, width, size)
        machine.write_bytes(address, np.packbits(bits, bitorder="little"))
        found.append((address, q * dim % size, j * dim % size))
    return np.array(sorted(found), STRIP)


def _table(codes: npt.NDArray[np.int64], entries: int) -> npt.NDArray[np.int64]:
    """Return the shared values, ascending, filled up to ``entries``."""
    found = np.unique(codes)
    if found.size > entries:
        raise InputError(f"weights: {found.size} values, the codebook names {entries} (nearest: {found.size})")
    return np.pad(found, (0, entries - found.size), mode="edge")


def write_packed(
    machine: Machine, work: PackedMatmul, weights: Array, mask: npt.NDArray[np.bool_], window: int, keep: int = 0
) -> Selector:
    """Pack the weights [K, N] of a mask along K into DRAM, with the index of the activations that they multiply.

    ``window``: activations from which an element selects; ``keep``: rows of every window (N:M), or 0 = as many as
    needed. B's memory must have room for ceil(K / depth) * fetch_rows * dim rows. Raises InputError if ``work`` was
    made for
    another mask.
    """
    hw, dim = machine.hw, machine.hw.dim
    k, n = mask.shape
    columns = len(work.rows[0])
    unit = Selector(window, work.depth // window, work.fetch_rows, keep, sum(row[0] for row in work.rows))
    group_rows = work.fetch_rows * dim
    whole = np.zeros((len(work.rows) * work.depth, columns * dim), np.bool_)
    whole[:k, :n] = mask
    values = np.zeros(whole.shape, np.asarray(weights).dtype)
    values[:k, :n] = np.where(mask, weights, 0)
    packed = np.zeros((len(work.rows) * group_rows, columns * dim), values.dtype)
    bits: dict[tuple[int, int], npt.NDArray[np.uint8]] = {}
    for s, expected in enumerate(work.rows):
        for j in range(columns):
            cut = slice(j * dim, (j + 1) * dim)
            lines, index = _group(values[:, cut], whole[:, cut], s * work.depth, k, unit)
            if len(lines) != expected[j]:
                raise InputError(
                    f"weights: group {s} of block column {j} packs to {len(lines)} rows, the program says "
                    f"{expected[j]}: it was made for another mask"
                )
            packed[s * group_rows : s * group_rows + len(lines), cut] = lines
            for f in range(work.fetch_rows):
                bits[s * work.fetch_rows + f, j] = index[f * dim : (f + 1) * dim].reshape(-1)
    b = work.matmul.b
    machine.write(b.address, packed[:, :n], b.row_stride, kind=machine.types["b"])
    row_bytes = hw.sp_row_bytes
    for part in layout(work, hw).index:
        named = (
            np.concatenate([bits[at] for at in part.blocks], dtype=np.uint8) if part.blocks else np.zeros(0, np.uint8)
        )
        stream = np.packbits(named, bitorder="little")
        lines = np.pad(stream, (0, -stream.size % row_bytes)).reshape(-1, row_bytes)
        for address, side, rows, first in part.loads:  # lines that become neighbours in the scratchpad
            order = first + np.arange(rows)[:, None] + np.arange(side)[None, :] * dim
            machine.write_bytes(address, lines[order.reshape(-1)].reshape(-1))
    return unit


def _group(
    values: Array, mask: npt.NDArray[np.bool_], first: int, k: int, unit: Selector
) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Return (packed rows [rows, dim], index bits [rows, bits]) of one group of one block column."""
    lines, index = [], []
    width = np.arange(unit.place_bits)
    for number in range(unit.windows):
        at = slice(first + number * unit.window, first + (number + 1) * unit.window)
        kept = mask[at]
        count = int(kept.sum(axis=0).max(initial=0))
        if unit.keep:
            count = min(unit.keep, max(0, k - at.start))
        places = np.argsort(~kept, axis=0, kind="stable")[:count]
        lines.append(np.take_along_axis(values[at], places, axis=0))
        named = ((places[:, :, None] >> width) & 1).reshape(count, places.shape[1] * len(width))
        window = np.broadcast_to((number >> np.arange(unit.window_bits)) & 1, (count, unit.window_bits))
        index.append(np.concatenate([named, window], axis=1).astype(np.uint8))
    return np.concatenate(lines), np.concatenate(index)
