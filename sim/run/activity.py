"""What an engine did for an operator: cycles by cause and counters; and when a core worked on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.timing.timing import Timing

HIGH_WATER = "MAX_"
"""Counters with this prefix are peaks: the whole run's is the largest, not the sum."""


@dataclass
class Activity:
    """Activity of an engine for one operator. ``counters`` by the names of `sim.core.events.Event`."""

    cycles: int = 0
    host_cycles: int = 0
    cpu_cycles: int = 0
    invocations: int = 0
    distinct: int = 0
    visited_cycles: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def wait(self, cycles: int, cause: str = "issue") -> None:
        """Append cycles in which a command is awaited, or that pass for another ``cause``."""
        self.cycles += cycles
        self.causes[cause] = self.causes.get(cause, 0) + cycles

    def add(self, timed: Timing, times: int = 1) -> None:
        """Append an invocation, or ``times`` equal ones."""
        self.cycles += times * timed.cycles
        self.visited_cycles += times * timed.visited_cycles
        for cause, cycles in timed.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + times * cycles
        self.counters = merge_counters(self.counters, timed.counters, times)


def merge_counters(first: Mapping[str, int], second: Mapping[str, int], times: int = 1) -> dict[str, int]:
    """Return the counters of a run with those of ``times`` others behind it: sums, and the larger of peaks."""
    merged = dict(first)
    for name, value in second.items():
        before = merged.get(name, 0)
        merged[name] = max(before, value) if name.startswith(HIGH_WATER) else before + times * value
    return merged


@dataclass(frozen=True)
class Span:
    """Time in which a core works on an operator, on its array or its CPU; ``start_cycle`` in the run."""

    core: int
    op: str
    start_cycle: int
    cycles: int
