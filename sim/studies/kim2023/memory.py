"""Scratchpad and accumulator re-balanced: Figure 13."""

from __future__ import annotations

from sim import simulate
from sim.studies.exhibit import Values

FITTED_BYTES_PER_CYCLE = 5
"""Bandwidth in bytes per cycle that gives Figure 13's small accumulator: fitted to that figure, not published."""

MEMORIES: tuple[dict[str, object], ...] = (
    {},
    {
        "memory.read_bytes_per_cycle": FITTED_BYTES_PER_CYCLE,
        "memory.write_bytes_per_cycle": FITTED_BYTES_PER_CYCLE,
    },
)
"""Changes to kim2023_tuned for each simulated column: nothing, and the fitted bandwidth."""

SIZES_KIB = (64, 128, 256)


def figure_13() -> Values:
    """Return the utilization of BERT-base's products in % for each pair of memories."""
    return {
        f"accumulator {acc} KiB, scratchpad {spad} KiB": [_utilization(acc, spad, memory) for memory in MEMORIES]
        for acc in SIZES_KIB
        for spad in SIZES_KIB
    }


def _utilization(acc: int, spad: int, memory: dict[str, object]) -> float:
    sizes = {"accumulator.capacity": f"{acc}KiB", "scratchpad.capacity": f"{spad}KiB"}
    result = simulate("bert-base", "kim2023_tuned", seq=512, overrides={**sizes, **memory})
    products = [row for row in result.rows if row["macs"]]
    slots: float = result.totals["peak_macs_per_cycle"] * sum(row["cycles"] for row in products)
    macs: int = sum(row["macs"] for row in products)
    return 100.0 * macs / slots
