"""Notice of a compilation: sent by code that finds nothing to load, shown by the progress display."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

_listeners: list[Listener] = []


def compiling(part: str) -> None:
    """Notify the innermost listener that a function of ``part`` is compiled; without a listener nothing happens."""
    if _listeners:
        _listeners[-1](part)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Call ``listener`` for each compilation in any thread of this process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
