"""Notice of a compilation: given by the code that finds nothing to load, shown where progress is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

_listeners: list[Listener] = []


def compiling(part: str) -> None:
    """Tell the innermost listener that a function of ``part`` is compiled; without one nothing happens."""
    if _listeners:
        _listeners[-1](part)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Call ``listener`` for each compilation of this process, whichever thread compiles."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
