"""Operators that run in parallel on several cores: each turn is simulated, its time and traffic divided among them.

A turn takes as long as its last core, and a barrier. Each operator has a part of these cycles in proportion to the time
that its cores work, so that the parts add up to the whole; the causes are those of its last core, and "issue" while it
waits for the end of the turn. Core counters belong to the operator of the core; the memory's counters are divided in
proportion to the bytes at the cores' ports.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from sim.run.activity import Activity, merge_counters
from sim.run.cores.together import (
    MEMORY_COUNTERS,
    SharedMachine,
    account,
    command_for_words,
    meet,
    run_together,
    traffic,
    wait_for,
)
from sim.run.cores.turns import Part, Turn, turns
from sim.run.progress import Progress
from sim.run.session import RESTART_CYCLES

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.lower import Work
    from sim.plan.step import Step
    from sim.timing.cores import Together


def in_turns(steps: Sequence[Step], machine: SharedMachine, progress: Progress) -> list[Activity]:
    """Run steps in parallel, in turns.

    Return the activity of each in their order, summed over its parts in all turns.
    """
    found = {id(step): Activity() for step in steps}
    dealt = turns(steps, machine.case)
    for done, turn in enumerate(dealt):
        progress(len(steps) * done // len(dealt), len(steps), turn[0].step.name)
        for part, activity in zip(turn, _on_cores(turn, machine), strict=True):
            _join(found[id(part.step)], activity)
    return [found[id(step)] for step in steps]


def _join(activity: Activity, later: Activity) -> None:
    """Append later activity of the same operator."""
    for name in ("host_cycles", "cpu_cycles", "invocations", "distinct", "visited_cycles"):
        setattr(activity, name, getattr(activity, name) + getattr(later, name))
    for cause, cycles in later.causes.items():
        activity.wait(cycles, cause)
    activity.counters = merge_counters(activity.counters, later.counters)


def _on_cores(turn: Turn, machine: SharedMachine) -> list[Activity]:
    """Run the operators of a turn in parallel, up to the barrier; return the activity of each."""
    hws = [machine.hw] * len(machine.cores)
    given: list[tuple[Work, ...]] = [() for _ in machine.cores]
    for part in turn:
        for core in part.cores:
            hws[core], given[core] = part.step.machine or machine.hw, part.works[core]
    simulated, is_new = run_together(turn[0].step.name, given, machine, hws) if any(given) else (None, False)
    times = [0] * len(machine.cores)
    activities = [_own(part, simulated, machine, times, hws) for part in turn]
    for activity in activities:
        activity.distinct = activity.invocations if is_new else 0
    ops = {core: part.step.name for part in turn for core in part.cores}
    restart = RESTART_CYCLES if simulated is not None and machine.started else 0
    whole = meet(machine, times, [ops.get(core, "") for core in range(len(times))], restart)
    machine.started = machine.started or simulated is not None
    spent = divided(whole, [activity.cycles for activity in activities])
    for activity, cycles in zip(activities, spent, strict=True):
        activity.wait(whole - activity.cycles)
        parts = divided(cycles, list(activity.causes.values()))
        activity.causes = dict(zip(activity.causes, parts, strict=True))
        activity.cycles = cycles
    if simulated is not None:
        on_arrays = [done for done in activities if done.invocations]
        on_arrays[0].visited_cycles = simulated.visited_cycles  # of all operators together: recorded once
        _share_memory(on_arrays, simulated)
    return activities


def _own(
    part: Part, simulated: Together | None, machine: SharedMachine, times: list[int], hws: Sequence[Hardware]
) -> Activity:
    """Return the activity of an operator on its cores, and record the time of each core in ``times``."""
    activity = Activity(invocations=sum(map(len, part.works)), host_cycles=sum(part.host_cycles))
    last = max(part.cores, key=lambda core: part.host_cycles[core])
    if part.step.engine == "host":
        for number in part.cores:
            times[number] = part.host_cycles[number]
            machine.cores[number].host_cycles += times[number]
        activity.wait(times[last], "host")
        activity.counters = traffic(part.step, part.host_elements, machine.hw)
        return activity
    assert simulated is not None
    around = {}
    for number in part.cores:
        core, hw = machine.cores[number], hws[number]
        words = command_for_words(core, hw)
        around[number], cycles = account(core, part.works[number], simulated.cores[number], hw, activity)
        times[number] = words + around[number] + cycles
    last = max(part.cores, key=lambda number: times[number])
    wait_for(activity, around[last], simulated.cores[last])
    activity.wait(times[last] - activity.cycles)
    return activity


def _share_memory(activities: Sequence[Activity], simulated: Together) -> None:
    """Divide the memory's counters among the operators in proportion to the bytes at their cores' ports.

    Peaks go to each.
    """
    reads, writes = ([done.counters[name] for done in activities] for name in ("DRAM_READ_BYTES", "DRAM_WRITE_BYTES"))
    both = [read + write for read, write in zip(reads, writes, strict=True)]
    for name, number in simulated.memory.items():
        if not name.startswith(MEMORY_COUNTERS):
            continue
        weights = reads if "READ" in name else writes if "WRITE" in name else both
        parts = [number] * len(activities) if name.startswith("MAX_") else divided(number, weights)
        for activity, part in zip(activities, parts, strict=True):
            activity.counters[name] = part


def divided(number: int, weights: Sequence[int]) -> list[int]:
    """Divide a number into integers in proportion to weights (all 0: into equal parts), whose sum is the number."""
    weighed = weights if any(weights) else [1] * len(weights)
    bounds = [number * upto // sum(weighed) for upto in accumulate(weighed)]
    return [end - begin for begin, end in zip([0, *bounds], bounds, strict=False)]
