"""Networks by name: published parameters and MACs, phases, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim import hardware
from sim.base.errors import InputError
from sim.plan.planner import plan
from workloads import NETWORKS, build
from workloads.bert import model_parameters
from workloads.networks.builder import Network
from workloads.networks.config import Config
from workloads.networks.decoders import DECODERS
from workloads.networks.decoding import TokenStep, decoder
from workloads.networks.experts import loads
from workloads.networks.models import ENCODERS
from workloads.networks.seq2seq import SEQ2SEQ
from workloads.profile import analyze

# The project's model table (models.csv): parameters in 10^6, GMACs by tokens of a prefill. Its MACs of OPT-350M
# leave out the products around the word table, those of Mixtral the router.
TABLE: dict[str, tuple[float, dict[int, float]]] = {
    "gpt2": (124.44, {128: 11.174, 1024: 106.300}),
    "gpt2-medium": (354.82, {128: 39.460, 1024: 360.777}),
    "gpt2-large": (774.03, {128: 92.107, 1024: 821.412}),
    "gpt2-xl": (1557.61, {128: 191.260, 1024: 1671.011}),
    "opt-125m": (125.24, {512: 48.318}),
    "opt-350m": (331.20, {512: 167.504}),
    "opt-1.3b": (1315.76, {512: 644.245}),
    "opt-6.7b": (6658.47, {512: 3367.254}),
    "opt-66b": (65719.7, {512: 33706.903}),
    "llama-2-7b": (6738.42, {1024: 6906.307}),
    "llama-2-13b": (13015.86, {1024: 13421.773}),
    "llama-2-70b": (68976.65, {1024: 71468.256}),
    "llama-3-8b": (8030.26, {1024: 7421.703}),
    "llama-3-70b": (70553.71, {1024: 71468.256}),
    "llama-3.2-1b": (1235.81, {1024: 1065.152}),
    "mistral-7b": (7241.73, {1024: 7421.703}),
    "mixtral-8x7b": (46702.79, {1024: 13194.140 + 32 * 1024 * 4096 * 8 / 1e9}),
    "tinyllama-1.1b": (1100.05, {1024: 1086.627}),
}
# Parameters of the published checkpoints (model cards), of networks that the table has not.
PUBLISHED = {"qwen2-0.5b": 494_032_768, "qwen2-1.5b": 1_543_714_304, "gemma-2b": 2_506_172_416}
PUBLISHED |= {"deepseek-moe-16b": 16_375_728_128, "qwen3-30b-a3b": 30_532_122_624}
PUBLISHED |= {"qwen3-0.6b": 596_049_920, "qwen1.5-moe-a2.7b": 14_315_784_192, "gemma-2-2b": 2_614_341_888}
PUBLISHED |= {"gemma-2-9b": 9_241_705_984, "gemma-2-27b": 27_227_128_320, "gemma-3-1b": 999_885_952}
PUBLISHED |= {"pythia-70m": 70_426_624, "pythia-160m": 162_322_944, "pythia-410m": 405_334_016}
PUBLISHED |= {"pythia-1.4b": 1_414_647_808, "pythia-2.8b": 2_775_208_960, "pythia-6.9b": 6_857_302_016}
PUBLISHED |= {"gpt-neox-20b": 20_554_567_680, "gpt-j-6b": 6_050_882_784, "phi-1.5": 1_418_270_720}
PUBLISHED |= {"phi-2": 2_779_683_840, "phi-3-mini": 3_821_079_552, "bloom-560m": 559_214_592}
PUBLISHED |= {"bloom-1b1": 1_065_314_304, "bloom-3b": 3_002_557_440, "bloom-7b1": 7_069_016_064}
PUBLISHED |= {"falcon-7b": 6_921_720_704, "falcon-40b": 41_303_293_952, "starcoder2-3b": 3_030_371_328}
PUBLISHED |= {"starcoder2-7b": 7_173_923_840, "stablelm-3b": 2_795_443_200, "stablelm-2-1.6b": 1_644_515_328}
PUBLISHED |= {"olmo-2-1b": 1_484_916_736, "olmo-2-7b": 7_298_617_344, "smollm2-135m": 134_515_008}
PUBLISHED |= {"qwen2-7b": 7_615_616_512, "gemma-7b": 8_537_680_896, "distilgpt2": 81_912_576}
# Parameters in 10^6, GMACs of the encoder (T5: 512 tokens, Whisper: 1,500 frames) and of the convolutions before it.
SEQ2SEQ_TABLE = {
    "t5-small": (60.51, 11.274, 0), "t5-base": (222.90, 48.318, 0), "t5-large": (737.67, 167.504, 0),
    "t5-3b": (2851.60, 670.015, 0), "t5-11b": (11307.32, 2680.060, 0), "whisper-tiny": (37.76, 17.529, 0.940),
    "whisper-base": (72.59, 42.136, 1.548), "whisper-small": (241.73, 168.874, 3.207),
    "whisper-medium": (763.86, 563.577, 5.456), "whisper-large": (1543.30, 1128.038, 8.294),
}  # fmt: skip
PUBLISHED_SEQ2SEQ = {"flan-t5-small": 76_961_152, "flan-t5-base": 247_577_856, "mt5-small": 300_176_768}
PUBLISHED_SEQ2SEQ |= {"bart-base": 139_420_416, "bart-large": 406_291_456}
PUBLISHED_SEQ2SEQ |= {"flan-t5-large": 783_150_080, "flan-t5-xl": 2_849_757_184, "flan-t5-xxl": 11_135_332_352}
VISION = {
    "vit-tiny": (5.72, 1.254), "vit-small": (22.05, 4.599), "vit-base": (86.57, 17.564), "vit-large": (304.33, 61.555),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_parameters_and_macs_are_those_of_the_model_table(name: str) -> None:
    millions, gmacs = TABLE[name]
    assert DECODERS[name].parameters() / 1e6 == pytest.approx(millions, abs=0.006 if millions < 6e4 else 0.06)
    for seq, expected in gmacs.items():
        assert build(name, seq=seq).macs / 1e9 == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_checkpoint(name: str) -> None:
    assert DECODERS[name].parameters() == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED_SEQ2SEQ)
def test_parameters_of_encoder_decoders_are_those_of_the_checkpoint(name: str) -> None:
    assert SEQ2SEQ[name].parameters() == PUBLISHED_SEQ2SEQ[name]


@pytest.mark.parametrize("name", [name for name in DECODERS if DECODERS[name].parameters() < 2e9])
def test_the_full_graph_has_the_parameters_of_the_closed_form(name: str) -> None:
    """One token sees every weight; biases, norms, tables and head are all in the graph."""
    assert build(name, seq=1, embeddings=True, head=True).parameters == DECODERS[name].parameters()


@pytest.mark.parametrize("name", VISION)
def test_vision_transformers_have_the_published_sizes(name: str) -> None:
    graph = build(name)
    assert (round(graph.parameters / 1e6, 2), round(graph.macs / 1e9, 3)) == VISION[name]


def test_norms_stand_behind_the_sums_where_the_published_model_has_them() -> None:
    """BART: no norm in front of a branch, none behind the last layer; every product has a bias."""
    graph = build("bart-base", phase="prefill", seq=4, source=8, layers=1)
    for op in graph.ops:
        if op.kind == "layernorm":
            (made,) = graph.producers(op.inputs[0].tensor)
            assert made.kind == "residual_add"
    assert sum(op.kind == "layernorm" for op in graph.ops) == 5
    assert all(len(op.inputs) == 3 for op in graph.ops if graph.multiplies_weights(op))


@pytest.mark.parametrize("name", SEQ2SEQ_TABLE)
def test_encoder_decoders_have_the_sizes_of_the_model_table(name: str) -> None:
    millions, encoder, convolutions = SEQ2SEQ_TABLE[name]
    graph = build(name)
    stem = sum(op.macs for op in graph.ops if op.name.startswith("conv"))
    assert round(SEQ2SEQ[name].parameters() / 1e6, 2) == millions
    assert round(stem / 1e9, 3) == convolutions and round((graph.macs - stem) / 1e9, 3) == encoder


def test_a_decode_step_reads_what_the_prefill_cached() -> None:
    """Keys and values of the encoder are written in the prefill and only read afterwards, in the same shape."""
    sizes = {"layers": 1, "batch": 2, "source": 20}
    prefill, step = (build("t5-small", phase=phase, seq=1, **sizes) for phase in ("prefill", "decode"))
    for part in "KV":
        name = f"L1.cross_cache_{part}"
        assert prefill.tensors[name] == step.tensors[name]
        assert prefill.producers(name) and not step.producers(name) and step.consumers(name)


def test_an_encoder_decoder_refuses_a_cache_where_there_is_none() -> None:
    with pytest.raises(InputError, match="0 but in phase decode"):
        build("t5-small", phase="encode", kv=3)


@pytest.mark.parametrize("name", ("t5-small", "whisper-tiny"))
def test_the_tokens_of_an_encoder_alone_have_two_names_and_one_value(name: str) -> None:
    assert build(name, layers=1, source=48).ops == build(name, layers=1, seq=48).ops, "source was taken, and ignored"
    with pytest.raises(InputError, match=r"source 48 and seq 32 .*nearest: source=32"):
        build(name, layers=1, source=48, seq=32)
    with pytest.raises(InputError, match="head is True"):
        build(name, layers=1, head=True)


def test_encoders_have_the_published_parameters() -> None:
    """Those of roberta-base, all-MiniLM-L6-v2, TinyBERT_General_4L_312D, ELECTRA and XLM-R (model cards)."""
    counts = {name: model_parameters(name, model) for name, model in ENCODERS.items()}
    assert counts["roberta-base"] == 124_645_632 and counts["minilm-l6"] == 22_713_216
    assert counts["tinybert-4"] == 14_350_248 and counts["electra-base"] == 108_891_648
    assert counts["xlm-roberta-base"] == 278_043_648 and counts["xlm-roberta-large"] == 559_890_432


def test_mpnet_has_the_published_parameters() -> None:
    """109,486,464 with the pooler (all-mpnet-base-v2); the bias of distances is looked up once."""
    graph = build("mpnet-base", seq=1, embeddings=True, pooler=True)
    assert graph.parameters == 109_486_464
    graph = build("mpnet-base", seq=4, layers=3)
    assert sum(op.kind == "position_bias" for op in graph.ops) == 1
    assert sum(view.tensor == "position_bias" for op in graph.ops for view in op.inputs) == 3


def test_a_decode_step_does_the_macs_of_the_last_token_of_a_longer_prefill() -> None:
    """Without the causal saving, a prefill of n tokens does n rows of attention over n keys each."""
    config = DECODERS["gpt2"]
    one = decoder("gpt2", config, TokenStep(1, 99), layers=2).macs
    assert one * 100 == decoder("gpt2", config, TokenStep(100), layers=2).macs


@pytest.mark.parametrize(
    "name",
    [
        *("gpt2", "llama-3-8b", "mistral-7b", "gemma-2b", "mixtral-8x7b"),
        *("gemma-2-2b", "gemma-3-1b", "bloom-560m", "falcon-7b", "pythia-160m", "gpt-j-6b", "olmo-2-1b"),
        "qwen1.5-moe-a2.7b",
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_phase_builds_and_appends_to_the_cache_in_place(name: str, batch: int) -> None:
    config = DECODERS[name]
    for sizes in (
        {"phase": "prefill", "seq": 6},
        {"phase": "decode", "kv": 40},
        {"phase": "decode", "seq": 2, "kv": 9},
    ):
        graph = build(name, batch=batch, layers=1, **sizes)
        keys = sizes.get("kv", 0) + sizes.get("seq", 1)
        caches = [tensor for tensor in graph.tensors.values() if tensor.kind == "state"]
        assert [tensor.shape for tensor in caches] == [(batch, keys, config.keys)] * 2
        for cache in caches:
            (writer,) = graph.producers(cache.name)
            assert writer.output.elements == batch * sizes.get("seq", 1) * config.keys
        assert analyze(graph)["kv_bytes"] == 2 * batch * keys * config.keys


def test_a_sliding_window_bounds_the_cache() -> None:
    graph = build("mistral-7b", phase="decode", kv=10_000, layers=1)
    assert graph.tensors["L0.cache_K"].shape == (1, 4096, 1024)
    assert graph.op("L0.rope_K").output.offset == 10_000 % 4096 * 1024


def test_grouped_queries_of_one_token_are_rows_of_one_product() -> None:
    scores = build("llama-3-8b", phase="decode", kv=7, layers=1).op("L0.scores")
    assert (scores.batch, *scores.mnk) == (8, 4, 8, 128)


def test_only_touched_experts_are_loaded_and_their_loads_are_uneven() -> None:
    config = DECODERS["mixtral-8x7b"]
    drawn = loads(64, config, 0, "L0.experts")
    assert sum(drawn) == 2 * 64 and len(set(drawn)) > 1
    graph = build("mixtral-8x7b", phase="decode", kv=4, layers=1)
    assert sum(op.name.endswith("FF_down") for op in graph.ops) == 2


@pytest.mark.parametrize("name", ["gpt2", "llama-3-8b", "mistral-7b", "qwen3-30b-a3b"])
def test_sequences_of_one_length_do_the_work_of_a_batch(name: str) -> None:
    """Ragged or not, products with weights are those of all sequences; only keys are appended row by row."""
    sizes = {"phase": "decode", "layers": 1, "head": False}
    even, ragged = build(name, batch=3, kv=20, **sizes), build(name, lengths="20+20+20", **sizes)
    for kind in ("matmul", "softmax", "rmsnorm", "layernorm"):
        assert sum(op.macs + op.output.elements for op in even.ops if op.kind == kind) == sum(
            op.macs + op.output.elements for op in ragged.ops if op.kind == kind
        )
    caches = [[tensor.shape for tensor in graph.tensors.values() if tensor.kind == "state"] for graph in (even, ragged)]
    assert caches[0] == caches[1]


def test_each_sequence_of_a_ragged_batch_sees_its_own_keys_and_appends_behind_them() -> None:
    graph = build("gpt2", phase="decode", layers=1, lengths="9+0+33")
    assert [graph.op(f"L0.scores.b{item}").mnk[1] for item in range(3)] == [10, 1, 34]
    places = [op.output.offset for op in graph.ops if op.name.startswith("L0.matmul_K_append")]
    assert places == [(item * 34 + kept) * 768 for item, kept in enumerate((9, 0, 33))]


def test_a_window_bounds_each_sequence_of_a_ragged_batch() -> None:
    graph = build("mistral-7b", phase="decode", layers=1, lengths="5000+7")
    assert [graph.op(f"L0.scores.b{item}").mnk[1] for item in range(2)] == [4096, 8]
    assert graph.op("L0.rope_K.b0").output.offset == 5000 % 4096 * 1024


def test_given_routing_loads_the_experts_named() -> None:
    graph = build("mixtral-8x7b", seq=8, layers=1, routing="8+0+0+4+0+0+4+0")
    rows = {op.name: op.mnk[0] for op in graph.ops if op.name.endswith("FF_down")}
    assert rows == {"L0.E0.FF_down": 8, "L0.E3.FF_down": 4, "L0.E6.FF_down": 4}


def test_shared_experts_and_a_dense_first_layer_take_every_token() -> None:
    graph = build("deepseek-moe-16b", seq=4, layers=2)
    assert graph.op("L0.FF_gate").mnk == (4, 10944, 2048) and graph.op("L1.shared.FF_gate").mnk == (4, 2816, 2048)
    assert not any(op.name == "L0.router" for op in graph.ops)


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("gpt3", {}, "unknown workload 'gpt3' (did you mean 'gpt2'?)"),
        ("gpt2", {"phase": "decod"}, "phase is 'decod', can be prefill, decode (did you mean 'decode'?)"),
        ("gpt2", {"phase": "generate"}, "carat run NAME --phase generate"),
        (
            "gpt2",
            {"seq": 2000, "embeddings": True},
            "beyond the position table of 1024 tokens (nearest: seq=1024)",
        ),
        ("gpt2", {"phase": "decode", "kv": 1024, "embeddings": "true"}, "(nearest: kv=1023)"),
        ("gpt2", {"phase": "decode", "kv": 10**9}, "beyond the limit of 4,194,304 keys (nearest: kv=4194303)"),
        ("gpt2", {"phase": "decode", "kv": -1}, "kv is -1, must be a whole number >= 0"),
        ("gpt2", {"seq": 0}, "seq is 0, must be a whole number >= 1"),
        ("gpt2", {"hed": True}, "no size 'hed' (did you mean 'head'?)"),
        ("gpt2", {"head": "maybe"}, "head is 'maybe', must be true or false"),
        ("gpt2", {"phase": "decode", "lengths": "3,4"}, "lengths is '3,4', must be whole numbers joined by +"),
        ("gpt2", {"phase": "decode", "lengths": "3+4", "batch": 3}, "lengths 3+4 replace kv and batch"),
        ("gpt2", {"seq": 5, "lengths": "3+4"}, "sequences of different lengths take one new token each, not 5"),
        ("gpt2", {"phase": "decode", "lengths": "9" * 8}, "beyond the limit of 4,194,304 keys"),
        ("gpt2", {"seq": 5, "routing": "5+5"}, "routing: the model has no experts"),
        ("mixtral-8x7b", {"seq": 5, "routing": "5+5"}, "routing names 2 experts, the model has 8"),
        ("mixtral-8x7b", {"seq": 5, "routing": "6+4+0+0+0+0+0+0"}, "5 tokens with 2 experts each are 10, at most 5"),
        ("roberta-base", {"phase": "decode"}, "phase is 'decode', can be encode"),
        ("vit-base", {"image": 100}, "image 100 is not a multiple of its patches of 16 (nearest: 96)"),
    ],
)
def test_illegal_sizes_are_refused(name: str, sizes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build(name, **sizes)
    assert message in str(caught.value)


def test_heads_that_do_not_divide_are_refused_by_the_builder() -> None:
    net = Network("mine")
    x = net.input("x", 4, 60)
    with pytest.raises(InputError, match="kv_heads 4 do not divide heads 6"):
        net.attention(x, x, x, heads=6, kv_heads=4)


def test_a_fluent_network_is_a_graph() -> None:
    net = Network("mine")
    x = net.input("x", 32, 64)
    q, k, v = (net.linear(x, cols) for cols in (64, 32, 32))
    y = net.add(x, net.linear(net.attention(q, k, v, heads=4, kv_heads=2), 64))
    gate, up = net.linear(y, 128), net.linear(y, 128)
    net.add(y, net.linear(net.multiply(net.each("silu", gate), up), 64))
    graph = net.graph()
    assert graph.macs == 32 * 64 * (64 + 32 + 32 + 64) + 2 * 4 * 32 * 32 * 16 + 3 * 32 * 64 * 128


def test_every_network_is_planned_on_the_default_machine() -> None:
    hw = hardware.load("gemmini_ibert")
    for name, config in DECODERS.items():
        small = Config(**{**vars(config), "layers": 1, "vocab": 100})
        for step in (TokenStep(5), TokenStep(1, 30)):
            steps = plan(decoder(name, small, step, head=True), hw)
            assert all(step.fallback is not None for step in steps if step.engine == "host")
    assert set(DECODERS) <= set(NETWORKS)


CONFIGS = {
    "gpt2": {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024,
             "activation_function": "gelu_new", "resid_pdrop": 0.1},
    "llama-3-8b": {"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
                   "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "rope_theta": 500000.0,
                   "max_position_embeddings": 8192, "hidden_act": "silu", "rms_norm_eps": 1e-05},
    "mixtral-8x7b": {"model_type": "mixtral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
                     "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000, "rope_theta": 1e6,
                     "max_position_embeddings": 32768, "num_local_experts": 8, "num_experts_per_tok": 2,
                     "sliding_window": None},
    "qwen3-30b-a3b": {"model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048,
                      "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
                      "intermediate_size": 6144, "vocab_size": 151936,
                      "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "rope_theta": 1e6,
                      "max_position_embeddings": 40960, "mlp_only_layers": [], "decoder_sparse_step": 1},
    "albert-base": {"model_type": "albert", "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12,
                    "intermediate_size": 3072, "vocab_size": 30000, "max_position_embeddings": 512,
                    "type_vocab_size": 2, "embedding_size": 128, "hidden_act": "gelu_new"},
    "opt-350m": {"model_type": "opt", "num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16,
                 "ffn_dim": 4096, "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": 512,
                 "do_layer_norm_before": False},
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_file_builds_the_network_of_that_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]))
    for where in (tmp_path, tmp_path / "config.json"):
        imported, own = (build(which, seq=4, layers=2).to_dict() for which in (str(where), name))
        assert (imported["ops"], imported["tensors"]) == (own["ops"], own["tensors"])


@pytest.mark.parametrize(
    ("kind", "more", "own"),
    [
        ("longformer", {"attention_window": [32] * 2}, ("longformer-base", {"window": 32})),
        (
            "big_bird",
            {"block_size": 16, "num_random_blocks": 2},
            ("bigbird-base", {"block_size": 16, "random_blocks": 2}),
        ),
    ],
)
def test_configs_of_chosen_scores_build_theirs(
    kind: str, more: dict[str, object], own: tuple[str, dict[str, object]], tmp_path: Path
) -> None:
    sizes = {"num_hidden_layers": 2, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    tables = {"vocab_size": 9, "max_position_embeddings": 256, "type_vocab_size": 1}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **sizes, **tables, **more}))
    imported, named = build(str(tmp_path), seq=128), build(own[0], seq=128, layers=2, **own[1])
    assert imported.to_dict()["ops"] == named.to_dict()["ops"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gpt2", {"model_type": "gpt22"}, "model_type is 'gpt22' (did you mean 'gpt2'?)"),
        ("gpt2", {"n_head": 0}, "n_head is 0, must be a whole number from 1"),
        ("gpt2", {"n_layer": None}, "n_layer is missing"),
        ("gpt2", {"n_head": 7}, "hidden size 768 is not a multiple of 7 heads"),
        ("gpt2", {"activation_function": "quick_gelu"}, "activation_function is 'quick_gelu'"),
        ("llama-3-8b", {"num_key_value_heads": 5}, "num_key_value_heads 5 do not divide 32 heads"),
        ("llama-3-8b", {"model_type": ["llama"]}, "model_type is ['llama']"),
        ("llama-3-8b", {"rope_theta": "big"}, "rope_theta is 'big', must be a number above 0"),
        ("llama-3-8b", {"rope_theta": float("nan")}, "rope_theta is nan, must be a number above 0"),
        ("llama-3-8b", {"partial_rotary_factor": 2.0}, "partial_rotary_factor is 2.0, must be a number above 0"),
        ("llama-3-8b", {"attention_bias": True}, "attention_bias is True: this changes the network"),
        ("llama-3-8b", {"hidden_size": 10**12}, "hidden_size is 1000000000000, must be"),
        ("mixtral-8x7b", {"num_experts_per_tok": 9}, "num_experts_per_tok is 9, must be 1 to num_local_experts (8)"),
        ("mixtral-8x7b", {"sliding_window": 0}, "sliding_window is 0"),
        ("mixtral-8x7b", {"num_local_experts": 0}, "num_local_experts is 0, must be a whole number from 1"),
        ("qwen3-30b-a3b", {"num_experts_per_tok": 129}, "must be 1 to num_experts (128)"),
        ("qwen3-30b-a3b", {"mlp_only_layers": [0]}, "mlp_only_layers is [0]: this changes the network"),
        ("albert-base", {"num_hidden_groups": 2}, "num_hidden_groups is 2: this changes the network"),
    ],
)
def test_a_wrong_config_file_is_refused(name: str, change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIGS[name], **change}))
    with pytest.raises(InputError) as caught:
        build(str(path), seq=2)
    assert message in str(caught.value) and str(path) in str(caught.value)
