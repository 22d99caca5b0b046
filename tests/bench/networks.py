"""Whole networks from nothing known: `python tests/bench/networks.py gpt2-xl` prints wall s, CPU s, peak MiB as JSON.

A process of its own for each network, so that its memory is its own; the timing core is compiled (and one small
run done) before the clock starts, no timing is on disk or in memory.
"""

from __future__ import annotations

import os
import resource
import time
from typing import Any

os.environ["CARAT_CACHE_MIB"] = "0"

import apart

import sim

WARM_UP: dict[str, Any] = {"seq": 128, "hidden": 256, "heads": 4, "ffn": 1024}
"""Large enough for the periodic clock to be loaded from disk, and of no program that the networks have."""

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "encoder-layer": ("encoder-layer", {"seq": 128, "hidden": 768, "heads": 12, "ffn": 3072}),
    "bert-base-512": ("bert-base", {"seq": 512}),
    # Sizes of GPT-2 XL (1.5 B parameters) and LLaMA-7B. Stacks of encoder layers: every product of the prefill at its
    # full size, no causal mask, two feed-forward matrices.
    "gpt2-xl": ("encoder-layer", {"seq": 1024, "hidden": 1600, "heads": 25, "ffn": 6400, "layers": 48}),
    "llama-7b": ("encoder-layer", {"seq": 2048, "hidden": 4096, "heads": 32, "ffn": 11008, "layers": 32}),
}


def measure(name: str) -> dict[str, Any]:
    """Simulate a network once and return what it cost."""
    workload, sizes = NETWORKS[name]
    sim.simulate("encoder-layer", "gemmini_ibert", **WARM_UP)
    wall, cpu = time.perf_counter(), time.process_time()
    result = sim.simulate(workload, "gemmini_ibert", **sizes)
    return {
        "network": name,
        "wall_s": round(time.perf_counter() - wall, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "cycles": result.cycles,
        "distinct": result.totals["distinct"],
        "invocations": result.totals["invocations"],
    }


if __name__ == "__main__":
    apart.main(__file__, NETWORKS, measure)
