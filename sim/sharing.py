"""The memory port that the array shares with a unit working ahead of it: each gets its bytes, no byte moves twice.

While a predictor makes masks of later heads, its operands come through the port that the array's loads use. For that
time the array meets a memory slower by what the unit takes, in the same timing core; where both want more than half,
each gets half, and the unit takes longer. The rate of a unit is even: its bytes over its cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.beside import Beside
    from sim.hardware import Hardware

LEAST_SHARE = 0.5
"""Of the port, for the array: what a fair arbiter between two leaves it."""


@dataclass
class Ahead:
    """What units beside the array still have to do: ``cycles`` at their own pace, bytes over all of them."""

    cycles: int = 0
    read_bytes: float = 0.0
    write_bytes: float = 0.0

    def begin(self, work: Beside) -> int:
        """Take on the heads behind the first; return the cycles of the first, for which the array waits."""
        first = ceil(work.cycles / work.heads)
        later = 1 - 1 / work.heads
        self.cycles = max(self.cycles, work.cycles - first)
        self.read_bytes += work.read_bytes * later
        self.write_bytes += work.write_bytes * later
        return first

    def rates(self) -> dict[str, float]:
        """Return bytes per cycle by direction, of those that it takes any of."""
        if not self.cycles:
            return {}
        found = {"read": self.read_bytes / self.cycles, "write": self.write_bytes / self.cycles}
        return {way: rate for way, rate in found.items() if rate}

    def beside(self, hw: Hardware) -> Hardware | None:
        """Return the machine with what is left of its memory, None where nothing is taken."""
        rates = self.rates()
        left = {
            f"{way}_bytes_per_cycle": max(port_bytes(hw, way) - rate, LEAST_SHARE * port_bytes(hw, way))
            for way, rate in rates.items()
        }
        return hw.model_copy(update={"memory": hw.memory.model_copy(update=left)}) if left else None

    def overlap(self, alone_cycles: int, slowed_cycles: int, counters: Mapping[str, Any], hw: Hardware) -> int:
        """Work while the array is at an item; return the cycles that it takes longer than ``alone_cycles``.

        ``slowed_cycles``: of the item beside the unit. ``counters``: of the item, for the bytes that it moves.
        """
        longer = max(0, slowed_cycles - alone_cycles)
        if slowed_cycles > self.cycles:  # the unit is done before the item is
            longer = ceil(longer * self.cycles / slowed_cycles)
        taken = alone_cycles + longer
        done = min(self.cycles, taken)
        for way, rate in self.rates().items():
            spare = port_bytes(hw, way) * taken - counters[f"DRAM_{way.upper()}_BYTES"]
            done = min(done, max(0, int(spare / rate)))
        self._advance(done)
        return longer

    def rest(self) -> int:
        """Finish alone; return the cycles that this takes."""
        left = self.cycles
        self._advance(left)
        return left

    def _advance(self, cycles: int) -> None:
        share = 1 - cycles / self.cycles if self.cycles else 0.0
        self.cycles -= cycles
        self.read_bytes *= share
        self.write_bytes *= share


def port_bytes(hw: Hardware, way: str) -> float:
    """Return the bytes that the port moves in a cycle: a beat, or what the memory gives ("read") or takes ("write")."""
    return float(min(hw.dma.bus_bytes, getattr(hw.memory, f"{way}_bytes_per_cycle")))
