"""Addresses of a graph's tensors in DRAM on a machine, and the width of their elements."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Literal

from sim.graph.dtypes import DTYPE_BYTES
from sim.lower.place import BASE_ADDRESS as BASE_ADDRESS
from sim.lower.place import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.graph import Graph
    from sim.hardware import Hardware

Role = Literal["element", "accumulator", "other"]


def role(dtype: str, hw: Hardware) -> Role:
    """Return the role of a graph's type on a machine: int8 is its element type, int32 its accumulator type."""
    if dtype in ("int8", hw.array.input_type):
        return "element"
    return "accumulator" if dtype in ("int32", hw.array.acc_type) else "other"


def element_bytes(dtype: str, hw: Hardware) -> int:
    """Return the bytes of one element of a graph's type on a machine."""
    widths = {"element": hw.input_bytes, "accumulator": hw.acc_bytes}
    return int(widths.get(role(dtype, hw), DTYPE_BYTES[dtype]))


def whole_pages(size_bytes: int) -> int:
    """Return a size rounded up to whole pages, in bytes."""
    return ceil(size_bytes / PAGE_BYTES) * PAGE_BYTES


def element_bits(dtype: str, hw: Hardware) -> int:
    """Return the bits of one element of a graph's type on a machine."""
    return 8 * element_bytes(dtype, hw)


def place(graph: Graph, hw: Hardware, bits: Mapping[str, int] | None = None) -> tuple[dict[str, int], int]:
    """Return each tensor's DRAM address and the first free address after them.

    ``bits``: tensor -> bits of its elements, if not the width of its type.
    """
    narrow = bits or {}
    addresses, address = {}, BASE_ADDRESS
    widths = {dtype: element_bits(dtype, hw) for dtype in {tensor.dtype for tensor in graph.tensors.values()}}
    for tensor in graph.tensors.values():
        addresses[tensor.name] = address
        width = narrow.get(tensor.name, widths[tensor.dtype])
        address += whole_pages(-(-tensor.elements * width // 8))
    return addresses, address
