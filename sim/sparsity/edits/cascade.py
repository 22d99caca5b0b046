"""Cascade pruning of tokens and heads (SpAtten): after each layer only the most important ones are kept.

The graph must be a stack of encoder layers; each layer is rebuilt with the tokens and heads that are left. Each ranking
costs a "top_k" operator on the ranking unit (scores are summed up while the softmax stores its results), and the rows
of the tokens kept are copied together. The number of tokens is given; their selection depends on data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sim.base.errors import InputError
from sim.base.numbers import decimal
from sim.graph import Graph, View
from sim.graph.encoder import Builder
from sim.sparsity.structure import attention_blocks
from sim.sparsity.table import CountOrNone, SchemeTable, Share


@dataclass(frozen=True)
class Cascade:
    """Shares of tokens and heads left after the last layer.

    In between they fall linearly, beginning with layer ``first``. ``by_layer``: "tokens" or "heads" -> learnt shares
    that enter each layer, instead of these.
    """

    tokens: float = 1.0
    heads: float = 1.0
    first: int = 0
    by_layer: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def left(self, what: str, count: int, layer: int, layers: int) -> int:
        """Return the number of ``count`` tokens or heads (``what``) that enter a layer."""
        learnt = dict(self.by_layer).get(what)
        if learnt is not None:
            return max(1, round(count * learnt[layer]))
        if layer <= self.first:
            return count
        done = (layer - self.first) / max(1, layers - 1 - self.first)
        share: float = getattr(self, what)
        return max(1, round(count * (1 - (1 - share) * done)))

    def problems(self, layers: int) -> list[str]:
        """Return why a network of ``layers`` cannot be pruned by the learnt shares."""
        return [
            f"{what}_by_layer has {len(shares)} shares, the network {layers} layers (nearest: "
            f'"{_text((*shares[:layers], *shares[-1:] * (layers - len(shares))))}")'
            for what, shares in self.by_layer
            if len(shares) != layers
        ]


class CascadeTable(SchemeTable):
    """[cascade] of a SPEC.toml: shares left after the last layer, or those that enter each layer."""

    tokens: Share = 1.0
    heads: Share = 1.0
    first: CountOrNone = 0
    tokens_by_layer: str = ""
    heads_by_layer: str = ""

    def problems(self, given: frozenset[str]) -> list[str]:
        """Return the problems: tokens or heads must be given.

        Shares by layer must not grow, and exclude final shares.
        """
        found = []
        if not given & {"tokens", "heads", *LEARNT}:
            found.append("is empty: give tokens or heads (shares left after the last layer)")
        for name, what in LEARNT.items():
            if name in given and what in given:
                found.append(f"{what} and {name} exclude each other; nearest: {name} alone")
            shares = _shares(getattr(self, name)) if isinstance(getattr(self, name), str) else None
            if name in given and (shares is None or any(b > a for a, b in pairwise((1.0, *shares)))):
                rule = "shares above 0 and at most 1, one a layer, none larger than the one before"
                found.append(f'{name} {getattr(self, name)!r} must be {rule} (e.g. "1, 0.9, 0.8")')
        return found


LEARNT = {"tokens_by_layer": "tokens", "heads_by_layer": "heads"}
"""Keys of learnt shares by layer -> "tokens" or "heads"."""


def _shares(text: str) -> tuple[float, ...] | None:
    """Return the shares of a text, None if it holds none."""
    try:
        found = tuple(decimal(word) for word in text.split(","))
    except ValueError:
        return None
    return found if all(0 < share <= 1 for share in found) else None


def _text(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{share:g}" for share in shares)


def from_table(table: CascadeTable) -> Cascade:
    """Return the rules of a table."""
    learnt = ((what, _shares(getattr(table, name))) for name, what in LEARNT.items())
    return Cascade(table.tokens, table.heads, table.first, tuple((what, found) for what, found in learnt if found))


def edit(graph: Graph, cascade: Cascade) -> Graph:
    """Return the graph with shrinking layers. Raises InputError for anything but a stack of encoder layers."""
    blocks = attention_blocks(graph)
    layers = sorted({op.layer for op in graph.ops if op.layer is not None})
    gelus = [op for op in graph.ops if op.record.feed_forward]
    same = False
    if blocks and len(blocks) == len(layers) == len(gelus):
        scores = blocks[0][0]
        seq, heads, head_dim = scores.output.rows, scores.output.batch, scores.inputs[0].cols
        hidden, ffn = graph.tensors["input"].shape[-1] if "input" in graph.tensors else 0, gelus[0].output.cols
        dtype = graph.tensors[scores.inputs[0].tensor].dtype
        if hidden:
            rebuilt = Builder(dtype)
            data = rebuilt.tensor("input", (seq, hidden), kind="input")
            for layer in range(len(layers)):
                data = rebuilt.layer(layer, data, seq, 1, heads, head_dim, ffn)
            same = tuple(rebuilt.ops) == graph.ops
    if not same:
        raise InputError(
            f"cascade: {graph.name} must be a stack of equal encoder layers for one sequence, nothing else"
        )
    if problems := cascade.problems(len(layers)):
        raise InputError([f"cascade: {problem}" for problem in problems])
    if min(cascade.tokens, cascade.heads) < 1 and cascade.first >= len(layers) - 1:
        nearest = f" (nearest: first = {len(layers) - 2})" if len(layers) > 1 else ""
        there = f"{graph.name} has {len(layers)}{nearest}"
        raise InputError(
            f"cascade: tokens and heads ranked in layer {cascade.first} are dropped in the layer behind it, {there}"
        )
    builder = Builder(dtype)
    data = builder.tensor("input", (seq, hidden), kind="input")
    for layer in layers:
        tokens = cascade.left("tokens", seq, layer, len(layers))
        if tokens < data.shape[0]:
            data = _ranked(builder, f"L{layer}.tokens", data.shape[0], tokens, layer, data.name)
        now, before = (cascade.left("heads", heads, at, len(layers)) for at in (layer, max(0, layer - 1)))
        if now < before:
            _rank(builder, f"L{layer}.heads", before, now, layer)
        data = builder.layer(layer, data, tokens, 1, now, head_dim, ffn)
    return Graph(graph.name, {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops), graph.sizes)


def _rank(builder: Any, name: str, count: int, kept: int, layer: int) -> None:
    """Add the ranking of ``count`` scores, read from the last layer's probabilities."""
    probabilities = next(t for t in reversed(builder.tensors) if t.name == f"L{layer - 1}.probabilities")
    places = builder.tensor(f"{name}.kept", (1, kept), builder.sums)
    scores = View(probabilities.name, 1, 1, count, count, 0)
    builder.op(f"{name}.top_k", "top_k", [scores], View.whole(places), layer)


def _ranked(builder: Any, name: str, count: int, kept: int, layer: int, source: str) -> Any:
    """Add the ranking of tokens and the copy of those kept; return their tensor."""
    _rank(builder, name, count, kept, layer)
    data = next(t for t in builder.tensors if t.name == source)
    width = data.shape[1]
    left = builder.tensor(f"{name}.left", (kept, width))
    builder.op(f"{name}.copy", "copy", [View(source, 1, kept, width, width, 0)], View.whole(left), layer)
    return left
