"""Addresses of operands in DRAM: 4-KiB aligned in order from 0x20010000, as in the recorded programs."""

from __future__ import annotations

from collections.abc import Iterable

BASE_ADDRESS = 0x2001_0000
"""First byte of the first operand, as in the recorded programs (PROGRAMS.md)."""

PAGE_BYTES = 4096
"""Operands begin on pages."""


def place(sizes_bytes: Iterable[int], base: int = BASE_ADDRESS) -> list[int]:
    """Return the byte address of each operand of the given sizes, in order (A, B, D, C in the recordings)."""
    addresses = []
    for size in sizes_bytes:
        addresses.append(base)
        base += -(-size // PAGE_BYTES) * PAGE_BYTES
    return addresses


def matrix_bytes(rows: int, row_stride: int, element_bytes: int) -> int:
    """Return the bytes of a matrix of ``rows`` rows, ``row_stride`` elements apart."""
    return rows * row_stride * element_bytes
