"""Read safetensors files: 8 bytes of header length, a JSON header, raw little-endian data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import MIB, read_bytes

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I8": "i1"}
DTYPES |= {"U8": "u1", "BOOL": "?"}
LENGTH_BYTES = 8
WEIGHT_BYTES = 16_384 * MIB
"""Largest file of weights: shards of published checkpoints have up to 10 GB; CARAT_MAX_FILE_MIB sets another limit."""


def read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return every tensor of a file by name; BF16 becomes float32. Raises InputError for a damaged file."""
    data = read_bytes(path, WEIGHT_BYTES, "safetensors file")
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    if len(data) < LENGTH_BYTES or start > len(data):
        raise InputError(f"{path}: no safetensors file: its header would be {length} bytes, the file has {len(data)}")
    try:
        header = json.loads(data[LENGTH_BYTES:start])
    except ValueError as error:
        raise InputError(f"{path}: no safetensors file: its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise InputError(f"{path}: no safetensors file: its header is no JSON object")
    if cut := _cut_short(header, len(data) - start):
        raise InputError(f"{path}: {cut}")
    tensors, problems = {}, []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            tensors[name] = _tensor(data, start, entry)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"{path}: tensor {name!r}: {error}")
    if problems:
        raise InputError(problems)
    return tensors


def _cut_short(header: dict[str, Any], there: int) -> str | None:
    """Return the problem of a file that ends before its tensors do."""
    try:
        ends = {name: int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"}
    except (KeyError, TypeError, ValueError, IndexError):
        return None  # reported tensor by tensor
    beyond = [name for name, end in ends.items() if end > there]
    if not beyond:
        return None
    return (
        f"cut short: its header describes {max(ends.values())} bytes of data_offsets, {there} are there; "
        f"{len(beyond)} of {len(ends)} tensors are not whole, the first is {beyond[0]!r}"
    )


def _tensor(data: bytes, start: int, entry: dict[str, Any]) -> npt.NDArray[Any]:
    kind, shape = entry["dtype"], tuple(entry["shape"])
    if kind not in DTYPES:
        raise ValueError(f"unknown dtype {kind!r}{did_you_mean(kind, DTYPES)}")
    dtype = np.dtype(DTYPES[kind])
    first, last = entry["data_offsets"]
    wanted = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not 0 <= first <= last <= len(data) - start or last - first != wanted:
        there = len(data) - start
        raise ValueError(f"data_offsets {first}..{last} do not hold {wanted} bytes of {kind}{shape} in {there} bytes")
    values = np.frombuffer(data, dtype, count=wanted // dtype.itemsize, offset=start + first).reshape(shape)
    return (values.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else values
