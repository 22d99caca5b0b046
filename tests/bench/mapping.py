"""The two bars of the mapping search: `python tests/bench/mapping.py --jobs 2` prints wall and CPU seconds as JSON.

All distinct operators of BERT-base at 128 tokens (bar: 60 s on two cores) and a 1x4096x4096 product (bar: 30 s); the
core compiled, nothing known before.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import workloads
from sim import hardware
from sim.graph import Graph
from sim.lower import build
from sim.mapping import search
from sim.mapping.maps import Searched, find


def bert_base(jobs: int) -> dict[str, Any]:
    """Search every distinct operator, and simulate the whole run with what was found."""
    graph: Graph = workloads.build("bert-base", seq=128)
    maps = find(Searched(graph, hardware.load("gemmini_ibert")), jobs=jobs)
    return {"searched": "bert-base, 128 tokens", "operators": len(maps.entries)}


def decode(jobs: int) -> dict[str, Any]:
    """Search the product of one token with a weight matrix of 16 MiB."""
    found = search(build.matmul(1, 4096, 4096), hardware.load("gemmini_default"), jobs=jobs)
    return {
        "searched": "1x4096x4096",
        "library_cycles": found.library.cycles,
        "found_cycles": found.best.cycles,
        "tile": str(found.mapping),
    }


def timed(what: Callable[[int], dict[str, Any]], jobs: int) -> dict[str, Any]:
    """Add wall and CPU seconds (of the workers too) to what a search returns."""
    before, start = os.times(), time.perf_counter()
    result = what(jobs)
    wall, after = time.perf_counter() - start, os.times()
    return {**result, "jobs": jobs, "wall_s": round(wall, 1), "cpu_s": round(sum(after[:4]) - sum(before[:4]), 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    search(build.matmul(16, 16, 16), hardware.load("gemmini_default"))  # compiles, or loads what was compiled
    for what in (bert_base, decode):
        print(json.dumps(timed(what, chosen.jobs)), flush=True)
