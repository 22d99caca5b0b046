"""Worker processes that need nothing of the script that asked for them.

Python's "spawn" start method runs the calling script again in every worker, so a plain script without the
``if __name__ == "__main__"`` guard would start its sweep over and over. Our workers only ever call functions of
importable modules; they are started with an empty main module in its place.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any


class Worker(SpawnProcess):
    """A spawned process that does not import the caller's script."""

    def start(self) -> None:
        """Start with an empty ``__main__`` in place of the caller's."""
        caller = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = caller


class _Context(SpawnContext):
    Process = Worker


def pool(jobs: int, initializer: Callable[[], Any] | None = None) -> ProcessPoolExecutor:
    """Return an executor of ``jobs`` spawned processes: safe beside compiled code, the same on every system."""
    return ProcessPoolExecutor(jobs, mp_context=_Context(), initializer=initializer)
