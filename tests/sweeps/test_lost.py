"""A cluster whose scheduler is gone is noticed, and nothing waits for its points for ever."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from sim.base.errors import CaratError
from sim.sweeps import execution
from sim.sweeps.cluster import _lost
from sim.sweeps.execution import Execution, Todo, run

TASKS: list[Any] = [(0, None), (1, None)]


class Gone(Executor):
    """Takes points and never finishes one, cancels them, or takes none."""

    def __init__(self, how: str) -> None:
        self.how = how

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        if self.how == "refuses":
            raise RuntimeError("client closed")
        future: Future[Any] = Future()
        if self.how == "cancels":
            future.set_exception(CancelledError())
        return future


def place(how: str) -> Execution:
    @contextmanager
    def opened(_: int) -> Iterator[Executor]:
        yield Gone(how)

    return Execution(opened, 2, lost=lambda: "scheduler tcp://there:8786: the connection is lost")


@pytest.mark.parametrize("how", ["waits", "cancels", "refuses"])
def test_a_lost_scheduler_ends_the_sweep_with_a_message(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "LOOK_S", 0.01)
    with pytest.raises(CaratError, match=r"there:8786: the connection is lost.*--store"):
        list(run(Todo(iter(TASKS), 2), place(how), False))


def test_a_client_is_lost_when_it_no_longer_runs() -> None:
    states = {
        status: _lost(SimpleNamespace(status=status), "tcp://a") for status in ("running", "connecting", "closed")
    }
    assert states["running"] is None and all(states[status] for status in ("connecting", "closed"))
