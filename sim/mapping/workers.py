"""Run tasks in this process, or spread over worker processes; results come in the order of the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypedDict

from sim.base import workers
from sim.base.errors import CaratError, InputError
from sim.mapping.journal import Journal
from sim.mapping.measure import Answer, MeasureTask


class Workers:
    """A pool of ``jobs`` processes, started when first needed; use as a context."""

    def __init__(self, jobs: int = 1):
        if jobs < 1:
            raise InputError(f"jobs: {jobs} worker processes; the rule is jobs >= 1 (nearest legal: 1)")
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def run(self, tasks: Sequence[MeasureTask]) -> list[Answer]:
        """Return the results in the order of ``tasks``."""
        if self.jobs == 1 or len(tasks) == 1:
            return [task.run() for task in tasks]
        if self._pool is None:
            self._pool = workers.pool(self.jobs, workers.follow_parent)
        try:
            return list(self._pool.map(MeasureTask.run, tasks))
        except BrokenProcessPool as error:
            raise CaratError(
                "a worker process died (killed, or out of memory); finished batches are kept in the store: run the "
                "same search again to continue"
            ) from error

    def close(self) -> None:
        """End the processes; tasks that have not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Shared(TypedDict, total=False):
    """Resources shared by several searches: worker processes, and a journal of finished batches to resume from."""

    workers: Workers | None
    journal: Journal | None
