"""Counts from graphs alone: Tables 3, 4, 10 and 11, Figures 4 to 6."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sim.graph import Graph
from sim.studies.exhibit import Values
from workloads import NETWORKS, bert_base, bert_large, encoder_layer
from workloads.analysis import WorkCount, analyse
from workloads.profile import analyze
from workloads.resnet import resnet50

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
TABLE_LENGTHS = (128, 512, 4096)
PARTS = {
    "projections": "mha_projections",
    "act-to-act": "act_to_act",
    "FFN": "ffn",
    "other": "other",
    "total": "total",
}
FIGURES: Mapping[str, Callable[[WorkCount], float]] = {
    "GFLOP": lambda count: count.flops / 1e9,
    "GB": lambda count: count.bytes / 1e9,
    "FLOP/B": lambda count: count.intensity,
}


def table_3() -> Values:
    """Return FLOPs, bytes and intensity of each part of BERT-base."""
    counts = {length: analyse(bert_base(length)) for length in TABLE_LENGTHS}
    return {
        f"l={length} {part} {figure}": [of(counts[length][group])]
        for length in TABLE_LENGTHS
        for part, group in PARTS.items()
        for figure, of in FIGURES.items()
    }


def table_4() -> Values:
    """Return FLOPs, bytes and intensity of ResNet-50's convolutions."""
    load = analyze(resnet50())["by_kind"]["conv"]
    found = WorkCount(load["flops"], load["bytes"])
    return {f"convolutions {figure}": [of(found)] for figure, of in FIGURES.items()}


def table_10() -> Values:
    """Return the counts of BERT-base with 4 heads."""
    found: dict[str, list[float | None]] = {}
    for length in TABLE_LENGTHS:
        counts = analyse(encoder_layer(length, heads=4, layers=12))
        found[f"l={length} act-to-act FLOP/B"] = [counts["act_to_act"].intensity]
        found |= {f"l={length} total {figure}": [of(counts["total"])] for figure, of in FIGURES.items()}
    return found


def decode_step(kept: int) -> Graph:
    """Return the graph of GPT-2's step with this many tokens cached: its layers, without look-ups and head."""
    return NETWORKS["gpt2"](phase="decode", seq=1, kv=kept, head=False)


def table_11() -> Values:
    """Return the counts of GPT-2 that generates l tokens from an empty cache."""
    found: dict[str, list[float | None]] = {}
    for length in TABLE_LENGTHS:
        first, last = (analyse(decode_step(kept)) for kept in (0, length - 1))
        for part in ("projections", "act-to-act", "FFN", "total"):
            ends = (first[PARTS[part]], last[PARTS[part]])
            found[f"l={length} {part} GFLOP"] = [length * sum(end.flops for end in ends) / 2 / 1e9]
        found[f"l={length} total GB"] = [length * (first["total"].bytes + last["total"].bytes) / 2 / 1e9]
    return found


def _by_length(figure: str) -> Values:
    networks = {"BERT-base": bert_base, "BERT-large": bert_large}
    of = FIGURES[figure]
    return {
        f"{name} l={length}": [of(analyse(build(length))["total"])]
        for name, build in networks.items()
        for length in LENGTHS
    }


def figure_4() -> Values:
    """Return GFLOPs by sequence length."""
    return _by_length("GFLOP")


def figure_5() -> Values:
    """Return gigabytes by sequence length."""
    return _by_length("GB")


def figure_6() -> Values:
    """Return FLOPs per byte by sequence length."""
    return _by_length("FLOP/B")
