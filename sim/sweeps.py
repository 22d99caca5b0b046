"""Sweeps: hardware overrides x workloads x sparsity over worker processes, one tidy row per point.

The order of the rows is that of the arguments (hardware, then the grid's last key fastest, then workload,
sparsity, pruning), whatever the number of workers. A failing point is a row with its ``error``; a store makes
the sweep resumable: points it holds are not simulated again, rows come back bit for bit.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim import workers
from sim.cache import Memo
from sim.errors import CaratError, InputError
from sim.store import Store, code_version, point_key

if TYPE_CHECKING:
    import pandas as pd

    from sim.timing import Clock

Progress = Callable[[int, int, str], None]
"""Called after each finished point with (points done, points in all, label of the point)."""


@dataclass(frozen=True)
class Point:
    """One simulation of a sweep, in plain data so that it travels to a worker and into the store."""

    hardware: str
    overrides: tuple[tuple[str, Any], ...]
    workload: str
    sizes: tuple[tuple[str, int], ...]
    sparsity: str | None
    prune: str | None
    seed: int
    clock: Clock
    dataflow: str | None

    @property
    def label(self) -> str:
        """One line for progress and messages."""
        parts = [self.workload, self.hardware, *(f"{key}={value}" for key, value in self.overrides)]
        return " ".join([*parts, *(str(part) for part in (self.sparsity, self.prune) if part)])

    def knobs(self) -> dict[str, Any]:
        """Return the leading columns of the point's row."""
        fixed = {"hardware": self.hardware, "workload": self.workload}
        chosen = {"sparsity": self.sparsity, "prune": self.prune, "seed": self.seed}
        return {**fixed, **dict(self.sizes), **dict(self.overrides), **chosen}


def sweep(
    hardware: str | Sequence[str],
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    workloads: str | Sequence[str],
    sizes: Mapping[str, int] | None = None,
    sparsity: str | Sequence[str | None] | None = None,
    prune: str | Sequence[str | None] | None = None,
    seed: int = 0,
    clock: Clock = "leap",
    dataflow: str | None = None,
    jobs: int = 1,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Simulate every combination and return one row per point (columns: `sim.columns`, table "sweep").

    ``hardware``: preset names or TOML paths. ``workloads``: names or graph files. ``grid``: dotted hardware
    key -> list of values. Keys joined by "+" change together: {"array.mesh_rows+array.mesh_columns": [8,
    16]}, or with a tuple of values for each. ``sparsity``: "block16:0.5" or None for dense; ``prune``:
    "heads=8,layers=6" or None. ``sizes``: arguments of the workload builder (seq, batch, ...). ``jobs``
    worker processes; ``store``: SQLite file to resume from.

    Raises InputError for a request that is wrong as a whole (no points, jobs < 1, a file that is no store)
    and CaratError when the store can no longer be written. A point that fails gives a row whose ``error`` is
    not null.
    """
    points = _points(hardware, grid or {}, workloads, sizes or {}, sparsity, prune, seed, clock, dataflow)
    if jobs < 1:
        raise InputError(f"jobs: {jobs} worker processes; the rule is jobs >= 1 (nearest legal: 1)")
    with Store(store) if store is not None else nullcontext() as kept:
        rows = _rows(points, jobs, kept, progress or (lambda done, total, label: None))
    return _frame(points, rows)


def _many(value: Any) -> list[Any]:
    return [value] if value is None or isinstance(value, str) else list(value)


def _points(
    hardware: str | Sequence[str],
    grid: Mapping[str, Sequence[Any]],
    workloads: str | Sequence[str],
    sizes: Mapping[str, int],
    sparsity: Any,
    prune: Any,
    seed: int,
    clock: Clock,
    dataflow: str | None,
) -> list[Point]:
    settings = [tuple(itertools.chain(*choice)) for choice in itertools.product(*_axes(grid))]
    axes = (_many(hardware), settings, _many(workloads), _many(sparsity), _many(prune))
    points = [
        Point(machine, overrides, workload, tuple(sizes.items()), pattern, cut, seed, clock, dataflow)
        for machine, overrides, workload, pattern, cut in itertools.product(*axes)
    ]
    if not points:
        raise InputError("sweep: no points; hardware, workloads and every list of the grid need at least one value")
    return points


def _axes(grid: Mapping[str, Sequence[Any]]) -> list[list[tuple[tuple[str, Any], ...]]]:
    """Return one list of settings per key of the grid, each setting a tuple of (dotted key, value)."""
    axes, problems = [], []
    for joined, values in grid.items():
        keys = tuple(key.strip() for key in joined.split("+"))
        if isinstance(values, str) or not isinstance(values, Iterable):
            problems.append(f"grid: {joined!r} must be a list of values, got {values!r}")
            continue
        axis = []
        for value in values:
            parts = tuple(value) if isinstance(value, list | tuple) else (value,) * len(keys)
            if len(parts) == len(keys):
                axis.append(tuple(zip(keys, parts, strict=True)))
            else:
                problems.append(f"grid: {joined!r} joins {len(keys)} keys, {value!r} has {len(parts)} values")
        axes.append(axis)
    if problems:
        raise InputError(problems)
    return axes


def _rows(points: Sequence[Point], jobs: int, store: Store | None, progress: Progress) -> list[dict[str, Any]]:
    """Return the rows in the order of ``points``: from the store where it has them, else simulated."""
    rows: dict[int, dict[str, Any]] = {}
    keys: dict[int, tuple[str, dict[str, Any]]] = {}
    for index, point in enumerate(points):
        config, error = _outcome(point_config, point)
        if config is None:
            rows[index] = {"error": error}
            continue
        keys[index] = (point_key(config), config)
        found = store.get(keys[index][0]) if store is not None else None
        if found is not None:
            rows[index] = found
    progress(len(rows), len(points), "")
    todo = [(index, points[index]) for index in keys if index not in rows]
    for index, row, final in _run(todo, jobs):
        if row.get("version", code_version()) != code_version():
            row, final = {"error": "SourcesChanged: the sources were edited while the sweep ran"}, False
        rows[index] = row
        if store is not None and final:
            store.put(*keys[index], row)
        progress(len(rows), len(points), points[index].label)
    return [rows[index] for index in range(len(points))]


def point_config(point: Point) -> dict[str, Any]:
    """Return everything that decides the point's row: code, full machine, full graph and options.

    Raises InputError for a machine or workload that is refused at the door.
    """
    from sim import hardware
    from sim.pipeline import resolve_graph

    hw = hardware.load(point.hardware, dict(point.overrides))
    graph = resolve_graph(point.workload, dict(point.sizes))
    options = {key: value for key, value in asdict(point).items() if key not in ("overrides", "sizes")}
    machine = hw.model_dump(mode="json")
    return {**options, "version": code_version(), "machine": machine, "graph": graph.to_dict()}


_MEMO = Memo()  # one per worker process: points of a sweep share many programs


def simulate_point(point: Point) -> dict[str, Any]:
    """Simulate one point and return its totals; runs in a worker."""
    from sim.pipeline import simulate

    sizes: dict[str, Any] = dict(point.sizes)
    result = simulate(
        point.workload,
        point.hardware,
        overrides=dict(point.overrides),
        sparsity=point.sparsity,
        prune=point.prune,
        seed=point.seed,
        clock=point.clock,
        dataflow=point.dataflow,
        memo=_MEMO,
        **sizes,
    )
    return {**result.totals, "version": code_version(), "error": None}


Outcome = tuple[dict[str, Any] | None, str | None]
"""(row, None) of a point that went through, or (None, message)."""


def _outcome(function: Callable[[Point], dict[str, Any]], point: Point) -> Outcome:
    """Call and return (value, None), or (None, message) when the input is refused or the machine hangs."""
    try:
        return function(point), None
    except CaratError as error:
        return None, f"{type(error).__name__}: {error}"


def _run(todo: Sequence[tuple[int, Point]], jobs: int) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """Yield (index, row, whether the row is worth keeping) as points finish.

    One job runs in this process; more run in spawned workers. When a worker dies (killed, out of memory) the
    points in flight are suspects: each is tried again alone, and one that kills its worker again gets a row
    saying so. Only refusals and hangs, which are decided by the input, are kept: resuming tries any other
    failure once more.
    """
    queue = deque(todo)
    if queue and jobs > 1:
        _compile_core()
    while queue:
        suspects: list[tuple[int, Point]] = []
        for index, point, future in _futures(queue, jobs):
            if isinstance(future.exception(), BrokenProcessPool):
                suspects.append((index, point))
            else:
                yield index, *_settled(future)
        for suspect in suspects:
            for index, _, future in _futures(deque([suspect]), jobs):
                yield index, *_settled(future)


def _compile_core() -> None:
    """Run one command, so that workers load the compiled core from disk instead of each compiling it."""
    from sim import hardware, isa, timing

    smallest = [isa.command(isa.Funct.CONFIG, isa.ConfigKind.LD), isa.command(isa.Funct.FENCE)]
    timing.run(isa.program(smallest), hardware.load("gemmini_default"))


def _settled(future: Future[Outcome]) -> tuple[dict[str, Any], bool]:
    failure = future.exception()
    if failure is None:
        row, error = future.result()
        return ({"error": error} if row is None else row), True
    if isinstance(failure, BrokenProcessPool):
        return {"error": "WorkerDied: the process simulating this point died (killed, or out of memory)"}, False
    return {"error": f"{type(failure).__name__}: {failure}"}, False


def _worker(point: Point) -> Outcome:
    return _outcome(simulate_point, point)


def _executor(jobs: int, points: int) -> Executor:
    if jobs == 1:
        return ThreadPoolExecutor(1)
    return workers.pool(min(jobs, points), workers.follow_parent)


def _futures(queue: deque[tuple[int, Point]], jobs: int) -> Iterator[tuple[int, Point, Future[Outcome]]]:
    """Take points from ``queue``, two per worker in flight, and yield them finished; stops taking when a
    worker died.

    What has not begun is cancelled when the caller stops early (interrupt, full disk).
    """
    pool = _executor(jobs, len(queue))
    pending: dict[Future[Outcome], tuple[int, Point]] = {}
    broken = False
    try:
        while pending or (queue and not broken):
            while queue and not broken and len(pending) < 2 * jobs:
                try:
                    future = pool.submit(_worker, queue[0][1])
                except BrokenProcessPool:
                    broken = True
                else:
                    pending[future] = queue.popleft()
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            broken |= any(isinstance(future.exception(), BrokenProcessPool) for future in done)
            for future in sorted(done, key=lambda finished: pending[finished][0]):
                yield (*pending.pop(future), future)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _frame(points: Sequence[Point], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    records = [{**point.knobs(), **_without_knobs(row)} for point, row in zip(points, rows, strict=True)]
    names = list(dict.fromkeys(name for record in records for name in record if name != "error"))
    columns = {name: [record.get(name) for record in records] for name in (*names, "error")}
    return pd.DataFrame({name: pd.Series(values, dtype=_dtype(values)) for name, values in columns.items()})


def _dtype(values: Sequence[Any]) -> str:
    """Return a type that keeps whole numbers whole beside the nulls of failed points."""
    types = {type(value) for value in values if value is not None}
    if types == {int}:
        return "Int64"
    return "float64" if types and types <= {int, float} else "object"


def _without_knobs(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("hardware", "workload")}
