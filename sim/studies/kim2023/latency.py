"""Bytes and latency of whole networks: Table 5, Figures 9 and 32."""

from __future__ import annotations

from collections.abc import Mapping

from sim import simulate
from sim.studies.exhibit import Values
from sim.studies.kim2023.counts import LENGTHS, decode_step
from sim.studies.kim2023.memory import MEMORIES
from workloads import bert_base
from workloads.analysis import count

GPT_LENGTHS = (128, 512, 4096)
STEPS = 5
"""Decode steps simulated of each generation; cycles of a step grow almost in proportion to the cached length."""

PARTS = {
    "WQ, WK, WV": ("matmul_Q", "matmul_K", "matmul_V"),
    "Q x K": ("scores", "softmax"),
    "A x V": ("context",),
    "Wout": ("W_out",),
    "W1": ("FF1", "gelu"),
    "W2": ("FF2",),
}
"""Operators of one layer in each row of Table 5."""


def table_5() -> Values:
    """Return FLOPs over DMA bytes of each product and of the whole network."""
    found: dict[str, list[float | None]] = {}
    for length in (128, 512):
        graph = bert_base(length)
        flops = {op.name: count(op, graph).flops for op in graph.ops}
        result = simulate(graph, "gemmini_ibert", overrides={"accumulator.capacity": "128KiB"})
        moved = {row["op"]: row["dram_read_bytes"] + row["dram_write_bytes"] for row in result.rows}
        for part, names in PARTS.items():
            own = [f"L0.{name}" for name in names]
            size = sum(moved.get(name, 0) for name in own)
            found[f"l={length} {part}"] = [sum(flops.get(name, 0.0) for name in own) / size]
        found[f"l={length} total"] = [sum(flops.values()) / sum(moved.values())]
    return found


def figure_9() -> Values:
    """Return latencies of the CPU alone relative to BERT-base at 128 tokens."""
    return {name: [value] for name, value in _relative("rocket_only", {}).items()}


def figure_32() -> Values:
    """Return latencies of the accelerator relative to BERT-base at 128 tokens, for each memory."""
    columns = [_relative("kim2023_tuned", memory) for memory in MEMORIES]
    return {name: [column[name] for column in columns] for name in columns[0]}


def _relative(machine: str, overrides: Mapping[str, object]) -> dict[str, float]:
    cycles = {
        f"{name} l={length}": float(simulate(workload, machine, seq=length, overrides=overrides).cycles)
        for name, workload in (("BERT-base", "bert-base"), ("BERT-large", "bert-large"))
        for length in LENGTHS
    }
    for length in GPT_LENGTHS:
        cycles[f"GPT-2 l={length}"] = _generated(machine, overrides, length)
    unit = cycles["BERT-base l=128"]
    return {name: value / unit for name, value in cycles.items()}


def _generated(machine: str, overrides: Mapping[str, object], length: int) -> float:
    """Return the cycles of ``length`` decode steps from an empty cache, by the trapezoid rule over a few of them."""
    kept = [number * (length - 1) // (STEPS - 1) for number in range(STEPS)]
    steps = [simulate(decode_step(tokens), machine, overrides=overrides).cycles for tokens in kept]
    pairs = zip(kept, kept[1:], steps, steps[1:], strict=False)
    return sum((b - a) * (at_a + at_b) / 2 for a, b, at_a, at_b in pairs) + (steps[0] + steps[-1]) / 2
