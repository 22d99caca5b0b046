"""BERT and DistilBERT as stacks of encoder layers.

By default a model is its encoder stack on an embedded sequence: what Kim et al. (arXiv 2302.14017) count and
what Gemmini's own transformer benchmark runs. ``embeddings=True`` adds the look-ups of word, position and
token type with their sums and LayerNorm, ``pooler=True`` the dense layer with tanh on the first token. Both
run only on a machine whose host has a price for look-ups and tanh; they are left out, not run for free.
A published model's number of parameters counts them (`parameters`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from workloads.encoder import Builder, check_sizes, head_size, states_sizes

VOCABULARY = 30522
"""WordPiece tokens of the uncased English BERTs."""

MAX_POSITIONS = 512
"""Rows of the learned position table."""


@dataclass(frozen=True)
class Model:
    """Published sizes of one model (elements)."""

    layers: int
    hidden: int
    heads: int
    ffn: int
    token_types: int = 2
    pooler: bool = True
    vocab: int = VOCABULARY
    positions: int = MAX_POSITIONS


# Devlin et al. 2018 (base, large), Turc et al. 2019 (tiny to medium), Sanh et al. 2019 (DistilBERT has
# neither token types nor pooler).
MODELS = {
    "bert-tiny": Model(layers=2, hidden=128, heads=2, ffn=512),
    "bert-mini": Model(layers=4, hidden=256, heads=4, ffn=1024),
    "bert-small": Model(layers=4, hidden=512, heads=8, ffn=2048),
    "bert-medium": Model(layers=8, hidden=512, heads=8, ffn=2048),
    "bert-base": Model(layers=12, hidden=768, heads=12, ffn=3072),
    "bert-large": Model(layers=24, hidden=1024, heads=16, ffn=4096),
    "distilbert": Model(layers=6, hidden=768, heads=12, ffn=3072, token_types=0, pooler=False),
}


def _embeddings(builder: Builder, seq: int, batch: int, model: Model) -> Tensor:
    """Add the embedding look-ups, their sums and the LayerNorm; return its output (batch*seq x hidden)."""
    tables = {"word": model.vocab, "position": model.positions}
    if model.token_types:
        tables["token_type"] = model.token_types
    total: Tensor | None = None
    for what, rows in tables.items():
        ids = builder.tensor(f"{what}_ids", (1, batch * seq), "int32", "input")
        table = builder.tensor(f"{what}_table", (rows, model.hidden), kind="weight")
        found = builder.tensor(f"{what}_embedding", (batch * seq, model.hidden))
        builder.op(f"embed_{what}", "embedding", [View.whole(ids), View.whole(table)], View.whole(found), None)
        if total is None:
            total = found
        else:
            total = builder.map(f"add_{what}", "residual_add", [total, found], f"sum_{what}", None)
    assert total is not None
    if builder.sums == "int32":
        # An integer LayerNorm reads int32, as it does inside the layers.
        wide = builder.tensor("embedding_sum", total.shape, builder.sums)
        builder.op("embed_widen", "dequantize", [View.whole(total)], View.whole(wide), None)
        total = wide
    return builder.norm("embed_layernorm", total, "input", None)


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


def _build(
    name: str, model: Model, seq: int, batch: int, layers: int | None, embeddings: bool, pooler: bool, dtype: str
) -> Graph:
    depth = model.layers if layers is None else layers
    check_sizes(name, {"seq": seq, "batch": batch, "layers": depth}, dtype)
    problems = []
    if embeddings and seq > model.positions:
        problems.append(f"{name}: seq {seq} is beyond the position table (nearest: {model.positions})")
    if pooler and not model.pooler:
        problems.append(f"{name}: the model has no pooler (pooler=False)")
    if problems:
        raise InputError(problems)
    builder = Builder(dtype)
    if embeddings:
        data = _embeddings(builder, seq, batch, model)
    else:
        data = builder.tensor("input", (batch * seq, model.hidden), kind="input")
    size = head_size(name, model.hidden, model.heads)
    for index in range(depth):
        data = builder.layer(index, data, seq, batch, model.heads, size, model.ffn)
    if pooler:
        _pooler(builder, data, seq, batch)
    return Graph(name, {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops))


def encoder_model(name: str, model: Model) -> Callable[..., Graph]:
    """Return the builder of one encoder; all of them take the same sizes."""

    def build(
        seq: int = 128,
        batch: int = 1,
        layers: int | None = None,
        embeddings: bool = False,
        pooler: bool = False,
        dtype: str = "int8",
        phase: str = "encode",
    ) -> Graph:
        if phase != "encode":
            raise InputError(f"{name}: phase is {phase!r}, can be encode (an encoder keeps no KV cache)")
        return _build(name, model, seq, batch, layers, embeddings, pooler, dtype)

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = (
        f"Return {name} for ``batch`` sequences of ``seq`` tokens. Raises InputError for illegal sizes.\n\n"
        "``layers`` cuts the stack, ``embeddings`` and ``pooler`` add its ends, ``dtype``: element type."
    )
    return states_sizes(build)


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


def model_parameters(name: str, model: Model) -> int:
    """Return the number of parameters of a model, embeddings and pooler included."""
    return _build(name, model, 1, 1, None, True, model.pooler, "int8").parameters
