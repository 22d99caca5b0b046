"""THE PIPELINE on one screen: graph -> plan -> programs -> cycles and counters -> energy -> Result."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, demand
from sim.cost import energy
from sim.cpu import issue_cycles
from sim.graph import Graph
from sim.hardware import Hardware
from sim.lower import lower
from sim.plan.step import ArrayStep, Step
from sim.run import beside, cores, scheduling
from sim.run.activity import Activity
from sim.run.operator_row import operator_row
from sim.run.prefetch import Prefetch
from sim.run.progress import Progress, shown, silent
from sim.run.request import Case, Request, resolve
from sim.run.result import Result
from sim.run.session import RESTART_CYCLES, Session, lowered
from sim.side_units.port import Ahead as WorkAhead
from sim.timing.disk import default_timings
from sim.timing.memo import Memo

if TYPE_CHECKING:
    from sim.timing.timing import Timing


def simulate(
    graph: Graph | str | Path,
    machine: Hardware | str | Path | Mapping[str, Any],
    *,
    progress: Progress | bool | None = None,
    memo: Memo | None = None,
    cache: bool = True,
    threads: int | None = None,
    **requested: Any,
) -> Result:
    """Run ``graph`` on ``machine`` and return cycles, traffic and energy of each operator.

    ``graph``: a Graph, a workload name or a JSON file. ``machine``: a preset name, a TOML file, a mapping or a
    Hardware. ``memo``: timings to share between runs; without one, ``cache`` says whether timings are looked up and
    kept on disk (`sim.timing.disk`). ``threads``: operators simulated at a time, None = one per core; it does not
    change the result.

    ``progress``: called before each operator with (operators done, operators in all, name of the next); None shows
    it on stderr after two seconds, False shows nothing.

    ``requested``: fields of `sim.run.request.Request`; any other name is a size of the workload (seq, batch, ...):
    ``overrides``: dotted key -> value ("scratchpad.capacity": "512KiB"). ``sparsity``: "block16:0.5", "2:4",
    "unstructured:0.3" (masks drawn from ``seed``), a file of masks or a SPEC.toml (docs/SPARSITY.md). ``prune``:
    "heads=8,layers=6", or with the scores that select the parts kept (`sim.sparsity.edits.pruning`). ``clock``:
    "periodic"; "leap", which repeats no known stretch; "reference", which visits every cycle (equal results, slow).
    ``dataflow``: "WS" or "OS". ``mapping``: operator pattern -> fields of a matmul work item by hand,
    {"*.ff1": {"tile": (5, 5, 48)}}. ``schedule``: "fused", or operator pattern -> schedule (`sim.plan.schedules`).
    ``allow_large``: accept sizes beyond the limits of `sim.run.limits`.

    Raises InputError for refused input, Hang when the machine can never finish a program.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads: {threads!r}; the rule is threads >= 1 (nearest legal: 1)")
    demand("memo", memo, (Memo, NoneType), "a Memo (sim.timing.memo), or None")
    case = resolve(Request.of(graph, machine, requested))
    with shown(case.request.label, progress) as reported:
        return run(case, memo if memo is not None else Memo(default_timings() if cache else None), reported, threads)


def run(case: Case, memo: Memo, progress: Progress = silent, threads: int | None = None) -> Result:
    """Plan a case, run its steps one after the other and price them. Raises InputError and Hang."""
    if scheduling.wanted(case):
        return scheduling.best(case, lambda one: run(one, memo, progress, threads))
    if case.hw.cores.count > 1:
        return cores.run(case, progress, memo.disk)
    rows, starts, cycle = [], {}, 0
    steps = list(case.steps())
    session = Session(case.hw, case.request.clock, memo)
    side, array = _Side(), _Array()
    with Prefetch(session, threads) as prefetch:
        for number, step in enumerate(steps):
            progress(number, len(steps), step.name)
            if number == 0:  # after the first call of progress, which may announce a compilation
                prefetch.begin(steps)
            steps[number] = step = _quickest(step, session)
            starts[step.name] = session.start
            if step.engine == "array":
                activity = array.activity(step, session, side)
            else:
                activity = beside.activity(step, case.hw, side.ahead)
            machine = step.machine or case.hw
            parts = energy.price(
                activity.counters,
                step.macs_switched,
                activity.cycles,
                machine,
                activity.host_cycles,
                cpu_cycles=activity.cpu_cycles,
            )
            rows.append(operator_row(step, activity, case, cycle, parts))
            cycle += activity.cycles
    progress(len(steps), len(steps), "")
    return Result(case, tuple(steps), tuple(rows), starts)


def _quickest(step: Step, session: Session) -> Step:
    """Return the fastest of the step and its other programs: a scheme may cost more than it saves."""
    if not isinstance(step, ArrayStep):
        return step
    best, least = step, 0
    for other in step.others:
        least = least or _cycles(step, session)
        if least * (step.machine or session.hw).peak_macs_per_cycle <= step.macs:
            break  # no program of the whole product is faster
        try:
            cycles = _cycles(other, session)
        except InputError:  # no cut of such a program fits the memories
            continue
        if cycles < least:
            best, least = other, cycles
    return best


def _cycles(step: ArrayStep, session: Session) -> int:
    """Return the cycles of a step from this state, without advancing the session."""
    trial = Session(session.hw, session.clock, session.memo, session.start)
    trial.begin(step.name, step.machine)
    return sum(trial.call(item) + trial.advance(item).cycles for item in step.equivalent)


@dataclass
class _Side:
    """Pending work of side units that runs while the array works (``ahead``).

    ``halved``: timings of items with half of the port; they are not kept in the memo, which is keyed by programs for
    the whole port.
    """

    ahead: WorkAhead = field(default_factory=WorkAhead)
    halved: dict[tuple[Hashable, str], Timing] = field(default_factory=dict)


@dataclass
class _Array:
    """The array's work in a run. ``seen``: distinct programs; ``done``: activities of equal operators of earlier
    layers."""

    seen: set[Hashable] = field(default_factory=set)
    done: dict[Hashable, tuple[Activity, Timing]] = field(default_factory=dict)

    def activity(self, step: Step, session: Session, side: _Side) -> Activity:
        """Return the array's activity for a step: looked up if an equal step began in the same state.

        If the CPU's calls are priced, the machine has an L2 or a side unit is still working, no two operators are
        equal.
        """
        hw, start = session.hw, session.start
        if (
            hw.cpu.prices != "none"
            or start.l2 is not None
            or side.ahead.cycles
            or start.words != session.words_of(step)
        ):
            return _on_array(step, session, self.seen, side)[0]
        key = (
            *map(id, step.equivalent),
            id(step.machine),
            start.phase,
            start.is_first,
        )  # equal items of a plan are one object
        if key not in self.done:
            self.done[key] = _on_array(step, session, self.seen, side)
            return self.done[key][0]
        known, last = self.done[key]
        session.begin(step.name, step.machine)
        session.follow(last)
        return replace(known, distinct=0)


def _on_array(step: Step, session: Session, seen: set[Hashable], side: _Side) -> tuple[Activity, Timing]:
    """Return the array's activity for a step, and the timing of its last program."""
    activity = Activity(invocations=len(step.works))
    before, start, unlike = len(seen), session.start, 0
    activity.wait(session.begin(step.name, step.machine))
    restart_cycles = 0
    equal: dict[int, list[Timing]] = {}
    for item in step.equivalent:
        around = session.call(item)
        activity.wait(around, "call")
        if session.machine.cpu.prices != "none":
            activity.cpu_cycles += around + issue_cycles(lowered(item, session.machine))
        key = session.key(item)
        unlike += key is None
        seen |= set() if key is None else {key}
        restart_cycles += session.restart_cycles
        timed = session.advance(item)
        equal.setdefault(id(timed), []).append(timed)
    activity.wait(restart_cycles)
    for timings in equal.values():
        activity.add(timings[0], len(timings))
    if side.ahead.cycles:
        _catch_up(step, Session(session.hw, session.clock, session.memo, start), activity, side)
    activity.distinct = unlike + len(seen) - before
    return activity, timed


def _catch_up(step: Step, session: Session, activity: Activity, side: _Side) -> None:
    """Let side units continue while the array computes chosen scores and their products, then wait for the units.

    ``session``: in the state in which the step began. Units use the array's port (`sim.side_units.port`).
    """
    work = step.works[0]
    session.begin(step.name, step.machine)
    if work.picked:
        hw = session.machine
        for item in step.equivalent:
            timed = session.time(item)
            half, halved = side.ahead.halved(hw), timed
            if half is not None:
                key = session.key(item)
                if key is None or (key, half.key) not in side.halved:
                    side.halved[key, half.key] = session.time(item, half, lower(item, hw))
                halved = side.halved[key, half.key]
            cycles = [one.cycles + RESTART_CYCLES for one in (timed, halved)]
            activity.wait(side.ahead.overlap(cycles[0], cycles[1], timed.counters, hw), "load_wait")
            session.follow(timed)
        if work.picked == "outputs":
            return
    activity.wait(side.ahead.rest(), "normalize")
