"""The first compilation of the room, on two cores: the loop here, the periodic clock's functions in another process.

Both write to the compile cache (numba renames whole files into place). Run as a module: compile the second part.
"""

import gc
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sim.base import notice
from sim.core import COMPILE_CACHE, PART, engine
from sim.core.folder import VARIABLE, cache_folder
from sim.core.jit import Entry, switched_off
from sim.core.machine import MACHINE
from sim.core.repeat import memo, stretch
from sim.core.units import tlb
from sim.core.units.dram.state import DTYPE as CHANNEL
from sim.core.units.reservation import TIMELINE
from sim.isa.commands import COMMAND

ROOT = Path(__file__).parents[2]

FEW_COLLECTIONS = (20_000, 10, 1000)
"""Thresholds of the garbage collector while numba compiles.

It creates millions of long-lived objects, and scanning all of them repeatedly takes a fifth of the time (32.0 s of CPU
to 25.6 for the loop; 18 MiB more).
"""


Wanted = list[tuple[Entry, tuple[Any, ...]]]
"""Functions, each with arguments of the types of its calls."""


def is_compiled() -> bool:
    """True if the code of this source can be loaded on this CPU (or compilation is switched off)."""
    return switched_off() or all(function.is_kept(*arguments) for function, arguments in wanted())


def wanted() -> Wanted:
    """Return all functions that a run may call."""
    return [*_loop(), *_periodic()]


def _loop() -> Wanted:
    """Return the loop with all units."""
    numbers = np.zeros(0, np.int64)
    uses = np.zeros(0, tlb.USE)
    channels = np.zeros(0, CHANNEL)
    times = np.zeros(0, TIMELINE)
    return [(engine.run, (_machine(), _program(), numbers, times, numbers, channels, uses, True))]


def _periodic() -> Wanted:
    """Return the functions that the periodic clock calls between stretches, and those between programs behind an L2."""
    numbers, uses, times = np.zeros(0, np.int64), np.zeros(0, tlb.USE), np.zeros(0, TIMELINE)
    machine, program = _machine(), _program()
    tlbs, runs, states, steps, pair = (
        np.zeros(2, one) for one in (tlb.DTYPE, memo.RUN, memo.STATE, memo.STEP, MACHINE)
    )
    held = (machine, numbers, numbers, program, tlbs, runs)
    known = (states, steps, uses, numbers, numbers, numbers, pair, pair.view(np.int64).reshape(2, -1))
    return [
        (stretch.go_on, (held, known, (numbers, times), (uses, numbers))),
        (stretch.next_stop, (program, 0, 0)),
        (stretch.end, (machine, runs, steps)),
        (engine.rest, (machine, numbers, np.zeros(0, CHANNEL))),
    ]


def _machine() -> np.ndarray:
    return np.zeros(1, MACHINE)


def _program() -> np.ndarray:
    return np.zeros(0, COMMAND)


def compile_all(functions: Wanted) -> None:
    """Compile functions, or load their code from the cache."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*FEW_COLLECTIONS)
    try:
        for function, arguments in functions:
            function.compile(*arguments)
    finally:
        gc.set_threshold(*thresholds)


@cache
def prepare(cores: int) -> None:
    """Compile the core unless its code is on disk, once per process; a second CPU core halves the time.

    Waits for another process that is compiling on this machine. An error here costs time only, as numba compiles
    functions that are not on disk.
    """
    if is_compiled():
        return
    with _alone():
        if is_compiled() or cores < 2 or not sys.executable:
            return
        notice.compiling(PART)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-P", "-m", "sim.core.compiling"]
        found = {"PYTHONPATH": path, VARIABLE: str(cache_folder().parent)}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            beside = subprocess.Popen(command, env={**os.environ, **found}, **quiet)
        except OSError:
            return
        try:
            compile_all(_loop())
            beside.wait()
        finally:
            beside.kill()
            beside.wait()


@contextmanager
def _alone():
    """Hold the lock of the compile cache, if the system has such locks; it is released when this process ends."""
    with ExitStack() as held:
        with suppress(ImportError, OSError):
            import fcntl

            lock = held.enter_context((COMPILE_CACHE / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    compile_all(_periodic())
