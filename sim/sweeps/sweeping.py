"""`sim.sweep`: every combination, from the store if it has it, else simulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sim.analysis.tables import frame
from sim.base.errors import InputError, demand, did_you_mean
from sim.base.store import Store, point_key
from sim.base.version import code_version
from sim.run.progress import Progress, shown
from sim.run.request import Request, Resolver, Size
from sim.sweeps import execution
from sim.sweeps.cluster import cluster
from sim.sweeps.points import PointTask, Workloads, knobs, points, refused_config, shard_positions, sweep_key

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from sim.timing.timing import Clock

Row = dict[str, Any]


class SweepOptions(TypedDict, total=False):
    """Keyword arguments of `sweep` besides its lists: the request, the workers and the store."""

    sizes: Mapping[str, Size] | None
    sparsity: str | Sequence[str | None] | None
    prune: str | Sequence[str | None] | None
    seed: int
    clock: Clock
    dataflow: str | None
    schedule: str | Mapping[str, str] | Sequence[str | Mapping[str, str] | None] | None
    allow_large: bool
    jobs: int | None
    scheduler: str | Client | None
    shard: str | None
    store: str | Path | None
    cache: bool


PLACES = ("jobs", "scheduler", "shard", "store", "cache")
"""Options that do not affect rows."""


def sweep(
    hardware: str | Sequence[str],
    *,
    workloads: Workloads,
    grid: Mapping[str, Sequence[Any]] | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[SweepOptions],
) -> pd.DataFrame:
    """Simulate every combination and return one row per point (columns: `sim.run.columns`, table "sweep").

    ``hardware``: preset names or TOML paths. ``workloads``: names, graph files or Graphs. ``grid``: dotted hardware
    key -> list of values. Keys joined by "+" change together: {"array.mesh_rows+array.mesh_columns": [8, 16]}, or with
    a tuple of values for each. ``sparsity``: "block16:0.5" or None for dense; ``prune``: "heads=8,layers=6" or None.
    ``sizes``: arguments of the workload builder (seq, batch, phase ...), each one value or a list. ``schedule``: as for
    `sim.simulate`, or a list of such. ``seed``, ``clock``, ``dataflow``, ``allow_large``: as there. ``jobs`` worker
    processes, None = one per core;
    ``scheduler``: a dask.distributed scheduler's address ("tcp://host:8786") or Client instead. ``shard``: "i/n",
    every n-th point from the i-th on. ``store``: SQLite file to resume from. ``cache``: use the timing cache on disk
    (`sim.timing.disk`). ``progress``: called after each finished point with (points done, points in all, label of the
    point); None shows it on stderr after two seconds, False shows nothing.

    Raises InputError for a request that is wrong as a whole (no points, jobs < 1, a file that is no store, no
    cluster) and CaratError when the store can no longer be written. A point that fails gives a row whose
    ``error`` is not null.
    """
    refuse_unknown(options, SweepOptions)
    scheduler, jobs, store = options.get("scheduler"), options.get("jobs"), options.get("store")
    demand("store", store, (str, Path, NoneType), 'the path of an SQLite file, e.g. "sweep.sqlite"')
    wanted = points(hardware, grid or {}, workloads, {k: v for k, v in options.items() if k not in PLACES})
    chosen = shard_positions(options.get("shard"), len(wanted))
    if scheduler is not None and jobs is not None:
        raise InputError("jobs and scheduler exclude each other: a cluster has the workers it has")
    with ExitStack() as stack:
        local = execution.local(jobs)
        kept = stack.enter_context(Store(store) if store is not None else nullcontext())
        place = local if scheduler is None else stack.enter_context(cluster(scheduler))
        reported = stack.enter_context(shown("sweep", progress))
        rows = _rows(wanted, chosen, place, kept, options.get("cache", True), reported)
    return frame([knobs(wanted[position]) for position in chosen], rows)


def refuse_unknown(options: Mapping[str, Any], known: type) -> None:
    """Raise InputError for keyword arguments that ``known``, a TypedDict, does not have."""
    names = known.__annotations__
    problems = [f"no argument {name!r}{did_you_mean(name, names)}" for name in options if name not in names]
    if problems:
        raise InputError(problems)


def _rows(
    wanted: Sequence[Request],
    chosen: Sequence[int],
    place: execution.Execution,
    store: Store | None,
    cache: bool,
    progress: Progress,
) -> list[Row]:
    """Return the rows of the chosen positions in order: from the store if it has them, else simulated.

    A store lists all points of the sweep beforehand; without one a point's machine is made when it is needed.
    """
    rows: dict[int, Row] = {}
    resolver = Resolver()
    resolved: dict[int, PointTask | Row] = {}
    keys, configs = list[str](), list[dict[str, Any]]()
    if store is not None:
        resolved = {position: _resolved(resolver, point) for position, point in enumerate(wanted)}
        configs = [_config(point, resolved[position]) for position, point in enumerate(wanted)]
        keys = [point_key(config) for config in configs]
        members = [(position, keys[position], knobs(point)) for position, point in enumerate(wanted)]
        graphs = {task.case.given.key: task.case.given for task in resolved.values() if isinstance(task, PointTask)}
        store.enlist(sweep_key(wanted), members, {key: graph.to_dict() for key, graph in graphs.items()})
        for position in chosen:
            found = resolved[position] if isinstance(resolved[position], dict) else store.get(keys[position])
            if isinstance(found, dict):
                rows[position] = found

    def settle(position: int, row: Row, final: bool) -> None:
        rows[position] = row
        if store is not None and final:
            store.put(keys[position], configs[position], row)

    def tasks() -> Iterator[execution.Numbered]:
        for position in [position for position in chosen if position not in rows]:
            found = resolved.pop(position, None) or _resolved(resolver, wanted[position])
            if isinstance(found, PointTask):
                yield position, found
            else:
                settle(position, found, True)
                progress(len(rows), len(chosen), wanted[position].label)

    for position in [position for position in rows if isinstance(resolved[position], dict)]:
        settle(position, rows[position], True)  # refused input
    progress(len(rows), len(chosen), "")
    for position, row, final in execution.run(execution.Todo(tasks(), len(chosen) - len(rows)), place, cache):
        settle(position, row, final)
        progress(len(rows), len(chosen), wanted[position].label)
    return [rows[position] for position in chosen]


def _resolved(resolver: Resolver, point: Request) -> PointTask | Row:
    """Return the point's task, or the row with its error if the input is refused."""
    try:
        return PointTask(resolver.case(point), code_version())
    except InputError as error:
        return {"version": code_version(), "error": f"InputError: {error}"}


def _config(point: Request, found: PointTask | Row) -> dict[str, Any]:
    return found.config() if isinstance(found, PointTask) else refused_config(point)
