"""State of several cores in a run: their totals, the shared memory, and the simulation of all cores together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import Hang, InputError
from sim.cost import energy, host
from sim.cpu import cost, issue_cycles
from sim.lower import Work, lower
from sim.run.activity import Activity, Span, merge_counters
from sim.timing import cores as timing
from sim.timing.contents import L2Contents

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.isa.commands import Program
    from sim.plan.step import Step
    from sim.run.request import Case
    from sim.timing.disk import Timings

MEMORY_COUNTERS = ("DRAM_", "L2_", "BUS_", "MAX_OUTSTANDING_")
"""Counters of the shared memory; those of the cores count their own ports."""


@dataclass
class CoreTotals:
    """Totals of one core in the run so far; ``phase``: next loop slot."""

    busy_cycles: int = 0
    host_cycles: int = 0
    barrier_cycles: int = 0
    port_wait_cycles: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    macs: int = 0
    invocations: int = 0
    phase: int = 0
    words: Any = None
    ran: frozenset[str] = frozenset()


@dataclass
class SharedMachine:
    """All cores between two operators.

    ``disk``: store of timings; ``now``: cycles of the run so far; ``spans``: operators of the cores so far.
    """

    case: Case
    cores: list[CoreTotals]
    disk: Timings | None = None
    contents: L2Contents | None = None
    started: bool = False
    now: int = 0
    spans: list[Span] = field(default_factory=list)
    known: dict[Hashable, timing.Together] = field(default_factory=dict)

    @property
    def hw(self) -> Hardware:
        """The machine."""
        return self.case.hw


def command_for_words(core: CoreTotals, hw: Hardware) -> int:
    """Return the cycles of the command that sets a core's word sizes, 0 if they do not change."""
    before, core.words = core.words, hw.words
    return hw.cpu.command_cycles if hw.words != before else 0


def account(
    core: CoreTotals, works: Sequence[Work], timed: timing.CoreTiming | None, hw: Hardware, activity: Activity
) -> tuple[int, int]:
    """Add a core's activity to its totals and to its operator's; return the cycles around its calls and in them."""
    around = 0
    for work in works:
        call = cost(work, hw, core.ran)
        around += call.cycles
        core.ran |= call.paths
        core.macs += work.macs
    if timed is not None:
        core.phase = timed.phase
        core.port_wait_cycles += timed.wait_cycles
        core.read_bytes += timed.counters["DRAM_READ_BYTES"]
        core.write_bytes += timed.counters["DRAM_WRITE_BYTES"]
        activity.counters = merge_counters(activity.counters, timed.counters)
    core.invocations += len(works)
    if hw.cpu.prices != "none":
        activity.cpu_cycles += around + sum(issue_cycles(lower(work, hw)) for work in works)
    return around, timed.cycles if timed is not None else 0


def wait_for(activity: Activity, around: int, timed: timing.CoreTiming | None) -> None:
    """Set the operator's cycles to those of one core, cause by cause."""
    assert timed is not None
    for cause, cycles in timed.causes.items():
        activity.wait(cycles, cause)
    activity.wait(around, "call")


def meet(machine: SharedMachine, times: Sequence[int], ops: Sequence[str], lead: int = 0) -> int:
    """Let the cores wait for the last one and for the barrier; return the cycles of the operators and the barrier.

    ``times``, ``ops``: cycles that each core has worked, and its operator; ``lead``: cycles before that, the same for
    all. A
    split by data needs no barrier between operators.
    """
    barrier = 0 if machine.hw.cores.split == "data" else machine.hw.barrier_cycles
    for number, (core, time, op) in enumerate(zip(machine.cores, times, ops, strict=True)):
        core.busy_cycles += time
        core.barrier_cycles += max(times) - time + barrier
        if time:
            machine.spans.append(Span(number, op, machine.now + lead, time))
    whole = lead + max(times) + barrier
    machine.now += whole
    return whole


def run_together(
    name: str, given: Sequence[tuple[Work, ...]], machine: SharedMachine, hws: Sequence[Hardware]
) -> tuple[timing.Together, bool]:
    """Return the timing of a step on each core's own machine, and whether it was simulated (not known before)."""
    hw = machine.hw
    phases = tuple(core.phase for core in machine.cores)
    key = None if hw.remembers else (tuple(given), phases, tuple(own.key for own in hws))
    if key is not None and key in machine.known:
        return machine.known[key], False
    parts = [
        timing.Core(own, _program(works, own), phase=phase)
        for own, works, phase in zip(hws, given, phases, strict=True)
    ]
    try:
        if key is not None and machine.disk is not None:
            found = machine.disk.run_cores(parts, machine.case.request.clock)
        else:
            found = timing.run(parts, clock=machine.case.request.clock, contents=machine.contents)
    except (Hang, InputError) as error:
        raise type(error)(f"operator {name} on {hw.name}: {error}") from error
    if key is not None:
        machine.known[key] = found
    machine.contents = found.contents if hw.remembers else None
    return found, True


def _program(works: Sequence[Work], hw: Hardware) -> Program | None:
    return np.concatenate([lower(work, hw) for work in works]) if works else None


def traffic(step: Step, elements: int, hw: Hardware) -> dict[str, int]:
    """Return the counters of a host operator: the bytes that it moves."""
    assert step.host_kind is not None
    read_bytes, write_bytes = host.traffic_bytes(step.host_kind, elements, hw)
    moved = {"DRAM_READ_BYTES": read_bytes, "DRAM_WRITE_BYTES": write_bytes}
    return {**dict.fromkeys(energy.COUNTERS, 0), **moved} if read_bytes or write_bytes else {}
