"""Search of hardware settings for the best of one or several objectives (extra ``explore``: optuna).

The space is the grid of a sweep; a point is simulated, stored and reported as a sweep's point is, so that a search
continues from the store of a sweep and the reverse. A point that the search draws twice is simulated once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sim.analysis.tables import frame
from sim.base.errors import InputError, did_you_mean
from sim.base.pareto import pareto
from sim.base.store import Store, point_key
from sim.base.version import code_version
from sim.run import columns
from sim.run.progress import Progress, shown
from sim.run.request import Request, Resolver, Size
from sim.sweeps.execution import outcome
from sim.sweeps.points import Task, axes, knobs, points, refused_config
from sim.sweeps.sweeping import refuse_unknown

if TYPE_CHECKING:
    import pandas as pd

    from sim.timing.timing import Clock

OBJECTIVES = {"cycles": "cycles", "energy": "energy_pj", "edp": "edp_js", "time": "time_s", "area": "area_mm2"}
"""Objectives, each minimised, and their columns; only those whose column a run reports are available."""

Row = dict[str, Any]


def objectives() -> dict[str, str]:
    """Return the objectives that a run can answer, each with its column."""
    reported = columns.table("totals")
    return {name: column for name, column in OBJECTIVES.items() if column in reported}


class Options(TypedDict, total=False):
    """Keyword arguments of `explore` besides its grid: the request, and the store of rows."""

    sizes: Mapping[str, Size] | None
    sparsity: str | None
    prune: str | None
    seed: int
    clock: Clock
    dataflow: str | None
    allow_large: bool
    store: str | Path | None
    cache: bool


def explore(
    hardware: str,
    *,
    grid: Mapping[str, Sequence[Any]],
    workload: str,
    objective: str | Sequence[str] = "cycles",
    trials: int = 50,
    progress: Progress | bool | None = None,
    **options: Unpack[Options],
) -> pd.DataFrame:
    """Search the grid for points that make every ``objective`` small; return a row for each point tried, in order.

    ``grid``, ``sizes``, ``sparsity``, ``prune``, ``dataflow``, ``store``, ``cache``: as for `sim.sweep`. ``objective``:
    one or several of `objectives`. ``trials``: points asked for; with as many as the grid has, all are tried in the
    grid's order. ``seed``: of the search and of random masks; the same seed asks the same points. Column ``best``
    marks the Pareto front, one per workload, sizes and, for an objective that counts energy, energy table.
    ``progress``: as for `sim.sweep`.

    Raises InputError without the extra, for an unknown objective or a grid that is wrong as a whole.
    """
    refuse_unknown(options, Options)
    wanted = [objective] if isinstance(objective, str) else list(objective)
    _check(wanted, trials)
    choices = axes(grid)
    asked = {name: value for name, value in options.items() if name not in ("store", "cache")}
    space, store = points(hardware, grid, workload, asked), options.get("store")
    with Store(store) if store is not None else nullcontext() as kept, shown("explore", progress) as bar:
        tried = _Points(kept, options.get("cache", True))
        if trials >= len(space):
            chosen = space
            for number, point in enumerate(space):
                _tell(bar, number, len(space), point)
                tried.row(point)
        else:
            chosen = _search(
                space, [len(axis) for axis in choices], wanted, (trials, options.get("seed", 0)), tried, bar
            )
        rows = [tried.row(point) for point in chosen]
        _tell(bar, len(chosen), len(chosen), None)
    answers = [objectives()[name] for name in wanted]
    priced = any(name in columns.PRICED for name in answers)
    groups = [
        (point.graph, tuple(point.sizes), row.get("energy_table") if priced else None)
        for point, row in zip(chosen, rows, strict=True)
    ]
    best = pareto([None if row.get("error") else [row[name] for name in answers] for row in rows], groups)
    table = frame([knobs(point) for point in chosen], rows)
    table.insert(len(table.columns) - 1, "best", best)
    return table


def _check(wanted: Sequence[str], trials: int) -> None:
    known = objectives()
    problems = [f"objective: unknown {name!r}{did_you_mean(name, known)}" for name in wanted if name not in known]
    problems += [] if wanted else [f"objective: none given (known: {', '.join(known)})"]
    problems += [] if trials >= 1 else [f"trials: {trials}; the rule is trials >= 1 (nearest legal: 1)"]
    if problems:
        raise InputError(problems)


class _Points:
    """Rows of points, simulated once each."""

    def __init__(self, store: Store | None, cache: bool):
        self._store, self._cache = store, cache
        self._resolver = Resolver()
        self._rows: dict[Request, Row] = {}

    def row(self, point: Request) -> Row:
        if point not in self._rows:
            self._rows[point] = self._simulated(point)
        return self._rows[point]

    def _simulated(self, point: Request) -> Row:
        try:
            task = Task(self._resolver.case(point), code_version())
        except InputError as error:
            config = refused_config(point)
            row: Row = {"version": config["version"], "error": f"InputError: {error}"}
        else:
            config = task.config()
            found = None if self._store is None else self._store.get(point_key(config))
            if found is not None:
                return found
            answer, message = outcome(task, self._cache, threads=None)
            row = {"error": message} if answer is None else answer
        if self._store is not None:
            self._store.put(point_key(config), config, row)
        return row


def _search(
    space: Sequence[Request],
    lengths: Sequence[int],
    wanted: Sequence[str],
    trials: tuple[int, int],
    tried: _Points,
    progress: Progress,
) -> list[Request]:
    """Return the distinct points that optuna's sampler (tree-structured Parzen estimator) asks for.

    ``trials``: how many are asked for, and the sampler's seed.
    """
    try:
        import optuna  # an extra
    except ImportError as error:
        raise InputError("a search needs optuna: pip install optuna") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=trials[1])
    study = optuna.create_study(directions=["minimize"] * len(wanted), sampler=sampler)
    answers = [objectives()[name] for name in wanted]
    asked: dict[Request, None] = {}
    for number in range(trials[0]):
        trial = study.ask()
        position = 0
        for axis, length in enumerate(lengths):
            position = position * length + trial.suggest_int(f"axis {axis}", 0, length - 1)
        point = space[position]
        _tell(progress, number, trials[0], point)
        asked[point] = None
        row = tried.row(point)
        if row.get("error"):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, [row[name] for name in answers])
    return list(asked)


def _tell(progress: Progress, done: int, total: int, point: Request | None) -> None:
    progress(done, total, "" if point is None else point.label)
