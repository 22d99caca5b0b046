"""Whole processes: `python tests/bench/startup.py` prints what commands cost as JSON, imports and all.

Wall and CPU seconds and peak memory of the process and those it starts, the best of several rounds. ``--first`` also
times the first run ever, with compilation, in a cache folder of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROUNDS = 3


COMMANDS = {
    "carat --help": ["--help"],
    "carat run bert-base": ["run", "bert-base"],
    "carat run bert-base --no-cache": ["run", "bert-base", "--no-cache"],
    "carat run encoder-layer --no-cache": ["run", "encoder-layer", "--no-cache"],
    "carat run bert-base --sparsity block16:0.5": ["run", "bert-base", "--sparsity", "block16:0.5"],
    "carat run bert-base --sparsity block16:0.5 --no-cache": [
        "run", "bert-base", "--sparsity", "block16:0.5", "--no-cache",
    ],
}  # fmt: skip
"""The core is compiled; without ``--no-cache`` all timings are on disk."""


def cost(*arguments: str, cache: str | None = None) -> dict[str, float]:
    """Wall and CPU seconds and peak MiB of one command."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("PYTHONDONTWRITEBYTECODE", "CARAT_CACHE_MIB"):  # an installation has its bytecode and its timings
        settings.pop(name, None)
    if cache is not None:
        settings["CARAT_CACHE_DIR"] = cache
    start = time.perf_counter()
    command = [sys.executable, "-m", "sim", *arguments]
    started = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"carat {' '.join(arguments)}: exit code {started.returncode}")
    wall = time.perf_counter() - start
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}


def measure(first: bool) -> dict[str, dict[str, float]]:
    """Return the best of several rounds of each command; the first run once."""
    known = {}
    for name, arguments in COMMANDS.items():
        cost(*arguments)
        rounds = [cost(*arguments) for _ in range(ROUNDS)]
        known[name] = {part: min(one[part] for one in rounds) for part in rounds[0]}
    if first:
        with tempfile.TemporaryDirectory() as folder:
            known["the first run ever, with compilation"] = cost("run", "bert-base", cache=folder)
    return {name: {part: round(value, 2) for part, value in parts.items()} for name, parts in known.items()}


if __name__ == "__main__":
    for name, parts in measure("--first" in sys.argv[1:]).items():
        print(json.dumps({"command": name, **parts}))
