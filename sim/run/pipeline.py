"""THE PIPELINE on one screen: graph -> plan -> programs -> cycles and counters -> energy -> Result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim import hardware
from sim.base.errors import InputError
from sim.cost import energy, host
from sim.graph import Graph
from sim.hardware import Hardware
from sim.lower import SampledMatmul, Work, lower
from sim.plan.planner import Step, plan
from sim.run.ahead import Ahead, time_item
from sim.run.result import Activity, Request, Result, operator_row
from sim.side_units.port import Ahead as WorkAhead
from sim.timing import timer
from sim.timing.disk import default_timings
from sim.timing.memo import Memo

if TYPE_CHECKING:
    from sim.hardware.machine import Words
    from sim.sparsity.pruning import Pruning
    from sim.sparsity.rules import AnySparsity
    from sim.sparsity.saliency import Selection
    from sim.timing.timer import L2Contents

Progress = Callable[[int, int, str], None]
"""Called before each operator with (operators done, operators in all, name of the next)."""

CLOCKS = ("periodic", "leap", "reference")

RESTART_CYCLES = 1
"""After a fence the next command is offered one cycle after the first idle cycle (PROGRAMS.md); measured
layers
(encoder.csv) show it as one more cycle in every operator but the first."""


def simulate(
    graph: Graph | str | Path,
    machine: Hardware | str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    sparsity: AnySparsity | str | None = None,
    prune: Pruning | str | None = None,
    seed: int = 0,
    clock: timer.Clock = "periodic",
    dataflow: str | None = None,
    mapping: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
    memo: Memo | None = None,
    cache: bool = True,
    threads: int | None = None,
    **sizes: int,
) -> Result:
    """Run ``graph`` on ``machine`` and return cycles, traffic and energy of each operator.

    ``graph``: a Graph, a workload name with its ``sizes`` (seq, batch, ...) or a JSON file. ``machine``: a preset
    name, a TOML file, a mapping or a Hardware; ``overrides``: dotted key -> value ("scratchpad.capacity":
    "512KiB"). ``sparsity``: "block16:0.5", "2:4", "unstructured:0.3" (masks drawn from ``seed``), a file of masks
    or a SPEC.toml (docs/SPARSITY.md); ``prune``: "heads=8,layers=6", or with the scores that say which ones
    (`sim.sparsity.pruning`). ``clock``: "periodic"; "leap", which does all anew; "reference", which visits every
    cycle (equal results, slow). ``dataflow``: "WS" or "OS". ``mapping``:
    operator pattern -> fields of a matmul work item by hand, {"*.ff1": {"tile": (5, 5, 48)}}. ``memo``: timings to
    share between runs; without one, ``cache`` says whether timings are looked up and kept on disk
    (`sim.timing.disk`). ``threads``: operators simulated at a time, None = one per core; the result is the same.

    Raises InputError for anything refused at the door, Hang when the machine can never finish a program.
    """
    if clock not in CLOCKS:
        raise InputError(f"clock: {clock!r} is none of {', '.join(CLOCKS)}")
    if threads is not None and threads < 1:
        raise InputError(f"threads: {threads}; the rule is threads >= 1 (nearest legal: 1)")
    hw = load_machine(machine, overrides)
    pattern = resolve_sparsity(sparsity, seed)
    given, stay = resolve_pruning(resolve_graph(graph, sizes), prune, pattern)
    graph = pattern.edit(given) if pattern is not None else given
    steps = plan(graph, hw, dataflow=dataflow, sparsity=pattern, mapping=mapping)
    request = Request(graph, hw, sparsity, seed, clock, dataflow, mapping, stay, given)
    known = memo if memo is not None else Memo(default_timings() if cache else None)
    return run_steps(steps, request, known, progress, threads)


def run_steps(
    steps: tuple[Step, ...],
    request: Request,
    memo: Memo,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Result:
    """Run planned steps one after the other, carrying the loop slot's phase, and price them."""
    rows, starts, cycle = [], {}, 0
    state = _State(l2=timer.L2Contents.empty(request.hw) if request.hw.memory.l2_bytes else None)
    with Ahead(request.hw, request.clock, memo, threads) as ahead:
        for number, step in enumerate(steps):
            if progress is not None:
                progress(number, len(steps), step.name)
            if number == 0 and state.l2 is None:  # after the first call of progress, which may announce a compilation
                ahead.begin(steps)
            starts[step.name] = state.phase
            if step.engine == "array":
                activity = _on_array(step, request, memo, state)
            else:
                activity = _on_host(step, request.hw) if step.engine == "host" else _on_unit(step, request.hw, state)
            machine = step.machine or request.hw
            parts = energy.price(activity.counters, step.macs_switched, activity.cycles, machine, activity.host_cycles)
            rows.append(operator_row(step, activity, request, cycle, parts))
            cycle += activity.cycles
    if progress is not None:
        progress(len(steps), len(steps), "")
    return Result(request, steps, tuple(rows), starts)


@dataclass
class _State:
    """What the machine carries from one operator to the next, and the items that have run.

    ``ahead``: what units beside the array still have to do for heads that it has not come to; ``halved``: timings of
    items on half a port, which only their programs for the whole one meet.
    """

    phase: int = 0
    started: bool = False
    l2: L2Contents | None = None
    words: Words | None = None
    ahead: WorkAhead = field(default_factory=WorkAhead)
    halved: dict[tuple[Work, str, int], timer.Timing] = field(default_factory=dict)
    seen: set[tuple[Work, int, Words | None]] = field(default_factory=set)

    @property
    def ahead_cycles(self) -> int:
        """What units beside the array still have to do for heads that it has not come to."""
        return self.ahead.cycles


def _on_array(step: Step, request: Request, memo: Memo, state: _State) -> Activity:
    activity = Activity(invocations=len(step.works))
    before, began = len(state.seen), (state.phase, state.l2)
    hw = step.machine or request.hw
    if hw.words != state.words:  # the fence behind every item has drained the array; a command sets it anew
        activity.wait(request.hw.cpu.command_cycles)
        state.words = hw.words
    restarts, runs = 0, dict[int, list[timer.Timing]]()
    for item in step.alike:
        run = partial(time_item, step.name, item, hw, request.clock, memo, state.phase, l2=state.l2)
        state.seen.add((item, state.phase, hw.words))
        # behind an L2 an item is like no other: its time depends on all that ran before
        timed = memo.timing(item, hw, state.phase, request.clock, run) if state.l2 is None else run()
        restarts += state.started
        runs.setdefault(id(timed), []).append(timed)
        state.phase, state.started, state.l2 = timed.phase, True, timed.l2
    activity.wait(restarts * RESTART_CYCLES)
    for equal in runs.values():
        activity.add(equal[0], len(equal))
    if state.ahead_cycles:
        _catch_up(step, request, memo, began, activity, state)
    activity.distinct = len(step.alike) if state.l2 is not None else len(state.seen) - before
    return activity


def _on_host(step: Step, hw: Hardware) -> Activity:
    assert step.host_kind is not None
    cycles = host.cycles(step.host_kind, step.host_elements, hw)
    return Activity(cycles=cycles, host_cycles=cycles, causes={"host": cycles})


def _on_unit(step: Step, hw: Hardware, state: _State) -> Activity:
    """A unit beside the array: its cycles and what it ranks count as those of the normalisation units.

    Of work by heads only the first head's is waited for here, the rest where the array needs it (`_catch_up`).
    """
    assert step.beside is not None
    work = step.beside
    cycles = state.ahead.begin(work)
    counted = {
        "NORMALIZE_ROWS": ceil(work.ranked / hw.dim),
        "SCALE_ROWS": ceil(work.scaled / hw.dim),
        "DRAM_READ_BYTES": work.read_bytes,
        "DRAM_WRITE_BYTES": work.write_bytes,
    }
    counters = {**dict.fromkeys(energy.COUNTERS, 0), **counted}
    waits = {"load_wait": work.load_wait_cycles, "store_wait": work.store_wait_cycles}
    return Activity(cycles=cycles, causes={"normalize": cycles - sum(waits.values()), **waits}, counters=counters)


def _catch_up(
    step: Step, request: Request, memo: Memo, began: tuple[int, L2Contents | None], activity: Activity, state: _State
) -> None:
    """Let units beside the array work on while it computes chosen scores and what they meet, then wait for them.

    ``began``: loop slot and L2 at the first item. Units take their bytes through the array's port
    (`sim.side_units.port`).
    """
    work, (phase, l2) = step.works[0], began
    if isinstance(work, SampledMatmul):
        hw = step.machine or request.hw
        for item in step.alike:
            run = partial(time_item, step.name, item, hw, request.clock, memo, phase, l2=l2)
            timed = memo.timing(item, hw, phase, request.clock, run) if l2 is None else run()
            half, halved = state.ahead.halved(hw), timed
            if half is not None:  # the same program: it was made for the machine as it is
                run = partial(time_item, step.name, item, half, request.clock, memo, phase, lower(item, hw), l2)
                key = (item, half.key, phase)
                halved = state.halved[key] if key in state.halved else run()
                if l2 is None:
                    state.halved[key] = halved
            cycles = [one.cycles + RESTART_CYCLES for one in (timed, halved)]
            activity.wait(state.ahead.overlap(cycles[0], cycles[1], timed.counters, hw), "load_wait")
            phase, l2 = timed.phase, timed.l2
        if work.picks == "outputs":
            return
    activity.wait(state.ahead.rest(), "normalize")


def load_machine(machine: Hardware | str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None) -> Hardware:
    """Return the machine with its overrides. Raises InputError listing every broken rule."""
    if isinstance(machine, Hardware):
        return machine.with_(overrides) if overrides else machine
    return hardware.load(machine, overrides)


def resolve_graph(graph: Graph | str | Path, sizes: Mapping[str, int]) -> Graph:
    """Return the graph of a workload name or JSON file with its sizes. Raises InputError."""
    if not isinstance(graph, Graph):
        import workloads

        graph = workloads.build(str(graph), **sizes)
    elif sizes:
        raise InputError(f"sizes {', '.join(sizes)} belong to a workload name; graph {graph.name} has its sizes")
    return graph


def resolve_pruning(graph: Graph, prune: Pruning | str | None, pattern: AnySparsity | None) -> tuple[Graph, Selection]:
    """Return the graph as ``prune`` and the [[prune]] tables of ``pattern`` leave it, together.

    And the numbers of what stays, by name, where scores or weights were given with them. Raises InputError.
    """
    cuts = pattern.prunings if pattern is not None else ()
    if prune is None and not cuts:
        return graph, {}
    from sim.sparsity import prune as edit
    from sim.sparsity.pruning import parse, together
    from sim.sparsity.saliency import choose

    given = (parse(prune) if isinstance(prune, str) else prune,) if prune is not None else ()
    small = edit.prune(graph, together([*given, *cuts]))
    return small, {name: stay for cut in (*given, *cuts) for name, stay in choose(graph, cut).items()}


def resolve_sparsity(sparsity: AnySparsity | str | None, seed: int) -> AnySparsity | None:
    """Return the sparsity that a specification like "block16:0.5" and a seed describe. Raises InputError."""
    if not isinstance(sparsity, str):
        return sparsity
    from sim.sparsity.spec import parse

    return parse(sparsity, seed=seed)
