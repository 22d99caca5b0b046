"""`sim.sweep`: every combination, from the store where it has it, else simulated somewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import InputError
from sim.store import Store, code_version, point_key
from sim.sweeps import execution
from sim.sweeps.cluster import cluster
from sim.sweeps.points import Point, Resolver, Task, points, refused_config, shard_positions, sweep_key
from sim.sweeps.tables import frame

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from sim.timing import Clock

Progress = Callable[[int, int, str], None]
"""Called after each finished point with (points done, points in all, label of the point)."""

Row = dict[str, Any]


def sweep(
    hardware: str | Sequence[str],
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    workloads: str | Sequence[str],
    sizes: Mapping[str, int] | None = None,
    sparsity: str | Sequence[str | None] | None = None,
    prune: str | Sequence[str | None] | None = None,
    seed: int = 0,
    clock: Clock = "periodic",
    dataflow: str | None = None,
    jobs: int | None = None,
    scheduler: str | Client | None = None,
    shard: str | None = None,
    store: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Simulate every combination and return one row per point (columns: `sim.columns`, table "sweep").

    ``hardware``: preset names or TOML paths. ``workloads``: names or graph files. ``grid``: dotted hardware
    key -> list of values. Keys joined by "+" change together: {"array.mesh_rows+array.mesh_columns": [8,
    16]}, or with a tuple of values for each. ``sparsity``: "block16:0.5" or None for dense; ``prune``:
    "heads=8,layers=6" or None. ``sizes``: arguments of the workload builder (seq, batch, ...). ``jobs``
    worker processes, None = one per core; ``scheduler``: a dask.distributed scheduler's address
    ("tcp://host:8786") or Client instead. ``shard``: "i/n", only every n-th point from the i-th on. ``store``:
    SQLite file to resume from. ``cache``: look timings up and keep them on disk (`sim.cache.disk`).

    Raises InputError for a request that is wrong as a whole (no points, jobs < 1, a file that is no store, no
    cluster) and CaratError when the store can no longer be written. A point that fails gives a row whose
    ``error`` is not null.
    """
    wanted = points(hardware, grid or {}, workloads, sizes or {}, sparsity, prune, seed, clock, dataflow)
    chosen = shard_positions(shard, len(wanted))
    if scheduler is not None and jobs is not None:
        raise InputError("jobs and scheduler exclude each other: a cluster has the workers it has")
    with ExitStack() as stack:
        local = execution.local(jobs)
        kept = stack.enter_context(Store(store) if store is not None else nullcontext())
        place = local if scheduler is None else stack.enter_context(cluster(scheduler))
        rows = _rows(wanted, chosen, place, kept, cache, progress or (lambda done, total, label: None))
    return frame([wanted[position].knobs() for position in chosen], rows)


def _rows(
    wanted: Sequence[Point],
    chosen: Sequence[int],
    place: execution.Place,
    store: Store | None,
    cache: bool,
    progress: Progress,
) -> list[Row]:
    """Return the rows of the chosen positions in order: from the store where it has them, else simulated."""
    rows: dict[int, Row] = {}
    tasks, refused, configs = _resolved(wanted)
    keys = {position: point_key(config) for position, config in configs.items()}
    if store is not None:
        members = [(position, keys[position], point.knobs()) for position, point in enumerate(wanted)]
        graphs = {task.graph.key: task.graph for task in tasks.values()}
        store.enlist(sweep_key(wanted), members, {key: graph.to_dict() for key, graph in graphs.items()})
    for position in chosen:
        if position in refused:
            rows[position] = refused[position]
            if store is not None:
                store.put(keys[position], configs[position], rows[position])
        elif store is not None and (found := store.get(keys[position])) is not None:
            rows[position] = found
    progress(len(rows), len(chosen), "")
    todo = [(position, tasks[position]) for position in chosen if position not in rows]
    for position, row, final in execution.run(todo, place, cache):
        rows[position] = row
        if store is not None and final:
            store.put(keys[position], configs[position], row)
        progress(len(rows), len(chosen), wanted[position].label)
    return [rows[position] for position in chosen]


def _resolved(wanted: Sequence[Point]) -> tuple[dict[int, Task], dict[int, Row], dict[int, dict[str, Any]]]:
    """Return by position the tasks, the rows of what is refused at the door, and the configurations of all."""
    resolver = Resolver()
    tasks, refused, configs = {}, {}, {}
    for position, point in enumerate(wanted):
        try:
            tasks[position] = resolver.task(point)
            configs[position] = tasks[position].config()
        except InputError as error:
            refused[position] = {"version": code_version(), "error": f"InputError: {error}"}
            configs[position] = refused_config(point)
    return tasks, refused, configs
