"""Workloads: sizes in, layer graph out. No word of hardware here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph
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
from workloads.resnet import resnet50

__all__ = [
    "MODELS",
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
"""Every workload by the name that the command line takes."""


def remarks(name: str, sizes: Mapping[str, object]) -> list[str]:
    """Return what is unusual about the sizes of a named workload: a published model beyond its positions."""
    seq = sizes.get("seq")
    if name in MODELS and isinstance(seq, int) and seq > MAX_POSITIONS:
        return [f"{name} has {MAX_POSITIONS} positions: no checkpoint of it runs at seq = {seq:,}"]
    return []


def build(name: str, **sizes: object) -> Graph:
    """Build the workload ``name`` with ``sizes``, or read it from ``name`` if that is a path ending in .json.

    Raises InputError for an unknown name or size, an illegal size, an unreadable file or a wrong graph.
    """
    if name.endswith(".json"):
        if sizes:
            raise InputError(f"{name}: a graph file has fixed sizes, it takes no {', '.join(sorted(sizes))}")
        return load(Path(name))
    if name not in WORKLOADS:
        raise InputError(f"unknown workload {name!r}{did_you_mean(name, WORKLOADS)}, nor a path ending in .json")
    known = inspect.signature(WORKLOADS[name]).parameters
    problems = [f"{name}: no size {size!r}{did_you_mean(size, known)}" for size in sizes if size not in known]
    if problems:
        raise InputError(problems)
    return WORKLOADS[name](**sizes)
