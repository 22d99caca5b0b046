"""Turns: the work of each core if operators run in parallel (``cores.split`` "pipeline" and "hand").

In a turn every core works on one operator at most, or on its share of one; after the turn all cores meet at a barrier.

*Pipeline*: the layers are cut into as many stages as there are cores, so that the largest stage has as few MACs as
possible. Batch items pass through the stages one after the other: a core begins an item when the core before it has
finished that item, and advances by one operator a turn. An operator over all items is cut into items, by rows.

*By hand*: operators run in the order of the network, each on the cores that ``cores.hand`` gives it; one joins the
turn of the operators before it when its cores are free in that turn and it neither reads nor overwrites their results.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from sim.base.errors import InputError, did_you_mean
from sim.cost import host
from sim.hardware import hand
from sim.lower import Work
from sim.lower.split import shares
from sim.plan.by_hand import names

if TYPE_CHECKING:
    from sim.graph import Graph
    from sim.hardware import Hardware
    from sim.plan.step import Step
    from sim.run.request import Case

SPLITS = ("pipeline", "hand")
"""Splits that work in turns."""

OF_ITEM = re.compile(r"\.b(\d+)(?=\.|$)")
"""Suffix of the name of an operator of one batch item: its number."""


@dataclass(frozen=True)
class Part:
    """An operator, or one batch item of it, in a turn.

    ``works``: work items of each core of the machine. ``host_cycles``: of each core's CPU, for ``host_elements``; all
    0: the part runs on arrays.
    """

    step: Step
    works: tuple[tuple[Work, ...], ...]
    host_cycles: tuple[int, ...]
    host_elements: int = 0

    @property
    def cores(self) -> list[int]:
        """The cores that work on this part."""
        both = zip(self.works, self.host_cycles, strict=True)
        return [core for core, (works, cycles) in enumerate(both) if works or cycles]


Turn = list[Part]


def turns(steps: Sequence[Step], case: Case) -> list[Turn]:
    """Return the turns of a run, in order. Raises InputError for a split that leaves a core without work."""
    return _pipeline(steps, case) if case.hw.cores.split == "pipeline" else _by_hand(steps, case)


def host_shares(step: Step, elements: int, macs: int, parts: int, hw: Hardware) -> list[int]:
    """Return the CPU cycles of each core for ``elements`` of a host operator, divided by rows."""
    assert step.host_kind is not None
    rows = max(1, elements // step.n) if step.n else elements
    busy = min(parts, max(1, rows))
    most = ceil(rows / busy)
    cycles = host.cycles(
        step.host_kind, ceil(elements * most / max(1, rows)), hw, row=step.n, macs=ceil(macs * most / max(1, rows))
    )
    return [cycles] * busy + [0] * (parts - busy)


def stages(weights: Sequence[int], count: int) -> list[int]:
    """Return the first layers of ``count`` runs of consecutive layers whose largest weight is least."""
    total = [0]
    for weight in weights:
        total.append(total[-1] + weight)
    n = len(weights)
    # by number of runs: weight of the heaviest run, first layer of the last run
    best = [[(total[end], 0) for end in range(n + 1)]]
    for runs in range(1, count):
        best.append([(0, 0)] * (n + 1))
        for end in range(runs + 1, n + 1):
            best[runs][end] = min(
                (max(best[runs - 1][begin][0], total[end] - total[begin]), begin) for begin in range(runs, end)
            )
    begins, end = [], n
    for runs in reversed(range(count)):
        end = best[runs][end][1]
        begins.append(end)
    return begins[::-1]


def _pipeline(steps: Sequence[Step], case: Case) -> list[Turn]:
    count = case.hw.cores.count
    items = 1 + max((int(named[1]) for step in steps if (named := OF_ITEM.search(step.name))), default=0)
    queues = [_queue(stage, items) for stage in _stages(steps, case)]
    at, finished = [0] * count, [0] * count  # position in the queue, number of finished items
    found: list[Turn] = []
    while any(place < len(queue) for place, queue in zip(at, queues, strict=True)):
        turn: Turn = []
        ran = []
        for core, queue in enumerate(queues):
            if at[core] == len(queue):
                continue
            item, step = queue[at[core]]
            if core == 0 or finished[core - 1] > item:
                turn.append(_of_item(step, item, items, core, case.hw))
                ran.append(core)
        for core in ran:
            at[core] += 1
            finished[core] = queues[core][at[core]][0] if at[core] < len(queues[core]) else items
        found.append(turn)
    return found


def _stages(steps: Sequence[Step], case: Case) -> list[list[Step]]:
    """Return the steps of each core; those of no layer stay with the layer before them, the first with the first."""
    count = case.hw.cores.count
    layers = sorted({step.layer for step in steps if step.layer is not None})
    if len(layers) < count:
        way_out = f"cores.count = {len(layers)}" if layers else "cores.split = tensor"
        raise InputError(
            f"{case.hw.name}: cores.count = {count}: a pipeline gives each core layers of its own, and "
            f"{case.graph.name} has {len(layers)}: {count - len(layers)} cores would be without work; nearest legal "
            f"value {way_out}"
        )
    weights = [sum(step.macs for step in steps if step.layer == layer) for layer in layers]
    begins = stages(weights, count)
    stage_of = {layer: sum(begin <= place for begin in begins) - 1 for place, layer in enumerate(layers)}
    found: list[list[Step]] = [[] for _ in range(count)]
    stage = 0
    for step in steps:
        stage = stage if step.layer is None else stage_of[step.layer]
        found[stage].append(step)
    return found


def _queue(stage: Sequence[Step], items: int) -> list[tuple[int, Step]]:
    """Return the steps of a core in order: for each batch item, its own steps and its part of steps over all items."""
    numbers = [int(found[1]) if (found := OF_ITEM.search(step.name)) else None for step in stage]
    return [
        (item, step) for item in range(items) for step, own in zip(stage, numbers, strict=True) if own in (None, item)
    ]


def _of_item(step: Step, item: int, items: int, core: int, hw: Hardware) -> Part:
    """Return one batch item of a step, as a part on one core."""
    count = hw.cores.count
    if OF_ITEM.search(step.name):
        item, items = 0, 1
    cycles, elements, given = 0, 0, list[Work]()
    if step.engine == "host":
        elements, macs = (n * (item + 1) // items - n * item // items for n in (step.host_elements, step.macs))
        cycles = host_shares(step, elements, macs, 1, hw)[0]
    else:
        given = [_rows_of_item(step, work, item, items, step.machine or hw) for work in _works(step, hw)]
    works = tuple(tuple(given) if place == core else () for place in range(count))
    return Part(step, works, tuple(cycles if place == core else 0 for place in range(count)), elements)


def _rows_of_item(step: Step, work: Work, item: int, items: int, hw: Hardware) -> Work:
    if not work.DIVISIBLE:
        raise InputError(
            f"operator {step.name}: several cores run dense operators, and {type(work).__name__} is none; "
            "nearest legal value cores.count = 1"
        )
    if items == 1:
        return work
    each, rest = divmod(work.divisible_rows, items)
    if rest or not each:
        raise InputError(
            f"operator {step.name}: a pipeline cuts it at the batch items, and its {work.divisible_rows} rows are not "
            f"{items} equal parts; nearest legal value cores.split = tensor"
        )
    return work.row_part(each * item, each * (item + 1), hw)


def _works(step: Step, hw: Hardware) -> tuple[Work, ...]:
    """Return the step's items; in the form that the memo compares if time does not depend on their addresses."""
    return step.works if hw.remembers else step.equivalent


def _by_hand(steps: Sequence[Step], case: Case) -> list[Turn]:
    hw = case.hw
    placings = [hand.read(entry, hw.cores.count) for entry in hw.cores.hand]
    _refuse_unknown(placings, steps, hw)
    everywhere = hand.Placing("*", tuple(range(hw.cores.count)))
    reads = _Reads(case.graph)
    found: list[Turn] = []
    for step in steps:
        placing = next((one for one in reversed(placings) if names(one.pattern, step.name)), everywhere)
        part = _placed(step, placing, hw)
        if found and reads.may_join(step, found[-1]) and not _used(found[-1]) & set(part.cores):
            found[-1].append(part)
        else:
            found.append([part])
    idle = sorted(set(range(hw.cores.count)) - set().union(*map(_used, found)))
    if idle:
        raise InputError(
            f"{hw.name}: cores.hand leaves core{'s' * (len(idle) > 1)} {', '.join(map(str, idle))} without work in "
            f'every operator; nearest legal value: one more entry, "{steps[0].name} tensor"'
        )
    return found


def _refuse_unknown(placings: Sequence[hand.Placing], steps: Sequence[Step], hw: Hardware) -> None:
    known = [step.name for step in steps]
    wrong = [
        f"{hw.name}: cores.hand: no operator is named {one.pattern!r}{did_you_mean(one.pattern, known)}"
        for one in placings
        if not any(names(one.pattern, name) for name in known)
    ]
    if wrong:
        raise InputError(wrong)


def _used(turn: Turn) -> set[int]:
    return {core for part in turn for core in part.cores}


def _placed(step: Step, placing: hand.Placing, hw: Hardware) -> Part:
    """Return a step divided among the cores of its entry."""
    parts, own = len(placing.cores), step.machine or hw
    works: dict[int, tuple[Work, ...]] = {}
    cycles: dict[int, int] = {}
    if step.engine == "host":
        cycles = dict(zip(placing.cores, host_shares(step, step.host_elements, step.macs, parts, hw), strict=True))
    else:
        try:
            dealt = shares(_works(step, hw), parts, own, rows=placing.rows)
        except InputError as error:
            raise InputError(f"operator {step.name}: {error}; nearest legal value cores.count = 1") from error
        works = dict(zip(placing.cores, dealt, strict=True))
    every = range(hw.cores.count)
    of_host = tuple(cycles.get(core, 0) for core in every)
    return Part(step, tuple(works.get(core, ()) for core in every), of_host, step.host_elements)


class _Reads:
    """Tensors that steps read and write, by the names of the graph's operators."""

    def __init__(self, graph: Graph) -> None:
        self._ops = {op.name: op for op in graph.ops}

    def may_join(self, step: Step, turn: Turn) -> bool:
        """True if a step neither reads nor overwrites results of a turn. Conversions of the host join no turn."""
        read, written = self._tensors(step)
        if not written:
            return False
        for part in turn:
            other_read, other_written = self._tensors(part.step)
            if not other_written or read & other_written or written & other_read:
                return False
        return True

    def _tensors(self, step: Step) -> tuple[set[str], set[str]]:
        """Return the tensors that a step and the operators fused into it read and write; None for an unknown step."""
        ops = [self._ops.get(name) for name in (step.name, *step.covers)]
        if None in ops:
            return set(), set()
        known = [op for op in ops if op is not None]
        return {view.tensor for op in known for view in op.inputs}, {op.output.tensor for op in known}
