"""Workloads: functions from sizes to a layer graph, independent of the hardware."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, demand, did_you_mean
from sim.base.reading import read_json
from sim.graph import Graph
from sim.sparsity.masks import files
from workloads.bert import (
    MAX_POSITIONS,
    MODELS,
    bert_base,
    bert_large,
    bert_medium,
    bert_mini,
    bert_small,
    bert_tiny,
    distilbert,
)
from workloads.encoder import encoder_layer
from workloads.graph_file import load
from workloads.limits import build_within
from workloads.resnet import resnet50

if TYPE_CHECKING:
    from workloads.networks.models import NETWORKS

__all__ = [
    "MODELS",
    "NETWORKS",
    "WORKLOADS",
    "bert_base",
    "bert_large",
    "bert_medium",
    "bert_mini",
    "bert_small",
    "bert_tiny",
    "build",
    "distilbert",
    "encoder_layer",
    "load",
    "remarks",
    "resnet50",
]

WORKLOADS: dict[str, Callable[..., Graph]] = {
    "bert-tiny": bert_tiny,
    "bert-mini": bert_mini,
    "bert-small": bert_small,
    "bert-medium": bert_medium,
    "bert-base": bert_base,
    "bert-large": bert_large,
    "distilbert": distilbert,
    "encoder-layer": encoder_layer,
    "resnet50": resnet50,
}
"""Encoders and ResNet-50 by the name that the command line takes; all other networks: `NETWORKS`."""


def _onnx_weights(path: Path) -> files.Arrays:
    found: files.Arrays = import_module("workloads.onnx.weights").weights(
        path
    )  # imported late: few runs read an ONNX file
    return found


def _checkpoint(folder: Path) -> files.Arrays:
    found: files.Arrays = import_module("workloads.checkpoint").matrices(
        folder
    )  # imported late: few runs read a checkpoint
    return found


files.READERS |= {".onnx": _onnx_weights, files.FOLDER: _checkpoint}


def __getattr__(name: str) -> Any:
    """Return `NETWORKS`, whose forty modules are imported at first use: most runs need none."""
    if name == "NETWORKS":
        return import_module("workloads.networks.models").NETWORKS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def remarks(name: str, sizes: Mapping[str, object]) -> list[str]:
    """Return remarks on unusual sizes of a named workload: a published model beyond its positions."""
    seq = sizes.get("seq")
    if name in MODELS and isinstance(seq, int) and seq > MAX_POSITIONS:
        return [f"{name} has {MAX_POSITIONS} positions: no checkpoint of it runs at seq = {seq:,}"]
    lengths = [value for value in (seq, sizes.get("kv")) if isinstance(value, int)]
    decoders = {} if name in WORKLOADS else import_module("workloads.networks.decoders").DECODERS
    if name in decoders and sum(lengths) > (most := decoders[name].most_positions):
        return [f"{name} was trained on {most:,} positions: {sum(lengths):,} exceed them"]
    return []


def build(name: str, **sizes: object) -> Graph:
    """Build the workload ``name`` with ``sizes``, or read it from a path.

    A path that ends in .json is a graph file or the config.json of a Hugging Face model, a folder holds such a config;
    one that ends in .csv is a SCALE-Sim topology, in .onnx an ONNX file, in .pt2 a torch.export program.

    Raises InputError for an unknown name or size, an illegal size, an unreadable file or a wrong graph.
    """
    demand("name", name, str, 'a workload name or the path of a file as text, e.g. "bert-base"')
    if name in WORKLOADS:
        return built(name, WORKLOADS[name], sizes)
    if name.endswith(".json") or (name not in (networks := _networks()) and Path(name).is_dir()):
        path = Path(name)
        hugging_face = import_module("workloads.networks.hugging_face")
        if path.is_dir() or hugging_face.is_config(read_json(path)):
            return built(name, hugging_face.from_file(path), sizes)
        if sizes:
            raise InputError(f"{name}: a graph file has fixed sizes and takes no {', '.join(sorted(sizes))}")
        return load(path)
    if name.endswith(".csv"):
        return built(name, partial(import_module("workloads.scale_sim").load, Path(name)), sizes)
    if name.endswith((".onnx", ".pt2")):
        graph: Graph = import_module("workloads.onnx").load(Path(name), **sizes)
        return graph
    if name not in networks:
        raise InputError(
            f"unknown workload {name!r}{did_you_mean(name, {**WORKLOADS, **networks})}, nor a path ending in .json, "
            ".onnx, .pt2 or .csv, nor a folder"
        )
    return built(name, networks[name], sizes)


def _networks() -> dict[str, Callable[..., Graph]]:
    found: dict[str, Callable[..., Graph]] = __getattr__("NETWORKS")
    return found


FLAGS = {"true": True, "false": False}
"""Accepted words of switches (embeddings, head)."""


def built(name: str, builder: Callable[..., Graph], sizes: Mapping[str, object]) -> Graph:
    """Return the graph of a builder for ``sizes``. Raises InputError for unknown sizes."""
    known = inspect.signature(builder, eval_str=True).parameters
    problems = [f"{name}: no size {size!r}{did_you_mean(size, known)}" for size in sizes if size not in known]
    chosen = dict(sizes)
    for size, value in sizes.items():
        if size in known and known[size].annotation in (bool, bool | None) and not isinstance(value, bool):
            if value in FLAGS or value in (0, 1):
                chosen[size] = FLAGS[value] if isinstance(value, str) else bool(value)
            else:
                problems.append(f"{name}: {size} is {value!r}, must be true or false")
    if problems:
        raise InputError(problems)
    return build_within(name, builder, chosen)
