"""Each model type's configuration, as transformers writes it, has the parameters of transformers' own module.

Configurations and counts: tests/oracle/configs. Published sizes of named networks: their config.json, and the
parameters of their checkpoints (model cards); those of DeepSeek-V3 are 671,026,419,200 with 58 x 256 numbers that only
choose experts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.functional.host import forward
from workloads import build
from workloads.networks.builder import Network
from workloads.networks.config import Config, Latent
from workloads.networks.decoders import DECODERS
from workloads.networks.decoding import TokenStep, decoder, latent
from workloads.networks.seq2seq import SEQ2SEQ

FOLDER = Path(__file__).parents[1] / "oracle" / "configs"
KNOWN: dict[str, dict[str, Any]] = json.loads((FOLDER / "decoders.json").read_text())
ENCODERS: dict[str, dict[str, Any]] = json.loads((FOLDER / "encoders.json").read_text())
PAIRS: dict[str, dict[str, Any]] = json.loads((FOLDER / "encoder_decoders.json").read_text())
LEFT_OUT = {"gpt_oss": 4 * 4}
"""Parameters that graphs leave out: a number of each head of each layer under its softmax (sinks)."""

PICTURES: dict[str, dict[str, Any]] = json.loads((FOLDER / "pictures.json").read_text())
NO_PART = {"clip": 1, "siglip": 2, **dict.fromkeys(("dinov2", "dinov2_with_registers"), 3 * 2 * 64 + 64)}
"""The factor (and shift) of CLIP's scores; DINOv2's factors of columns, in the weights before them, and its mask."""

TABLES = 2 * 258 * 64
"""Learned positions of BART's kin, and behind them norms of 64: their sum is the input."""
BEFORE = dict.fromkeys(("bart", "plbart", "mbart"), TABLES + 2 * 2 * 64) | {
    "t5": -4, "mt5": -4, "umt5": -2 * 4, "whisper": 40 * 64,
}  # fmt: skip
"""Parameters in front of the graphs of encoder-decoders; T5's decoders have a bucket more, of masked pairs."""

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
PUBLISHED = {
    "deepseek-v2-lite": 15_706_484_224, "deepseek-v2": 235_741_434_880, "deepseek-v3": 671_026_419_200 - 58 * 256,
    "gpt-oss-20b": 20_914_757_184, "gpt-oss-120b": 116_829_156_672, "gpt-neo-125m": 125_198_592,
    "gpt-neo-1.3b": 1_315_575_808, "gpt-neo-2.7b": 2_651_307_520, "codegen-350m": 356_712_448,
    "codegen-2b": 2_779_356_160, "mpt-7b": 6_649_286_656, "starcoder-15b": 15_517_456_384, "xglm-564m": 564_463_616,
    "command-r": 34_980_831_232, "olmoe-1b-7b": 6_919_161_856, "phi-3.5-moe": 41_873_153_344,
    "smollm3-3b": 3_075_098_624, "glm-4-9b": 9_399_951_360, "granite-3.1-2b": 2_533_531_648,
    "internlm2-7b": 7_737_708_544, "exaone-3.5-2.4b": 2_405_327_360, "minitron-4b": 4_190_509_056,
}  # fmt: skip


def written(content: dict[str, Any], folder: Path) -> str:
    (folder / "config.json").write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_configuration_has_the_parameters_of_its_own_module(kind: str, tmp_path: Path) -> None:
    content = KNOWN[kind]["config"]
    whole: dict[str, Any] = {"embeddings": True, "head": True, "seq": 1}
    if any(content.get(key) for key in EXPERTS):  # each expert of four gets a token
        whole |= {"seq": 4, "routing": "2+2+2+2"}
    graph = build(written(content, tmp_path), **whole)
    assert graph.parameters + LEFT_OUT.get(kind, 0) == KNOWN[kind]["parameters"]


@pytest.mark.parametrize("kind", KNOWN)
def test_every_phase_of_a_configuration_builds(kind: str, tmp_path: Path) -> None:
    path = written(KNOWN[kind]["config"], tmp_path)
    for sizes in ({"seq": 5, "batch": 2}, {"phase": "decode", "kv": 9, "batch": 2}, {"phase": "decode", "seq": 3}):
        assert build(path, **sizes).macs > 0
    ragged = build(path, phase="decode", lengths="5+9+0")
    assert sum(op.kind == "softmax" and op.layer == 0 for op in ragged.ops) >= 3, "each sequence sees its own keys"


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_has_the_parameters_of_its_own_module(kind: str, tmp_path: Path) -> None:
    path = written(ENCODERS[kind]["config"], tmp_path)
    assert build(path, seq=1, embeddings=True).parameters == ENCODERS[kind]["parameters"]
    with pytest.raises(InputError, match="phase is 'decode', can be encode"):
        build(path, phase="decode")


@pytest.mark.parametrize("kind", PICTURES)
def test_a_network_of_images_has_the_parameters_of_its_own_module(kind: str, tmp_path: Path) -> None:
    words = {"embeddings": True} if kind in ("clip", "siglip", "clip_text_model") else {}
    graph = build(written(PICTURES[kind]["config"], tmp_path), **words, **({"seq": 9} if words else {}))
    assert graph.parameters + NO_PART.get(kind, 0) == PICTURES[kind]["parameters"]


def test_published_networks_of_images_have_the_parameters_of_their_checkpoints() -> None:
    """Checkpoints of openai/clip-vit-*, google/siglip-base-patch16-224 and facebook/dinov2-*."""
    pairs = {"clip-vit-b-32": 151_277_313 - 1, "clip-vit-b-16": 149_620_737 - 1, "siglip-base": 203_155_970 - 2}
    for name, parameters in pairs.items():
        assert build(name, embeddings=True).parameters == parameters
    for name, parameters, hidden in (("dinov2-small", 22_056_576, 384), ("dinov2-base", 86_580_480, 768)):
        assert build(name).parameters == parameters - (12 * 2 + 1) * hidden, "factors of branches and the mask"


def test_towers_are_run_together_or_alone_and_scores_are_images_by_texts() -> None:
    sizes = {"layers": 1, "image": 64, "seq": 8, "batch": 2, "texts": 3}
    both, image, text = (build("clip-vit-b-32", part=part, **sizes) for part in ("both", "image", "text"))
    assert both.op("compare").mnk == (2, 3, 512) and both.macs == image.macs + text.macs + 2 * 3 * 512
    assert len(text.op("L0.scores.b0").inputs) == 3, "tokens see those before them"
    assert len(build("siglip-base", part="text", layers=1).op("L0.scores").inputs) == 2
    assert build("siglip-base", part="image", layers=1).op("scores").mnk == (1, 196, 64), "one query an image"


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"part": "words"}, "part is 'words', can be both, image, text"),
        ({"seq": 78}, "seq 78 is beyond the position table (nearest: 77)"),
        ({"image": 50}, "image 50 is not a multiple of its patches of 32 (nearest: 64)"),
        ({"texts": 0}, "texts is 0, must be a whole number >= 1"),
        ({"phase": "decode"}, "phase is 'decode', can be encode"),
    ],
)
def test_illegal_sizes_of_a_pair_are_refused(sizes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        build("clip-vit-b-32", **sizes)
    assert told in str(caught.value)


@pytest.mark.parametrize("kind", PAIRS)
def test_an_encoder_decoder_has_the_parameters_of_its_own_module(kind: str, tmp_path: Path) -> None:
    content = PAIRS[kind]["config"]
    source = content.get("max_source_positions", 16)
    graph = build(written(content, tmp_path), phase="prefill", seq=4, source=source, head=True)
    assert graph.parameters + BEFORE.get(kind, 0) == PAIRS[kind]["parameters"]
    assert len({op.layer for op in graph.ops if op.layer is not None}) == 3 + 2, "three and two layers"


PUBLISHED_PAIRS = {
    "byt5-small": 299_637_760, "umt5-small": 306_601_984, "distilbart": 305_510_400, "mbart-large": 610_851_840,
    "m2m100-418m": 483_905_536, "nllb-600m": 615_073_792, "pegasus-large": 570_797_056 - 2 * 1024 * 1024,
    "opus-mt-en-de": 74_410_496 - 2 * 512 * 512, "whisper-large-v3": 1_543_490_560,
    "distil-whisper-large-v3": 756_405_760,
}  # fmt: skip
"""Checkpoints' parameters, without the sines and cosines that Pegasus and Marian store."""


@pytest.mark.parametrize("name", PUBLISHED_PAIRS)
def test_published_encoder_decoders_have_the_parameters_of_their_checkpoints(name: str) -> None:
    assert SEQ2SEQ[name].parameters() == PUBLISHED_PAIRS[name]


def test_published_encoders_have_the_parameters_of_their_checkpoints() -> None:
    """ModernBERT and nomic-bert without their heads; ESM-2 by its own layers (tests/oracle/configs)."""
    counts = {name: build(name, seq=1, embeddings=True).parameters for name in ("modernbert-base", "nomic-bert")}
    assert counts == {"modernbert-base": 149_014_272, "nomic-bert": 136_731_648}


def test_an_encoder_of_windows_has_a_mask_where_the_window_is_shorter_than_the_sequence() -> None:
    """ModernBERT: layers 0, 3, ... see all; the first layer's norm is that of the words."""
    graph = build("modernbert-base", seq=100, layers=4)
    masked = [len(graph.op(f"L{n}.scores").inputs) == 3 for n in range(4)]
    assert masked == [False, True, True, False]
    assert not any(op.name == "L0.norm1" for op in graph.ops)
    assert not any(len(op.inputs) == 3 for op in build("modernbert-base", seq=64, layers=4).ops if "scores" in op.name)


def test_positions_of_each_layer_are_looked_up_in_it() -> None:
    graph = build("umt5-small", phase="prefill", seq=4, source=8, layers=2)
    assert len({op.layer for op in graph.ops if op.kind == "position_bias"}) == 4


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_decoders_have_the_parameters_of_their_checkpoints(name: str) -> None:
    assert DECODERS[name].parameters() == PUBLISHED[name]


LATENT = Latent(rank=6, plain=8, rotated=4, values=5, query_rank=7)
SMALL = Config(layers=1, hidden=16, heads=2, ffn=12, vocab=9, most_positions=64, latent=LATENT)


@pytest.mark.parametrize("absorbed", [False, True])
@pytest.mark.parametrize("step", [TokenStep(3, 4, 2), TokenStep(1, 4, 2), TokenStep(5)])
def test_both_forms_of_latent_attention_are_attention_over_heads_made_of_the_cache(
    step: TokenStep, absorbed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K of a head: its product with the cached row, and the rotated columns that all heads share."""
    monkeypatch.setattr(latent, "is_absorbed", lambda config, step: absorbed)
    graph, draw, of = decoder("latent", SMALL, step), np.random.default_rng(3), LATENT
    given = {
        t.name: draw.normal(size=t.shape).astype(np.float32) for t in graph.tensors.values() if t.kind != "activation"
    }
    mask = np.triu(np.full((step.new, step.past + step.new), -1e4, np.float32), step.past + 1)
    given |= {"causal_mask": mask} if step.new > 1 else {}
    values = forward(graph, {name: array.copy() for name, array in given.items()}, 1e-12, 1)
    keys = step.past + step.new
    cache = values["L0.cache_latent"]
    np.testing.assert_array_equal(cache[:, : step.past], given["L0.cache_latent"][:, : step.past])
    q = values["L0.matmul_Q"].reshape(step.batch, step.new, 2, of.size)
    turned = _turned(q[..., of.plain :], step.past)
    made = (cache[..., : of.rank] @ given["L0.matmul_KV.weight"]).reshape(step.batch, keys, 2, of.plain + of.values)
    scores = np.einsum("bqhd,bkhd->bhqk", q[..., : of.plain], made[..., : of.plain])
    scores += np.einsum("bqhd,bkd->bhqk", turned, cache[..., of.rank :])
    scores = np.exp(scores + mask - (scores + mask).max(-1, keepdims=True))
    shares = scores / scores.sum(-1, keepdims=True)
    wanted = np.einsum("bhqk,bkhd->bqhd", shares, made[..., of.plain :]).reshape(-1, 2 * of.values)
    out = wanted @ given["L0.W_out.weight"]
    np.testing.assert_allclose(values["L0.W_out"], out, rtol=2e-3, atol=2e-3)


def _turned(x: np.ndarray[Any, Any], past: int) -> np.ndarray[Any, Any]:
    """Rotate pairs of halves by position / 10000 ** (2i / columns)."""
    half = x.shape[-1] // 2
    angles = (past + np.arange(x.shape[1]))[:, None, None] / 10000.0 ** (np.arange(half) / half)
    one, two = x[..., :half], x[..., half:]
    return np.concatenate(
        [one * np.cos(angles) - two * np.sin(angles), one * np.sin(angles) + two * np.cos(angles)], -1
    )


def test_the_form_of_fewer_macs_is_built_and_the_cache_is_one_narrow_row_a_token() -> None:
    prefill = build("deepseek-v2-lite", seq=64, layers=1)
    step = build("deepseek-v2-lite", phase="decode", kv=63, layers=1, head=False)
    assert not any("absorbed" in op.name for op in prefill.ops) and any("absorbed" in op.name for op in step.ops)
    for graph in (prefill, step):
        assert [t.shape for t in graph.tensors.values() if t.kind == "state"] == [(1, 64, 512 + 64)]


def test_layers_without_positions_rotate_nothing_and_still_normalise_keys(tmp_path: Path) -> None:
    """EXAONE 4 normalises heads of K, also in the layers that do not rotate them."""
    graph = build(written(KNOWN["exaone4"]["config"], tmp_path), seq=3)
    rotates = {op.layer for op in graph.ops if op.kind == "rope"}
    normed = [op.layer for op in graph.ops if "norm_K" in op.name]
    assert rotates == {0, 1, 2} and normed == [0, 1, 2, 3]
    assert graph.producers("L3.cache_K")[0].kind == "rmsnorm"


def test_a_squared_relu_is_the_products_own_relu_times_itself() -> None:
    graph = build("minitron-4b", seq=2, layers=1)
    (square,) = [op for op in graph.ops if op.name == "L0.relu2"]
    assert square.kind == "multiply" and square.inputs[0] == square.inputs[1]
    assert graph.op("L0.FF1").attrs["activation"] == "relu"


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("deepseek_v3", {"qk_rope_head_dim": 7}, "qk_rope_head_dim is 7, must be even"),
        ("deepseek_v3", {"num_experts_per_tok": 5}, "must be 1 to n_routed_experts (4)"),
        ("deepseek_v3", {"n_routed_experts": 0}, "n_routed_experts is 0, must be a whole number from 1"),
        ("deepseek_v3", {"first_k_dense_replace": 9}, "first_k_dense_replace is 9, must be 0 to num_hidden_layers (4)"),
        ("cohere", {"use_qk_norm": True}, "use_qk_norm is True: this changes the network"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers must be a list of 4"),
        ("gpt_neo", {"attention_types": [[["global"], 3]]}, "attention_types names 3 layers, must be num_layers (4)"),
        ("mpt", {"attn_config": {"qk_ln": True}}, "attn_config.qk_ln is True: this changes the network"),
        ("llama", {"model_type": "mamba"}, "model_type is 'mamba': a recurrence over tokens"),
        ("llama", {"model_type": "llava", "text_config": {"model_type": "llama"}}, "save text_config (llama) as a"),
        (
            "llama",
            {"model_type": "clip", "vision_config": {"hidden_size": 0}},
            "vision_config.hidden_size is 0, must be",
        ),
        ("llama", {"model_type": "clip", "text_config": [4]}, "text_config is [4], must be an object"),
        ("arcee", {"hidden_act": "xielu"}, "hidden_act is 'xielu'"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(kind: str, change: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        build(written({**KNOWN[kind]["config"], **change}, tmp_path))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq, weights of 4 bits: .*--sparsity w4a8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes, weights of 4 bits: .*--sparsity w4a8"),
        ({"quant_method": "awq", "bits": 3}, "awq, weights of 3 bits: .*a SPEC.toml"),
        ({"quant_method": "fp8"}, "fp8, weights of 8 bits .floating point.*int8"),
    ],
)
def test_weights_of_another_word_size_are_named_with_what_gives_them(
    given: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=told):
        build(written({**KNOWN["llama"]["config"], "quantization_config": given}, tmp_path))


def test_values_of_other_rows_or_columns_than_their_heads_are_refused() -> None:
    net = Network("mine")
    x, k = net.input("x", 4, 64), net.input("k", 4, 32)
    for rows, cols in ((5, 32), (4, 33)):
        with pytest.raises(InputError, match="must have the rows of K and columns of 2 heads"):
            net.attention(x, k, net.input(f"v{cols}", rows, cols), heads=4, kv_heads=2)
