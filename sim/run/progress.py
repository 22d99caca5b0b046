"""Progress of a long call: nothing for two seconds, then a bar on a terminal, elsewhere lines at growing intervals."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import NoneType

from sim.base import notice
from sim.base.errors import demand

Progress = Callable[[int, int, str], None]
"""Called before each part with (parts done, parts in all, name of the next), and at the end."""

PATIENCE_S = 2.0
"""Seconds: a shorter call shows nothing."""
LONGEST_PAUSE_S = 60.0
"""Seconds between two lines; pauses double from `PATIENCE_S` up to this."""


def silent(_done: int, _total: int, _label: str) -> None:
    """Show nothing."""


@contextmanager
def shown(what: str, requested: Progress | bool | None = None, *, lines: bool = True) -> Iterator[Progress]:
    """Yield a callback that shows progress on stderr, or the caller's own (``requested``); False shows nothing.

    ``lines``: whether a stderr that is no terminal (a log, a notebook) gets lines. Unless nothing is to be shown, each
    part that is compiled meanwhile is announced.
    """
    if not callable(requested):
        demand("progress", requested, (bool, NoneType), "a function of (done, total, label), True, False or None")
    if callable(requested):
        yield requested
    elif requested is False:
        yield silent
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar(what) as update, announced():
            yield update
    else:
        with announced():
            yield _Lines(what) if lines else silent


class _Lines:
    """Lines of progress at growing intervals."""

    def __init__(self, what: str) -> None:
        self.what, self.began, self.pause_s = what, time.monotonic(), PATIENCE_S
        self.due = self.began + PATIENCE_S

    def __call__(self, done: int, total: int, label: str) -> None:
        now = time.monotonic()
        if now < self.due or sys.stderr is None:
            return
        at = f", {label}" if label else ""
        sys.stderr.write(f"carat: {self.what}: {done:,} of {total:,}{at} ({now - self.began:.0f} s)\n")
        sys.stderr.flush()
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)
        self.due = now + self.pause_s


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    from rich.console import Console  # only at a terminal
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    look = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Bar(*look, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    timer = threading.Timer(PATIENCE_S, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done, total, label: bar.update(task, completed=done, total=total, description=label or what)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()


PARTS = {
    "core": "the timing core, one to two minutes on two cores",
    "lower": "the lowering of products with zeros",
    "functional": "the executor",
    "trace": "timelines",
}
"""Names of rooms being compiled (`sim.core.jit.Room`)."""


def announced() -> AbstractContextManager[None]:
    """Return a context in which each part that is compiled is announced on stderr, once."""
    said: set[str] = set()

    def say(part: str) -> None:
        if part not in said and sys.stderr is not None:
            said.add(part)
            sys.stderr.write(f"carat: compiling {PARTS[part]} (once per installation or change) ...\n")
            sys.stderr.flush()

    return notice.heard_by(say)
