"""Operators that the host runs instead of the array, by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.graph import Graph
from sim.plan.step import Step


def fallbacks(
    graph: Graph, steps: Sequence[Step], rows: Sequence[Mapping[str, Any]], run_cycles: int
) -> tuple[dict[str, Any], ...]:
    """Return a group for each reason why operators run on the host, the most cycles first (`Result.fallbacks`).

    ``rows``: the row of each step, in the same order; ``run_cycles``: cycles of the whole run, of which a group's
    ``share`` is a part.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for step, row in zip(steps, rows, strict=True):
        if step.fallback is not None:
            groups.setdefault(row["fallback"], []).append(row)
    named = {op.name for op in graph.ops}
    found = []
    for reason, members in groups.items():
        cycles = sum(row["cycles"] for row in members)
        ops = [row for row in members if row["op"] in named]
        kinds = ", ".join(dict.fromkeys(row["op_kind"] for row in ops))
        share = cycles / run_cycles
        found.append({"op_kinds": kinds, "ops": len(ops), "cycles": cycles, "share": share, "fallback": reason})
    return tuple(sorted(found, key=lambda group: -group["cycles"]))
