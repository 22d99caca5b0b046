"""Networks that torch itself exported cost what our own builders' do, operator for operator.

tests/oracle/exported (its README says how they were made): two layers each of Hugging Face's BertModel, GPT2Model,
LlamaModel and ViTModel.
"""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from helpers.onnx_models import costs

import workloads
from sim.graph import Graph, Tensor, View
from workloads.networks.builder import Network

EXPORTED = Path(__file__).parents[1] / "oracle" / "exported"
SEQ, HIDDEN, HEADS, LAYERS = 32, 64, 4, 2


def exported(name: str, tmp_path: Path, dim: str = "seq=32") -> Graph:
    file = tmp_path / f"{name}.onnx"
    file.write_bytes(gzip.decompress((EXPORTED / f"{name}.onnx.gz").read_bytes()))
    return workloads.build(str(file), **({"dim": dim} if dim else {}))


def embedded(net: Network, tables: int) -> Tensor:
    """Rows of tables that are looked up, and their sums."""
    parts = []
    for number in range(tables):
        ids = net.input(f"ids{number}", 1, SEQ, "int32")
        table = net.tensor(f"table{number}", (96, HIDDEN), kind="weight")
        made = net.tensor(f"looked_up{number}", (SEQ, HIDDEN))
        net.op(f"look_up{number}", "embedding", [View.whole(ids), View.whole(table)], View.whole(made), None)
        parts.append(made)
    x = parts[0]
    for part in parts[1:]:
        x = net.add(x, part)
    return x


def bert() -> Graph:
    net = Network("bert")
    x = net.norm(embedded(net, 3))
    for layer in range(LAYERS):
        with net.layer_of(layer):
            q, k, v = (net.linear(x, HIDDEN) for _ in "qkv")
            x = net.norm(net.add(net.linear(net.attention(q, k, v, heads=HEADS), HIDDEN), x))
            x = net.norm(net.add(net.linear(net.each("gelu", net.linear(x, 128)), HIDDEN), x))
    return net.graph()


def gpt2() -> Graph:
    """Q, K and V are one product there; its parts are read in place."""
    net = Network("gpt2")
    x = embedded(net, 2)
    mask = net.tensor("mask", (SEQ, SEQ), net.sums, "input")
    for layer in range(LAYERS):
        with net.layer_of(layer):
            qkv = net.linear(net.norm(x), 3 * HIDDEN)
            context = net.tensor(net.name_of("context"), (SEQ, HIDDEN))
            size, wide = HIDDEN // HEADS, 3 * HIDDEN
            q, k, v = (View(qkv.name, HEADS, SEQ, size, wide, size, part * HIDDEN) for part in range(3))
            scores = net.tensor(net.name_of("scores"), (HEADS, SEQ, SEQ))
            views = [q, k, View(mask.name, 1, SEQ, SEQ, SEQ, 0)]
            net.op(f"s{layer}", "matmul", views, View.whole(scores), layer, transpose_b=True)
            shares = net.each("softmax", scores)
            out = View(context.name, HEADS, SEQ, size, HIDDEN, size)
            net.op(f"c{layer}", "matmul", [View.whole(shares), v], out, layer)
            x = net.add(net.linear(context, HIDDEN), x)
            x = net.add(x, net.linear(net.each("gelu", net.linear(net.norm(x), 4 * HIDDEN)), HIDDEN))
    net.norm(x)
    return net.graph()


@pytest.mark.parametrize(("name", "own"), [("bert", bert), ("gpt2", gpt2)])
def test_a_post_norm_encoder_and_a_decoder_cost_what_our_builder_makes(name: str, own: object, tmp_path: Path) -> None:
    assert callable(own)
    assert costs(exported(name, tmp_path)) == costs(own())


def test_a_llama_costs_what_its_config_builds(tmp_path: Path) -> None:
    """RMSNorm, rotary embeddings, grouped queries, gate: the configuration of the same export."""
    own = workloads.build(str(EXPORTED / "llama.json"), seq=SEQ, embeddings=1)
    assert costs(exported("llama", tmp_path)) == costs(own)


def test_a_vision_transformer_costs_what_its_config_builds_without_the_head(tmp_path: Path) -> None:
    """Ours has a head behind it, and puts the class token before the patches: the first two may differ by a cycle."""
    read, own = costs(exported("vit", tmp_path, "")), costs(workloads.build(str(EXPORTED / "vit.json")))
    more = Counter(own)
    more.subtract(read)
    unlike = sorted((kind, count) for (kind, _), count in more.items() if count)
    assert unlike == [("copy", -1), ("copy", 1), ("matmul", -1), ("matmul", 1), ("matmul", 1)]
    ends = [{cycles for (kind, cycles), count in more.items() if kind == "copy" and count == sign} for sign in (1, -1)]
    assert abs(ends[0].pop() - ends[1].pop()) <= 1


def test_other_lengths_are_the_same_file_with_another_number(tmp_path: Path) -> None:
    short, long = (exported("bert", tmp_path, f"seq={seq}") for seq in (8, 48))
    assert [op.kind for op in short.ops] == [op.kind for op in long.ops]
    assert short.macs < long.macs
