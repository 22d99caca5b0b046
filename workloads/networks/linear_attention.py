"""Encoders whose attention is linear in the tokens.

Linformer, linear attention, Performer, at the sizes of RoBERTa-base.

Linformer (Wang et al. 2020) projects keys and values from all tokens to a fixed number of rows by two matrices that all
heads and layers share. Linear attention (Katharopoulos et al. 2020) and Performer (Choromanski et al. 2020) multiply
keys with values first; queries and keys are made positive before, by elu + 1 or by random features, and each row is
divided by its sum. The sums are products with a row of ones and with the summed keys; published MACs do not include
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from sim.graph.encoder import Attention, Builder, Sequences
from workloads.bert import BertSizes, encoder_model
from workloads.encoder import check_sizes

ROBERTA = BertSizes(12, 768, 12, 3072, token_types=1, vocab=50265, positions=514)


def linformer_attention(name: str, model: BertSizes, projected: int) -> Attention:
    """Return Linformer's attention: K and V of all tokens are projected to ``projected`` rows before the scores."""
    tables: dict[str, Tensor] = {}

    def attention(builder: Builder, given: Sequences) -> Tensor:
        if given.seq > model.positions:
            limit = f"the projection of {model.positions} tokens (nearest: seq={model.positions})"
            raise InputError(f"{name}: seq {given.seq} is beyond {limit}")
        for part in "KV":
            if part not in tables:
                tables[part] = builder.weight(f"project_{part}", (projected, model.positions))
        at, layer, cols = given.at, given.layer, given.cols
        shape = (given.batch * given.seq, cols)
        context = builder.tensor(f"{at}context", shape)
        for item in range(given.batch):
            suffix = given.suffix(item)
            short = {}
            for part, tensor in zip("KV", (given.k, given.v), strict=True):
                short[part] = builder.tensor(f"{at}short_{part}{suffix}", (projected, cols))
                table = View(tables[part].name, 1, projected, given.seq, model.positions, 0)
                rows = View(tensor.name, 1, given.seq, cols, cols, 0, item * given.seq * cols)
                views = [table, rows]
                builder.op(f"{at}project_{part}{suffix}", "matmul", views, View.whole(short[part]), layer)
            scores = builder.tensor(f"{at}scores{suffix}", (given.heads, given.seq, projected))
            keys, values = (_heads(short[part], given, projected) for part in "KV")
            views = [given.split(given.q, item), keys]
            builder.op(f"{at}scores{suffix}", "matmul", views, View.whole(scores), layer, transpose_b=True)
            shares = builder.map(f"{at}softmax{suffix}", "softmax", [scores], f"{at}probabilities{suffix}", layer)
            views = [View.whole(shares), values]
            builder.op(f"{at}context{suffix}", "matmul", views, given.split(context, item), layer)
        return context

    return attention


def _heads(tensor: Tensor, given: Sequences, rows: int) -> View:
    """Return the first ``rows`` rows of a tensor, head by head."""
    return View(tensor.name, given.heads, rows, given.head_dim, given.cols, given.head_dim)


def kernel_attention(features: int) -> Attention:
    """Return attention by positive features.

    ``features`` random features per head (Performer), 0 = elu + 1 of the head's columns.
    """

    def attention(builder: Builder, given: Sequences) -> Tensor:
        seq, at, layer = given.seq, given.at, given.layer
        q, k, width = given.q, given.k, given.head_dim
        if features:
            width = features
            q, k = (_random(builder, given, part, x, features) for part, x in zip("QK", (q, k), strict=True))
        else:
            q, k = (builder.map(f"{at}elu_{part}", "elu_plus_one", [x], f"{at}positive_{part}", layer)
                    for part, x in zip("QK", (q, k), strict=True))  # fmt: skip
        positive = replace(given, head_dim=width)
        raw = builder.tensor(f"{at}weighted", (given.batch * seq, given.cols))
        sums = builder.tensor(f"{at}denominators", (given.batch * given.heads * seq, 1))
        context = builder.tensor(f"{at}context", raw.shape)
        ones = next((tensor for tensor in builder.tensors if tensor.name == "ones"), None)
        ones = ones or builder.tensor("ones", (1, seq), kind="input")
        for item in range(given.batch):
            end = given.suffix(item)
            both = builder.tensor(f"{at}keys_values{end}", (given.heads, width, given.head_dim))
            total = builder.tensor(f"{at}key_sums{end}", (1, positive.cols))
            keys, queries = positive.split(k, item), positive.split(q, item)
            views = [keys, given.split(given.v, item)]
            builder.op(f"{at}keys_values{end}", "matmul", views, View.whole(both), layer, transpose_a=True)
            rows = View(k.name, 1, seq, positive.cols, positive.cols, 0, item * seq * positive.cols)
            builder.op(f"{at}key_sums{end}", "matmul", [View.whole(ones), rows], View.whole(total), layer)
            views = [queries, View.whole(both)]
            builder.op(f"{at}weighted{end}", "matmul", views, given.split(raw, item), layer)
            summed = View(total.name, given.heads, width, 1, 1, width)
            each = View(sums.name, given.heads, seq, 1, 1, seq, item * given.heads * seq)
            builder.op(f"{at}denominators{end}", "matmul", [queries, summed], each, layer)
            views = [given.split(raw, item), each]
            builder.op(f"{at}divide{end}", "divide", views, given.split(context, item), layer)
        return context

    return attention


def _random(builder: Builder, given: Sequences, part: str, x: Tensor, features: int) -> Tensor:
    """Add the positive random features of all heads of Q or K; the random directions are a weight of each layer."""
    at, layer, heads, width = given.at, given.layer, given.heads, given.head_dim
    tables = {tensor.name: tensor for tensor in builder.tensors if tensor.name == f"{at}directions"}
    table = tables.get(f"{at}directions") or builder.tensor(f"{at}directions", (width, features), kind="input")
    rows, cols = x.shape[0], heads * features
    turned = builder.tensor(f"{at}projected_{part}", (rows, cols))
    result = builder.tensor(f"{at}features_{part}", (rows, cols))
    taken = View(x.name, heads, rows, width, given.cols, width)
    put, out = (View(tensor.name, heads, rows, features, cols, features) for tensor in (turned, result))
    builder.op(f"{at}project_{part}", "matmul", [taken, View.whole(table)], put, layer)
    builder.op(f"{at}features_{part}", "random_features", [put, taken], out, layer)
    return result


def _linformer(name: str, model: BertSizes, projected: int) -> Attention:
    check_sizes(name, {"projected": projected}, "int8")
    return linformer_attention(name, model, projected)


def _performer(name: str, features: int) -> Attention:
    check_sizes(name, {"features": features}, "int8")
    return kernel_attention(features)


LINEAR: dict[str, Callable[..., Graph]] = {
    "linformer": encoder_model(
        "linformer", ROBERTA, seq=512, attention=partial(_linformer, "linformer", ROBERTA), projected=256
    ),
    "linear-attention": encoder_model("linear-attention", ROBERTA, seq=512, attention=partial(kernel_attention, 0)),
    "performer": encoder_model("performer", ROBERTA, seq=512, attention=partial(_performer, "performer"), features=256),
}
"""Encoders with attention linear in the tokens by the name that the command line takes."""
