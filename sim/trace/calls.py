"""A recorded stream as Chrome trace events: its library calls, the CPU around and in them, their commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sim.timing.timing import Timing
from sim.trace.chrome import DEFAULT_EVENTS
from sim.trace.commands import decode
from sim.trace.events import (
    CPU,
    EVENTS_PER_COMMAND,
    OPERATORS,
    Event,
    Timed,
    cpu_process,
    lane_names,
    processes,
    program,
    slice_of,
)

if TYPE_CHECKING:
    from sim.hardware import Hardware


class TracedCall(NamedTuple):
    """A call: its name, cycles of the CPU around it (shown before it) and on its commands, its timing with timeline."""

    name: str
    call_cycles: int
    issue_cycles: int
    timed: Timing


def trace(calls: Iterable[TracedCall], hw: Hardware, label: str, most_events: int = DEFAULT_EVENTS) -> dict[str, Any]:
    """Return the trace of consecutive calls as plain data for JSON (`sim.trace.chrome.trace`).

    Commands beyond ``most_events`` are left out and counted; calls and CPU are always included.
    """
    events: list[Event] = [*processes(hw), *cpu_process(hw)]
    now, left_out, programs = 0, 0, 0
    for number, call in enumerate(calls):
        args = {"call": number, "cycles": call.call_cycles + call.timed.cycles}
        start = now + call.call_cycles
        end = start + call.timed.cycles
        events.append(slice_of(OPERATORS, 0, call.name, now, end, args))
        if call.call_cycles:
            events.append(slice_of(CPU, 0, "library call", now, start, args))
        issued = min(call.issue_cycles, call.timed.cycles)
        events.append(slice_of(CPU, 0, "issues commands", start, start + issued, args))
        commands = decode(call.timed.timeline, hw) if call.timed.timeline is not None else None
        picked = np.flatnonzero(commands.is_work) if commands is not None else np.zeros(0, np.int64)
        room = max(0, most_events - len(events)) // EVENTS_PER_COMMAND
        left_out += max(0, len(picked) - room)
        if commands is not None and room and len(picked):
            events += program(Timed(call.name, start, call.timed), commands, picked[:room], hw, None)
            programs += 1
        now = end
    events += lane_names(events, hw)
    about = {
        "workload": label,
        "hardware": hw.name,
        "cycles": now,
        "unit": "1 us on the screen = 1 cycle",
        "programs": programs,
        "commands_left_out": left_out,
    }
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}
