"""Kinds of command streams: the CPU's cycles between one command and the next, priced by ``cpu.prices``.

A library call issues its commands from a few pieces of code: straight-line configuration, the head of a tile's hardware
loop, the loop nests that issue loads, computes and stores by hand. Lowering marks the piece of code of the commands
that it emits; the price list of the machine (hwconfigs/cpu) gives the cycles before each command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from sim.hardware.cpu import HAND as HAND

if TYPE_CHECKING:
    from sim.hardware import Hardware

T = TypeVar("T")


def variant(hw: Hardware, *, folded: bool, inlined: bool) -> str:
    """Return the compilation variant of a call, a name of `VARIANTS`.

    ``folded``: the compiler could do the tile search itself. ``inlined``: a function with few callers, whose sizes are
    constant even if a program shares one copy of the product's function.
    """
    prices = hw.cpu.prices
    folded = folded and (prices == "none" or prices.folds)
    if hw.cpu.sizes == "runtime":
        return "runtime"
    if hw.cpu.sizes == "shared" and not inlined:
        return "shared"
    return "folded" if folded else "constant"


def prices_of(table: Mapping[str, Mapping[str, T]], way: str) -> dict[str, T]:
    """Return the prices of a compilation variant.

    A stream without a price has that of "runtime"; a folded call falls back to "constant" first.
    """
    constant = table.get("constant", {}) if way == "folded" else {}
    return {**table["runtime"], **constant, **table.get(way, {})}


class Pace:
    """Cycles before each command of a call; the price list is read once per kind. Parameters: see `variant`."""

    def __init__(self, hw: Hardware, *, folded: bool = False, inlined: bool = False):
        prices = hw.cpu.prices
        self._least = hw.cpu.command_cycles
        self.priced = prices != "none"
        self._table: Mapping[str, tuple[int, ...]] = {}
        if prices != "none":
            self._table = prices_of(prices.streams, variant(hw, folded=folded, inlined=inlined))

    def gaps(self, kind: str) -> tuple[int, ...]:
        """Return the cycles before the commands of a kind; the last value applies to all further ones."""
        return tuple(max(cycles, self._least) for cycles in self._table.get(kind, (self._least,)))

    def gap(self, kind: str) -> int:
        """Return the cycles before the only command of its kind."""
        return self.gaps(kind)[0]
