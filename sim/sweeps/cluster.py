"""The points of a sweep on a dask.distributed cluster (extra ``cluster``)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.sweeps.execution import Execution

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 30
"""Seconds to wait for a scheduler, and for its first worker."""


@contextmanager
def cluster(scheduler: str | Client) -> Iterator[Execution]:
    """Connect to a dask.distributed scheduler (an address, or a Client, which stays open) inside this context.

    Dask itself gives a dead worker's points to others. Raises InputError if the extra, a scheduler at the address or a
    worker is missing.
    """
    client = _connected(scheduler) if isinstance(scheduler, str) else scheduler
    try:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError as error:
            message = f"scheduler {scheduler}: no worker within {CONNECT_S} s; start one: dask worker ADDRESS"
            raise InputError(message) from error

        @contextmanager
        def open_executor(points: int) -> Iterator[Executor]:
            executor = client.get_executor(pure=False)
            try:
                yield executor
            finally:
                executor.shutdown(wait=False)  # cancels running points when the sweep ends early

        in_flight = 2 * max(1, sum(client.nthreads().values()))
        yield Execution(open_executor, in_flight, lost=lambda: _lost(client, str(scheduler)))
    finally:
        if isinstance(scheduler, str):
            client.close()


def _lost(client: Client, scheduler: str) -> str | None:
    """Return why the scheduler no longer answers, None while it does."""
    if client.status == "running":
        return None
    return f"scheduler {scheduler}: the connection is lost (the scheduler ended, or the network did)"


def _connected(address: str) -> Any:
    try:
        import distributed  # an extra
    except ImportError as error:
        raise InputError("a cluster needs dask: pip install 'dask[distributed]'") from error
    try:
        return distributed.Client(address, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(f"scheduler {address}: cannot be reached ({error}); e.g. tcp://host:8786") from error
