"""Counters that tell how much work a run does, whatever the machine: `python tests/bench/counters.py` prints them.

``--renew`` writes them to counters.json, which `test_counters` compares with: after a change that is meant to do more
work, or to record that one does less. A process of its own, one thread: what a clock has seen decides what it visits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ["CARAT_CACHE_MIB"] = "0"

import sim
import workloads
from sim import hardware
from sim.lower import lower
from sim.plan.planner import plan
from sim.sparsity.spec import parse

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_suffix(".json")
LAYER = {"seq": 128, "hidden": 768, "heads": 12, "ffn": 3072}
SMALL = {"seq": 64, "hidden": 256, "heads": 4, "ffn": 512}

RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "encoder layer": ("encoder-layer", "gemmini_ibert", LAYER),
    "bert-base, 512 tokens": ("bert-base", "gemmini_ibert", {"seq": 512}),
    "layer of 515 tokens": ("encoder-layer", "gemmini_ibert", {**SMALL, "seq": 515}),
    "layer behind an L2": ("encoder-layer", "gemmini_l2", SMALL),
    "resnet50": ("resnet50", "gemmini_default", {}),
}
"""Workload, machine, sizes: distinct programs and visited cycles are counted."""

SPARSE = {
    "block16:0.5": "gemmini_default",
    "2:4": "gemmini_sparse",
    "unstructured:0.3/pack": "gemmini_sparse",
    "unstructured:0.3/bitmap": "gemmini_sparse",
    "activations=2:4": "gemmini_sparse",
    "attention=topk:0.2/pack": "gemmini_sparse",
}
"""Sparsity of the encoder layer, and its machine: commands lowered are counted."""

STARTS = {
    "--help": ["--help"],
    "warm run": ["run", "bert-base"],
    "cold run": ["run", "encoder-layer", "--no-cache"],
    "sparse cold run": ["run", "encoder-layer", "--seq", "16", "--sparsity", "block16:0.5", "--no-cache"],
}
"""Command lines whose imports are counted: the core is compiled; with ``--no-cache`` no timing is looked up."""

IMPORTS = """
import sys
from sim.cli import main
sys.argv = ["carat", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
ours = {"sim", "workloads", "reports", "hwconfigs", "carat"}
heavy = {"numpy", "numba", "llvmlite", "pandas", "matplotlib", "scipy", "pydantic", "rich", "jinja2", "onnx", "dask"}
loaded = [name.partition(".")[0] for name in sys.modules]
print()
print(sum(name in ours for name in loaded), *sorted(heavy & set(loaded)))
"""


def work() -> dict[str, int]:
    """Return distinct programs, visited cycles and commands of the runs above."""
    found: dict[str, Any] = {}
    for name, (workload, machine, sizes) in RUNS.items():
        totals = sim.simulate(workload, machine, cache=False, threads=1, **sizes).totals
        found |= {f"{name}: programs": totals["distinct"], f"{name}: visited cycles": totals["visited_cycles"]}
    for line, machine in SPARSE.items():
        hw, rules = hardware.load(machine), parse(line)
        steps = plan(rules.edit(workloads.build("encoder-layer", **LAYER)), hw, sparsity=rules)
        items = dict.fromkeys((item, step.machine or hw) for step in steps for item in step.equivalent)
        found[f"{line}: commands"] = sum(len(lower(item, machine)) for item, machine in items)
    return {name: int(value) for name, value in found.items()}


def imports() -> dict[str, tuple[int, list[str]]]:
    """Return by command line how many of our modules it imports, and which heavy libraries."""
    found: dict[str, tuple[int, list[str]]] = {}
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "CARAT_CACHE_MIB": "64"}
    for name, arguments in STARTS.items():
        command = [sys.executable, "-c", IMPORTS, *arguments]
        for _ in range(2):  # the first fills the cache
            done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        number, *heavy = done.stdout.splitlines()[-1].split()
        found[name] = int(number), heavy
    return found


def measured() -> dict[str, Any]:
    """Return everything that is recorded."""
    return {"work": work(), "imports": imports()}


if __name__ == "__main__":
    text = json.dumps(measured(), indent=1) + "\n"
    if "--renew" in sys.argv[1:]:
        RECORD.write_text(text)
    print(text, end="")
