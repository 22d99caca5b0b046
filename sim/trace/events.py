"""Commands of one program as Chrome trace events: slices of units and banks, arrows between them, counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.isa.commands import Funct
from sim.isa.disassembly import words
from sim.timing.timing import Timing
from sim.trace.commands import ACCUMULATOR, EXECUTE, LOAD, NAMES, READ, SCRATCHPAD, STORE, Commands
from sim.trace.profile import counted
from sim.trace.walk import Walk, walk

if TYPE_CHECKING:
    from sim.hardware import Hardware

Event = dict[str, Any]
Ints = npt.NDArray[np.int64]

COUNTER_STEPS = 512
"""Steps of each counter within one program."""

CORES, CPU, MACHINE, OPERATORS = 3, 2, 1, 0
VECTOR = "vector unit"
WORD = (1 << 64) - 1
QUEUES = {LOAD: "load", EXECUTE: "execute", STORE: "store"}


class Timed(NamedTuple):
    """A program in the run: its operator's name, its first cycle, its timing with counters over time."""

    name: str
    start_cycle: int
    timed: Timing


def tracks(hw: Hardware) -> list[str]:
    """Return the names of the machine's tracks in the order of their thread ids."""
    banks = [f"scratchpad bank {bank}" for bank in range(hw.scratchpad.banks)]
    banks += [f"accumulator bank {bank}" for bank in range(hw.accumulator.banks)]
    return [
        "load",
        "execute",
        "store",
        "array",
        "DMA read",
        "DMA write",
        *banks,
        *([VECTOR] if hw.vector.lanes else []),
    ]


LANES = 64
"""Lanes of a track, for commands that overlap in time; no table holds more (`sim.core` SLOTS)."""

EVENTS_PER_COMMAND = 5
"""Events of a command: slices in controller, unit and bank, and two ends of an arrow."""


def processes(hw: Hardware) -> Iterator[Event]:
    """Yield the names of the groups of tracks."""
    for pid, name in ((OPERATORS, "operators"), (MACHINE, f"machine {hw.name}")):
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": {"sort_index": pid}}


def cpu_process(hw: Hardware) -> Iterator[Event]:
    """Yield the name of the CPU's group of tracks."""
    name = hw.cpu.prices.name if hw.cpu.prices != "none" else "none"
    yield {"ph": "M", "pid": CPU, "tid": 0, "name": "process_name", "args": {"name": f"CPU {name}"}}
    yield {"ph": "M", "pid": CPU, "tid": 0, "name": "process_sort_index", "args": {"sort_index": CPU}}


def lane_names(events: list[Event], hw: Hardware) -> Iterator[Event]:
    """Name every track and lane that has slices."""
    names = tracks(hw)
    for tid in sorted({event["tid"] for event in events if event["ph"] == "X" and event["pid"] == MACHINE}):
        track, lane = divmod(tid, LANES)
        name = names[track - 1] + (f" ({lane + 1})" if lane else "")
        yield {"ph": "M", "pid": MACHINE, "tid": tid, "name": "thread_name", "args": {"name": name}}
        yield {"ph": "M", "pid": MACHINE, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}


def slice_of(pid: int, tid: int, name: str, start: float, end: float, args: dict[str, Any]) -> Event:
    """Return a slice of a track from cycle ``start`` to ``end``."""
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": int(start), "dur": int(end - start), "args": args}


def program(
    placed: Timed, commands: Commands, picked: Ints, hw: Hardware, window: tuple[int, int] | None
) -> Iterator[Event]:
    """Yield the events of the picked commands of one program, moved to its place in the run."""
    origin = placed.start_cycle
    held = walk(commands, hw, placed.timed.cycles)
    tids = {name: number * LANES for number, name in enumerate(tracks(hw), start=1)}
    span = int(commands.issue[picked].min()), int(commands.complete[picked].max())
    if window is not None:
        span = max(span[0], window[0] - origin), min(span[1], window[1] - origin)
    yield from _counters(placed, commands, held, span, hw)
    tid_of: dict[int, int] = {}
    for queue, track in QUEUES.items():
        mine = picked[commands.queue[picked] == queue]
        lanes = _lanes(commands.issue[mine], commands.complete[mine])
        tid_of |= {index: tids[track] + lane for index, lane in zip(mine.tolist(), lanes, strict=True)}
    for index, tid in tid_of.items():
        funct, *operands = (int(part[index]) & WORD for part in (commands.funct, commands.rs1, commands.rs2))
        args = {
            "command": words(funct, operands[0], operands[1], bool(hw.sparsity.decoder)),
            "operator": placed.name,
            "waited_in_station": int(commands.issue[index] - commands.alloc[index]),
        }
        begin, end = int(commands.issue[index]) + origin, int(commands.complete[index]) + origin
        yield slice_of(MACHINE, tid, NAMES.get(Funct(funct), "command"), begin, end, args)
        source = int(held.waited_for[index])
        if source in tid_of:  # an arrow from the command whose end let this one issue
            last = max(int(commands.issue[source]), int(commands.complete[source]) - 1) + origin
            common = {"cat": "dependence", "name": "waits for", "id": f"{origin}.{index}", "pid": MACHINE}
            yield {**common, "ph": "s", "tid": tid_of[source], "ts": last}
            yield {**common, "ph": "f", "bp": "e", "tid": tid, "ts": begin}
    yield from _units(commands, picked, tids, hw, origin)


def _units(commands: Commands, picked: Ints, tids: dict[str, int], hw: Hardware, origin: int) -> Iterator[Event]:
    """Yield the slices of array, DMA and banks: each serves its commands in order, the oldest unfinished one first."""
    moving = commands.read_bytes + commands.write_bytes > 0
    served = {
        "array": picked[commands.queue[picked] == EXECUTE],
        "DMA read": picked[(commands.queue[picked] == LOAD) & moving[picked]],
        "DMA write": picked[(commands.queue[picked] == STORE) & moving[picked]],
    }
    for track, mine in served.items():
        yield from _in_order(track, tids[track], commands, mine, origin)
    rows = {SCRATCHPAD: (hw.sp_bank_rows, hw.scratchpad.banks), ACCUMULATOR: (hw.acc_bank_rows, hw.accumulator.banks)}
    for memory, (bank_rows, banks) in rows.items():
        name = "scratchpad" if memory == SCRATCHPAD else "accumulator"
        for bank in range(banks):
            touch = np.zeros(len(commands), bool)
            for which in range(2):
                first = commands.start[:, which] // bank_rows
                last = (commands.start[:, which] + np.maximum(commands.rows[:, which], 1) - 1) // bank_rows
                touch |= (commands.memory[:, which] == memory) & (first <= bank) & (bank <= last)
            track = f"{name} bank {bank}"
            yield from _in_order(track, tids[track], commands, picked[touch[picked]], origin)


def _in_order(track: str, tid: int, commands: Commands, mine: Ints, origin: int) -> Iterator[Event]:
    order = mine[np.argsort(commands.complete[mine], kind="stable")]
    ends = commands.complete[order]
    begins = np.maximum(commands.issue[order], np.concatenate([[0], ends[:-1]]) if len(ends) else ends)
    for index, begin, end in zip(order.tolist(), begins.tolist(), ends.tolist(), strict=True):
        if end <= begin:
            continue
        name = NAMES.get(commands.funct[index], "command")
        use = "reads" if track.endswith("write") or commands.use[index, 0] == READ else "writes"
        yield slice_of(
            MACHINE, tid, name, begin + origin, end + origin, {"rows": int(commands.rows[index].max()), "use": use}
        )


def _counters(placed: Timed, commands: Commands, held: Walk, span: tuple[int, int], hw: Hardware) -> Iterator[Event]:
    """Yield the counters over the cycles ``span`` of a program."""
    origin = placed.start_cycle
    edges = np.unique(np.linspace(span[0], max(span[1], span[0] + 1), COUNTER_STEPS + 1).astype(np.int64))
    times, totals = counted(placed.timed)
    rates = {
        "memory read, bytes per cycle": np.interp(edges, times, totals[:, 0]) * hw.dma.bus_bytes,
        "memory write, bytes per cycle": np.interp(edges, times, totals[:, 1]) * hw.dma.bus_bytes,
        "array, rows per cycle": np.interp(edges, times, totals[:, 2]),
    }
    for name, total in rates.items():
        yield from _counter(name, edges[:-1] + origin, np.diff(total) / np.diff(edges))
    for name, rows in (("scratchpad rows in use", held.scratchpad), ("accumulator rows in use", held.accumulator)):
        places = np.minimum(edges[:-1] // held.step_cycles, len(rows) - 1)
        yield from _counter(name, edges[:-1] + origin, rows[places].astype(float))
    issued, ended = np.sort(commands.issue), np.sort(commands.complete)
    flying = np.searchsorted(issued, edges[:-1], "right") - np.searchsorted(ended, edges[:-1], "right")
    yield from _counter("commands in flight", edges[:-1] + origin, flying.astype(float))


def _counter(name: str, times: Ints, values: npt.NDArray[np.float64]) -> Iterator[Event]:
    """Yield a counter where its value changes."""
    before = None
    for time, value in zip(times.tolist(), np.round(values, 4).tolist(), strict=True):
        if value != before:
            yield {"ph": "C", "pid": MACHINE, "tid": 0, "name": name, "ts": time, "args": {"value": value}}
        before = value


def _lanes(begins: Ints, ends: Ints) -> list[int]:
    """Return for each command, by rising begin, the first lane that is free then; the last takes what is left."""
    free = [0] * LANES
    lanes = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        lane = next((number for number, time in enumerate(free) if time <= begin), LANES - 1)
        free[lane] = max(free[lane], end)
        lanes.append(lane)
    return lanes
