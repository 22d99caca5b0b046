"""The networks of docs/WORKLOADS.md are built as they stand there, and simulated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import sim

PAGE = Path(__file__).parents[2] / "docs" / "WORKLOADS.md"


def test_the_worked_networks_run() -> None:
    """Three of them, the later ones with the names of the first; each ends with a graph."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    built = []
    for block in blocks:
        exec(block, names)
        built.append(names["graph"])
    assert [graph.name for graph in built] == ["mine", "encoder", "step"]
    assert sim.simulate(built[-1], "gemmini_ibert").totals["macs"] == built[-1].macs > 0
