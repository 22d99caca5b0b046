"""A run as Chrome trace events (chrome://tracing, ui.perfetto.dev): one microsecond on the screen is one cycle.

Each operator is a slice. All commands are shown for the first of equal programs (or for a window of cycles): a track
per controller, the array, the DMA engines and each bank, arrows from a command to the one that waited for it, and
counters: rows held in the memories, bytes per cycle on the buses, commands in flight. A run on several cores has a
track per core instead (of_cores.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import InputError, did_you_mean
from sim.cpu import issue_cycles
from sim.run.session import lowered
from sim.trace.commands import Commands
from sim.trace.events import (
    CPU,
    EVENTS_PER_COMMAND,
    LANES,
    MACHINE,
    OPERATORS,
    VECTOR,
    Event,
    Ints,
    Timed,
    cpu_process,
    lane_names,
    processes,
    program,
    slice_of,
    tracks,
)
from sim.trace.of_cores import tracks as cores_of
from sim.trace.profile import Placed, ProgramRecord, invocations

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.run.result import Result

DEFAULT_EVENTS = 200_000
"""Default bound of a trace: 40 MB, which a browser opens within seconds."""


@dataclass(frozen=True)
class Bounds:
    """Part of a run that a trace holds. ``operators``: pattern of names; ``window``: cycles [from, to); ``first``:
    programs of each equal kind; ``events``: largest number of events; further ones are left out and counted."""

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
    events: list[Event] = list(processes(hw))
    events += _operators(result)
    events += _beside(result)
    left_out, programs, shown = 0, 0, dict[int, int]()
    share = bounds.events if bounds.window else bounds.events // max(1, result.totals["distinct"] * bounds.first)
    alone = hw.cores.count == 1
    events += cores_of(result) if not alone else ()
    events += cpu_process(hw) if alone and hw.cpu.prices != "none" else ()
    events += _host(result) if alone and hw.cpu.prices != "none" else ()
    for placed in invocations(result, lambda recording: recording) if alone else ():
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
            shown_here = Timed(placed.step.name, placed.start_cycle, placed.kept.timed)
            events += program(shown_here, commands, picked[:room], placed.step.machine or hw, bounds.window)
            programs += 1
    events += lane_names(events, hw)
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
        problems.append(f"--op {bounds.operators}: no operator has this name{did_you_mean(bounds.operators, names)}")
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


def _wanted(placed: Placed[ProgramRecord], bounds: Bounds, shown: dict[int, int]) -> bool:
    """Whether the commands of an invocation are included; counts the included ones."""
    if placed.kept.commands is None or not fnmatchcase(placed.step.name, bounds.operators):
        return False
    if bounds.window is not None:
        return placed.start_cycle < bounds.window[1] and placed.start_cycle + placed.cycles > bounds.window[0]
    equivalent = id(placed.kept)
    shown[equivalent] = shown.get(equivalent, 0) + 1
    return shown[equivalent] <= bounds.first


def _host(result: Result) -> Iterator[Event]:
    """Yield the operators of the CPU."""
    for row in result.rows:
        if row["engine"] == "host":
            yield slice_of(
                CPU, 0, f"runs {row['op_kind']}", row["start_cycle"], row["end_cycle"], {"operator": row["op"]}
            )


def _beside(result: Result) -> Iterator[Event]:
    """Yield the operators that the vector unit runs, on its track."""
    tid = LANES * (1 + tracks(result.hardware).index(VECTOR)) if result.hardware.vector.lanes else 0
    for row in result.rows:
        if row["engine"] == "vector":
            args = {"operator": row["op"], "operations": row["vector_operations"]}
            yield slice_of(MACHINE, tid, row["op_kind"], row["start_cycle"], row["end_cycle"], args)


def _cpu(placed: Placed[ProgramRecord], hw: Hardware) -> Iterator[Event]:
    """Yield the CPU's work for an invocation: the call around it, put before it, and the issue of its commands.

    The second is the sum of the gaps, beginning with the first command; the slice does not show the CPU's waits for the
    port.
    """
    args = {"operator": placed.step.name, "invocation": placed.invocation}
    start = placed.start_cycle
    if placed.call_cycles:
        yield slice_of(CPU, 0, "library call", start - placed.call_cycles, start, args)
    spent = min(placed.cycles, issue_cycles(lowered(placed.step.works[placed.invocation], hw)))
    yield slice_of(CPU, 0, "issues commands", start, start + spent, args)


def _picked(commands: Commands, origin: int, bounds: Bounds) -> Ints:
    """Return the indices of the commands that do work, in the window if there is one."""
    chosen = commands.is_work
    if bounds.window is not None:
        start, end = bounds.window
        chosen &= (commands.issue + origin < end) & (commands.complete + origin > start)
    return np.flatnonzero(chosen)


def _operators(result: Result) -> Iterator[Event]:
    for row in result.rows:
        args = {name: row[name] for name in ("op_kind", "engine", "bound", "cycles", "macs", "utilization")}
        yield slice_of(OPERATORS, 0, row["op"], row["start_cycle"], row["end_cycle"], args)
