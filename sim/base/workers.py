"""Cores that may be used, and worker processes that do not run the calling script.

Python's "spawn" start method runs the calling script again in every worker, so a plain script without the
``if __name__ == "__main__"`` guard would start its sweep recursively. Our workers only call functions of importable
modules; they are started with an empty main module in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from math import ceil
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
"""Folder in which Linux mounts control groups, and the file that names those of this process (cgroups(7))."""


@cache
def cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    The smaller of its affinity (`sched_setaffinity`) and the CPU quota of the container it runs in, rounded up.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(ceil(quota) for quota in _quotas(CGROUPS, OWN_CGROUPS))]))


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """Yield the CPU quotas, in cores, of this process's control groups and their parents (version 2, then 1)."""
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return
    for _, controllers, group in (line for line in lines if len(line) == 3):
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [root / controllers, root / "cpu"] if controllers else [root, root / "unified"]
        parts = [part for part in group.split("/") if part not in ("", "..")]
        for mount in mounts:
            for depth in range(len(parts), -1, -1):
                quota = _quota(mount.joinpath(*parts[:depth]), 1 if controllers else 2)
                if quota is not None:
                    yield quota


def _quota(folder: Path, version: int) -> float | None:
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        words = " ".join((folder / name).read_text(encoding="ascii") for name in names).split()
        quota, period = float(words[0]), float(words[1])  # "max" and -1: no limit
    except (OSError, ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None


SAFE_PATH = "PYTHONSAFEPATH"
"""Environment variable: Python does not put the current folder first on its path."""


class Worker(SpawnProcess):
    """A spawned process that does not import the caller's script, nor modules that lie in the current folder."""

    def start(self) -> None:
        """Start with an empty ``__main__`` in place of the caller's, and without the current folder on the path."""
        caller = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            with safe_path():
                super().start()
        finally:
            sys.modules["__main__"] = caller


@contextmanager
def safe_path() -> Iterator[None]:
    """Start processes inside this context without the current folder on their path: none of its files is imported."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


class _Context(SpawnContext):
    Process = Worker


def pool(jobs: int, initializer: Callable[[], Any] | None = None) -> ProcessPoolExecutor:
    """Return an executor of ``jobs`` spawned processes: safe with compiled code, the same on every system."""
    with safe_path():
        resource_tracker.ensure_running()  # a process too, which the first queue would start later
    return ProcessPoolExecutor(jobs, mp_context=_Context(), initializer=initializer)


def follow_parent() -> None:
    """Ignore Ctrl-C, which the parent handles, and end when the parent ends or is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()
