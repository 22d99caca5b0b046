"""Sparse runs beside the dense one of the same process: `python tests/bench/sparse.py` prints CPU seconds as JSON.

One encoder layer, every program anew; dense and sparse in turns, the best of three each. Commands lowered: counters.py.
"""

from __future__ import annotations

import json
import time

from counters import LAYER, SPARSE

import sim
import workloads
from sim import hardware

MAX_RATIO_TO_DENSE = 4.0
"""Bar of the issue "fast everywhere": no pattern takes more than this many times the dense run."""


def cpu_seconds(line: str | None, hw: hardware.Hardware) -> float:
    """CPU time of one encoder layer."""
    begun = time.process_time()
    sim.simulate(workloads.build("encoder-layer", **LAYER), hw, sparsity=line, cache=False, threads=1)
    return time.process_time() - begun


def beside_dense(line: str) -> dict[str, float]:
    """CPU seconds of the layer dense and under a pattern, and their ratio."""
    hw = hardware.load(SPARSE[line])
    cpu_seconds(line, hw)  # loads what is compiled
    turns = [(cpu_seconds(None, hw), cpu_seconds(line, hw)) for _ in range(3)]
    dense, sparse = min(dense for dense, _ in turns), min(sparse for _, sparse in turns)
    return {"dense_cpu_s": dense, "cpu_s": sparse, "times_dense": sparse / dense}


if __name__ == "__main__":
    for line in SPARSE:
        print(json.dumps({"sparsity": line, "machine": SPARSE[line], **beside_dense(line)}), flush=True)
