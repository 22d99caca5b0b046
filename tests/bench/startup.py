"""Start-up: `python tests/bench/startup.py` prints the wall seconds of commands in processes of their own as JSON.

``--first`` also times the first run ever, with compilation, in a cache folder of its own.
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
ROUNDS = 5


def seconds(*arguments: str, cache: str | None = None) -> float:
    """Wall seconds of one command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if cache is not None:
        environment["CARAT_CACHE_DIR"] = cache
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sim", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(first: bool) -> dict[str, float]:
    """Return the best of several rounds of each command; the first run once."""
    seconds("run", "bert-base")
    known = {
        "help_s": min(seconds("--help") for _ in range(ROUNDS)),
        "run_bert_base_s": min(seconds("run", "bert-base", "--no-cache") for _ in range(ROUNDS)),
        "run_bert_base_cached_s": min(seconds("run", "bert-base") for _ in range(ROUNDS)),
    }
    if first:
        with tempfile.TemporaryDirectory() as folder:
            known["first_run_s"] = seconds("run", "bert-base", cache=folder)
    return {name: round(value, 2) for name, value in known.items()}


if __name__ == "__main__":
    print(json.dumps(measure("--first" in sys.argv[1:])))
