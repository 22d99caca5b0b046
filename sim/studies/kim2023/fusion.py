"""LayerNorm and softmax fused with the products that compute their rows: Figures 21 and 22."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sim import simulate
from sim.studies.exhibit import Values

DOSA_BYTES_PER_CYCLE = 8
"""Bytes per cycle of the DRAM in the Timeloop description of Gemmini by some of the paper's authors.

The paper's is not published
(github.com/ucb-bar/dosa, dataset/hw/gemmini/arch/arch.yaml: shared_bandwidth 8, word-bits 8). There reads and writes
share this rate; here each has it.
"""

MEMORIES: tuple[dict[str, object], ...] = (
    {},
    {
        "memory.read_bytes_per_cycle": DOSA_BYTES_PER_CYCLE,
        "memory.write_bytes_per_cycle": DOSA_BYTES_PER_CYCLE,
    },
)
"""Changes to kim2023_tuned for each simulated column, besides the sizes of memories."""

SCRATCHPAD = "256KiB"
"""Scratchpad of section 5.5.2; 64 KiB in kim2023_tuned."""

SCORES = ("scores", "softmax")
OUTPUT = ("W_out", "layernorm1")
ATTENTION = ("matmul_Q", "matmul_K", "matmul_V", *SCORES, "context", *OUTPUT)
FFN = ("FF2", "layernorm2")

ROWS: tuple[tuple[str, tuple[str, ...], int, int], ...] = (
    ("Q x K and softmax", SCORES, 512, 128),
    ("Q x K and softmax", SCORES, 512, 256),
    ("Wout and LayerNorm", OUTPUT, 512, 128),
    ("Wout and LayerNorm", OUTPUT, 512, 256),
    ("MHA, both", ATTENTION, 512, 128),
    ("MHA, both", ATTENTION, 512, 256),
    ("Q x K and softmax", SCORES, 4096, 256),
    ("MHA, both", ATTENTION, 4096, 256),
    ("FFN W2 and LayerNorm", FFN, 512, 256),
    ("FFN W2 and LayerNorm", FFN, 4096, 256),
)
"""Name, operators of a layer, tokens, KiB of accumulator."""


def figures_21_22() -> Values:
    """Return the change of cycles by fusion for each group of operators, in %, for each memory."""
    return {
        f"{name}, l={tokens}, accumulator {kib} KiB": [
            _change(operators, tokens, kib, number) for number in range(len(MEMORIES))
        ]
        for name, operators, tokens, kib in ROWS
    }


def _change(operators: tuple[str, ...], tokens: int, kib: int, memory: int) -> float:
    apart, fused = (
        sum(rows.get(f"L0.{name}", 0) for name in operators)
        for rows in (_cycles(tokens, kib, memory, schedule) for schedule in ("unfused", "fused"))
    )
    return 100.0 * (fused / apart - 1.0)


@cache
def _cycles(tokens: int, kib: int, memory: int, schedule: str) -> Mapping[str, int]:
    """Return the cycles of each operator of one layer of BERT-base under a schedule."""
    sizes: dict[str, Any] = {"accumulator.capacity": f"{kib}KiB", "scratchpad.capacity": SCRATCHPAD}
    result = simulate(
        "bert-base", "kim2023_tuned", seq=tokens, layers=1, overrides={**sizes, **MEMORIES[memory]}, schedule=schedule
    )
    return {row["op"]: row["cycles"] for row in result.rows}
