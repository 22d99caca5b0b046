"""Valid files of every kind that Carat reads, small, and the command that reads each."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from helpers import spike

import sim
import workloads
from sim import hardware
from sim.lower import build as lower_build
from sim.lower import lower
from sim.mapping import mapfile, maps
from sim.trace import chrome

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
    "topology": ("topology.csv", ["import", "FILE", "-o", "imported.json"]),
    "config of a network": ("config.json", ["import", "FILE", "-o", "imported.json"]),
    "machine of SCALE-Sim": ("scale.cfg", ["show", "graph.json", "--hw", "FILE"]),
    "log": ("spike.log", ["replay", "FILE", "--hw", "gemmini_4x4"]),
    "DRAM": ("dram.toml", ["show", "graph.json", "--hw", "FILE"]),
    "cores": ("cores.toml", ["show", "graph.json", "--hw", "FILE"]),
    "trace": ("trace.json", ["plot", "gantt", "FILE", "-o", "picture.svg"]),
    "what-if table": ("whatif.csv", ["plot", "tornado", "FILE", "-o", "picture.svg"]),
    "machine drawn": ("machine.toml", ["plot", "machine", "FILE", "-o", "picture.svg"]),
    "vocabulary": (
        "checkpoint/vocab.txt",
        ["infer", "checkpoint", "--tokens", "1,2,3", "--sentences", "sentences.txt"],
    ),
    "weights": ("checkpoint/model.safetensors", ["infer", "checkpoint", "--tokens", "1,2,3"]),
    "config of a checkpoint": ("checkpoint/config.json", ["infer", "checkpoint", "--tokens", "1,2,3"]),
    "token ids": ("tokens.txt", ["infer", "checkpoint", "--tokens", "FILE"]),
}
"""Kind -> (the file to damage, the command; FILE stands for it, other names are files of the corpus)."""

LLAMA = {
    **{"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"num_key_value_heads": 1, "intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 64},
    **{"rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0},
}
TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 8, 8, 3, 3, 4, 8, 1,
Conv2, 6, 6, 1, 1, 8, 8, 2,
"""
SCALE_SIM = """[general]
run_name = small

[architecture_presets]
ArrayHeight: 16
ArrayWidth: 16
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
Bandwidth: 10
Dataflow: ws
"""

if find_spec("onnx"):  # an extra
    COMMANDS["onnx"] = ("model.onnx", ["import", "FILE", "--dim", "batch=1,seq=8", "-o", "imported.json"])
    COMMANDS["torch program"] = ("mlp.pt2", ["import", "FILE", "--dim", "s0=8", "-o", "imported.json"])


def build(folder: Path) -> None:
    """Write the corpus into ``folder``."""
    checkpoint(folder / "checkpoint")
    _small(folder)
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
    _streams(folder)
    for name, latency in (("run", 40), ("other", 80)):
        result = sim.simulate(graph, "gemmini_4x4", overrides={"memory.latency_cycles": latency}, cache=False)
        result.save(folder / name)
    few = workloads.build("encoder-layer", seq=4, hidden=8, heads=1, ffn=8)  # a picture draws a box for each command
    (folder / "trace.json").write_text(json.dumps(chrome.trace(sim.simulate(few, "gemmini_4x4", cache=False))))
    changes = "latency,less,40,20,900,-0.1\nlatency,more,40,80,1200,0.2\n"
    (folder / "whatif.csv").write_text(f"knob,direction,from,to,cycles,cycles_change\n{changes}")
    found = maps.find(maps.Searched(graph, hardware.load("gemmini_4x4")), effort_cycles=1)
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


def _small(folder: Path) -> None:
    """Write what is a text of a few lines, and models of other frameworks."""
    (folder / "sentences.txt").write_text("a b\nb c\n")
    (folder / "tokens.txt").write_text("1,2,3\n")
    (folder / "config.json").write_text(json.dumps(LLAMA))
    (folder / "topology.csv").write_text(TOPOLOGY)
    (folder / "scale.cfg").write_text(SCALE_SIM)
    (folder / "dram.toml").write_text('base = "gemmini_default"\n\n[memory]\ndram = "ddr4_2400"\n')
    (folder / "cores.toml").write_text('base = "gemmini_2core"\n\n[cores]\nsplit = "tensor"\n')
    if "onnx" in COMMANDS:
        from helpers import torch_programs
        from helpers.onnx_models import encoder

        encoder(folder / "model.onnx", "node", layers=1)
        torch_programs.program(folder / "mlp.pt2")


def _streams(folder: Path) -> None:
    """Write recorded commands and a measured row."""
    small = lower(lower_build.matmul(8, 8, 8), hardware.load("gemmini_4x4"))
    (folder / "spike.log").write_text("".join(spike.log(small)))
    program = lower(lower_build.matmul(16, 16, 16), hardware.load("gemmini_default"))
    lines = [f"x,{n},{int(c['funct'])},{int(c['rs1']):#x},{int(c['rs2']):#x}" for n, c in enumerate(program[:-1])]
    (folder / "program.csv").write_text("\n".join(["case,seq,funct,rs1,rs2", *lines, f"x,{len(lines)},fence,,", ""]))
    measured = "cfg,id,kind,M,N,K,flow,mem_latency,rd_bytes_per_cycle,wr_bytes_per_cycle,cycles\n"
    (folder / "measured.csv").write_text(f"{measured}default,first,matmul,16,16,16,WS,40,16,16,290\n")


def checkpoint(folder: Path) -> None:
    """Write a BERT of one layer with random weights and a vocabulary."""
    folder.mkdir()
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    tables = {"vocab_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2}
    config = {"model_type": "bert", "layer_norm_eps": 1e-12, **sizes, **tables}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n##d\n")
    random = np.random.default_rng(0)
    wide, narrow = (64, 32), (32, 64)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings": (8, 32),
        "embeddings.position_embeddings": (16, 32),
        "embeddings.token_type_embeddings": (2, 32),
        "embeddings.LayerNorm": (32,),
    }
    for name in ("query", "key", "value"):
        shapes[f"encoder.layer.0.attention.self.{name}"] = (32, 32)
    shapes["encoder.layer.0.attention.output.dense"] = (32, 32)
    shapes["encoder.layer.0.intermediate.dense"], shapes["encoder.layer.0.output.dense"] = wide, narrow
    for name in ("attention.output", "output"):
        shapes[f"encoder.layer.0.{name}.LayerNorm"] = (32,)
    tensors = {f"{name}.weight": shape for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": shape[:1] for name, shape in shapes.items() if "_embeddings" not in name}
    header, content = {}, b""
    for name, shape in tensors.items():
        values = random.normal(0, 0.1, shape).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(content), len(content) + len(values)]}
        content += values
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content)
