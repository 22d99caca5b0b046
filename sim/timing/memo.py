"""The in-run memo: work items that are equal for the timing core are lowered and simulated once.

The key is the item in the form of `sim.timing.items.equivalent`, the start phase (next loop slot), the machine and the
clock. A timing may still be computed in another thread; a caller that needs it waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from sim.lower.work import Work

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.disk import Timings
    from sim.timing.timing import Timing

MAX_TIMINGS = 4096
"""Largest number of timings of a memo: a long sweep uses many machines, and a timing takes some 10 KiB."""

Key = tuple[str, Work, int, str]


class Memo:
    """Timings by content, the latest `MAX_TIMINGS` of them; may be shared by any number of runs of one thread.

    ``disk``: store of further timings, None = none.
    """

    def __init__(self, disk: Timings | None = None) -> None:
        self.disk = disk
        self._timings: dict[Key, Timing | Future[Timing]] = {}

    def timing(self, item: Work, hw: Hardware, phase: int, clock: str, run: Callable[[], Timing]) -> Timing:
        """Return the timing of an item (as `equivalent` gives it), calling ``run`` only for a key that is new.

        Raises as ``run``, here or in the thread in which it was begun.
        """
        key = (hw.key, item, phase, clock)
        found = self._timings.get(key)
        if found is None:
            found = run()
        elif isinstance(found, Future):
            found = found.result()
        self._keep(key, found)
        return found

    def known(self, item: Work, hw: Hardware, phase: int, clock: str) -> Timing | Future[Timing] | None:
        """Return the timing of an item, finished or being computed, or None."""
        return self._timings.get((hw.key, item, phase, clock))

    def begin(self, item: Work, hw: Hardware, phase: int, clock: str, timed: Future[Timing]) -> None:
        """Record that the timing of an item is being computed."""
        self._keep((hw.key, item, phase, clock), timed)

    @property
    def cycles(self) -> int:
        """Cycles of all programs whose timings it holds, each counted once."""
        return sum(found.cycles for found in self._timings.values() if not isinstance(found, Future))

    def forget_unfinished(self) -> None:
        """Drop timings that were begun and not requested: they may have been cancelled."""
        self._timings = {key: found for key, found in self._timings.items() if not isinstance(found, Future)}

    def _keep(self, key: Key, found: Timing | Future[Timing]) -> None:
        self._timings.pop(key, None)  # a key that is requested again becomes the newest
        self._timings[key] = found
        while len(self._timings) > MAX_TIMINGS:
            del self._timings[next(iter(self._timings))]
