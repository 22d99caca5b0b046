"""The host CPU: cycles of the operators that the array cannot run.

Prices are in the machine's ``host`` table: cycles an element (rocket_kim2023, from published shares), or in parts, with
the cache lines that an operator reads and writes (hwconfigs/operators, measured).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from sim.base.errors import InputError, did_you_mean
from sim.graph import kinds

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.hardware.host import OperatorPrice

LINE_BYTES = 64
PRICED_ROW = 256
"""Elements of a row from which ``row_doubling`` counts."""
L2_LINE_CYCLES = 16
"""Cycles of a line from the L2 (hwconfigs/operators/rocket.toml)."""
MEMORY_LINE_SLOPE, MEMORY_LINE_CYCLES = 1.2, 11
"""Cycles of a line from memory without L2 (per cycle of latency, constant).

59 at latency 40, 131 at latency 100 (tests/oracle/soc/README.md).
"""
L2_MISS_CYCLES = 26
"""Cycles of a line beyond the memory's latency through an L2 that misses (hwconfigs/cpu/rocket.toml)."""
L1_BYTES = 32 << 10
"""Bytes of Rocket's data cache (tests/oracle/soc/README.md)."""


class HostWork(NamedTuple):
    """An operator for the host: ``kind``, elements of its result, elements of a row, MACs of a product.

    ``resident``: its data are in the L1 as far as they fit (a repeated measurement), not in memory from another unit.
    """

    kind: str
    elements: int
    row: int = 0
    macs: int = 0
    resident: bool = False


def cycles(kind: str, elements: int, hw: Hardware, *, row: int = 0, macs: int = 0) -> int:
    """Return accelerator cycles, rounded up, that the host takes for ``elements`` elements of an operator.

    ``row``: elements of a row, 0 = all in one; ``macs``: multiply-accumulates of a product. Elements are those counted
    by the kind's price (`sim.graph.kinds`), by default those of the output; the price is that of its key. Raises
    InputError when the machine has no host, its host no price for the operator, or the number of elements is negative.
    """
    key = price_key(kind)
    if elements < 0:
        raise InputError(f"host: {elements} elements of {kind!r}: must be at least 0; nearest legal value: 0")
    if hw.host == "none":
        raise InputError(f'operator {kind!r} needs a host CPU, and {hw.name} has none (host = "none")')
    if key in hw.host.cycles_per_element:
        return math.ceil(elements * hw.host.cycles_per_element[key] / hw.host.clock_ratio)
    if key not in hw.host.operators:
        hint = did_you_mean(key, hw.host.priced)
        raise InputError(f"host.cycles_per_element: {hw.host.name} has no price for operator {key!r}{hint}")
    work = HostWork(kind, elements, row, macs)
    return math.ceil(priced_cycles(hw.host.operators[key], work, hw) / hw.host.clock_ratio)


def price_key(kind: str) -> str:
    """Return the price key of an operator kind; for names that are no kind (a requantisation) the name itself."""
    return kinds.KINDS[kind].price_key if kind in kinds.KINDS else kind


def priced_cycles(price: OperatorPrice, work: HostWork, hw: Hardware) -> float:
    """Return host cycles of an operator by a price in parts, its cache lines included."""
    values = "" if hw.host == "none" else hw.host.values
    element = price.ranges.get(values, price.element)
    if price.row_doubling and work.row:
        element += price.row_doubling * max(0.0, math.log2(work.row / PRICED_ROW))
    rows = work.elements / work.row if work.row else 1
    own = price.call + rows * price.row + work.elements * element + work.macs * price.mac
    return own + missed_lines(price, work) * max(price.line, line_cycles(price, work, hw))


def missed_lines(price: OperatorPrice, work: HostWork) -> float:
    """Return the lines of an operator's data that the L1 does not hold.

    Resident data begin to be evicted at half the L1 (24 KiB: a quarter of the lines, 48 KiB: all; add_f32).
    """
    bytes_ = work.elements * (price.read_bytes + price.write_bytes)
    share = min(1.0, max(0.0, bytes_ / L1_BYTES - 0.5)) if work.resident else 1.0
    return bytes_ / LINE_BYTES * share


def line_cycles(price: OperatorPrice, work: HostWork, hw: Hardware) -> float:
    """Return the cycles of a line that misses in the L1: from the L2 if the data fit there, else from memory."""
    if not hw.memory.l2_bytes:
        return MEMORY_LINE_SLOPE * hw.memory.latency_cycles + MEMORY_LINE_CYCLES
    fits = work.elements * (price.read_bytes + price.write_bytes) <= hw.memory.l2_bytes
    return L2_LINE_CYCLES if fits else hw.memory.latency_cycles + L2_MISS_CYCLES


def traffic_bytes(kind: str, elements: int, hw: Hardware) -> tuple[int, int]:
    """Return the bytes that an operator reads from and writes to the memory behind the caches; 0 if none is priced.

    Data that fits in an L2 stays there.
    """
    key = price_key(kind)
    if hw.host == "none" or key not in hw.host.operators:
        return 0, 0
    price = hw.host.operators[key]
    both = elements * (price.read_bytes + price.write_bytes)
    if hw.memory.l2_bytes and both <= hw.memory.l2_bytes:
        return 0, 0
    return math.ceil(elements * price.read_bytes), math.ceil(elements * price.write_bytes)
