"""Attention other than full: hashed attention of Reformer."""

from __future__ import annotations

from typing import Any

from sim import simulate
from sim.studies.exhibit import Values
from workloads import build, encoder_layer

MACHINE = "gemmini_ibert"
TOKENS = (2048, 4096, 8192)
HASHED = "L2."
"""The first hashed layer of three; the two before it are local."""
SIZES: dict[str, Any] = {"hidden": 1024, "heads": 8, "ffn": 4096}
"""Of a layer of reformer-enwik8 with full attention instead."""
FULL = ("scores", "softmax", "context")
AROUND = ("norm", "matmul", "W_out", "FF", "residual")
"""Beginnings of the operators of a hashed layer that are not its attention."""


def hashed() -> Values:
    """Return full attention over hashed attention of one layer: multiply-accumulates, cycles of the array, and all."""
    found: dict[str, list[float | None]] = {}
    for tokens in TOKENS:
        network = simulate(build("reformer-enwik8", seq=tokens, layers=3), MACHINE)
        own = [row for row in network.rows if row["op"].startswith(HASHED)]
        attention = [row for row in own if not row["op"].removeprefix(HASHED).startswith(AROUND)]
        layer = simulate(encoder_layer(seq=tokens, **SIZES), MACHINE)
        full = [row for row in layer.rows if row["op"].split(".")[1] in FULL]
        cycles = sum(row["cycles"] for row in full)
        on_array = sum(row["cycles"] for row in attention if row["engine"] == "array")
        found[f"{tokens:,} tokens"] = [
            sum(row["macs"] for row in full) / sum(row["macs"] for row in attention),
            cycles / on_array,
            cycles / sum(row["cycles"] for row in attention),
        ]
    return found
