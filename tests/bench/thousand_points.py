"""A sweep of 1,000 points: `python tests/bench/thousand_points.py --jobs 2` prints what it cost as JSON.

Array size x scratchpad x accumulator x bandwidth x latency of the BERT-base layer at 128 tokens, no timing known
before. ``rows_sha256`` is the digest of the table: the same for every number of workers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from typing import Any

import sim

GRID: dict[str, list[Any]] = {
    "array.mesh_rows+array.mesh_columns": [8, 16, 32, 64],
    "scratchpad.capacity": ["256KiB", "512KiB", "1MiB", "2MiB", "4MiB"],
    "accumulator.capacity": ["32KiB", "64KiB", "128KiB", "256KiB", "512KiB"],
    "memory.read_bytes_per_cycle+memory.write_bytes_per_cycle": [2, 4, 8, 12, 16],
    "memory.latency_cycles": [40, 200],
}


def measure(jobs: int, every: int) -> dict[str, Any]:
    """Run the sweep, or every ``every``-th point of it, on ``jobs`` workers and return what it cost."""
    start = time.perf_counter()
    shard = f"1/{every}" if every > 1 else None
    table = sim.sweep(
        "gemmini_ibert", grid=GRID, workloads="encoder-layer", sizes={"seq": 128}, jobs=jobs, shard=shard, cache=False
    )
    wall = time.perf_counter() - start
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "points": len(table),
        "failed": int(table["error"].notna().sum()),
        "jobs": jobs,
        "wall_s": round(wall, 1),
        "cpu_s": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 1),
        "peak_mib_of_a_process": round(max(own.ru_maxrss, children.ru_maxrss) / 1024),
        "rows_sha256": hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:16],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.jobs, chosen.every)))
