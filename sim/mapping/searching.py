"""The search for one operator: exhaustive if the space is small, else in stages.

Small: every legal mapping in the order of its lower bound; those whose bound is no better than the best
mapping simulated so far are skipped, which cannot lose the best. Large: small tiles in whole load commands, then the
mappings with even tiles in the same order, are extrapolated from a prefix, the most promising are simulated
whole, then the neighbours of the best in the same way until the effort is used up. The library's mapping is always
simulated first, so no worse mapping is returned; after hill climbing the bounds of all legal mappings limit how much
better any can be. Every other simulation ends as soon as the mapping is known to be worse than the best one simulated
before its batch.

Effort is counted in simulated cycles without those of the library's mapping, not in seconds, and batches have a fixed
size: the same request gives the same mapping on any machine with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Unpack

from sim.base.errors import InputError, demand, did_you_mean
from sim.cost import energy
from sim.cost.energy import COUNTERS
from sim.hardware import Hardware
from sim.lower.work import Work
from sim.mapping.bounds import Bound
from sim.mapping.journal import Journal
from sim.mapping.kinds import bound, kind_of, library
from sim.mapping.kinds.kind import REACHES, MappedKind, Reach
from sim.mapping.measure import MAX_CYCLES, AbandonedMapping, Answer, Depth, Measured, MeasureTask, score
from sim.mapping.opmapping import OpMapping, Tiled, tiled
from sim.mapping.workers import Shared, Workers

Objective = Literal["cycles", "energy", "edp"]
OBJECTIVES: tuple[Objective, ...] = ("cycles", "energy", "edp")

EFFORT_CYCLES = 18_000_000
"""Simulated cycles per operator: some eight seconds on one core."""
LARGEST_SPACE = 200_000
"""Largest number of mappings listed to check whether an exhaustive search is affordable."""
FOREIGN_SLACK = 1.25
"""The other dataflow is searched too if the forecast of its library tile is within this factor of the best mapping."""
STRIDE = 4
BATCH = 32
FINAL_BATCH = 4
FORECAST_SHARE = 0.3
"""Share of the effort for the forecasts of one round."""
CONFIRM_SHARE = 0.3
"""Share of the effort for simulating the most promising of a round, before neighbours are tried."""
FIRST_TILES_PART, FIRST_TILES_CYCLES = 32, 100_000
"""A forecast from the first tiles takes at most 1/32 of the effort, if that is enough for any."""
SLACK = 1.03
"""Mappings whose forecast is worse than the best by a larger factor are not simulated whole.

Forecasts from the start erred by
-12 % to +6 % on 24 random mappings, so hill climbing may miss the best one.
"""


@dataclass(frozen=True)
class Found:
    """The outcome: the best mapping and the library's, both simulated whole.

    ``exhaustive``: nothing legal within reach is better. ``least``: lower bound of the score of every legal mapping
    within reach (None: too many to list); equal to the best score if exhaustive. ``space``: legal mappings within reach
    (of a space too large to list: those considered); ``excluded``: those of them that were simulated or whose bound is
    no better than the best; ``simulated``: run whole, or until known to be worse than
    the best; ``forecast``: run in part; ``spent_cycles``: simulated in all, without the library's mapping.
    """

    work: Tiled
    objective: Objective
    mapping: OpMapping
    best: Measured
    library_mapping: OpMapping
    library: Measured
    exhaustive: bool
    least: float | None
    space: int
    excluded: int
    simulated: int
    forecast: int
    spent_cycles: int

    @property
    def gap(self) -> float | None:
        """Upper bound of the share by which the best possible mapping is better; None if not known."""
        return None if self.least is None else self.best.score(self.objective) / self.least - 1

    @property
    def gain(self) -> float:
        """Cycles of the library's mapping over those of the best."""
        return self.library.cycles / self.best.cycles

    def shrunk(self) -> list[tuple[str, int]]:
        """Return (cause, cycles saved), the largest saving first; negative where a cause grew."""
        causes = {*self.library.causes, *self.best.causes}
        saved = {c: self.library.causes.get(c, 0) - self.best.causes.get(c, 0) for c in causes}
        return sorted(((c, n) for c, n in saved.items() if n), key=lambda item: (-item[1], item[0]))


def search(
    work: Work,
    hw: Hardware,
    *,
    objective: Objective = "cycles",
    reach: Reach = "call",
    effort_cycles: int = EFFORT_CYCLES,
    phase: int = 0,
    jobs: int = 1,
    **shared: Unpack[Shared],
) -> Found:
    """Return the best mapping found for ``work`` on ``hw``.

    ``reach``: "call" = mappings that the library's explicit-tile call can express (tiles, dataflow); "hardware" = also
    loop orders, residency and halves that need loop commands of your own. ``effort_cycles``: simulated cycles, without
    those of the library's mapping, after which a search that is not exhaustive ends. ``phase``: first loop slot, 0
    after reset. ``jobs``: worker processes, if ``workers`` is not given; ``journal``: finished batches to resume from.
    Raises InputError for an unknown objective, work without tiles, or work that the machine refuses.
    """
    if unknown := shared.keys() - Shared.__annotations__.keys():
        raise TypeError(f"search() got an unexpected keyword argument {min(unknown)!r}")
    demand("hw", hw, Hardware, 'a machine, as sim.hardware.load("gemmini_ibert") returns it')
    problems = []
    if objective not in OBJECTIVES:
        problems.append(f"objective {objective!r} is unknown{did_you_mean(objective, OBJECTIVES)}")
    if reach not in REACHES:
        problems.append(f"reach {reach!r} is unknown{did_you_mean(reach, REACHES)}")
    if effort_cycles < 1:
        problems.append(f"effort_cycles {effort_cycles} must be >= 1")
    if phase not in (0, 1):
        problems.append(f"phase {phase} is no loop slot; the rule is phase = 0 or 1 (nearest legal: {int(phase > 0)})")
    if problems:
        raise InputError(problems)
    item = tiled(work)
    request: dict[str, Any] = {"work": asdict(item), "machine": hw.key, "objective": objective}
    request |= {"reach": reach, "effort_cycles": effort_cycles} | ({"phase": phase} if phase else {})
    workers = shared.get("workers")
    own = workers or Workers(jobs)
    journal = shared.get("journal") or Journal()
    try:
        run = _Search(item, hw, objective, reach, effort_cycles, phase, own, journal, request)
        return run.result()
    finally:
        if workers is None:
            own.close()


@dataclass
class _Search:
    work: Tiled
    hw: Hardware
    objective: Objective
    reach: Reach
    effort_cycles: int
    phase: int
    workers: Workers
    journal: Journal
    request: dict[str, Any]
    measured: dict[OpMapping, Measured] = field(default_factory=dict)
    abandoned: set[OpMapping] = field(default_factory=set)
    forecast: dict[OpMapping, float] = field(default_factory=dict)
    thorough: set[OpMapping] = field(default_factory=set)
    bounds: dict[OpMapping, Bound] = field(default_factory=dict)
    spent_cycles: int = 0

    @property
    def kind(self) -> MappedKind:
        """The record of the item's kind."""
        return kind_of(self.work)

    def result(self) -> Found:
        first = library(self.work, self.hw)
        self.measure([first])
        self.spent_cycles = 0  # the cycles of the library's mapping do not count as effort
        left = self.affordable(self.measured[first].cycles)
        if left is not None:
            self.exhaust(left)
        else:
            self.climb_by_stages()
        best = self.best()
        least, legal, excluded = self.census()
        return Found(
            self.work,
            self.objective,
            best,
            self.measured[best],
            first,
            self.measured[first],
            left is not None,
            self.measured[best].score(self.objective) if left is not None else least,
            legal,
            legal if left is not None else excluded,
            len(self.measured) + len(self.abandoned),
            len(self.forecast),
            self.spent_cycles,
        )

    def affordable(self, library_cycles: int) -> list[OpMapping] | None:
        """Return all mappings that the bound does not exclude if they fit the effort, else None."""
        if self.kind.size(self.work, self.hw, self.reach) > LARGEST_SPACE:
            return None
        everything = self.ordered(self.kind.space(self.work, self.hw, even=False, reach=self.reach))
        left = [mapping for mapping in everything if self.promising(mapping)]
        return left if len(left) * library_cycles <= self.effort_cycles else None

    def census(self) -> tuple[float | None, int, int]:
        """Return (lower bound of all scores, number of legal mappings, number of those that cannot be better)."""
        if self.kind.size(self.work, self.hw, self.reach) > LARGEST_SPACE:
            return None, len(self.bounds), len(self.measured) + len(self.abandoned)
        best = self.measured[self.best()].score(self.objective)
        least, legal, excluded = best, 0, 0
        for mapping in self.kind.space(self.work, self.hw, even=False, reach=self.reach):
            legal += 1
            if mapping not in self.bounds:
                self.bounds[mapping] = bound(self.work, mapping, self.hw)
            if self.promising(mapping):
                least = min(least, self.least_score(mapping, self.bounds[mapping].cycles))
            else:
                excluded += 1
        return least, legal, excluded

    def climb_by_stages(self) -> None:
        """Climb among mappings of the library's call, then, with reach "hardware", among all mappings of the loop."""
        whole = self.effort_cycles
        reaches: tuple[Reach, ...] = REACHES if self.reach == "hardware" else REACHES[:1]
        for number, self.reach in enumerate(reaches, start=1):
            self.effort_cycles = whole * number // len(reaches)
            self.climb(self.ordered(self.kind.space(self.work, self.hw, even=True, reach=self.reach)) + self.foreign())

    def foreign(self) -> list[OpMapping]:
        """Return even mappings in the other dataflow if the library's tile of it is near the best; else none."""
        other = self.kind.other_dataflow(self.work, self.hw)
        if other is None:
            return []
        first = library(other, self.hw)
        if first not in self.forecast:
            self.extrapolate([first])
        near = self.expected(first)[0] < FOREIGN_SLACK * self.measured[self.best()].score(self.objective)
        return self.ordered(self.kind.space(other, self.hw, even=True, reach="call")) if near else []

    def exhaust(self, left: list[OpMapping]) -> None:
        for start in range(0, len(left), BATCH):
            self.measure([m for m in left[start : start + BATCH] if self.promising(m)])

    def climb(self, coarse: list[OpMapping]) -> None:
        """Extrapolate, simulate and refine in rounds, until the effort is used up or no candidates are left."""
        # Every STRIDE-th first: mappings beyond the effort are then spread over the whole order.
        spread = [mapping for first in range(STRIDE) for mapping in coarse[first::STRIDE]]
        spread = [*self.ordered(self.kind.seeds(self.work, self.hw)), *spread]
        looked_at: set[OpMapping] = set()
        while self.spent_cycles < self.effort_cycles:
            spread = self.look_ahead(spread, self.limit(FORECAST_SHARE))
            self.confirm(self.limit(CONFIRM_SHARE))
            self.refine(looked_at)
            if not spread:
                return

    def limit(self, share: float) -> int:
        """Return the limit of ``spent_cycles`` for a part with ``share`` of the effort."""
        return min(self.effort_cycles, self.spent_cycles + int(share * self.effort_cycles))

    def look_ahead(self, mappings: list[OpMapping], limit_cycles: int) -> list[OpMapping]:
        """Extrapolate the mappings in order up to the limit; return those not reached."""
        for start in range(0, len(mappings), BATCH):
            if self.spent_cycles >= limit_cycles:
                return mappings[start:]
            batch = mappings[start : start + BATCH]
            self.extrapolate([m for m in batch if m not in self.forecast and self.promising(m)])
        return []

    def refine(self, looked_at: set[OpMapping]) -> None:
        """Try the neighbours of the best mapping until it is the best of its neighbourhood."""
        while self.spent_cycles < self.effort_cycles and self.best() not in looked_at:
            best = self.best()
            looked_at.add(best)
            near = self.kind.neighbours(self.work, best, self.hw, self.reach)
            self.look_ahead(self.ordered(near), self.effort_cycles)
            self.confirm(self.effort_cycles)

    def confirm(self, limit_cycles: int) -> None:
        """Simulate the most promising forecasts whole, best first, up to the limit.

        A forecast from the first tiles is repeated from whole output tiles first. After the limit is reached, the best
        of those are still simulated.
        """
        while self.spent_cycles < limit_cycles:
            first = self.shortlist(self.forecast)
            hasty = [mapping for mapping in first if mapping not in self.thorough]
            if hasty:
                self.extrapolate(hasty, "chains")
                self.thorough.update(hasty)
            elif first:
                self.measure(first)
            else:
                return
        self.measure(self.shortlist(self.thorough))

    def shortlist(self, among: Iterable[OpMapping]) -> list[OpMapping]:
        """Return the few of ``among`` with the best forecasts, if they may beat the best one simulated so far."""
        best = self.measured[self.best()].score(self.objective)
        rest = [m for m in among if self.promising(m) and self.expected(m)[0] < SLACK * best]
        return sorted(rest, key=self.expected)[:FINAL_BATCH]

    def expected(self, mapping: OpMapping) -> tuple[Any, ...]:
        """Sort key: objective by the forecast, then the bound and the tile."""
        promise = self.least_score(mapping, self.forecast[mapping])
        return (promise, *self.rank(mapping))

    def best(self) -> OpMapping:
        """The best mapping simulated; of equals the library's, then the first in tile order."""
        first = next(iter(self.measured))
        return min(
            self.measured,
            key=lambda m: (self.measured[m].score(self.objective), m != first, not m.callable, m.tile, str(m)),
        )

    # Bounds

    def ordered(self, mappings: Iterable[OpMapping]) -> list[OpMapping]:
        found = list(mappings)
        for mapping in found:
            self.bounds.setdefault(mapping, bound(self.work, mapping, self.hw))
        return sorted(found, key=self.rank)

    def rank(self, mapping: OpMapping) -> tuple[Any, ...]:
        least = self.bounds[mapping]
        promise = self.least_score(mapping, least.cycles)
        sizes = tuple(-size for size in mapping.tile) if self.kind.LARGEST_FIRST else mapping.tile
        return (promise, least.read_bytes, sizes, str(mapping))

    def promising(self, mapping: OpMapping) -> bool:
        """Whether the bound allows the mapping to beat the best one simulated so far."""
        if mapping in self.measured or mapping in self.abandoned:
            return False
        least = self.least_score(mapping, self.bounds[mapping].cycles)
        return least < self.measured[self.best()].score(self.objective)

    def limit_cycles(self, mapping: OpMapping) -> int:
        """Return the largest number of cycles with which the mapping can be as good as the best one so far."""
        if not self.measured:
            return MAX_CYCLES
        best = self.measured[self.best()].score(self.objective)
        if self.least_score(mapping, MAX_CYCLES) <= best:
            return MAX_CYCLES
        enough, too_many = self.bounds[mapping].cycles, MAX_CYCLES
        while too_many - enough > 1:
            middle = (enough + too_many) // 2
            enough, too_many = (middle, too_many) if self.least_score(mapping, middle) <= best else (enough, middle)
        return enough

    def least_score(self, mapping: OpMapping, cycles: float) -> float:
        """Return the objective's value for ``cycles`` and the least energy with that time."""
        if self.objective == "cycles":
            return cycles
        least = self.bounds[mapping]
        count = dict.fromkeys(COUNTERS, 0)
        count |= {"DRAM_READ_BYTES": least.read_bytes, "DRAM_WRITE_BYTES": least.write_bytes}
        parts = energy.price(count, self.work.macs, int(cycles), self.hw)
        return score(self.objective, cycles, sum(parts.values()))

    # Measurements

    def measure(self, mappings: list[OpMapping]) -> None:
        for mapping, answer in self.ask(mappings, "whole"):
            if isinstance(answer, Measured):
                self.measured[mapping] = answer
            else:
                self.abandoned.add(mapping)

    def extrapolate(self, mappings: list[OpMapping], depth: Depth = "start") -> None:
        for mapping, answer in self.ask(mappings, depth):
            # A prefix that takes too long excludes the mapping from the search, but proves nothing.
            self.forecast[mapping] = MAX_CYCLES if isinstance(answer, AbandonedMapping) else answer.cycles
            if isinstance(answer, Measured):
                self.measured[mapping] = answer

    def ask(self, mappings: list[OpMapping], depth: Depth) -> list[tuple[OpMapping, Answer]]:
        """Return the results from the journal if it has the batch, else from the workers."""
        if not mappings:
            return []
        for mapping in mappings:
            self.bounds.setdefault(mapping, bound(self.work, mapping, self.hw))
        # The first tiles of a bad mapping can take longer than all others together: such simulations are stopped, too.
        most = max(FIRST_TILES_CYCLES, self.effort_cycles // FIRST_TILES_PART) if depth == "start" else MAX_CYCLES
        limits = [self.limit_cycles(mapping) for mapping in mappings]
        batch = {**self.request, "depth": depth, "mappings": [asdict(m) for m in mappings]}
        batch |= {"limits": limits, "most": most}
        answers = self.journal.get(batch)
        if answers is None:
            tasks = [
                MeasureTask(self.work, mapping, self.hw, depth, limit, most, self.phase)
                for mapping, limit in zip(mappings, limits, strict=True)
            ]
            answers = self.workers.run(tasks)
            self.journal.put(batch, answers)
        self.spent_cycles += sum(answer.spent_cycles for answer in answers)
        return list(zip(mappings, answers, strict=True))
