"""Tracks of a run on several cores: operators of each core, and waits for the others until the next operator.

All cores are simulated in one loop, which records no commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.trace.events import CORES, Event, slice_of

if TYPE_CHECKING:
    from sim.run.activity import Span
    from sim.run.result import Result

WAITS = "waits"
"""Name of the slices from a core's last cycle of an operator to its next one."""


def tracks(result: Result) -> Iterator[Event]:
    """Yield a track for each core: a slice per operator, and the waits between them."""
    yield {"ph": "M", "pid": CORES, "tid": 0, "name": "process_name", "args": {"name": "cores"}}
    yield {"ph": "M", "pid": CORES, "tid": 0, "name": "process_sort_index", "args": {"sort_index": CORES}}
    for core in range(result.hardware.cores.count):
        yield {"ph": "M", "pid": CORES, "tid": core, "name": "thread_name", "args": {"name": f"core {core}"}}
        yield from _core([span for span in result.spans if span.core == core], core, result.cycles)


def _core(spans: list[Span], core: int, cycles: int) -> Iterator[Event]:
    now = 0
    for span in spans:
        if span.start_cycle > now:
            yield slice_of(CORES, core, WAITS, now, span.start_cycle, {})
        now = span.start_cycle + span.cycles
        yield slice_of(CORES, core, span.op, span.start_cycle, now, {"operator": span.op})
    if now < cycles:
        yield slice_of(CORES, core, WAITS, now, cycles, {})
