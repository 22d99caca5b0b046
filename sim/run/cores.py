"""A run on several cores: every operator dealt out (`sim.lower.split`), all cores simulated together, then a barrier.

Cores share the memory that ``cores.shared`` names, so the traffic of one delays the others as in the machine. An
operator takes as long as its last core, and a barrier where the next one needs all of it. Rows of `Result.ops` are
those of the whole machine: times of the last core, counters of all; `Result.cores` has a row for each core.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import Hang, InputError
from sim.cost import energy, host
from sim.cpu import cost, issue_cycles
from sim.lower import Work, lower
from sim.lower.split import shares
from sim.plan import schedules
from sim.run.progress import Progress, silent
from sim.run.result import Activity, Result, merge_counters, operator_row
from sim.run.session import RESTART_CYCLES, Start
from sim.timing import cores as timing
from sim.timing.contents import L2Contents

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.isa.commands import Program
    from sim.plan.step import Step
    from sim.run.request import Case

MEMORY_COUNTERS = ("DRAM_", "L2_", "BUS_", "MAX_OUTSTANDING_")
"""Counters that are the memory's, not the sum of the cores' (theirs are of their own ports)."""

OF_ITEM = re.compile(r"\.b\d+(?=\.|$)")
"""In the name of an operator of one batch item."""


@dataclass
class Core:
    """Totals of one core in the run so far; ``phase``: loop slot that comes next."""

    busy_cycles: int = 0
    host_cycles: int = 0
    barrier_cycles: int = 0
    port_wait_cycles: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    macs: int = 0
    invocations: int = 0
    phase: int = 0
    ran: frozenset[str] = frozenset()


@dataclass
class _Machine:
    """All cores between two operators."""

    case: Case
    cores: list[Core]
    contents: L2Contents | None = None
    words: Any = None
    started: bool = False
    known: dict[Hashable, timing.Together] = field(default_factory=dict)

    @property
    def hw(self) -> Hardware:
        return self.case.hw


Group = tuple["Step", ...]
"""Operators that run at the same time: one, or the same one of several batch items."""


def run(case: Case, progress: Progress = silent) -> Result:
    """Run the steps of a case on all cores of its machine. Raises InputError and Hang."""
    if schedules.asked(case.schedule):
        raise InputError(
            f"schedule {' '.join(case.schedule.values())}: {case.hw.name} has {case.hw.cores.count} cores, which split "
            "the library's programs (nearest: --schedule library, or cores.count = 1)"
        )
    steps = case.steps()
    groups = _groups(steps, case.hw)
    dealt = [_dealt(group, case.hw) for group in groups]
    _refuse_idle(groups, dealt, case.hw)
    machine = _Machine(case, [Core() for _ in range(case.hw.cores.count)])
    rows: list[dict[str, Any]] = []
    cycle = done = 0
    for group, given in zip(groups, dealt, strict=True):
        progress(done, len(steps), group[0].name)
        whole = _on_arrays(group, given, machine) if group[0].engine == "array" else _on_hosts(group, machine)
        for step, activity in zip(group, _split(whole, len(group)), strict=True):
            rows.append(operator_row(step, activity, case, cycle, _priced(step, activity, case)))
            cycle += activity.cycles
        done += len(group)
    progress(len(steps), len(steps), "")
    starts = dict.fromkeys((step.name for step in steps), Start.reset(case.hw))
    ordered = tuple(step for group in groups for step in group)
    return Result(case, ordered, tuple(rows), starts, core_rows(machine.cores, cycle))


def refuse(hw: Hardware, what: str) -> None:
    """Raise InputError for what is recorded of one core alone on a machine of several."""
    if hw.cores.count > 1:
        raise InputError(f"{what}: {hw.name} has {hw.cores.count} cores; nearest legal value cores.count = 1")


def core_rows(cores: Sequence[Core], cycles: int) -> tuple[dict[str, Any], ...]:
    """Return the rows of `Result.cores` (`sim.run.columns`, table "cores")."""
    return tuple(
        {
            "core": number,
            "busy_cycles": core.busy_cycles,
            "core_host_cycles": core.host_cycles,
            "barrier_cycles": core.barrier_cycles,
            "port_wait_cycles": core.port_wait_cycles,
            "core_read_bytes": core.read_bytes,
            "core_write_bytes": core.write_bytes,
            "core_macs": core.macs,
            "core_invocations": core.invocations,
            "busy_share": core.busy_cycles / cycles,
        }
        for number, core in enumerate(cores)
    )


def _groups(steps: Sequence[Step], hw: Hardware) -> list[Group]:
    """Return the steps that run at the same time, in order: with a split by data, an operator of all batch items."""
    if unit := next((step for step in steps if step.engine in ("unit", "vector")), None):
        raise InputError(f"operator {unit.name}: side units stand beside one core; nearest legal value cores.count = 1")
    if hw.cores.split != "data":
        return [(step,) for step in steps]
    groups: list[Group] = []
    for of_items, members in groupby(steps, lambda step: OF_ITEM.search(step.name) is not None):
        if not of_items:
            groups += [(step,) for step in members]
            continue
        equivalent: dict[str, list[Step]] = {}
        for step in members:
            equivalent.setdefault(OF_ITEM.sub("", step.name), []).append(step)
        groups += [tuple(same) for same in equivalent.values()]
    return groups


def _dealt(group: Group, hw: Hardware) -> list[tuple[Work, ...]]:
    """Return the work items of each core; empty for operators of the host."""
    works = [work for step in group for work in (step.works if hw.remembers else step.equivalent)]
    if not works:
        return []
    try:
        return shares(works, hw.cores.count, group[0].machine or hw, rows=hw.cores.split == "data")
    except InputError as error:
        raise InputError(f"operator {group[0].name}: {error}; nearest legal value cores.count = 1") from error


def _refuse_idle(groups: Sequence[Group], dealt: Sequence[Sequence[tuple[Work, ...]]], hw: Hardware) -> None:
    """Raise InputError when the split leaves a core without any work."""
    at_work = {group[0].name: sum(map(bool, given)) for group, given in zip(groups, dealt, strict=True) if given}
    if at_work and (most := max(at_work.values())) < hw.cores.count:
        widest = max(at_work, key=lambda name: at_work[name])
        what = "rows" if hw.cores.split == "data" else "blocks of columns or rows, or heads"
        raise InputError(
            f"{hw.name}: cores.count = {hw.cores.count}: the split by {hw.cores.split} leaves "
            f"{hw.cores.count - most} cores without work in every operator (of {widest} the {what} give {most} "
            f"cores something); nearest legal value {most}"
        )


def _on_arrays(group: Group, given: Sequence[tuple[Work, ...]], machine: _Machine) -> Activity:
    """Run the items of all cores together and let them meet."""
    step, hw = group[0], group[0].machine or machine.hw
    activity = Activity(invocations=sum(len(works) for works in given))
    if hw.words != machine.words:
        machine.words = hw.words
        activity.wait(hw.cpu.command_cycles)
    together, is_new = _together(step.name, given, machine, hw)
    times = []
    for core, works, timed in zip(machine.cores, given, together.cores, strict=True):
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
        times.append((around, timed.cycles if timed is not None else 0))
    last = max(range(len(times)), key=lambda core: sum(times[core]))
    activity.counters |= {name: n for name, n in together.memory.items() if name.startswith(MEMORY_COUNTERS)}
    timed = together.cores[last]
    assert timed is not None
    for cause, cycles in timed.causes.items():
        activity.wait(cycles, cause)
    activity.wait(times[last][0], "call")
    activity.wait(RESTART_CYCLES if machine.started else 0)
    _meet(activity, machine, [sum(time) for time in times])
    activity.visited_cycles = together.visited_cycles
    activity.distinct = activity.invocations if is_new else 0
    machine.started = True
    return activity


def _meet(activity: Activity, machine: _Machine, times: Sequence[int]) -> None:
    """Let the cores wait for the last one, and for the barrier; a split by data needs none between operators."""
    barrier = 0 if machine.hw.cores.split == "data" else machine.hw.barrier_cycles
    activity.wait(barrier)
    for core, time in zip(machine.cores, times, strict=True):
        core.busy_cycles += time
        core.barrier_cycles += max(times) - time + barrier


def _together(
    name: str, given: Sequence[tuple[Work, ...]], machine: _Machine, hw: Hardware
) -> tuple[timing.Together, bool]:
    """Return the timing of a step, simulated unless an equal one is known; whether it is new."""
    phases = tuple(core.phase for core in machine.cores)
    key = None if hw.remembers else (tuple(given), phases, hw.key)
    if key is not None and key in machine.known:
        return machine.known[key], False
    parts = [timing.Core(hw, _program(works, hw), phase=phase) for works, phase in zip(given, phases, strict=True)]
    try:
        found = timing.run(parts, clock=machine.case.request.clock, contents=machine.contents)
    except (Hang, InputError) as error:
        raise type(error)(f"operator {name} on {hw.name}: {error}") from error
    if key is not None:
        machine.known[key] = found
    machine.contents = found.contents if hw.remembers else None
    return found, True


def _program(works: Sequence[Work], hw: Hardware) -> Program | None:
    return np.concatenate([lower(work, hw) for work in works]) if works else None


def _on_hosts(group: Group, machine: _Machine) -> Activity:
    """Each core's CPU runs its rows of an operator that the arrays cannot."""
    step, hw = group[0], machine.hw
    assert step.host_kind is not None
    elements, macs = sum(one.host_elements for one in group), sum(one.macs for one in group)
    rows = max(1, elements // step.n) if step.n else elements
    parts = min(hw.cores.count, max(1, rows))
    most = ceil(rows / parts)
    cycles = host.cycles(
        step.host_kind, ceil(elements * most / max(1, rows)), hw, row=step.n, macs=ceil(macs * most / max(1, rows))
    )
    read_bytes, write_bytes = host.traffic_bytes(step.host_kind, elements, hw)
    moved = {"DRAM_READ_BYTES": read_bytes, "DRAM_WRITE_BYTES": write_bytes}
    counters = {**dict.fromkeys(energy.COUNTERS, 0), **moved} if read_bytes or write_bytes else {}
    activity = Activity(cycles=cycles, host_cycles=parts * cycles, causes={"host": cycles}, counters=counters)
    for number, core in enumerate(machine.cores):
        core.host_cycles += cycles if number < parts else 0
    _meet(activity, machine, [cycles if number < parts else 0 for number in range(hw.cores.count)])
    return activity


def _split(whole: Activity, parts: int) -> list[Activity]:
    """Return the activity of operators that ran at the same time as if one behind the other, in equal parts."""

    def share(number: int, part: int) -> int:
        return number * (part + 1) // parts - number * part // parts

    if parts == 1:
        return [whole]
    found = []
    for part in range(parts):
        causes = {cause: share(cycles, part) for cause, cycles in whole.causes.items()}
        counters = {name: share(count, part) for name, count in whole.counters.items()}
        numbers = {
            name: share(getattr(whole, name), part)
            for name in ("host_cycles", "cpu_cycles", "invocations", "distinct", "visited_cycles")
        }
        found.append(Activity(cycles=sum(causes.values()), causes=causes, counters=counters, **numbers))
    return found


def _priced(step: Step, activity: Activity, case: Case) -> Mapping[str, float]:
    """Return the energy of an operator; every core leaks, the L2 is there once."""
    hw = step.machine or case.hw
    parts = energy.price(
        activity.counters,
        step.macs_switched,
        activity.cycles,
        hw,
        activity.host_cycles,
        cpu_cycles=activity.cpu_cycles,
    )
    bare = hw.model_copy(update={"memory": hw.memory.model_copy(update={"l2_bytes": 0})})
    each = energy.price({}, 0, activity.cycles, bare)["leakage"]
    return {**parts, "leakage": parts["leakage"] + (case.hw.cores.count - 1) * each}
