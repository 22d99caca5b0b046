"""A run on several cores: every operator divided among the cores (`sim.lower.split`), simulated together, then a
barrier.

Cores share the memory that ``cores.shared`` names, so the traffic of one delays the others. An operator takes as long
as its last core, plus a barrier if the next one needs its whole result. Rows of `Result.ops` are
those of the whole machine: times of the last core, counters of all; `Result.cores` has a row for each core. If
operators run in parallel (`sim.run.cores.turns`), each has a part of a turn's cycles, in proportion to the time that
its cores work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.cost import energy
from sim.lower import Work
from sim.lower.split import shares
from sim.plan import schedules
from sim.run.activity import Activity
from sim.run.cores.side_by_side import in_turns
from sim.run.cores.together import (
    MEMORY_COUNTERS,
    CoreTotals,
    SharedMachine,
    account,
    command_for_words,
    meet,
    run_together,
    traffic,
    wait_for,
)
from sim.run.cores.turns import OF_ITEM, SPLITS, host_shares
from sim.run.operator_row import operator_row
from sim.run.progress import Progress, silent
from sim.run.result import Result
from sim.run.session import RESTART_CYCLES, Start

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.step import Step
    from sim.run.request import Case
    from sim.timing.disk import Timings

Group = tuple["Step", ...]
"""Steps that run at the same time: one, or the same operator of several batch items."""


def run(case: Case, progress: Progress = silent, disk: Timings | None = None) -> Result:
    """Run the steps of a case on all cores of its machine. ``disk``: store of timings. Raises InputError and Hang."""
    if schedules.requested(case.schedule):
        raise InputError(
            f"schedule {' '.join(case.schedule.values())}: {case.hw.name} has {case.hw.cores.count} cores, which split "
            "the library's programs (nearest: --schedule library, or cores.count = 1)"
        )
    steps = case.steps()
    _refuse_units(steps)
    machine = SharedMachine(case, [CoreTotals() for _ in range(case.hw.cores.count)], disk)
    ordered: Sequence[Step]
    if case.hw.cores.split in SPLITS:
        ordered, activities = steps, in_turns(steps, machine, progress)
    else:
        ordered, activities = _in_order(steps, machine, progress)
    progress(len(steps), len(steps), "")
    ends = list(accumulate(activity.cycles for activity in activities))
    rows = [
        operator_row(step, activity, case, end - activity.cycles, _priced(step, activity, case))
        for step, activity, end in zip(ordered, activities, ends, strict=True)
    ]
    starts = dict.fromkeys((step.name for step in steps), Start.reset(case.hw))
    return Result(case, tuple(ordered), tuple(rows), starts, core_rows(machine.cores, ends[-1]), tuple(machine.spans))


def _in_order(steps: Sequence[Step], machine: SharedMachine, progress: Progress) -> tuple[list[Step], list[Activity]]:
    """Run steps one after the other, each on all cores; with a split by data those of batch items together."""
    hw = machine.hw
    groups = _groups(steps, hw)
    dealt = [_dealt(group, hw) for group in groups]
    _refuse_idle(groups, dealt, hw)
    found: list[Activity] = []
    for group, given in zip(groups, dealt, strict=True):
        progress(len(found), len(steps), group[0].name)
        whole = _on_arrays(group, given, machine) if group[0].engine == "array" else _on_hosts(group, machine)
        found += _split(whole, len(group))
    return [step for group in groups for step in group], found


def refuse(hw: Hardware, what: str) -> None:
    """Raise InputError for functions of single-core machines on a machine of several cores."""
    if hw.cores.count > 1:
        raise InputError(f"{what}: {hw.name} has {hw.cores.count} cores; nearest legal value cores.count = 1")


def core_rows(cores: Sequence[CoreTotals], cycles: int) -> tuple[dict[str, Any], ...]:
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


def _refuse_units(steps: Sequence[Step]) -> None:
    if unit := next((step for step in steps if step.engine in ("unit", "vector")), None):
        raise InputError(f"operator {unit.name}: side units work with one core; nearest legal value cores.count = 1")


def _groups(steps: Sequence[Step], hw: Hardware) -> list[Group]:
    """Return the steps that run at the same time, in order: with a split by data, an operator of all batch items."""
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


def _on_arrays(group: Group, given: Sequence[tuple[Work, ...]], machine: SharedMachine) -> Activity:
    """Run the items of all cores together, up to the barrier."""
    step, hw = group[0], group[0].machine or machine.hw
    activity = Activity(invocations=sum(len(works) for works in given))
    activity.wait(max(command_for_words(core, hw) for core in machine.cores))
    simulated, is_new = run_together(step.name, given, machine, [hw] * len(given))
    times = [
        account(core, works, timed, hw, activity)
        for core, works, timed in zip(machine.cores, given, simulated.cores, strict=True)
    ]
    last = max(range(len(times)), key=lambda core: sum(times[core]))
    activity.counters |= {name: n for name, n in simulated.memory.items() if name.startswith(MEMORY_COUNTERS)}
    wait_for(activity, times[last][0], simulated.cores[last])
    spent = [sum(time) for time in times]
    lead = activity.cycles - max(spent) + (RESTART_CYCLES if machine.started else 0)
    activity.wait(meet(machine, spent, [step.name] * len(spent), lead) - activity.cycles)
    activity.visited_cycles = simulated.visited_cycles
    activity.distinct = activity.invocations if is_new else 0
    machine.started = True
    return activity


def _on_hosts(group: Group, machine: SharedMachine) -> Activity:
    """Run an operator that the arrays cannot: each core's CPU runs its rows."""
    step, hw = group[0], machine.hw
    elements, macs = sum(one.host_elements for one in group), sum(one.macs for one in group)
    times = host_shares(step, elements, macs, hw.cores.count, hw)
    activity = Activity(cycles=max(times), host_cycles=sum(times), causes={"host": max(times)})
    activity.counters = traffic(step, elements, hw)
    for core, cycles in zip(machine.cores, times, strict=True):
        core.host_cycles += cycles
    activity.wait(meet(machine, times, [step.name] * len(times)) - activity.cycles)
    return activity


def _split(whole: Activity, parts: int) -> list[Activity]:
    """Divide the activity of operators that ran together into equal parts, as if they ran one after the other."""

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
    """Return the energy of an operator: leakage of every core, and of one L2."""
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
