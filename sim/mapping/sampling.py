"""A random sample of all mappings of a product: percentiles of the energy-delay product.

Equal programs are timed once. Mappings are timed in the order of their lower bounds until the wanted percentile is
certain: no mapping left can score below it. A simulation ends as soon as its mapping is known to score above it.
Mappings that are not timed keep their lower bound, which is marked as such.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base import workers
from sim.base.errors import InputError
from sim.cost import energy
from sim.graph import Graph
from sim.hardware import Hardware
from sim.lower.work import Matmul
from sim.mapping.kinds import kind_of, library
from sim.mapping.maps import operators
from sim.mapping.mapspace import Rows, Space
from sim.mapping.measure import MAX_CYCLES, measure
from sim.timing import timer

if TYPE_CHECKING:
    import pandas as pd

PERCENTILES = (1, 2, 5, 10, 25, 50, 75, 90)
NEAR = 3.0
"""Scores below this many times the least of the sample count as near it (Kim et al., 5.5.1)."""
CHUNK = 64
"""Mappings timed under one limit: a batch does not depend on the number of workers."""

Progress = Callable[[int, int, str], None]
Timed = tuple[int, float] | None
"""Cycles and energy in pJ, or None: beyond the limit."""


def bare(work: Matmul) -> Matmul:
    """Return a product without bias and activation: only its cuts and orders are sampled.

    Transposed operands are treated as if stored untransposed.
    """
    a = replace(work.a, row_stride=work.k) if work.transpose_a else work.a
    b = replace(work.b, row_stride=work.n) if work.transpose_b else work.b
    plain: dict[str, Any] = {"bias": "none", "d": None, "low_d": False, "dataflow": "WS", "tile": None}
    if work.activation != "relu":
        plain["activation"] = "none"
    return replace(work, a=a, b=b, transpose_a=False, transpose_b=False, **plain)


def products(graph: Graph, hw: Hardware) -> dict[str, Matmul]:
    """Return the products of a workload that can be sampled, by operator, without bias and activation."""
    found = {name: item for name, (_, item) in operators(graph, hw).items()}
    return {name: bare(item) for name, item in found.items() if isinstance(item, Matmul)}


@dataclass(frozen=True)
class Sampled:
    """A sample of ``count`` mappings of ``shape``, as ``rows`` (distinct programs) drawn ``times`` each.

    ``cycles``, ``energy_pj``: simulated if ``timed``, else lower bounds. ``certain``: percentile up to
    which all scores are simulated. ``library``: cycles and pJ of the C library's mapping.
    """

    shape: str
    machine: str
    space: Space
    seed: int
    rows: Rows
    times: npt.NDArray[np.int64]
    cycles: npt.NDArray[np.int64]
    energy_pj: npt.NDArray[np.float64]
    timed: npt.NDArray[np.bool_]
    certain: float
    library: tuple[int, float]

    @property
    def count(self) -> int:
        """Mappings drawn."""
        return int(self.times.sum())

    @property
    def relative(self) -> npt.NDArray[np.float64]:
        """Energy-delay product of each row over the least of the sample."""
        score = self.energy_pj * self.cycles
        return np.asarray(score / score[self.timed].min())

    def percentile(self, percent: float) -> tuple[float, bool]:
        """Return the relative score below which ``percent`` of the sample lie, and whether it is exact."""
        relative = self.relative
        value = weighted_percentile(relative, self.times, percent)
        return value, percent <= self.certain and bool(self.timed[relative <= value].all())

    def share_below(self, factor: float = NEAR) -> float:
        """Return the share of the sample whose score is below ``factor`` times the least."""
        return float(self.times[self.relative < factor].sum() / self.count)

    @property
    def library_relative(self) -> float:
        """The relative score of the C library's mapping."""
        score = self.energy_pj * self.cycles
        return float(self.library[0] * self.library[1] / score[self.timed].min())

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data, and a histogram over decades of the relative score."""
        edges = np.logspace(0, 6, 37)
        counted = {
            name: np.histogram(self.relative[mask], edges, weights=self.times[mask])[0].astype(int).tolist()
            for name, mask in (("timed", self.timed), ("at_least", ~self.timed))
        }
        found = [(percent, *self.percentile(percent)) for percent in PERCENTILES]
        best = int(np.argmin(np.where(self.timed, self.relative, np.inf)))
        return {
            "shape": self.shape,
            "hardware": self.machine,
            "seed": self.seed,
            "uneven": self.space.uneven,
            "samples": self.count,
            "distinct_programs": len(self.rows),
            "timed_programs": int(self.timed.sum()),
            "percentiles": [{"percent": p, "relative_edp": value, "exact": exact} for p, value, exact in found],
            "share_below_3x": self.share_below(),
            "library_relative_edp": self.library_relative,
            "best": {**self.space.words(self.rows[best]), "cycles": int(self.cycles[best]),
                     "energy_pj": float(self.energy_pj[best])},
            "histogram": {"edges": edges.tolist(), **counted},
        }  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Return one row per distinct program: the mapping, the number of draws, cycles, energy, relative score."""
        import pandas as pd  # heavy library

        found = pd.DataFrame([self.space.words(row) for row in self.rows])
        found["drawn"], found["cycles"], found["energy_pj"] = self.times, self.cycles, self.energy_pj
        found["relative_edp"], found["timed"] = self.relative, self.timed
        return found.sort_values("relative_edp", kind="stable", ignore_index=True)


def weighted_percentile(values: npt.NDArray[np.float64], times: npt.NDArray[np.int64], percent: float) -> float:
    """Return the value below which ``percent`` of the values lie, each counted ``times`` times."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(times[order])
    at = min(int(np.searchsorted(reached, percent / 100 * reached[-1])), len(order) - 1)
    return float(values[order[at]])


def least_scores(
    work: Matmul, hw: Hardware, count: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return a lower bound of the energy-delay product of each distinct mapping, relative to the least, and its draws.

    A closed form as in analytical models: the slower of array and memory, and counted accesses. No simulation.
    """
    space = Space(work, hw)
    rows, times = np.unique(space.canonical(space.sample(count, seed)), return_counts=True)
    least = space.least(rows)
    score = least.cycles * least.energy_pj(work.macs, hw)
    return np.asarray(score / score.min()), np.asarray(times)


def _timed(space: Space, rows: Rows, limits: npt.NDArray[np.int64]) -> list[Timed]:
    """Time some mappings, in a worker."""
    found: list[Timed] = []
    for n, limit in enumerate(limits.tolist()):
        try:
            timing = timer.run(space.program(rows[n : n + 1]), space.hw, limit_cycles=limit)
        except timer.Overrun:
            found.append(None)
        else:
            parts = energy.price(timing.counters, space.work.macs, timing.cycles, space.hw)
            found.append((timing.cycles, sum(parts.values())))
    return found


def sample(
    work: Matmul,
    hw: Hardware,
    *,
    count: int,
    seed: int = 0,
    uneven: bool = False,
    certain: float = 10.0,
    jobs: int = 1,
    progress: Progress = lambda done, total, label: None,
) -> Sampled:
    """Return ``count`` mappings drawn uniformly from all of ``work`` on ``hw``, and their scores.

    ``uneven``: also tiles that do not divide the operator. ``certain``: percentile up to which scores are simulated.
    Raises InputError for a count or percentile out of range and for products that `Space` refuses.
    """
    wrong = [f"sample: {count} mappings; the rule is >= 1 (nearest legal: 1)"] if count < 1 else []
    if not 0 < certain <= 100:
        nearest = 100 if certain > 100 else 1
        wrong.append(f"certain: percentile {certain} must be above 0 and at most 100 (nearest legal: {nearest})")
    if seed < 0:
        wrong.append(f"seed: {seed} must be >= 0 (nearest legal: 0)")
    if wrong:
        raise InputError(wrong)
    space = Space(work, hw, uneven)
    rows, times = np.unique(space.canonical(space.sample(count, seed)), return_counts=True)
    least = space.least(rows)
    run = _Run(space, rows, times, least.cycles, least.energy_pj(work.macs, hw), certain / 100 * count)
    with ExitStack() as stack:
        pool: Executor | None = None
        if jobs > 1:
            timer.prepare()
            pool = stack.enter_context(workers.pool(jobs, workers.follow_parent))
        run.go(pool, jobs, progress, kind_of(work).shape(work))
    first = measure(library(work, hw).apply(work), hw)
    return Sampled(
        kind_of(work).shape(work), hw.name, space, seed, rows, times, run.cycles, run.energy_pj, run.timed,
        certain, (first.cycles, first.energy_pj),
    )  # fmt: skip


@dataclass
class _Run:
    """Timing a sample in the order of least scores."""

    space: Space
    rows: Rows
    times: npt.NDArray[np.int64]
    cycles: npt.NDArray[np.int64]
    energy_pj: npt.NDArray[np.float64]
    wanted: float

    def go(self, pool: Executor | None, jobs: int, progress: Progress, label: str) -> None:
        """Time mappings until no mapping left can score below the wanted percentile or below `NEAR` times the best."""
        least = self.cycles * self.energy_pj
        least_pj = self.energy_pj.copy()
        self.timed = np.zeros(len(self.rows), bool)
        self.score = np.full(len(self.rows), np.inf)
        order = np.argsort(least, kind="stable")
        for start in range(0, len(order), CHUNK):
            cut = self.cut()
            some = order[start : start + CHUNK]
            some = some[least[some] <= cut]
            if not len(some):
                return
            progress(int(self.timed.sum()), len(order), label)
            limits = np.minimum(cut / least_pj[some] + 1, MAX_CYCLES).astype(np.int64)
            answers = self.ask(some, limits, pool, jobs)
            for at, limit, answer in zip(some.tolist(), limits.tolist(), answers, strict=True):
                if answer is not None:
                    self.cycles[at], self.energy_pj[at] = answer
                    self.timed[at] = True
                    self.score[at] = answer[0] * answer[1]
                else:  # its score is beyond the cut: a better lower bound than before
                    self.cycles[at] = limit + 1

    def ask(
        self, some: npt.NDArray[np.int64], limits: npt.NDArray[np.int64], pool: Executor | None, jobs: int
    ) -> list[Timed]:
        """Return the timings of some mappings, in their order."""
        if pool is None:
            return _timed(self.space, self.rows[some], limits)
        parts = [slice(first, None, jobs) for first in range(jobs)]
        futures = [pool.submit(_timed, self.space, self.rows[some[part]], limits[part]) for part in parts]
        found: list[Timed] = [None] * len(some)
        for part, future in zip(parts, futures, strict=True):
            found[part] = future.result()
        return found

    def cut(self) -> float:
        """Return the score above which mappings need not be timed; infinite while too few are timed."""
        order = np.argsort(self.score, kind="stable")
        reached = np.cumsum(self.times[order])
        at = int(np.searchsorted(reached, self.wanted))
        if at >= len(order) or not self.timed[order[at]]:
            return float(np.inf)
        return float(max(self.score[order[at]], NEAR * self.score[order[0]]))
