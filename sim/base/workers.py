"""Worker processes that need nothing of the script that asked for them.

Python's "spawn" start method runs the calling script again in every worker, so a plain script without the
``if __name__ == "__main__"`` guard would start its sweep over and over. Our workers only ever call functions of
importable modules; they are started with an empty main module in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
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


def follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it: nobody else would end a worker whose parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()
