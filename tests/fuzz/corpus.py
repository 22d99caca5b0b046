"""Valid files of every kind that Carat reads, small, and the command that reads each."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import sim
import workloads
from sim import hardware
from sim.lower import build as lower_build
from sim.lower import lower
from sim.mapping import mapfile, maps

SIZES = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 64}

COMMANDS: dict[str, tuple[str, list[str]]] = {
    "graph": ("graph.json", ["run", "FILE", "--hw", "gemmini_4x4", "--no-cache"]),
    "graph shown": ("graph.json", ["show", "FILE", "--hw", "gemmini_default"]),
    "machine": ("machine.toml", ["run", "graph.json", "--hw", "FILE", "--no-cache"]),
    "machine of a run": ("run/hardware.json", ["show", "graph.json", "--hw", "FILE"]),
    "spec": ("spec.toml", ["run", "graph.json", "--sparsity", "FILE", "--no-cache"]),
    "masks": ("masks.npz", ["run", "graph.json", "--sparsity", "FILE", "--no-cache"]),
    "map": ("map.toml", ["run", "graph.json", "--hw", "gemmini_4x4", "--mapping", "FILE", "--no-cache"]),
    "program": ("program.csv", ["replay", "FILE", "--hw", "gemmini_default"]),
    "measured": ("measured.csv", ["validate", "--measurements", "FILE"]),
    "totals of a run": ("run/totals.json", ["report", "run", "-o", "page.html"]),
    "operators of a run": ("run/ops.csv", ["report", "run", "-o", "page.html"]),
    "record of a run": ("run/run.json", ["diff", "run", "other"]),
    "table": ("sweep.csv", ["report", "FILE", "-o", "page.html"]),
    "store": ("sweep.sqlite", ["export", "FILE"]),
    "store shown": ("sweep.sqlite", ["report", "FILE", "-o", "page.html"]),
}
"""Kind -> (the file to damage, the command; FILE stands for it, other names are files of the corpus)."""


if find_spec("onnx"):  # an extra
    COMMANDS["onnx"] = ("model.onnx", ["import", "FILE", "--dim", "batch=1,seq=8", "-o", "imported.json"])


def build(folder: Path) -> None:
    """Write the corpus into ``folder``."""
    if "onnx" in COMMANDS:
        from helpers.onnx_models import encoder

        encoder(folder / "model.onnx", "node", layers=1)
    graph = workloads.build("encoder-layer", **SIZES)
    (folder / "graph.json").write_text(json.dumps(graph.to_dict()))
    machine = (
        'base = "gemmini_default"\n\n[memory]\nlatency_cycles = 50\nread_bytes_per_cycle = 8\n\n[queues]\nld = 4\n'
    )
    (folder / "machine.toml").write_text(machine)
    spec = """seed = 1

[[prune]]
"*.FF1.columns" = 32

[[weights]]
operators = "*.FF2"
pattern = "block16"
density = 0.5

[[compress]]
operators = "*.W_out"
kind = "low_rank"
rank = 8

[[precision]]
operators = "*.matmul_Q"
weights = "int8"
"""
    (folder / "spec.toml").write_text(spec)
    np.savez(folder / "masks.npz", **{"L0.FF1": np.eye(32, 64) > 0, "L0.FF2": np.ones((64, 32), bool)})
    program = lower(lower_build.matmul(16, 16, 16), hardware.load("gemmini_default"))
    lines = [f"x,{n},{int(c['funct'])},{int(c['rs1']):#x},{int(c['rs2']):#x}" for n, c in enumerate(program[:-1])]
    (folder / "program.csv").write_text("\n".join(["case,seq,funct,rs1,rs2", *lines, f"x,{len(lines)},fence,,", ""]))
    measured = "cfg,id,kind,M,N,K,flow,mem_latency,rd_bytes_per_cycle,wr_bytes_per_cycle,cycles\n"
    (folder / "measured.csv").write_text(f"{measured}default,first,matmul,16,16,16,WS,40,16,16,290\n")
    for name, latency in (("run", 40), ("other", 80)):
        result = sim.simulate(graph, "gemmini_4x4", overrides={"memory.latency_cycles": latency}, cache=False)
        result.save(folder / name)
    found = maps.find(graph, hardware.load("gemmini_4x4"), effort_cycles=1)
    (folder / "map.toml").write_text(mapfile.to_toml(found))
    table = sim.sweep(
        hardware="gemmini_4x4",
        grid={"memory.latency_cycles": [20, 40]},
        workloads=["encoder-layer"],
        sizes=SIZES,
        jobs=1,
        store=folder / "sweep.sqlite",
    )
    table.to_csv(folder / "sweep.csv", index=False)
