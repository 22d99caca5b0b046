"""The same sweep on a dask.distributed cluster: real worker processes, one of them killed half-way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import distributed
import pytest

import sim
from sim.base.errors import InputError
from sim.sweeps import cluster as cluster_module

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}
LATENCIES = list(range(20, 140, 10))

pytestmark = pytest.mark.filterwarnings("ignore")  # of dask's own making: sockets closed late when workers are killed


def points(**where: Any) -> Any:
    return sim.sweep(
        "gemmini_ibert", grid={"memory.latency_cycles": LATENCIES}, workloads="encoder-layer", sizes=TINY, **where
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """A scheduler and two worker processes of one thread on this machine, no dashboard."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as local:
        yield local


def test_cluster_gives_the_same_rows_though_a_worker_is_killed(workers: Any) -> None:
    """By address and by Client. The victim is killed once four points are done; the sweep ends complete."""
    alone = points(jobs=1)
    with distributed.Client(workers) as client:
        pids = client.run(os.getpid)
        killed = []

        def kill_one(done: int, total: int, label: str) -> None:
            if done == 4 and not killed:
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        assert points(scheduler=client, progress=kill_one).equals(alone)
        assert killed and killed[0] not in client.run(os.getpid).values()
        assert client.status == "running", "a Client that is lent stays open"
    assert points(scheduler=workers.scheduler_address).equals(alone)


def test_cluster_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_S", 0.2)
    with pytest.raises(InputError, match=r"scheduler tcp://127\.0\.0\.1:1: cannot be reached"):
        points(scheduler="tcp://127.0.0.1:1")


def test_cluster_and_jobs_exclude_each_other() -> None:
    with pytest.raises(InputError, match="jobs and scheduler exclude each other"):
        points(scheduler="tcp://127.0.0.1:1", jobs=2)
