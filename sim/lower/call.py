"""The library call that issues a work item's commands, as the CPU executes it (prices: `sim.cpu.calls`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """A library call.

    ``function``: a key of the price list. ``passes`` of its tile search. ``loops``: whether it issues several hardware
    loops. ``folded``, ``inlined``: the compilation (`sim.lower.pace.variant`). ``paths``: pieces of code that not every
    call of the function runs, as keys of ``cold_lines``. ``search``: where the passes differ in price, the prices
    of its steps and their numbers.
    """

    function: str
    passes: int = 0
    loops: bool = False
    folded: bool = False
    inlined: bool = True
    paths: tuple[str, ...] = ()
    search: tuple[tuple[str, int], ...] = ()
