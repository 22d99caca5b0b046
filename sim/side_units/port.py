"""Port contention: the array and a side unit that works ahead of the array share one memory port.

While a predictor makes masks of later heads, it reads its operands through the port that the array's loads use, at an
even rate: its bytes over its cycles. If both need more than half of the port, each gets half, and the side unit takes
longer.

Cycles that the array loses: the timing core runs the array's item with half of the port, one beat every two cycles. A
side unit that takes a share s of the port stretches each beat to 1 / (1 - s) cycles, and the item's cycles are
interpolated linearly between the full and the half port. Time is convex in beat time, so the interpolation
overestimates; it never exceeds strict alternation, and the bytes of both always fit through the port.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.hardware import Hardware
    from sim.side_units.work import SideWork

MAX_SHARE = 0.5
"""The unit's largest share of the port, by a fair arbiter between two requesters."""


@dataclass
class Ahead:
    """Work that side units have not finished: ``cycles`` without contention, and bytes in these cycles."""

    cycles: int = 0
    read_bytes: float = 0.0
    write_bytes: float = 0.0

    def begin(self, work: SideWork) -> int:
        """Add the work of all heads after the first; return the cycles of the first, for which the array waits."""
        first = ceil(work.cycles / work.heads)
        later = 1 - 1 / work.heads
        self.cycles = max(self.cycles, work.cycles - first)
        self.read_bytes += work.read_bytes * later
        self.write_bytes += work.write_bytes * later
        return first

    def rates(self) -> dict[str, float]:
        """Return bytes per cycle of each direction with traffic."""
        if not self.cycles:
            return {}
        found = {"read": self.read_bytes / self.cycles, "write": self.write_bytes / self.cycles}
        return {way: rate for way, rate in found.items() if rate}

    def halved(self, hw: Hardware) -> Hardware | None:
        """Return the machine with the least bandwidth that the unit leaves, None if the unit has no traffic."""
        left = {f"{way}_bytes_per_cycle": (1 - MAX_SHARE) * port_bytes(hw, way) for way in self.rates()}
        return hw.model_copy(update={"memory": hw.memory.model_copy(update=left)}) if left else None

    def overlap(self, alone_cycles: int, halved_cycles: int, counters: Mapping[str, Any], hw: Hardware) -> int:
        """Let the unit work during an item of the array; return the item's additional cycles beyond ``alone_cycles``.

        ``halved_cycles``: of the item on the `halved` machine. ``counters``: of the item, for the bytes that it moves.
        """
        shares = [min(rate / port_bytes(hw, way), MAX_SHARE) for way, rate in self.rates().items()]
        stretches = [1 / (1 - share) - 1 for share in shares]
        whole = 1 / (1 - MAX_SHARE) - 1
        on_the_way = max(0, halved_cycles - alone_cycles) * max(stretches, default=0.0) / whole
        longer = ceil(min(on_the_way, alone_cycles * sum(stretches)))
        if alone_cycles + longer > self.cycles:  # the unit finishes before the item
            longer = ceil(longer * self.cycles / (alone_cycles + longer))
        taken = alone_cycles + longer
        done = min(self.cycles, taken)
        for way, rate in self.rates().items():
            spare = port_bytes(hw, way) * taken - counters[f"DRAM_{way.upper()}_BYTES"]
            done = min(done, max(0, int(spare / rate)))
        self._advance(done)
        return longer

    def rest(self) -> int:
        """Finish the pending work without the array; return its cycles."""
        left = self.cycles
        self._advance(left)
        return left

    def _advance(self, cycles: int) -> None:
        share = 1 - cycles / self.cycles if self.cycles else 0.0
        self.cycles -= cycles
        self.read_bytes *= share
        self.write_bytes *= share


def port_bytes(hw: Hardware, way: str) -> float:
    """Return the bytes per cycle of the port: a beat, or the memory's rate ("read" or "write") if less."""
    return float(min(hw.dma.bus_bytes, getattr(hw.memory, f"{way}_bytes_per_cycle")))
