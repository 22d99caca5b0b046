"""The layer graph of a trained encoder: BERT's own order, in which LayerNorm follows the residual add.

It differs from `workloads.encoder` (the order of Gemmini's benchmark, LayerNorm before the add), because here values
count. LayerNorm has its gain and shift and reads int8, so it runs where the plan puts it: on the host. The
embeddings are sums of look-ups in fp32 on the host; their LayerNorm makes the first int8 tensor.
"""

from __future__ import annotations

from sim.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.checkpoint import Checkpoint
from workloads.encoder import Builder


def graph(model: Checkpoint, seq: int, *, wide_gelu: bool = True) -> Graph:
    """Return the graph of ``model`` on ``seq`` tokens of one sequence.

    ``wide_gelu``: GELU reads the int32 sums of the matmul before it (then the host runs it); otherwise int8, which a
    machine with the integer GELU fuses into that matmul. Raises InputError for an illegal length.
    """
    if not 1 <= seq <= model.positions:
        nearest = min(max(seq, 1), model.positions)
        raise InputError(f"{model.name}: {seq} tokens; 1 to {model.positions} have a position (nearest: {nearest})")
    builder = Builder("int8")
    data = _embeddings(builder, model, seq)
    for layer in range(model.layers):
        data = _layer(builder, model, layer, data, seq, wide_gelu)
    return Graph(model.name, {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops))


def _embeddings(builder: Builder, model: Checkpoint, seq: int) -> Tensor:
    total: Tensor | None = None
    for what in ("word", "position", "token_type"):
        if what not in model.weights:
            continue
        ids = builder.tensor(f"{what}_ids", (1, seq), "int32", "input")
        table = builder.tensor(f"{what}_table", model.weights[what].shape, "fp32", "weight")
        found = builder.tensor(f"{what}_embedding", (seq, model.hidden), "fp32")
        builder.op(f"embed_{what}", "embedding", [View.whole(ids), View.whole(table)], View.whole(found), None)
        if total is None:
            total = found
            continue
        result = builder.tensor(f"sum_{what}", (seq, model.hidden), "fp32")
        builder.op(f"add_{what}", "residual_add", [View.whole(total), View.whole(found)], View.whole(result), None)
        total = result
    assert total is not None
    normed = builder.tensor("embedded", (seq, model.hidden), "fp32")
    _norm(builder, "embed_norm", total, normed, None)
    return builder.map("quantize_input", "quantize", [normed], "input", None)


def _norm(builder: Builder, name: str, source: Tensor, result: Tensor, layer: int | None) -> Tensor:
    weights = {"gamma": f"{name}.weight", "beta": f"{name}.bias"}
    for weight in weights.values():
        builder.tensor(weight, source.shape[-1:], "fp32", "weight")
    builder.op(name, "layernorm", [View.whole(source)], View.whole(result), layer, **weights)
    return result


def _layer(builder: Builder, model: Checkpoint, layer: int, source: Tensor, seq: int, wide_gelu: bool) -> Tensor:
    at, heads, size = f"L{layer}.", model.heads, model.head_dim

    def linear(name: str, x: Tensor, cols: int, out: str, full: bool = False) -> Tensor:
        return builder.linear(at + name, x, cols, at + out, layer, full=full, repeating=True)

    def split(tensor: Tensor) -> View:
        return View(tensor.name, heads, seq, size, model.hidden, size)

    q, k, v = (linear(f"matmul_{x}", source, model.hidden, x) for x in "QKV")
    scores = builder.tensor(f"{at}scores", (heads, seq, seq))
    builder.op(f"{at}scores", "matmul", [split(q), split(k)], View.whole(scores), layer, transpose_b=True)
    shares = builder.map(f"{at}softmax", "softmax", [scores], f"{at}probabilities", layer)
    context = builder.tensor(f"{at}context", (seq, model.hidden))
    builder.op(f"{at}context", "matmul", [View.whole(shares), split(v)], split(context), layer)
    projected = linear("W_out", context, model.hidden, "projected")
    summed = builder.map(f"{at}residual_add1", "residual_add", [source, projected], f"{at}sum1", layer)
    attended = builder.tensor(f"{at}attended", summed.shape)
    _norm(builder, f"{at}layernorm1", summed, attended, layer)
    expanded = linear("FF1", attended, model.ffn, "expanded", full=wide_gelu)
    active = builder.tensor(f"{at}active", expanded.shape)
    builder.op(f"{at}gelu", "gelu", [View.whole(expanded)], View.whole(active), layer)
    reduced = linear("FF2", active, model.hidden, "reduced")
    summed = builder.map(f"{at}residual_add2", "residual_add", [attended, reduced], f"{at}sum2", layer)
    return _norm(builder, f"{at}layernorm2", summed, builder.tensor(f"{at}output", summed.shape), layer)
