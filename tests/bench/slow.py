"""What is slower than dense networks: `python tests/bench/slow.py [NAME ...]` prints CPU seconds as JSON.

Each run is of programs that are all new, in a process of its own, one thread: cycles of distinct programs per CPU
second, that speed as a share of a dense layer's in the same process (``of_dense``), and CPU seconds beside those of a
run that the issue compares it with (``times``).
"""

from __future__ import annotations

import os
import time
from typing import Any

os.environ["CARAT_CACHE_MIB"] = "0"

import apart

import sim
import workloads
from sim import hardware
from sim.timing.memo import Memo
from sim.trace.profile import profile

LAYER = {"seq": 128, "hidden": 768, "heads": 12, "ffn": 3072}
GPT2_STEP = {"phase": "decode", "kv": 1024}
LONG = {**LAYER, "seq": 32768, "hidden": 256, "heads": 4, "ffn": 1024}  # 12 heads have too many scores for a tensor

Case = tuple[str, str, dict[str, Any], dict[str, Any]]
"""Workload, machine, changes to it, sizes."""

DENSE: Case = ("encoder-layer", "gemmini_ibert", {}, LAYER)
RUNS: dict[str, tuple[float, Case, Case | None]] = {
    "behind an L2": (15, ("encoder-layer", "gemmini_l2", {}, LAYER), None),
    "decode behind 1,024 tokens": (30, ("gpt2", "gemmini_ibert", {}, GPT2_STEP), None),
    "timelines of a layer": (20, DENSE, DENSE),
    "515 tokens": (25, (*DENSE[:3], {**LAYER, "seq": 515}), (*DENSE[:3], {**LAYER, "seq": 512})),
    "3 B/cycle": (25, (*DENSE[:2], {"memory.read_bytes_per_cycle": 3}, LAYER), None),
    "64 in flight": (25, (DENSE[0], "gemmini_inflight64", {}, LAYER), None),
    "32-byte DMA": (25, (DENSE[0], "gemmini_dma32", {}, LAYER), None),
    "resnet50": (40, ("resnet50", "gemmini_default", {}, {}), None),
    "32,768 tokens": (40, (*DENSE[:3], LONG), None),
}
"""Name -> bar in millions of cycles of distinct programs per CPU second, the run, and what it is compared with."""

TIMELINES = "timelines of a layer"

GENERATION = "gpt2, a prompt of 1,024 tokens and 128 more"
MAX_GENERATION_S = 10
"""Bar of a generation in CPU seconds: its steps share programs, so that their cycles say little."""


def cost(case: Case, timelines: bool = False) -> tuple[float, int]:
    """Return the CPU seconds of a run, and the cycles of its distinct programs. ``timelines``: also of its profile."""
    workload, machine, changes, sizes = case
    graph, hw, memo = workloads.build(workload, **sizes), hardware.load(machine, changes), Memo()
    begun = time.process_time()
    result = sim.simulate(graph, hw, memo=memo, threads=1)
    if timelines:
        profile(result)
    spent = time.process_time() - begun
    if not memo.cycles:  # behind an L2 no program is like another
        return spent, int(result.ops.loc[result.ops["engine"] == "array", "cycles"].sum())
    return spent, memo.cycles


def measure(name: str) -> dict[str, Any]:
    """Measure one, after a small run that loads what is compiled."""
    cost((*DENSE[:3], {"seq": 64, "hidden": 128, "heads": 2, "ffn": 256}))
    dense_s, dense_cycles = min(cost(DENSE) for _ in range(2))
    if name == GENERATION:
        begun = time.process_time()
        sim.generate("gpt2", "gemmini_ibert", seq=1024, tokens=128, memo=Memo(), cache=False)
        spent = time.process_time() - begun
        return {"run": name, "cpu_s": round(spent, 2), "bar_s": MAX_GENERATION_S, "layers": round(spent / dense_s, 1)}
    bar, case, beside = RUNS[name]
    spent, cycles = cost(case, timelines=name == TIMELINES)
    found = {"run": name, "cpu_s": round(spent, 2), "mcycles_per_cpu_s": round(cycles / spent / 1e6, 1), "bar": bar}
    found |= {"layers": round(spent / dense_s, 1), "of_dense": round(cycles / spent / (dense_cycles / dense_s), 2)}
    if beside is not None:
        found["times"] = round(spent / cost(beside)[0], 2)
    return found


if __name__ == "__main__":
    apart.main(__file__, (*RUNS, GENERATION), measure)
