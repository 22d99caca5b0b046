"""Search of hardware settings for the best of one or several objectives (extra ``explore``: optuna).

The space is the grid of a sweep; a point is simulated, stored and reported like a point of a sweep, so that a search
continues from the store of a sweep and vice versa. A point that the search draws twice is simulated once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from itertools import chain
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args

from sim.analysis.tables import frame
from sim.base.errors import InputError, did_you_mean
from sim.base.hypervolume import hypervolume
from sim.base.pareto import pareto
from sim.base.store import Store, point_key
from sim.base.version import code_version
from sim.run import columns
from sim.run.progress import Progress, shown
from sim.run.request import Request, Resolver, Size
from sim.sweeps import designs, execution
from sim.sweeps.cluster import cluster
from sim.sweeps.execution import outcome
from sim.sweeps.points import PointTask, axes, knobs, named, points, refused_config
from sim.sweeps.sweeping import refuse_unknown

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from sim.timing.timing import Clock

OBJECTIVES = {"cycles": "cycles", "energy": "energy_pj", "edp": "edp_js", "time": "time_s", "area": "area_mm2"}
"""Objectives, each minimised, and their columns; only those whose column a run reports are available."""

Sampler = Literal["tpe", "nsga2"]
POPULATION = 16
"""Points of a generation of NSGA-II; the tree-structured Parzen estimator proposes one at a time."""
MAX_POINTS_NAMED = 20
"""Largest number of points requested per simulated point: those that a limit refuses cost nothing."""

Row = dict[str, Any]
Key = tuple[str, tuple[tuple[str, Any], ...]]
"""Columns that identify a point of a search: the workload and the settings."""


def _key(point: Request) -> Key:
    return named(point.graph), point.overrides


def objectives() -> dict[str, str]:
    """Return the objectives that a run reports, each with its column."""
    reported = columns.table("totals")
    return {name: column for name, column in OBJECTIVES.items() if column in reported}


class ExploreOptions(TypedDict, total=False):
    """Keyword arguments of `explore` besides its grid: the request, the search, the workers and the store of rows."""

    sizes: Mapping[str, Size] | None
    sparsity: str | None
    prune: str | None
    seed: int
    clock: Clock
    dataflow: str | None
    schedule: str | Mapping[str, str] | None
    allow_large: bool
    sampler: Sampler
    at_once: int | None
    constraints: Mapping[str, float] | None
    jobs: int | None
    scheduler: str | Client | None
    store: str | Path | None
    cache: bool


NO_REQUEST = ("sampler", "at_once", "constraints", "jobs", "scheduler", "store", "cache")
"""Options that are no fields of a request."""


def explore(
    hardware: str,
    *,
    grid: Mapping[str, Sequence[Any]],
    workload: str | Mapping[str, float],
    objective: str | Sequence[str] = "cycles",
    trials: int = 50,
    progress: Progress | bool | None = None,
    **options: Unpack[ExploreOptions],
) -> pd.DataFrame:
    """Search the grid for points that make every ``objective`` small; return a row for each point tried, in order.

    ``grid``, ``sizes``, ``sparsity``, ``prune``, ``dataflow``, ``jobs``, ``scheduler``, ``store``, ``cache``: as for
    `sim.sweep`. ``workload``: a name, or names with weights whose sums are minimised. ``objective``: one or several of
    `objectives`. ``trials``: points simulated; if the grid has no more, all are tried in the grid's order. ``seed``: of
    the search and of random masks; the same seed tries the same points. ``sampler``: "tpe" or "nsga2";
    ``at_once``: points requested from the sampler before results are reported to it (default: 1, for nsga2 a generation
    of `POPULATION`); the search depends on it, not on the number of workers. ``constraints``: quantity of
    `designs.QUANTITIES` -> upper bound. Column ``best`` marks the Pareto front, one per workload, sizes and, for an
    objective that counts energy, energy table. ``attrs["hypervolume"]``: share of the box from the best to the worst
    values tried that it dominates.
    ``progress``: as for `sim.sweep`.

    Raises InputError without the extra, for an unknown objective, limit or sampler or a grid that is wrong as a whole.
    """
    refuse_unknown(options, ExploreOptions)
    wanted = [objective] if isinstance(objective, str) else list(objective)
    sampler, at_once = options.get("sampler", "tpe"), options.get("at_once")
    _check(wanted, trials, sampler, at_once)
    limits, mix = dict(options.get("constraints") or {}), designs.weights(workload)
    designs.check(limits)
    requested = {name: value for name, value in options.items() if name not in NO_REQUEST}
    space = _Space(hardware, grid, next(iter(mix)), requested)
    with ExitStack() as stack:
        store = options.get("store")
        kept = stack.enter_context(Store(store) if store is not None else nullcontext())
        place = _place(stack, options)
        tried = _Points(kept, options.get("cache", True), place, mix, limits)
        bar = stack.enter_context(shown("explore", progress))
        if trials >= space.size:
            chosen = [space.point(number) for number in range(space.size)]
            _try_all(chosen, tried, bar, POPULATION if place else 1)
        else:
            how = _How(sampler, at_once or (POPULATION if sampler == "nsga2" else 1), trials, options.get("seed", 0))
            chosen = _search(space, wanted, how, tried, bar)
        rows = [tried.known[_key(point)] for point in chosen]
        bar(len(chosen), len(chosen), "")
    return _table(chosen, rows, [objectives()[name] for name in wanted], designs.mix_name(mix))


def _table(chosen: Sequence[Request], rows: Sequence[Row], answers: Sequence[str], name: str) -> pd.DataFrame:
    """Return the rows with their settings and the front, and its hypervolume."""
    priced = any(answer in columns.PRICED for answer in answers)
    groups = [
        (named(point.graph), tuple(point.sizes), row.get("energy_table") if priced else None)
        for point, row in zip(chosen, rows, strict=True)
    ]
    scores = [None if row.get("error") else [row[answer] for answer in answers] for row in rows]
    best = pareto(scores, groups)
    table = frame([{**knobs(point), "workload": name} for point in chosen], list(rows))
    table.insert(len(table.columns) - 1, "best", best)
    sound = [score for score in scores if score is not None]
    front = [score for score, marked in zip(scores, best, strict=True) if marked and score is not None]
    table.attrs["hypervolume"] = dominated_share(front, sound)
    return table


def dominated_share(front: Sequence[Sequence[float]], tried: Sequence[Sequence[float]]) -> float | None:
    """Return the share of the box from the least to the largest tried values that the front dominates.

    Objectives in which all points are equal are left out; None if no objective is left.
    """
    if not tried:
        return None
    spans = [(min(of), max(of)) for of in zip(*tried, strict=True)]
    open_ones = [number for number, (low, high) in enumerate(spans) if high > low]
    if not open_ones:
        return None
    scaled = [[(point[n] - spans[n][0]) / (spans[n][1] - spans[n][0]) for n in open_ones] for point in front]
    return hypervolume(scaled, [1.0] * len(open_ones))


def _check(wanted: Sequence[str], trials: int, sampler: str, at_once: int | None) -> None:
    known, samplers = objectives(), get_args(Sampler)
    problems = [f"objective: unknown {name!r}{did_you_mean(name, known)}" for name in wanted if name not in known]
    problems += [] if wanted else [f"objective: none given (known: {', '.join(known)})"]
    problems += [] if trials >= 1 else [f"trials: {trials}; the rule is trials >= 1 (nearest legal: 1)"]
    if sampler not in samplers:
        problems.append(f"sampler: unknown {sampler!r} (known: {', '.join(samplers)}){did_you_mean(sampler, samplers)}")
    if at_once is not None and at_once < 1:
        problems.append(f"at_once: {at_once}; the rule is at_once >= 1 (nearest legal: 1)")
    if problems:
        raise InputError(problems)


def _place(stack: ExitStack, options: ExploreOptions) -> execution.Execution | None:
    """Return the executor of points: None = in this process, one after the other."""
    scheduler, jobs = options.get("scheduler"), options.get("jobs")
    if scheduler is not None and jobs is not None:
        raise InputError("jobs and scheduler exclude each other: a cluster has the workers it has")
    if scheduler is not None:
        return stack.enter_context(cluster(scheduler))
    return execution.local(jobs) if jobs is not None and jobs != 1 else None


class _Space:
    """The grid: a point for each combination of values, made on request."""

    def __init__(self, hardware: str, grid: Mapping[str, Sequence[Any]], workload: str, requested: Mapping[str, Any]):
        found = points(hardware, {}, workload, requested)
        if len(found) != 1:
            raise InputError(
                f"explore: sizes, sparsity and prune make {len(found)} runs of a point; give one value each"
            )
        self.first, self.axes = found[0], axes(grid)
        self.size = prod(map(len, self.axes))
        if not self.size:
            raise InputError("explore: no points; every list of the grid needs at least one value")

    def at(self, places: Sequence[int]) -> Request:
        """Return the point with these indices of values along the axes."""
        settings = (axis[place] for axis, place in zip(self.axes, places, strict=True))
        return Request(**{**vars(self.first), "overrides": tuple(chain(*settings))})

    def point(self, number: int) -> Request:
        """Return a point by its index in the grid's order, the last axis fastest."""
        places = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis))
            places.append(place)
        return self.at(places[::-1])


class _Points:
    """Rows of points, simulated once each; ``known``: those of the points tried so far."""

    def __init__(
        self,
        store: Store | None,
        cache: bool,
        place: execution.Execution | None,
        mix: Mapping[str, float],
        limits: Mapping[str, float],
    ):
        self._store, self._cache, self._place, self._mix, self._limits = store, cache, place, mix, limits
        self._resolver = Resolver()
        self._runs: dict[Key, Row] = {}
        self.known: dict[Key, Row] = {}

    def refused(self, point: Request) -> bool:
        """Return whether a limit excludes the point without a run; its row then has that error."""
        try:
            why = designs.refusal(self._resolver.machine(point), self._limits) if self._limits else None
        except InputError:
            return False
        if why is not None:
            self.known[_key(point)] = {"version": code_version(), "error": why}
        return why is not None

    def rows(self, wanted: Sequence[Request]) -> list[Row]:
        """Return the rows of points, new ones simulated together."""
        different = {_key(point): point for point in wanted}
        new = [point for key, point in different.items() if key not in self.known and not self.refused(point)]
        self._simulate([run for point in new for run in designs.parts(point, self._mix)])
        for point in new:
            row = designs.mixed([self._runs[_key(run)] for run in designs.parts(point, self._mix)], self._mix)
            over = designs.beyond(row, self._limits)
            self.known[_key(point)] = row if over is None else {**row, "error": over}
        return [self.known[_key(point)] for point in wanted]

    def _simulate(self, runs: Sequence[Request]) -> None:
        tasks: dict[int, PointTask] = {}
        configs: dict[int, dict[str, Any]] = {}
        for number, run in enumerate(runs):
            try:
                task = PointTask(self._resolver.case(run), code_version())
            except InputError as error:
                configs[number] = config = refused_config(run)
                self._keep(run, config, {"version": config["version"], "error": f"InputError: {error}"}, True)
                continue
            configs[number] = task.config()
            found = None if self._store is None else self._store.get(point_key(configs[number]))
            if found is None:
                tasks[number] = task
            else:
                self._runs[_key(run)] = found
        for number, row, final in self._answers(tasks):
            self._keep(runs[number], configs[number], row, final)

    def _answers(self, tasks: Mapping[int, PointTask]) -> list[tuple[int, Row, bool]]:
        """Return the row of each task: in this process with all cores for one, or on workers."""
        if self._place is not None:
            todo = execution.Todo(iter(tasks.items()), len(tasks))
            return list(execution.run(todo, self._place, self._cache))
        found = []
        for number, task in tasks.items():
            answer, message = outcome(task, self._cache, threads=None)
            found.append((number, {"error": message} if answer is None else answer, True))
        return found

    def _keep(self, run: Request, config: dict[str, Any], row: Row, final: bool) -> None:
        self._runs[_key(run)] = row
        if self._store is not None and final:
            self._store.put(point_key(config), config, row)


class _How:
    """Options of a search."""

    def __init__(self, sampler: Sampler, at_once: int, trials: int, seed: int):
        self.sampler, self.at_once, self.trials, self.seed = sampler, at_once, trials, seed


def _try_all(chosen: Sequence[Request], tried: _Points, progress: Progress, together: int) -> None:
    for first in range(0, len(chosen), together):
        progress(first, len(chosen), chosen[first].label)
        tried.rows(chosen[first : first + together])


def _search(
    space: _Space, wanted: Sequence[str], how: _How, tried: _Points, progress: Progress
) -> list[Request]:  # fmt: skip
    """Return the distinct points that optuna's sampler proposes.

    A point that a limit refuses beforehand is no trial: another one is requested, `MAX_POINTS_NAMED` times at most.
    """
    try:
        import optuna  # an extra
    except ImportError as error:
        raise InputError("a search needs optuna: pip install optuna") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers: dict[str, Callable[[], Any]] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=how.seed),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=how.seed, population_size=POPULATION),
    }
    study = optuna.create_study(directions=["minimize"] * len(wanted), sampler=samplers[how.sampler]())
    answers = [objectives()[name] for name in wanted]
    requested: dict[Key, Request] = {}
    simulated = 0
    for _ in range(MAX_POINTS_NAMED * how.trials):
        if simulated >= how.trials:
            break
        some = []
        for _ in range(min(how.at_once, how.trials - simulated)):
            trial = study.ask()
            point = space.at([_suggested(trial, number, axis) for number, axis in enumerate(space.axes)])
            requested.setdefault(_key(point), point)
            some.append((trial, point))
        progress(simulated, how.trials, some[0][1].label)
        allowed = [not tried.refused(point) for _, point in some]
        simulated += sum(allowed)
        for (trial, _), row in zip(some, tried.rows([point for _, point in some]), strict=True):
            if row.get("error"):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, [row[name] for name in answers])
    return list(requested.values())


def _suggested(trial: Any, number: int, axis: Sequence[tuple[tuple[str, Any], ...]]) -> int:
    """Return the index of a value that a trial suggests: ordered for numbers and sizes, else categorical."""
    name, last = f"axis {number}", len(axis) - 1
    words = any(isinstance(value, str) and not value[:1].isdigit() for setting in axis for _, value in setting)
    if words or any(isinstance(value, bool) for setting in axis for _, value in setting):
        return int(trial.suggest_categorical(name, list(range(last + 1))))
    return int(trial.suggest_int(name, 0, last))
