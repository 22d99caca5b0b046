"""Command traces of two cores (traces2.csv.gz): the calls of each hart, by phase, with the gaps that its CPU left.

Columns as in `sim.validate.soc.traces` and ``hart``. A mark 100 + n opens phase n on hart 0, 1100 + n on hart 1, in the
cycle in which the call's cycle counter was read. Commands before the first mark load the code into the cache.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sim.isa.commands import Program, command, program
from sim.validate import csvfile
from sim.validate.soc.traces import CLOSES, TraceEvent

FILE = "traces2.csv.gz"
FIRST_MARK = 100
WARM_UP = -1
"""Number of the phase of the commands before the first mark."""

LINE_CYCLES = 10
"""Additional cycles of a missed line of code at 4 bytes a cycle, compared with 16 (no L2.

Two traces of the same calls).
"""
HELD_UP_CYCLES = 194
"""The same after the 16 requests that the other hart has in flight."""


class Arrival(NamedTuple):
    """A command and the cycles from the previous one (the first: from the mark) to its arrival, without stalls."""

    event: TraceEvent
    gap: int


@dataclass(frozen=True)
class HartCall:
    """Activity of a hart in a phase: ``mark`` is the cycle in which its time began."""

    mark: int
    arrivals: tuple[Arrival, ...]

    def commands(self, missed: Mapping[int, int] | None = None) -> tuple[int, Program]:
        """Return the cycles before the first command, and the commands; ``missed``: additional cycles by command."""
        more = missed or {}
        gaps = [max(1, arrival.gap + more.get(place, 0)) for place, arrival in enumerate(self.arrivals)]
        words = [
            command(arrival.event.value, arrival.event.rs1, arrival.event.rs2, gap if place else 1)
            for place, (arrival, gap) in enumerate(zip(self.arrivals, gaps, strict=True))
        ]
        return gaps[0], program(words)


Phases = dict[int, dict[int, HartCall]]
"""Phase -> hart -> its call."""


@lru_cache(maxsize=2)
def read(path: Path) -> dict[str, Phases]:
    """Return the phases of every case of a trace that has two harts."""
    found: dict[str, Phases] = {}
    lines: dict[str, list[tuple[str, TraceEvent, int]]] = defaultdict(list)
    for line, columns in csvfile.read(path).records():
        if columns.get("hart"):
            cycle, value, rs1, rs2 = (int(columns[name] or "0", 0) for name in ("cycle", "value", "rs1", "rs2"))
            event = TraceEvent(line, cycle, value, rs1, rs2, int(columns["port_stall"] or "0"))
            lines[columns["case"]].append((columns["event"], event, int(columns["hart"])))
    for case, events in lines.items():
        if {hart for _, _, hart in events} == {0, 1}:
            found[case] = _phases(events)
    return found


def _phases(events: list[tuple[str, TraceEvent, int]]) -> Phases:
    marks: dict[tuple[int, int], int] = {}
    heard: dict[tuple[int, int], list[TraceEvent]] = defaultdict(list)
    now = [WARM_UP, WARM_UP]
    for what, event, hart in events:
        if what == "mark":
            marked, number = divmod(event.value, CLOSES)
            now[marked] = max(number - FIRST_MARK, WARM_UP)
            marks[now[marked], marked] = event.cycle
        elif what == "command":
            heard[now[hart], hart].append(event)
    phases: Phases = defaultdict(dict)
    for (number, hart), commands in heard.items():
        mark = commands[0].cycle if number == WARM_UP else marks[number, hart]
        last, arrivals = mark, []
        for event in commands:
            arrivals.append(Arrival(event, event.cycle - event.stall - last))
            last = event.cycle
        phases[number][hart] = HartCall(mark, tuple(arrivals))
    return dict(phases)


def missed_lines(fast: HartCall, slow: HartCall) -> dict[int, tuple[int, int]]:
    """Return the lines of code that a call missed, and their cycles that depend on the pace, by command.

    ``fast``, ``slow``: the same call at 16 and at 4 bytes a cycle; without stalls their gaps differ only by the lines'
    beats.
    """
    found = {}
    for place, (a, b) in enumerate(zip(fast.arrivals, slow.arrivals, strict=True)):
        more = b.gap - a.gap
        if a.event.stall == b.event.stall == 0 and more > 0:
            each = LINE_CYCLES if more < HELD_UP_CYCLES // 2 else HELD_UP_CYCLES
            found[place] = (round(more / each), more)
    return found
