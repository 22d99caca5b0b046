"""A run as Chrome trace events (chrome://tracing, ui.perfetto.dev): one microsecond on the screen is one cycle.

Each operator is a slice. Of every program that is the first of its kind (or of a window of cycles) all commands are
shown: a track per controller, the array, the DMA engines and each bank, arrows from a command to the one that had to
wait for it, and counters: rows held in the memories, bytes per cycle on the buses, commands in flight.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.cpu import issue_cycles
from sim.isa.commands import Funct
from sim.isa.disassembly import words
from sim.run.session import lowered
from sim.trace.commands import ACCUMULATOR, EXECUTE, LOAD, NAMES, READ, SCRATCHPAD, STORE, Commands
from sim.trace.profile import Placed, Recording, counted, invocations
from sim.trace.walk import Walk, walk

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.run.result import Result

Event = dict[str, Any]
Ints = npt.NDArray[np.int64]

DEFAULT_EVENTS = 200_000
"""Default bound of a trace: 40 MB, which a browser opens within seconds."""

COUNTER_STEPS = 512
"""Steps of each counter within one program."""

CPU, MACHINE, OPERATORS = 2, 1, 0
WORD = (1 << 64) - 1
QUEUES = {LOAD: "load", EXECUTE: "execute", STORE: "store"}


@dataclass(frozen=True)
class Bounds:
    """What of a run a trace holds. ``operators``: pattern of names; ``window``: cycles [from, to); ``first``: programs
    of each equal kind; ``events``: most events, what is beyond is left out and counted."""

    operators: str = "*"
    window: tuple[int, int] | None = None
    first: int = 1
    events: int = DEFAULT_EVENTS


def trace(result: Result, bounds: Bounds | None = None) -> dict[str, Any]:
    """Return the trace of a run as plain data for JSON (object format of the Trace Event specification).

    Raises InputError for a window outside the run, a pattern that names no operator or bounds below 1.
    """
    bounds = bounds or Bounds()
    _check(result, bounds)
    hw = result.hardware
    events: list[Event] = list(_names(hw))
    events += _operators(result)
    left_out, programs, shown = 0, 0, dict[int, int]()
    share = bounds.events if bounds.window else bounds.events // max(1, result.totals["distinct"] * bounds.first)
    events += _cpu_names(hw) if hw.cpu.prices != "none" else ()
    events += _host(result) if hw.cpu.prices != "none" else ()
    for placed in invocations(result, lambda recording: recording):
        if hw.cpu.prices != "none" and len(events) < bounds.events:
            events += _cpu(placed, placed.step.machine or hw)
        if not _wanted(placed, bounds, shown):
            continue
        commands = placed.kept.commands
        assert commands is not None
        picked = _picked(commands, placed.start_cycle, bounds)
        room = max(0, min(share, bounds.events - len(events)) // EVENTS_PER_COMMAND)
        left_out += max(0, len(picked) - room)
        if room:
            events += _program(placed, commands, picked[:room], placed.step.machine or hw, bounds)
            programs += 1
    events += _lane_names(events, hw)
    about = {
        "workload": result.graph.name,
        "hardware": hw.name,
        "cycles": result.cycles,
        "unit": "1 us on the screen = 1 cycle",
        "programs": programs,
        "commands_left_out": left_out,
    }
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}


def to_json(traced: dict[str, Any]) -> str:
    """Return the trace as text, one event per line."""
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in traced["traceEvents"])
    rest = {key: value for key, value in traced.items() if key != "traceEvents"}
    return '{"traceEvents":[\n' + lines + "\n]," + json.dumps(rest)[1:] + "\n"


def _check(result: Result, bounds: Bounds) -> None:
    problems = []
    names = [step.name for step in result.steps]
    if not any(fnmatchcase(name, bounds.operators) for name in names):
        problems.append(f"--op {bounds.operators}: no operator is called so{did_you_mean(bounds.operators, names)}")
    if bounds.window is not None:
        start, end = bounds.window
        if not 0 <= start < end or start >= result.cycles:
            problems.append(
                f"--window {start}:{end}: must be FROM:TO with 0 <= FROM < TO; the run has {result.cycles:,} cycles"
            )
    for name, value in (("--first", bounds.first), ("--events", bounds.events)):
        if value < 1:
            problems.append(f"{name} {value}: must be at least 1")
    if problems:
        raise InputError(problems)


def _wanted(placed: Placed[Recording], bounds: Bounds, shown: dict[int, int]) -> bool:
    """Whether the commands of an invocation belong into the trace; counts what was let in."""
    if placed.kept.commands is None or not fnmatchcase(placed.step.name, bounds.operators):
        return False
    if bounds.window is not None:
        return placed.start_cycle < bounds.window[1] and placed.start_cycle + placed.cycles > bounds.window[0]
    alike = id(placed.kept)
    shown[alike] = shown.get(alike, 0) + 1
    return shown[alike] <= bounds.first


def tracks(hw: Hardware) -> list[str]:
    """Return the names of the machine's tracks in the order of their thread ids."""
    banks = [f"scratchpad bank {bank}" for bank in range(hw.scratchpad.banks)]
    banks += [f"accumulator bank {bank}" for bank in range(hw.accumulator.banks)]
    return ["load", "execute", "store", "array", "DMA read", "DMA write", *banks]


LANES = 64
"""Commands of one track that overlap in time lie in lanes of their own; no table holds more (`sim.core` SLOTS)."""

EVENTS_PER_COMMAND = 5
"""Slices in controller, unit and bank, and two ends of an arrow."""


def _names(hw: Hardware) -> Iterator[Event]:
    for pid, name in ((OPERATORS, "operators"), (MACHINE, f"machine {hw.name}")):
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": {"sort_index": pid}}


def _cpu_names(hw: Hardware) -> Iterator[Event]:
    name = hw.cpu.prices.name if hw.cpu.prices != "none" else "none"
    yield {"ph": "M", "pid": CPU, "tid": 0, "name": "process_name", "args": {"name": f"CPU {name}"}}
    yield {"ph": "M", "pid": CPU, "tid": 0, "name": "process_sort_index", "args": {"sort_index": CPU}}


def _host(result: Result) -> Iterator[Event]:
    """Yield the operators that the CPU runs itself."""
    for row in result.rows:
        if row["engine"] == "host":
            yield _slice(
                CPU, 0, f"runs {row['op_kind']}", row["start_cycle"], row["end_cycle"], {"operator": row["op"]}
            )


def _cpu(placed: Placed[Recording], hw: Hardware) -> Iterator[Event]:
    """Yield what the CPU does for an invocation: the call around it, put before it, and its work on the commands.

    The second is the sum of the gaps from the first command on; while the port refuses a command the CPU waits, which
    the slice does not show.
    """
    args = {"operator": placed.step.name, "invocation": placed.invocation}
    start = placed.start_cycle
    if placed.call_cycles:
        yield _slice(CPU, 0, "library call", start - placed.call_cycles, start, args)
    spent = min(placed.cycles, issue_cycles(lowered(placed.step.works[placed.invocation], hw)))
    yield _slice(CPU, 0, "issues commands", start, start + spent, args)


def _lane_names(events: list[Event], hw: Hardware) -> Iterator[Event]:
    """Name every track and lane that something lies in."""
    names = tracks(hw)
    for tid in sorted({event["tid"] for event in events if event["ph"] == "X" and event["pid"] == MACHINE}):
        track, lane = divmod(tid, LANES)
        name = names[track - 1] + (f" ({lane + 1})" if lane else "")
        yield {"ph": "M", "pid": MACHINE, "tid": tid, "name": "thread_name", "args": {"name": name}}
        yield {"ph": "M", "pid": MACHINE, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}


def _picked(commands: Commands, origin: int, bounds: Bounds) -> Ints:
    """Return the indices of the commands that do work, of those in the window if there is one."""
    chosen = commands.is_work
    if bounds.window is not None:
        start, end = bounds.window
        chosen &= (commands.issue + origin < end) & (commands.complete + origin > start)
    return np.flatnonzero(chosen)


def _operators(result: Result) -> Iterator[Event]:
    for row in result.rows:
        args = {name: row[name] for name in ("op_kind", "engine", "bound", "cycles", "macs", "utilization")}
        yield _slice(OPERATORS, 0, row["op"], row["start_cycle"], row["end_cycle"], args)


def _slice(pid: int, tid: int, name: str, start: float, end: float, args: dict[str, Any]) -> Event:
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": int(start), "dur": int(end - start), "args": args}


def _program(
    placed: Placed[Recording], commands: Commands, picked: Ints, hw: Hardware, bounds: Bounds
) -> Iterator[Event]:
    """Yield the events of the picked commands of one invocation, moved to its place in the run."""
    origin = placed.start_cycle
    held = walk(commands, hw, placed.cycles)
    tids = {name: number * LANES for number, name in enumerate(tracks(hw), start=1)}
    span = int(commands.issue[picked].min()), int(commands.complete[picked].max())
    if bounds.window is not None:
        span = max(span[0], bounds.window[0] - origin), min(span[1], bounds.window[1] - origin)
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
            "operator": placed.step.name,
            "waited_in_station": int(commands.issue[index] - commands.alloc[index]),
        }
        begin, end = int(commands.issue[index]) + origin, int(commands.complete[index]) + origin
        yield _slice(MACHINE, tid, NAMES.get(Funct(funct), "command"), begin, end, args)
        source = int(held.waited_for[index])
        if source in tid_of:  # an arrow from the command whose end let this one issue
            last = max(int(commands.issue[source]), int(commands.complete[source]) - 1) + origin
            common = {"cat": "dependence", "name": "waits for", "id": f"{origin}.{index}", "pid": MACHINE}
            yield {**common, "ph": "s", "tid": tid_of[source], "ts": last}
            yield {**common, "ph": "f", "bp": "e", "tid": tid, "ts": begin}
    yield from _units(commands, picked, tids, hw, origin)


def _units(commands: Commands, picked: Ints, tids: dict[str, int], hw: Hardware, origin: int) -> Iterator[Event]:
    """Yield what array, DMA and banks work on: each serves its commands in order, the oldest unfinished one first."""
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
        yield _slice(
            MACHINE, tid, name, begin + origin, end + origin, {"rows": int(commands.rows[index].max()), "use": use}
        )


def _counters(
    placed: Placed[Recording], commands: Commands, held: Walk, span: tuple[int, int], hw: Hardware
) -> Iterator[Event]:
    """Yield the counters over the cycles ``span`` of an invocation."""
    origin = placed.start_cycle
    edges = np.unique(np.linspace(span[0], max(span[1], span[0] + 1), COUNTER_STEPS + 1).astype(np.int64))
    times, totals = counted(placed.kept.timed)
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
