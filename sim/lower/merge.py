"""One program order out of three streams (loads, computes, stores): which command is offered next.

The reservation station allocates in program order, and a full class stops every class behind it (3.1 of
gemmini_machine.md). So the order matters: the command is taken whose class frees an entry first, stores
before computes before loads when equal, as the arbiter of the hardware loops prefers. The times are
estimates from the machine's own parameters; a wrong estimate costs cycles, never correctness, which rests
on `needs` alone.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from dataclasses import dataclass

from sim.hardware import Hardware
from sim.lower.encode import Stream

Command = tuple[int, int, int, int]

LOAD, EXECUTE, STORE = range(3)
PRIORITY = (STORE, EXECUTE, LOAD)

ISSUE_CYCLES = 2
"""From allocation to the first work in a controller."""
LOAD_TAIL_CYCLES = 20
"""Completion of a load behind its last request, beyond the memory's latency (rtl README: L + 21 + beats)."""
RESULT_TAIL_CYCLES = 6
"""Result of a compute behind its last row, beyond mesh latency and scratchpad pipeline (addendum D1)."""


@dataclass(frozen=True)
class Item:
    """Commands that stay together, how long they keep their unit busy, and how much must precede them.

    ``busy_cycles``: until the unit can start the next item; ``drain_cycles``: until the last row of this
    one passes. ``needs``: loads, computes and stores (counted from the start of each stream) that must come
    earlier in program order: operands to be there, and memory to be free again.
    """

    commands: tuple[Command, ...]
    busy_cycles: float
    drain_cycles: float
    needs: tuple[int, int, int] = (0, 0, 0)


class _Unit:
    """Estimated occupancy of one class: entries held until their commands complete."""

    def __init__(self, entries: int, in_flight: int):
        self.held: list[float] = []
        self.entries = entries
        self.in_flight: deque[float] = deque(maxlen=in_flight)
        self.free_at = 0.0

    def room_at(self, now: float, count: int) -> float:
        """Return when ``count`` entries are free."""
        del self.held[: bisect_right(self.held, now)]
        missing = len(self.held) + count - self.entries
        return max(now, self.held[missing - 1]) if missing > 0 else now


def interleave(stream: Stream, streams: tuple[list[Item], list[Item], list[Item]], hw: Hardware) -> None:
    """Append all commands of the three streams to ``stream``, each stream in its own order."""
    station = hw.reservation_station
    in_flight = hw.load_commands_in_flight
    units = (_Unit(station.ld, in_flight), _Unit(station.ex, 0), _Unit(station.st, 0))
    tails = (
        hw.memory_latency_cycles + LOAD_TAIL_CYCLES,
        hw.mesh_latency_cycles + hw.scratchpad.read_pipeline_cycles + RESULT_TAIL_CYCLES,
        1,
    )
    done: tuple[list[float], list[float], list[float]] = ([], [], [])
    counts, lengths = [0, 0, 0], [len(items) for items in streams]
    now = 0.0
    for _ in range(sum(lengths)):
        chosen, chosen_at = -1, float("inf")
        for kind in PRIORITY:
            if counts[kind] == lengths[kind]:
                continue
            item = streams[kind][counts[kind]]
            loads, computes, stores = item.needs
            if counts[LOAD] < loads or counts[EXECUTE] < computes or counts[STORE] < stores:
                continue
            room_at = units[kind].room_at(now, len(item.commands))
            if room_at < chosen_at:
                chosen, chosen_at = kind, room_at
        item = streams[chosen][counts[chosen]]
        unit = units[chosen]
        ready = [done[kind][need - 1] for kind, need in enumerate(item.needs) if need]
        start = max(chosen_at + ISSUE_CYCLES, unit.free_at, *ready)
        if len(unit.in_flight) == in_flight:
            start = max(start, unit.in_flight[0])
        unit.free_at = start + item.busy_cycles
        complete = start + item.drain_cycles + tails[chosen]
        unit.in_flight.append(complete)
        done[chosen].append(complete)
        counts[chosen] += 1
        for _ in item.commands[1:]:
            insort(unit.held, unit.free_at)
        insort(unit.held, complete)
        stream.commands.extend(item.commands)
        now = chosen_at + len(item.commands)
