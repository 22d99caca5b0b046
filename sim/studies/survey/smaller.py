"""Smaller networks, larger arrays and decoding."""

from __future__ import annotations

from sim import simulate
from sim.studies.exhibit import Values
from workloads import NETWORKS, bert_base, distilbert
from workloads.analysis import analyse

MACHINE = "gemmini_ibert"
BATCH = 64
CACHED = 1024


def distilled() -> Values:
    """Return BERT-base over DistilBERT: weights of the layers, and latency."""
    base, small = bert_base(128), distilbert(128)
    return {
        "weights of the layers": [base.parameters / small.parameters],
        "latency": [simulate(base, MACHINE).cycles / simulate(small, MACHINE).cycles],
    }


def blocks() -> Values:
    """Return how many times faster BERT-base is with 26 % of its blocks of 32."""
    dense, sparse = (simulate("bert-base", MACHINE, seq=128, sparsity=s) for s in ("dense", "block32:0.26"))
    return {"BERT-base": [dense.cycles / sparse.cycles]}


def heads() -> Values:
    """Return how many times faster BERT-base is with half of its heads, at batch 64."""
    dense, pruned = (simulate("bert-base", MACHINE, seq=128, batch=BATCH, prune=p) for p in (None, "heads=6"))
    return {"6 of 12 heads": [dense.cycles / pruned.cycles]}


def arrays() -> Values:
    """Return how many times faster ViT-base is on a 128x128 array than on a 32x32."""
    memories: dict[str, object] = {
        "scratchpad.capacity": "1MiB",
        "accumulator.capacity": "1MiB",
        "dma.bus_bytes": 64,
        "memory.read_bytes_per_cycle": 64,
        "memory.write_bytes_per_cycle": 64,
    }
    small, large = (
        simulate("vit-base", MACHINE, overrides={**memories, "array.mesh_rows": n, "array.mesh_columns": n}).cycles
        for n in (32, 128)
    )
    return {"ViT-base": [small / large]}


def decoding() -> Values:
    """Return FLOPs over moved bytes of one decode step of GPT-2."""
    graph = NETWORKS["gpt2"](phase="decode", seq=1, kv=CACHED, head=False)
    totals = simulate(graph, MACHINE).totals
    flops = analyse(graph)["total"].flops
    return {"GPT-2": [flops / (totals["dram_read_bytes"] + totals["dram_write_bytes"])]}
