"""Points on workers: simulating a point, distributing points, and repeating those whose worker died."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sim.base import workers
from sim.base.errors import CaratError, InputError
from sim.base.version import code_version
from sim.run.pipeline import run as run_case
from sim.sweeps.points import PointTask
from sim.timing import timer
from sim.timing.disk import Timings, default_timings
from sim.timing.memo import Memo

DIED = "WorkerDied: the process simulating this point died (killed, or out of memory)"

Outcome = tuple[dict[str, Any] | None, str | None]
"""(row, None) of a successful point, or (None, message)."""

Numbered = tuple[int, PointTask]
"""A task and its position in the sweep."""


@dataclass(frozen=True)
class Execution:
    """Executor of points: ``open`` gives an executor for some points, ``in_flight`` at a time.

    ``here``: on this computer; ``lost``: why no point can finish any more, else None.
    """

    open: Callable[[int], AbstractContextManager[Executor]]
    in_flight: int
    here: bool = False
    lost: Callable[[], str | None] = lambda: None


FEW_POINTS = 24
"""Largest sweep, in points, for which threads are faster than processes.

The compiled core releases the interpreter lock,
and starting two processes costs as much CPU as five points of an encoder layer."""


def local(jobs: int | None) -> Execution:
    """Return workers on this computer, ``jobs`` processes; None: one worker per core, threads for few points.

    Raises InputError for jobs < 1.
    """
    if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
        raise InputError(f"jobs: {jobs!r} worker processes; the rule is jobs >= 1 (nearest legal: 1)")
    count = workers.cores() if jobs is None else jobs

    @contextmanager
    def open_pool(points: int) -> Iterator[Executor]:
        if count > 1:
            timer.prepare()  # workers then load the compiled core from disk
        few = count == 1 or (jobs is None and points <= FEW_POINTS)
        number, left = min(count, points), threading.Event()
        pool: Executor
        if few:
            pool = ThreadPoolExecutor(number, initializer=timer.heed, initargs=(left,))
        else:
            pool = workers.pool(number, workers.follow_parent)
        try:
            yield pool
        finally:
            left.set()
            pool.shutdown(wait=True, cancel_futures=True)

    return Execution(open_pool, 2 * count, here=True)


_OWN = threading.local()
"""One memo per worker (process, or thread of a cluster's worker): points of a sweep share programs."""


def simulate_task(task: PointTask, cache: bool | Path, threads: int | None = 1) -> dict[str, Any]:
    """Simulate one point and return its totals; runs in a worker.

    ``cache``: a folder of timings, True = the user's, False = none. ``threads``: one, as the workers of a sweep share
    the cores; None = one per core.
    """
    if code_version() != task.version:
        raise CaratError(f"this worker runs version {code_version()}, the sweep was started by {task.version}")
    if getattr(_OWN, "cache", None) != cache:
        disk = Timings(cache) if isinstance(cache, Path) else default_timings() if cache else None
        _OWN.memo, _OWN.cache = Memo(disk), cache
    result = run_case(task.case, _OWN.memo, threads=threads)
    return {**result.totals, "version": task.version, "error": None}


def outcome(task: PointTask, cache: bool | Path, threads: int | None = 1) -> Outcome:
    """Return (row, None), or (None, message) when the input is refused or the machine hangs; runs in a worker."""
    try:
        return simulate_task(task, cache, threads), None
    except CaratError as error:
        return None, f"{type(error).__name__}: {error}"


class Todo:
    """Points in order, made from ``points`` (at most ``most``) when they are needed: resolving one takes time."""

    def __init__(self, points: Iterable[Numbered], most: int):
        self.most = most
        self._points = iter(points)
        self._next: list[Numbered] = []

    def first(self) -> Numbered | None:
        """Return the next point without removing it; None after the last."""
        if not self._next:
            self._next = list(islice(self._points, 1))
        return self._next[0] if self._next else None

    def drop(self) -> None:
        """Remove the next point."""
        self._next.clear()


def run(todo: Todo, place: Execution, cache: bool) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """Yield (position, row, whether to keep the row) as points finish.

    When a worker process dies (killed, out of memory) the points in flight are each tried again alone, and one that
    kills its worker again gets a row with that error. Only refusals and hangs, which depend on the input alone, are
    kept: resuming tries any other failure again. Without ``cache``, workers on this computer share timings during the
    sweep.
    """
    with ExitStack() as until_the_end:
        shared: bool | Path = cache
        if place.here and not cache:
            with suppress(OSError):
                shared = Path(until_the_end.enter_context(TemporaryDirectory(prefix="carat-")))
        yield from _settle_all(todo, place, shared)


def _settle_all(todo: Todo, place: Execution, cache: bool | Path) -> Iterator[tuple[int, dict[str, Any], bool]]:
    while todo.first() is not None:
        suspects: list[Numbered] = []
        for number, task, future in _futures(todo, place, cache):
            if isinstance(_failure(future), BrokenProcessPool):
                suspects.append((number, task))
            else:
                yield number, *_settled(future)
        for suspect in suspects:
            for number, _, future in _futures(Todo([suspect], 1), place, cache):
                yield number, *_settled(future)


def _failure(future: Future[Outcome]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:  # the cluster has given it up
        return error


def _settled(future: Future[Outcome]) -> tuple[dict[str, Any], bool]:
    failure = _failure(future)
    if failure is None:
        row, error = future.result()
        if row is not None:
            return row, True
        return {"error": error}, not str(error).startswith(f"{CaratError.__name__}:")
    if isinstance(failure, BrokenProcessPool) or type(failure).__name__ == "KilledWorker":
        return {"error": DIED}, False
    return {"error": f"{type(failure).__name__}: {failure}"}, False


LOOK_S = 5.0
"""Seconds without a finished point after which the cluster is checked."""


def _refuse_lost(place: Execution) -> None:
    reason = place.lost()
    if reason is not None:
        raise CaratError(f"{reason}; with --store finished points are kept, and the same sweep continues from there")


def _futures(todo: Todo, place: Execution, cache: bool | Path) -> Iterator[tuple[int, PointTask, Future[Outcome]]]:
    """Take points from ``todo``, a few per worker in flight, and yield them finished; stops taking when a
    worker process died.

    Points that have not begun are cancelled when the caller stops early (interrupt, full disk).
    """
    with place.open(todo.most) as pool:
        pending: dict[Future[Outcome], Numbered] = {}
        broken = False
        while True:
            while not broken and len(pending) < place.in_flight and (point := todo.first()) is not None:
                try:
                    future = pool.submit(outcome, point[1], cache)
                except BrokenProcessPool:
                    broken = True
                except Exception:  # any exception that a cluster's client raises after its scheduler has ended
                    _refuse_lost(place)
                    raise
                else:
                    pending[future] = point
                    todo.drop()
            if not pending:
                return
            done, _ = wait(pending, LOOK_S, FIRST_COMPLETED)
            if not done or any(isinstance(_failure(future), CancelledError) for future in done):
                _refuse_lost(place)
            broken |= any(isinstance(_failure(future), BrokenProcessPool) for future in done)
            for future in sorted(done, key=lambda finished: pending[finished][0]):
                yield (*pending.pop(future), future)
