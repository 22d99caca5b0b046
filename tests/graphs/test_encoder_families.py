"""Encoders that are no plain BERT: published parameters and MACs, and what their graphs compute, in float."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.functional.host import forward
from sim.graph import Graph
from sim.graph.encoder import Builder, Sequences
from sim.graph.kinds.elementwise import elu_plus_one
from sim.graph.kinds.rows import softmax
from workloads import build
from workloads.bert import BertSizes, Stack, encoder
from workloads.networks.builder import Network
from workloads.networks.images import Images
from workloads.networks.linear_attention import kernel_attention, linformer_attention
from workloads.networks.mobilevit import _folded
from workloads.networks.reformer import Sizes as ReformerSizes
from workloads.networks.reformer import _Parts as _Reformer
from workloads.networks.sparse_attention import bigbird_attention, longformer_attention
from workloads.networks.swin import WINDOW, _Grid, _moved

Array = np.ndarray[Any, Any]

# Checkpoints: albert-*-v2, allenai/longformer-base-4096, google/bigbird-roberta-base (with poolers); the model table's
# 124.64 for Linformer leaves out the two projections [256, 514] that ours have; timm's swin_*_patch4_window7_224.
PARAMETERS = {
    "albert-base": 11_683_584, "albert-large": 17_683_968, "albert-xlarge": 58_724_864, "albert-xxlarge": 222_595_584,
    "longformer-base": 148_659_456, "bigbird-base": 127_468_800, "linformer": 124_645_632 + 2 * 256 * 514,
    "linear-attention": 124_645_632, "performer": 124_645_632, "mobilebert": 24_581_888,
}  # fmt: skip
VISION = {"swin-tiny": (28_288_354, 4.51), "swin-small": (49_606_258, 8.77), "swin-base": (87_768_224, 15.47)}


@pytest.mark.parametrize("name", PARAMETERS)
def test_encoders_have_the_parameters_of_their_checkpoints(name: str) -> None:
    ends = {"embeddings": True} | ({} if name == "mobilebert" else {"pooler": True})
    assert build(name, seq=512, **ends).parameters == PARAMETERS[name]


def test_reformer_has_the_parameters_of_its_layers() -> None:
    """The model table's 149 M: 9 local layers of four products, 3 hashed ones of three, feed-forward, norms, ends."""
    d, ffn = 1024, 4096
    layers = (9 * 4 + 3 * 3) * d * d + 12 * (2 * d * ffn + ffn + d + 4 * d)
    ends = 258 * d + 128 * 256 + 512 * 768 + 4 * d + 2 * d * 258 + 258
    assert build("reformer-enwik8", embeddings=True, head=True).parameters == layers + ends
    assert (layers + ends) / 1e6 == pytest.approx(149, abs=0.5)


# Checkpoints of torchvision (mobilenet_v2) and timm (mobilevit_*), and GMACs counted there; ours leave out norms.
MOBILE = {
    "mobilenet-v2": (3_504_872, 0.3008), "mobilevit-xxs": (1_272_024, 0.42), "mobilevit-xs": (2_317_848, 1.05),
    "mobilevit-s": (5_578_632, 2.03),
}  # fmt: skip


@pytest.mark.parametrize("name", MOBILE)
def test_mobile_networks_have_the_published_sizes(name: str) -> None:
    """With batch norms as operators every parameter; folded, scale and shift of a channel are one bias."""
    parameters, gmacs = MOBILE[name]
    apart, graph = build(name, folded=False), build(name)
    assert apart.parameters == parameters
    norms = [op for op in apart.ops if "_norm" in op.name and op.kind == "depthwise_conv"]
    assert parameters - graph.parameters == sum(op.output.cols for op in norms)
    assert graph.macs / 1e9 == pytest.approx(gmacs, rel=1e-3 if name == "mobilenet-v2" else 0.035)


@pytest.mark.parametrize("name", VISION)
def test_swin_has_the_published_sizes(name: str) -> None:
    """MACs within 0.6 % of timm's, which count more than products."""
    graph = build(name)
    assert graph.parameters == VISION[name][0]
    assert graph.macs / 1e9 == pytest.approx(VISION[name][1], rel=6e-3)


def test_macs_follow_the_closed_forms_of_the_model_table() -> None:
    """Linformer: l k in the place of l l, and two projections; Performer: 2 h l m d a pair and 2 h l d m of features;
    Longformer: 2 d l 513 less what the two borders lack (with blocks of one query).
    """
    seq, hidden, ffn, k = 64, 768, 3072, 256
    layer = seq * hidden * (4 * hidden + 2 * ffn)
    assert build("linformer", seq=seq, layers=1).macs == layer + 4 * hidden * seq * k
    own = {"denominators", "key_sums"}  # of the sums that rows are divided by, which the closed form leaves out
    graph = build("performer", seq=seq, layers=1)
    assert sum(op.macs for op in graph.ops if op.name.split(".")[1] not in own) == layer + 4 * hidden * seq * k
    banded = build("longformer-base", seq=seq, layers=1, window=16, chunk=1, global_tokens=0).macs
    assert banded == layer + 2 * hidden * (seq * 17 - 8 * 9)


def _attended(
    make: Any, seq: int, batch: int = 1, given: dict[str, Array] | None = None
) -> tuple[Graph, dict[str, Array]]:
    """Return a graph of one attention of two heads of four columns, and its tensors for random Q, K and V."""
    builder = Builder("int8")
    parts = [builder.tensor(name, (batch * seq, 8), kind="input") for name in ("source", "q", "k", "v")]
    make(builder, Sequences("L0.", 0, *parts, seq, batch, 2, 4))
    graph = Graph("attention", {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops))
    draw = np.random.default_rng(5)
    values = {
        t.name: draw.normal(size=t.shape).astype(np.float32) for t in graph.tensors.values() if t.kind != "activation"
    }
    return graph, forward(graph, {**values, **(given or {})}, 1e-12, 4)


def _heads(values: Array, batch: int = 1) -> Array:
    return values.reshape(batch, -1, 2, 4).transpose(0, 2, 1, 3)


def _masked(values: dict[str, Array], seen: Array, batch: int = 1) -> Array:
    """Return full attention in which each query sees the keys of ``seen`` [queries, keys]."""
    q, k, v = (_heads(values[name], batch) for name in "qkv")
    scores = np.where(seen, q @ k.transpose(0, 1, 3, 2) / 2, -np.inf)
    return (softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(-1, 8)


@pytest.mark.parametrize(("chunk", "batch"), [(1, 1), (3, 2), (8, 1), (64, 2)])
def test_longformer_computes_attention_in_a_band(chunk: int, batch: int) -> None:
    window, seq = 6, 20
    place = np.arange(chunk)[:, None] + window // 2 - np.arange(window + chunk)
    band = np.where(abs(place) <= window // 2, 0, -1e9).astype(np.float32)
    make = longformer_attention("x", window, 0, chunk)
    _, values = _attended(make, seq, batch, {"band_mask": band})
    near = abs(np.arange(seq)[:, None] - np.arange(seq)) <= window // 2
    np.testing.assert_allclose(values["L0.context"], _masked(values, near, batch), rtol=2e-5, atol=1e-6)


def test_global_tokens_are_seen_by_all_and_see_all_by_their_own_projections() -> None:
    window, seq, chunk = 4, 18, 4
    place = np.arange(chunk)[:, None] + window // 2 - np.arange(window + chunk)
    band = np.where(abs(place) <= window // 2, 0, -1e9).astype(np.float32)
    _, values = _attended(longformer_attention("x", window, 2, chunk), seq, given={"band_mask": band})
    near = abs(np.arange(seq)[:, None] - np.arange(seq)) <= window // 2
    near[:, :2] = True
    np.testing.assert_allclose(values["L0.context"][2:], _masked(values, near)[2:], rtol=2e-5, atol=1e-6)
    theirs = {}
    for name in "qkv":
        at = f"L0.matmul_{name.upper()}_global"
        theirs[name] = values["source"] @ values[f"{at}.weight"] + values[f"{at}.bias"]
    every = _masked(theirs, np.ones((seq, seq), bool))
    np.testing.assert_allclose(values["L0.context"][:2], every[:2], rtol=2e-5, atol=1e-6)


def test_bigbird_computes_attention_over_its_blocks() -> None:
    """Each middle block sees 3 neighbours, the first, the last and 2 drawn ones; the ends see all and are seen."""
    graph, values = _attended(bigbird_attention("x", 4, 2, 7), 40, 2)
    seen = np.zeros((40, 40), bool)
    for op in graph.ops:
        if op.kind == "matmul" and "scores" in op.name and not op.name.split(".b")[-1].startswith("1"):
            queries, keys = (view.offset // 8 for view in op.inputs)
            seen[queries : queries + op.mnk[0], keys : keys + op.mnk[1]] = True
    np.testing.assert_allclose(values["L0.context"], _masked(values, seen, 2), rtol=2e-5, atol=1e-6)
    blocks = seen[::4, ::4]
    assert blocks[0].all() and blocks[-1].all() and blocks[:, 0].all() and blocks[:, -1].all()
    assert [int(row.sum()) for row in blocks] == [10, 6, *[7] * 6, 6, 10]
    assert all(blocks[n, n - 1 : n + 2].all() for n in range(1, 9))


def test_linformer_projects_keys_and_values_over_tokens() -> None:
    make = linformer_attention("x", BertSizes(1, 8, 2, 8, positions=12), 3)
    _, values = _attended(make, 12)
    short = {**values, "k": values["project_K"] @ values["k"], "v": values["project_V"] @ values["v"]}
    np.testing.assert_allclose(values["L0.context"], _masked(short, np.ones((12, 3), bool)), rtol=2e-5, atol=1e-6)


def test_linear_attention_is_what_weighs_each_key_by_its_product_with_the_query() -> None:
    _, values = _attended(kernel_attention(0), 9, 2, {"ones": np.ones((1, 9), np.float32)})
    q, k = (elu_plus_one(_heads(values[name], 2)) for name in "qk")
    weights = q @ k.transpose(0, 1, 3, 2)
    wanted = weights / weights.sum(-1, keepdims=True) @ _heads(values["v"], 2)
    np.testing.assert_allclose(values["L0.context"], wanted.transpose(0, 2, 1, 3).reshape(-1, 8), rtol=2e-5, atol=1e-6)


def test_random_features_approach_softmax_as_they_become_many() -> None:
    """Choromanski et al. 2020: the estimate has no bias; its error falls with the root of the number of features."""
    errors = []
    for features in (16, 4096):
        _, values = _attended(kernel_attention(features), 9, 1, {"ones": np.ones((1, 9), np.float32)})
        q, k, v = (_heads(values[name]) for name in "qkv")
        wanted = softmax(q @ k.transpose(0, 1, 3, 2)) @ v
        errors.append(abs(values["L0.context"] - wanted.transpose(0, 2, 1, 3).reshape(-1, 8)).mean())
    assert errors[1] < errors[0] / 3 and errors[1] < 0.1


def test_hashed_attention_is_attention_among_sorted_neighbours() -> None:
    """Each round: tokens by bucket, chunks that see themselves and the chunk before; rounds weighed by their sums."""
    seq, hashes, chunk = 16, 2, 4
    net = Network("hashed")
    parts = _Reformer(net, ReformerSizes(seq=seq, hashes=hashes, buckets=4, chunk=chunk, local=8))
    x = net.input("x", seq, 1024)
    parts._hashed(x)
    graph = net.graph()
    draw = np.random.default_rng(2)
    known = [tensor for tensor in graph.tensors.values() if tensor.kind != "activation"]
    given = {tensor.name: draw.normal(size=tensor.shape).astype(np.float32) / 8 for tensor in known}
    values = forward(graph, given, 1e-12, 1)
    qk, v = (values[name].reshape(seq, 8, 128).transpose(1, 0, 2) for name in ("matmul_QK", "matmul_V"))
    turned = np.einsum("hsd,hdr->hsr", qk, given["rotations"]).reshape(8, seq, hashes, 2)
    buckets = np.concatenate([turned, -turned], -1).argmax(-1)
    wanted = np.zeros((8, seq, 128))
    for head in range(8):
        order = np.concatenate([np.argsort(buckets[head, :, one], kind="stable") for one in range(hashes)])
        results, sums = np.zeros((hashes, seq, 128)), np.zeros((hashes, seq))
        for first in range(0, hashes * seq, chunk):
            at, seen = order[first : first + chunk], order[max(0, first - chunk) : first + chunk]
            scores = qk[head, at] @ qk[head, seen].T
            scores += np.where(at[:, None] < seen, -1e9, np.where(at[:, None] == seen, -1e5, 0))
            most = scores.max(-1, keepdims=True)
            total = np.exp(scores - most).sum(-1, keepdims=True)
            results[first // seq, at] = np.exp(scores - most) / total @ v[head, seen]
            sums[first // seq, at] = (most + np.log(total))[:, 0]
        wanted[head] = (softmax(sums.T)[:, :, None] * results.transpose(1, 0, 2)).sum(1)
    np.testing.assert_allclose(values["attended"], wanted.transpose(1, 0, 2).reshape(seq, 1024), rtol=2e-3, atol=2e-4)


def test_folding_and_unfolding_are_inverse_and_sort_pixels_by_place() -> None:
    net = Images("folds", "int8", "silu")
    x = net.input("x", 2 * 16, 3)
    unfolded = _folded(net, x, 4, back=False)
    again = _folded(net, unfolded, 4, back=True)
    given = np.arange(x.elements, dtype=np.float32).reshape(x.shape)
    values = forward(net.graph(), {"x": given}, 1e-12, 1)
    wanted = given.reshape(2, 2, 2, 2, 2, 3).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 3)
    np.testing.assert_array_equal(values[unfolded.name], wanted)
    np.testing.assert_array_equal(values[again.name], given)


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_of_swin_are_those_of_a_rolled_image_and_go_back(shifted: bool) -> None:
    grid = _Grid(2, 3 * WINDOW, 2, shifted)
    net = Network("windows")
    x = net.input("x", 2 * grid.side**2, 2)
    windows = _moved(net, x, grid, "windows", back=False)
    tokens = _moved(net, windows, grid, "tokens", back=True)
    given = np.arange(x.elements, dtype=np.float32).reshape(x.shape)
    values = forward(net.graph(), {"x": given}, 1e-12, 1)
    np.testing.assert_array_equal(values[tokens.name], given)
    rolled = given.reshape(2, grid.side, grid.side, 2)
    rolled = np.roll(rolled, (-(WINDOW // 2),) * 2, (1, 2)) if shifted else rolled
    cut = rolled.reshape(2, 3, WINDOW, 3, WINDOW, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 3, 3, -1, 2)
    found = values[windows.name].reshape(-1, WINDOW**2, 2)
    for image in range(2):
        for row in range(3):
            for col in range(3):
                np.testing.assert_array_equal(found[grid.place(image, row, col)], cut[image, row, col])


def test_layers_of_albert_share_their_weights() -> None:
    graph = build("albert-base", seq=4, layers=3)
    assert len({op.inputs[1].tensor for op in graph.ops if op.name.endswith("FF1")}) == 1
    assert graph.parameters == build("bert-base", seq=4, layers=1).parameters


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("longformer-base", {"seq": 128}, "window 512 exceeds the sequence of 128 tokens (nearest: window=128)"),
        ("longformer-base", {"window": 7}, "window is 7, must be even"),
        ("longformer-base", {"window": 0}, "window is 0, must be a whole number >= 1"),
        ("longformer-base", {"seq": 512, "global_tokens": 600}, "(nearest: 511)"),
        ("bigbird-base", {"seq": 500}, "(nearest: seq=512)"),
        ("bigbird-base", {"seq": 512, "random_blocks": 9}, "at least 14 blocks (nearest: seq=896)"),
        ("bigbird-base", {"seed": -1}, "seed is -1"),
        ("linformer", {"projected": 0}, "projected is 0"),
        ("linformer", {"seq": 515}, "beyond the projection of 514 tokens (nearest: seq=514)"),
        ("performer", {"features": "many"}, "features is 'many'"),
        ("performer", {"window": 3}, "no size 'window'"),
        ("swin-tiny", {"image": 100}, "(nearest: 224)"),
        ("mobilevit-xs", {"image": 100}, "(nearest: 128)"),
        ("mobilenet-v2", {"folded": "maybe"}, "folded is 'maybe', must be true or false"),
        ("swin-tiny", {"phase": "decode"}, "can be encode"),
        ("albert-base", {"phase": "decode"}, "can be encode"),
        ("reformer-enwik8", {"phase": "decode"}, "buckets need the whole sequence"),
        ("reformer-enwik8", {"seq": 300}, "at least two chunks of chunk 256 (nearest: seq=512)"),
        ("reformer-enwik8", {"buckets": 7}, "buckets is 7, must be even (nearest: 8)"),
        ("reformer-enwik8", {"layers": 13}, "the model has 12 (nearest: 12)"),
        ("mobilebert", {"seq": 600, "embeddings": True}, "(nearest: 512)"),
    ],
)
def test_illegal_sizes_are_refused(name: str, sizes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build(name, **sizes)
    assert message in str(caught.value)


def test_an_encoder_takes_any_attention() -> None:
    graph = encoder("mine", BertSizes(1, 8, 2, 16), Stack(6), kernel_attention(0))
    assert [op.kind for op in graph.ops].count("divide") == 1
