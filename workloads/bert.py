"""BERT, DistilBERT and ALBERT as stacks of encoder layers.

By default a model is its encoder stack on an embedded sequence: as counted by Kim et al. (arXiv 2302.14017) and run by
Gemmini's transformer benchmark. ``embeddings=True`` adds the look-ups of word, position and token type with their sums
and LayerNorm, ``pooler=True`` the dense layer with tanh on the first token. Both run only on a machine whose host has a
price for look-ups and tanh; by default they are left out, not run for free. A published model's number of parameters
counts them (`parameters`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from sim.graph.encoder import Attention, Builder
from workloads.encoder import check_sizes, head_size, states_sizes

VOCABULARY = 30522
"""WordPiece tokens of the uncased English BERTs."""

MAX_POSITIONS = 512
"""Rows of the learned position table."""


@dataclass(frozen=True)
class BertSizes:
    """Published sizes of one model (elements).

    ``embedding_size`` 0: hidden, otherwise a product widens narrower tables. ``shared``: all layers share one layer's
    weights.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    token_types: int = 2
    pooler: bool = True
    vocab: int = VOCABULARY
    positions: int = MAX_POSITIONS
    embedding_size: int = 0
    shared: bool = False

    @property
    def embedding(self) -> int:
        """Columns of the tables."""
        return self.embedding_size or self.hidden


# Devlin et al. 2018 (base, large), Turc et al. 2019 (tiny to medium), Sanh et al. 2019 (DistilBERT has
# neither token types nor pooler).
MODELS = {
    "bert-tiny": BertSizes(layers=2, hidden=128, heads=2, ffn=512),
    "bert-mini": BertSizes(layers=4, hidden=256, heads=4, ffn=1024),
    "bert-small": BertSizes(layers=4, hidden=512, heads=8, ffn=2048),
    "bert-medium": BertSizes(layers=8, hidden=512, heads=8, ffn=2048),
    "bert-base": BertSizes(layers=12, hidden=768, heads=12, ffn=3072),
    "bert-large": BertSizes(layers=24, hidden=1024, heads=16, ffn=4096),
    "distilbert": BertSizes(layers=6, hidden=768, heads=12, ffn=3072, token_types=0, pooler=False),
}


def _embeddings(builder: Builder, seq: int, batch: int, model: BertSizes) -> Tensor:
    """Add the embedding look-ups, their sums and the LayerNorm; return its output (batch*seq x hidden)."""
    tables = {"word": model.vocab, "position": model.positions}
    if model.token_types:
        tables["token_type"] = model.token_types
    total: Tensor | None = None
    for what, rows in tables.items():
        ids = builder.tensor(f"{what}_ids", (1, batch * seq), "int32", "input")
        table = builder.tensor(f"{what}_table", (rows, model.embedding), kind="weight")
        found = builder.tensor(f"{what}_embedding", (batch * seq, model.embedding))
        builder.op(f"embed_{what}", "embedding", [View.whole(ids), View.whole(table)], View.whole(found), None)
        if total is None:
            total = found
        else:
            total = builder.map(f"add_{what}", "residual_add", [total, found], f"sum_{what}", None)
    assert total is not None
    if builder.sums == "int32":
        # An integer LayerNorm reads int32, as inside the layers.
        wide = builder.tensor("embedding_sum", total.shape, builder.sums)
        builder.op("embed_widen", "dequantize", [View.whole(total)], View.whole(wide), None)
        total = wide
    if not model.embedding_size:
        return builder.norm("embed_layernorm", total, "input", None)
    normed = builder.norm("embed_layernorm", total, "embedded", None)
    return builder.linear("embed_widths", normed, model.hidden, "input", None, full=False, repeating=True)


def _pooler(builder: Builder, last: Tensor, seq: int, batch: int) -> None:
    """Add the pooler: a dense layer with tanh on the first token of each sequence."""
    hidden = last.shape[1]
    weight = builder.tensor("pooler.weight", (hidden, hidden), kind="weight")
    bias = builder.tensor("pooler.bias", (hidden,), builder.sums, "weight")
    dense = builder.tensor("pooler_dense", (batch, hidden), builder.sums)
    first = View(last.name, 1, batch, hidden, seq * hidden, 0)
    views = (first, View.whole(weight), View.whole(bias))
    builder.ops.append(Op("pooler", "matmul", views, View.whole(dense), {"repeating_bias": True}))
    builder.map("pooler_tanh", "tanh", [dense], "pooled", None)


@dataclass(frozen=True)
class Stack:
    """Sizes of a run of a model: sequences, layers, and whether it has embeddings and pooler."""

    seq: int
    batch: int = 1
    layers: int | None = None
    embeddings: bool = False
    pooler: bool = False
    dtype: str = "int8"
    phase: str = "encode"


def encoder(name: str, model: BertSizes, requested: Stack, attention: Attention | None = None) -> Graph:
    """Return an encoder's graph, with the full attention by default. Raises InputError."""
    if requested.phase != "encode":
        raise InputError(f"{name}: phase is {requested.phase!r}, can be encode (an encoder keeps no KV cache)")
    seq, batch = requested.seq, requested.batch
    depth = model.layers if requested.layers is None else requested.layers
    check_sizes(name, {"seq": seq, "batch": batch, "layers": depth}, requested.dtype)
    problems = []
    if requested.embeddings and seq > model.positions:
        problems.append(f"{name}: seq {seq} is beyond the position table (nearest: {model.positions})")
    if requested.pooler and not model.pooler:
        problems.append(f"{name}: the model has no pooler (pooler=False)")
    if problems:
        raise InputError(problems)
    builder = Builder(requested.dtype, attention)
    builder.one_layer = {} if model.shared else None
    if requested.embeddings:
        data = _embeddings(builder, seq, batch, model)
    else:
        data = builder.tensor("input", (batch * seq, model.hidden), kind="input")
    size = head_size(name, model.hidden, model.heads)
    for index in range(depth):
        data = builder.layer(index, data, seq, batch, model.heads, size, model.ffn)
    if requested.pooler:
        _pooler(builder, data, seq, batch)
    return Graph(name, {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops))


def encoder_model(
    name: str, model: BertSizes, *, seq: int = 128, attention: Callable[..., Attention] | None = None, **own: int
) -> Callable[..., Graph]:
    """Return the builder of one encoder; all of them take the sizes of `Stack`, ``seq`` by default as given.

    ``attention``: builder of an attention other than the full one; ``own``: its sizes and their defaults.
    """

    def build(**sizes: Any) -> Graph:
        mine = {size: sizes.pop(size) for size in own}
        return encoder(name, model, Stack(**sizes), attention(**mine) if attention else None)

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    own_sizes = f"``{'``, ``'.join(own)}``: of its attention. " if own else ""
    build.__doc__ = (
        f"Return {name} for ``batch`` sequences of ``seq`` tokens. Raises InputError for illegal sizes.\n\n"
        f"{own_sizes}``layers`` cuts the stack, ``embeddings`` and ``pooler`` add its ends, ``dtype``: element type."
    )
    return states_sizes(build, _signature(seq, own))


def _signature(seq: int, own: Mapping[str, int]) -> inspect.Signature:
    """Return the sizes that an encoder takes, by position or by name."""
    kinds = get_type_hints(Stack)
    defaults = {name: seq if name == "seq" else field.default for name, field in Stack.__dataclass_fields__.items()}
    rule = inspect.Parameter.POSITIONAL_OR_KEYWORD
    known = [inspect.Parameter(n, rule, default=d, annotation=kinds[n]) for n, d in defaults.items()]
    return inspect.Signature(
        [*known, *(inspect.Parameter(n, rule, default=d, annotation=int) for n, d in own.items())],
        return_annotation=Graph,
    )


bert_tiny = encoder_model("bert-tiny", MODELS["bert-tiny"])
bert_mini = encoder_model("bert-mini", MODELS["bert-mini"])
bert_small = encoder_model("bert-small", MODELS["bert-small"])
bert_medium = encoder_model("bert-medium", MODELS["bert-medium"])
bert_base = encoder_model("bert-base", MODELS["bert-base"])
bert_large = encoder_model("bert-large", MODELS["bert-large"])
distilbert = encoder_model("distilbert", MODELS["distilbert"])


def parameters(name: str) -> int:
    """Return the number of parameters of a published model, embeddings and pooler included."""
    return model_parameters(name, MODELS[name])


def model_parameters(name: str, model: BertSizes) -> int:
    """Return the number of parameters of a model, embeddings and pooler included."""
    return encoder(name, model, Stack(1, embeddings=True, pooler=model.pooler)).parameters
