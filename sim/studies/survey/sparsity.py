"""Published sparse accelerators, approximated by Carat's machines: times faster and times fewer bytes than dense."""

from __future__ import annotations

from typing import Any

from sim import Result, simulate
from sim.sparsity.edits.attention import Pattern
from sim.sparsity.edits.cascade import Cascade
from sim.sparsity.edits.compress import Compression
from sim.sparsity.edits.dynamic import Dynamic, packed
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from sim.studies.exhibit import Values

ATTENTION = ("scores", "softmax", "context")
WEIGHTED = ("W_out", "FF", "matmul")
LARGE_LAYER = {"hidden": 1024, "heads": 16, "ffn": 4096}
BLOCK = 16


def _of(result: Result, words: tuple[str, ...]) -> tuple[int, int]:
    """Return cycles and DRAM bytes of the operators whose name contains one of the words; all without words."""
    rows = [row for row in result.rows if not words or any(word in row["op"] for word in words)]
    return sum(r["cycles"] for r in rows), sum(r["dram_read_bytes"] + r["dram_write_bytes"] for r in rows)


def _gain(machine: str, rules: Rules, workload: str, words: tuple[str, ...] = (), **sizes: Any) -> list[float | None]:
    """Return times faster and times fewer bytes of one machine over itself without sparsity."""
    dense, sparse = (_of(simulate(workload, machine, sparsity=s, **sizes), words) for s in ("dense", rules))
    return [before / after for before, after in zip(dense, sparse, strict=True)]


def tensor_core() -> Values:
    """Return the gains by 2:4 weights on a layer of BERT-large."""
    rules = parse("2:4")
    parts: dict[str, tuple[str, ...]] = {"weighted products only": WEIGHTED, "whole layer": ()}
    return {
        name: _gain("nm_tensor_core", rules, "encoder-layer", words, seq=128, **LARGE_LAYER)
        for name, words in parts.items()
    }


def spatten() -> Values:
    """Return the gains by half of the tokens and of the heads."""
    rules = Rules((), cascade=Cascade(0.5, 0.5))
    parts: dict[str, tuple[str, ...]] = {"whole network": (), "attention only": ATTENTION}
    return {name: _gain("spatten", rules, "bert-base", words, seq=384) for name, words in parts.items()}


def vitcod() -> Values:
    """Return the gains in attention by a polarised mask."""
    found = {}
    for scheme, name in (("pack", "packed"), ("tiles", "in tiles")):
        mask = packed(Pattern("longformer", window=8, globals=8, tile=BLOCK, scheme=scheme))
        found[name] = _gain("vitcod", Rules((), mask), "encoder-layer", ATTENTION, seq=197)
    return found


def sanger() -> Values:
    """Return the gains in attention by a threshold."""
    return {
        f"density {density}, {tokens} tokens": _gain(
            "sanger", Rules((), Dynamic("threshold", density=density)), "encoder-layer", ATTENTION, seq=tokens
        )
        for density in (0.08, 0.15, 0.27)
        for tokens in (128, 512)
    }


def ftrans() -> Values:
    """Return the gains by block-circulant weights, transformed by FFT or expanded as they are loaded."""
    return {
        f"{name}, {tokens} tokens": _gain(
            "ftrans", Rules((), compressions=(Compression("circulant", block=BLOCK, via=via),)), "encoder-layer",
            seq=tokens,
        )
        for via, name in (("fft", "transformed"), ("direct", "expanded at load"))
        for tokens in (128, 4)
    }  # fmt: skip
