"""The Python interface answers a value of a wrong type with what it needs, as the command line does."""

from __future__ import annotations

from typing import Any

import pytest

import carat
import sim
from sim import hardware
from sim.base.errors import InputError
from sim.graph import Graph

CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    (carat.workloads.build, (3,), {}, "name: '3' must be a workload name"),
    (carat.workloads.load, (3,), {}, "path: '3' must be the path of a file"),
    (hardware.load, (3,), {}, "machine: '3' must be a name, a file"),
    (hardware.load("gemmini_default").with_, (None,), {}, "overrides: 'None' must be a mapping"),
    (hardware.load("gemmini_default").with_, ({3: 4},), {}, "overrides: '3' must be the text of a key"),
    (sim.search, ("bert-tiny", "gemmini_default"), {}, "hw: 'gemmini_default' must be a machine"),
    (sim.search, ("bert-tiny", hardware.load("gemmini_default")), {}, "work: 'bert-tiny' must be a work item"),
    (sim.timeline, (3, "FF1", 0), {}, "result: '3' must be a Result"),
    (sim.sweep, ("gemmini_default",), {"workloads": "bert-tiny", "grid": {3: [1]}}, "grid: '3' must be the text"),
    (sim.sweep, ("gemmini_default",), {"workloads": "bert-tiny", "shard": (1, 2)}, "must be a text i/n"),
    (Graph, ("g", [], []), {}, "graph g: tensors: '.*' must be a mapping of names"),
    (Graph, ("g", {"x": 3}, ()), {}, "graph g: tensors: '3' must be a Tensor"),
    (Graph, ("g", {}, (4,)), {}, "graph g: ops: '4' must be an Op"),
]


@pytest.mark.parametrize(("call", "given", "named", "said"), CALLS, ids=[said for *_, said in CALLS])
def test_a_wrong_type_is_refused(call: Any, given: tuple[Any, ...], named: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call(*given, **named)
