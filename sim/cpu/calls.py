"""Cycles of the CPU for a library call, before its first command and after its last idle cycle.

Three parts, all priced by ``cpu.prices``: the call itself; each pass of the library's search for a tile, counted by
doing that search; and, for the first call of a kind in a program, the lines of code that the instruction cache misses.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.isa.commands import Program
from sim.lower import library_call
from sim.lower.pace import prices_of, variant
from sim.lower.work import Work

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.hardware.cpu import CpuPrices


LOOPED = re.compile(r"(?<![A-Za-z])([Lh])\d+")
"""Pattern of the numbers of layers and heads in an operator's name."""


@dataclass(frozen=True)
class CallCost:
    """Cycles around a call: ``around`` with its code in the cache, ``cold``: additional cycles of missed code."""

    around: int = 0
    cold: int = 0
    paths: frozenset[str] = frozenset()

    @property
    def cycles(self) -> int:
        """Sum of both."""
        return self.around + self.cold


def site_of(work: Work, operator: str | None) -> str:
    """Return a name of the call site of an operator's work in a program.

    Layers and heads of one name share a call site, in a loop; without a name, equal shapes do.
    """
    if operator is not None:
        return "site " + LOOPED.sub(r"\1", operator)
    dense = work.product or work
    shape = [value for value in vars(dense).values() if isinstance(value, (int, str)) and not isinstance(value, bool)]
    return f"site {type(dense).__name__} {' '.join(map(str, shape))}"


def cost(work: Work, hw: Hardware, seen: Set[str] = frozenset(), operator: str | None = None) -> CallCost:
    """Return the CPU's cycles around the call of a work item.

    ``seen``: pieces of code that have run before; ``operator``: the name of its operator.
    """
    prices = hw.cpu.prices
    if prices == "none":
        return CallCost()
    if work.chained:  # as if the accelerator waited for each call: calls do not overlap with the work of other parts
        found = CallCost()
        for part in work.chained:
            one = cost(part, hw, seen | found.paths, operator)
            found = CallCost(found.around + one.around, found.cold + one.cold, found.paths | one.paths)
        return found
    call = library_call(work, hw)
    way = variant(hw, folded=call.folded, inlined=call.inlined)
    table = prices_of(prices.calls, way)
    # a search done by the compiler is not part of a call
    search = () if way == "folded" else call.search or ((f"{call.function}_pass", call.passes),)
    around = table[call.function] + sum(number * table[step] for step, number in search if number)
    around += table.get(f"{call.function}_loops", 0) if call.loops else 0
    paths = frozenset((site_of(work, operator), call.function, *call.paths))
    return CallCost(around, _cold(prices, hw, way, paths - seen), paths)


def issue_cycles(program: Program) -> int:
    """Return the CPU's cycles for the commands of a program: the sum of the gaps before them."""
    return int(program["gap"].sum())


def line_cycles(prices: CpuPrices, hw: Hardware) -> int:
    """Return the cycles of a line of code that is neither in the instruction cache nor in an L2."""
    return hw.memory.latency_cycles + (prices.l2_line_cycles if hw.memory.l2_bytes else prices.line_cycles)


def _cold(prices: CpuPrices, hw: Hardware, way: str, new: Set[str]) -> int:
    """Return the cycles of the missed lines of pieces of code that have not run before."""
    if hw.cpu.code == "warm":
        return 0
    line, priced = line_cycles(prices, hw), [path.split()[0] for path in new]
    return line * sum(prices.cold_lines.get(f"{path}_{way}", prices.cold_lines.get(path, 0)) for path in priced)
