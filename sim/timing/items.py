"""When two work items are equal for the timing core.

The core does not use data. Its time depends on the low bits of DRAM addresses (`parameters.timing_bits`: with a memory
of fixed latency the offset within a request) and on whether an access is to the same page as the previous one
(FrontendTLB). Each tensor has its own pages, so an item's time stays the same when each of its tensors moves by whole
pages, as long as a page covers those bits: `equivalent` moves them all to fixed regions, and equal layers become equal
items. A window of a tensor, such as a head's columns, may also move by whole requests as long as no byte of it changes
its page: `equivalent` moves each as far down as that allows, and most heads become equal items. If time depends
on more bits of an address (an L2, open rows of a DRAM), addresses are not changed and no two items are equal.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from functools import cache
from math import gcd
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sim.lower.place import PAGE_BYTES
from sim.lower.work import Matmul, Work
from sim.timing.parameters import timing_bits

if TYPE_CHECKING:
    from sim.hardware import Hardware

REGION_BYTES = 1 << 36
"""Distance of two regions: more than any tensor."""

W = TypeVar("W", bound=Work)


class Equivalents:
    """Items in the form that the memo compares, computed once per distinct item, as layers repeat.

    ``bases``: as for `equivalent`.
    """

    def __init__(self, bases: Sequence[int]):
        self.bases = bases
        self._known: dict[Any, Work] = {}

    def __call__(self, work: Work, hw: Hardware) -> Work:
        """Return `equivalent` of an item.

        Cached for items that are equal except for whole pages: same fields, offsets in pages and tensors.
        """
        if work.chained:  # equal for equal layers, although its parts have other addresses
            chain = equivalent(work, self.bases, hw)
            return self._known.setdefault(chain, chain)
        if (
            work.product is not None and work.product is not work
        ):  # masks and counts as cache keys cost more than they save
            return equivalent(work, self.bases, hw)
        kind: Any = type(work)
        operands, others = _fields(kind)
        fields = vars(work)
        numbers: dict[int, tuple[int, int]] = {}
        places: list[int | None] = []
        for operand in operands(fields):
            if operand is None:
                places.append(None)
                continue
            address = operand.address
            page = address // PAGE_BYTES
            number, first = numbers.setdefault(bisect_right(self.bases, address), (len(numbers), page))
            places += (operand.row_stride, address % PAGE_BYTES, number, page - first)
        key = (kind, id(hw), *places, others(fields))
        found = self._known.get(key)
        if found is None:
            found = equivalent(work, self.bases, hw)
            if found is not work:  # where whole addresses count, each item is its own
                self._known[key] = found
        return found


@cache
def _fields(kind: Any) -> tuple[itemgetter[Any], itemgetter[Any]]:
    """Return what takes the operands out of an item's fields, and what takes all others."""
    names = [(field.name, "Operand" in str(field.type)) for field in fields_of(kind)]
    operands, others = ([name for name, is_operand in names if is_operand is wanted] for wanted in (True, False))
    return itemgetter(*operands), itemgetter(*others)


def equivalent(work: W, bases: Sequence[int], hw: Hardware) -> W:
    """Return ``work`` with each of its tensors moved by whole pages to a region of its own.

    ``bases``: page-aligned DRAM addresses at which tensors begin, ascending. Regions are numbered as the item
    names its tensors; operands in one tensor keep their distance in pages.
    """
    if 1 << timing_bits(hw) > PAGE_BYTES:
        return work
    work = _settled(work, hw)
    addresses = work.addresses()
    tensor = {address: bases[bisect_right(bases, address) - 1] for address in addresses}
    order = list(dict.fromkeys(tensor[address] for address in addresses))
    first = {base: min(a for a in addresses if tensor[a] == base) // PAGE_BYTES * PAGE_BYTES for base in order}
    regions = {base: (number + 1) * REGION_BYTES for number, base in enumerate(order)}
    return cast(W, work.moved({a: a - first[tensor[a]] + regions[tensor[a]] for a in addresses}))


def _settled(work: W, hw: Hardware) -> W:
    """Return ``work`` with the windows of its matmul moved down by whole requests, every byte within its page."""
    if work.chained:
        chain: Any = work
        return cast(W, replace(chain, parts=tuple(_settled(part, hw) for part in work.chained)))
    product = work.product
    if product is None:
        return work
    settled: Any = _settled_product(product, hw)
    changed: Any = settled if product is work else replace(work, **{"matmul": settled})
    return cast(W, changed)


def _settled_product(work: Matmul, hw: Hardware) -> Matmul:
    sums, low = 8 * hw.acc_bytes, hw.bits
    windows = {
        "a": (work.a, work.m if work.transpose_a else work.k, low("a")),
        "b": (work.b, work.k if work.transpose_b else work.n, low("b")),
        "c": (work.c, work.n, sums if work.full_c else low("c")),
        "d": (work.d, work.n, low("word") if work.low_d else sums),
    }
    moved: dict[str, Any] = {
        name: replace(window, address=_lowest(window.address, window.row_stride * bits, columns * bits, hw))
        for name, (window, columns, bits) in windows.items()
        if window is not None
    }
    return replace(work, **moved)


def _lowest(address: int, stride_bits: int, row_bits: int, hw: Hardware) -> int:
    """Return the lowest address that preserves every byte's page and every row's offset within a request.

    All rows begin at the same offset within a block of gcd(stride, page) bytes; a row that ends in its block can move
    inside it.
    """
    stride_bytes, row_bytes = (-(-bits // 8) for bits in (stride_bits, row_bits))
    block = gcd(stride_bytes, PAGE_BYTES)
    place = address % block
    if place + row_bytes > block:
        return address
    return address - place + place % (1 << timing_bits(hw))
