"""Configurations as published on the Hugging Face hub build the networks of those names, operator by operator.

Values are those of the checkpoints' config.json (quoted from memory, keys of training and tokens left out); the named
networks' parameters and MACs are held against published ones in test_networks.py and test_encoder_families.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.base.errors import InputError
from workloads import build

Content = dict[str, Any]


def bert(kind: str, layers: int, hidden: int, heads: int, **more: Any) -> Content:
    return {
        "model_type": kind, "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
        "intermediate_size": 4 * hidden, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", **more,
    }  # fmt: skip


def llama(kind: str, sizes: tuple[int, int, int, int, int, int], **more: Any) -> Content:
    layers, hidden, heads, groups, ffn, vocab = sizes
    return {
        "model_type": kind, "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
        "num_key_value_heads": groups, "intermediate_size": ffn, "vocab_size": vocab, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "tie_word_embeddings": False, **more,
    }  # fmt: skip


def gpt2(layers: int, hidden: int, heads: int) -> Content:
    return {"model_type": "gpt2", "n_layer": layers, "n_embd": hidden, "n_head": heads, "n_inner": None,
            "vocab_size": 50257, "n_positions": 1024, "n_ctx": 1024, "activation_function": "gelu_new"}  # fmt: skip


def opt(layers: int, hidden: int, heads: int) -> Content:
    return {"model_type": "opt", "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
            "ffn_dim": 4 * hidden, "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": hidden,
            "do_layer_norm_before": True, "activation_function": "relu"}  # fmt: skip


def neox(layers: int, hidden: int, heads: int, vocab: int) -> Content:
    return {"model_type": "gpt_neox", "num_hidden_layers": layers, "hidden_size": hidden, "vocab_size": vocab,
            "num_attention_heads": heads, "intermediate_size": 4 * hidden, "max_position_embeddings": 2048,
            "rotary_pct": 0.25, "hidden_act": "gelu", "use_parallel_residual": True}  # fmt: skip


def falcon(layers: int, hidden: int, heads: int, **more: Any) -> Content:
    return {"model_type": "falcon", "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
            "vocab_size": 65024, "alibi": False, "bias": False, **more}  # fmt: skip


def t5(layers: int, hidden: int, heads: int, ffn: int, size: int = 64) -> Content:
    return {"model_type": "t5", "num_layers": layers, "num_decoder_layers": layers, "d_model": hidden, "d_ff": ffn,
            "num_heads": heads, "d_kv": size, "vocab_size": 32128, "relative_attention_num_buckets": 32,
            "feed_forward_proj": "relu", "is_encoder_decoder": True}  # fmt: skip


def whisper(layers: int, hidden: int, heads: int) -> Content:
    sides = {f"{side}_{key}": value for side in ("encoder", "decoder")
             for key, value in (("layers", layers), ("attention_heads", heads), ("ffn_dim", 4 * hidden))}  # fmt: skip
    return {"model_type": "whisper", "d_model": hidden, **sides, "vocab_size": 51865, "num_mel_bins": 80,
            "max_source_positions": 1500, "max_target_positions": 448, "activation_function": "gelu",
            "scale_embedding": False, "num_hidden_layers": layers}  # fmt: skip


def vit(kind: str, layers: int, hidden: int, heads: int, patch: int = 16) -> Content:
    return {"model_type": kind, "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
            "intermediate_size": 4 * hidden, "patch_size": patch, "image_size": 224, "num_channels": 3,
            "qkv_bias": True, "hidden_act": "gelu", "id2label": {str(n): "" for n in range(1000)}}  # fmt: skip


def swin(depths: list[int], hidden: int, heads: list[int]) -> Content:
    return {"model_type": "swin", "depths": depths, "embed_dim": hidden, "num_heads": heads, "window_size": 7,
            "patch_size": 4, "image_size": 224, "mlp_ratio": 4.0, "qkv_bias": True, "hidden_act": "gelu",
            "use_absolute_embeddings": False, "num_channels": 3, "num_layers": 4}  # fmt: skip


def mobilevit(necks: list[int], hidden: list[int], ratio: float) -> Content:
    return {"model_type": "mobilevit", "neck_hidden_sizes": necks, "hidden_sizes": hidden, "expand_ratio": ratio,
            "hidden_act": "silu", "num_attention_heads": 4, "mlp_ratio": 2.0, "patch_size": 2, "image_size": 256,
            "num_channels": 3, "conv_kernel_size": 3, "qkv_bias": True, "output_stride": 32}  # fmt: skip


def bart(layers: int, hidden: int, heads: int) -> Content:
    return {key: value for key, value in whisper(layers, hidden, heads).items() if "positions" not in key} | {
        "model_type": "bart", "vocab_size": 50265, "max_position_embeddings": 1024, "normalize_before": False,
        "add_final_layer_norm": False, "normalize_embedding": True, "is_encoder_decoder": True,
    }  # fmt: skip


MOBILEBERT: Content = {
    "model_type": "mobilebert", "num_hidden_layers": 24, "hidden_size": 512, "num_attention_heads": 4,
    "intermediate_size": 512, "intra_bottleneck_size": 128, "embedding_size": 128, "true_hidden_size": 128,
    "num_feedforward_networks": 4, "vocab_size": 30522, "max_position_embeddings": 512, "hidden_act": "relu",
    "normalization_type": "no_norm", "use_bottleneck": True, "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": True, "trigram_input": True, "classifier_activation": False,
}  # fmt: skip
REFORMER: Content = {
    "model_type": "reformer", "hidden_size": 1024, "num_attention_heads": 8, "attention_head_size": 128,
    "feed_forward_size": 4096, "vocab_size": 258, "axial_pos_shape": [128, 512], "axial_pos_embds_dim": [256, 768],
    "attn_layers": ["local", "local", "lsh", *["local", "local", "local", "lsh"] * 2, "local"],
    "hidden_act": "relu", "is_decoder": True, "num_hidden_layers": 12,
}  # fmt: skip
DEEPSEEK = llama(
    "deepseek", (28, 2048, 16, 16, 10944, 102400), moe_intermediate_size=1408, n_routed_experts=64, n_shared_experts=2,
    num_experts_per_tok=6, first_k_dense_replace=1, moe_layer_freq=1, max_position_embeddings=4096, rope_theta=10000,
    attention_bias=False, scoring_func="softmax",
)  # fmt: skip
LONG = {"num_hidden_layers": 12, "vocab_size": 50265, "type_vocab_size": 1}

PUBLIC: dict[str, Content] = {
    "bert-tiny": bert("bert", 2, 128, 2),
    "bert-base": bert("bert", 12, 768, 12),
    "bert-large": bert("bert", 24, 1024, 16),
    "roberta-base": bert("roberta", 12, 768, 12, vocab_size=50265, type_vocab_size=1, max_position_embeddings=514),
    "xlm-roberta-base": bert("xlm-roberta", 12, 768, 12, vocab_size=250002, type_vocab_size=1,
                             max_position_embeddings=514),
    "electra-small": bert("electra", 12, 256, 4, embedding_size=128),
    "electra-base": bert("electra", 12, 768, 12, embedding_size=768),
    "mpnet-base": bert("mpnet", 12, 768, 12, vocab_size=30527, max_position_embeddings=514,
                       relative_attention_num_buckets=32),
    "minilm-l6": bert("bert", 6, 384, 12),
    "distilbert": {"model_type": "distilbert", "n_layers": 6, "dim": 768, "n_heads": 12, "hidden_dim": 3072,
                   "vocab_size": 30522, "max_position_embeddings": 512, "activation": "gelu",
                   "sinusoidal_pos_embds": False},
    "albert-xxlarge": bert("albert", 12, 4096, 64, vocab_size=30000, embedding_size=128, hidden_act="gelu_new",
                           num_hidden_groups=1, inner_group_num=1),
    "mobilebert": MOBILEBERT,
    "gpt2": gpt2(12, 768, 12),
    "gpt2-medium": gpt2(24, 1024, 16),
    "gpt2-xl": gpt2(48, 1600, 25),
    "opt-125m": opt(12, 768, 12),
    "opt-1.3b": opt(24, 2048, 32),
    "opt-6.7b": opt(32, 4096, 32),
    "llama-2-7b": llama("llama", (32, 4096, 32, 32, 11008, 32000), max_position_embeddings=4096),
    "llama-2-13b": llama("llama", (40, 5120, 40, 40, 13824, 32000), max_position_embeddings=4096),
    "llama-3-8b": llama("llama", (32, 4096, 32, 8, 14336, 128256), max_position_embeddings=8192, rope_theta=500000.0,
                        attention_bias=False),
    "llama-3.2-1b": llama("llama", (16, 2048, 32, 8, 8192, 128256), max_position_embeddings=131072, head_dim=64,
                          rope_theta=500000.0, tie_word_embeddings=True, rope_scaling={"rope_type": "llama3"}),
    "tinyllama-1.1b": llama("llama", (22, 2048, 32, 4, 5632, 32000), max_position_embeddings=2048),
    "mistral-7b": llama("mistral", (32, 4096, 32, 8, 14336, 32000), max_position_embeddings=32768, sliding_window=4096),
    "mixtral-8x7b": llama("mixtral", (32, 4096, 32, 8, 14336, 32000), max_position_embeddings=32768, rope_theta=1e6,
                          num_local_experts=8, num_experts_per_tok=2, sliding_window=None),
    "qwen2-0.5b": llama("qwen2", (24, 896, 14, 2, 4864, 151936), max_position_embeddings=131072, rope_theta=1e6,
                        tie_word_embeddings=True, use_sliding_window=False),
    "qwen2-7b": llama("qwen2", (28, 3584, 28, 4, 18944, 152064), max_position_embeddings=131072, rope_theta=1e6,
                      use_sliding_window=False),
    "qwen3-30b-a3b": llama("qwen3_moe", (48, 2048, 32, 4, 6144, 151936), head_dim=128, moe_intermediate_size=768,
                           num_experts=128, num_experts_per_tok=8, rope_theta=1e6, max_position_embeddings=40960,
                           mlp_only_layers=[], decoder_sparse_step=1, attention_bias=False),
    "deepseek-moe-16b": DEEPSEEK,
    "gemma-2b": llama("gemma", (18, 2048, 8, 1, 16384, 256000), head_dim=256, max_position_embeddings=8192,
                      hidden_act="gelu", tie_word_embeddings=True),
    "qwen3-0.6b": llama("qwen3", (28, 1024, 16, 8, 3072, 151936), head_dim=128, max_position_embeddings=40960,
                        rope_theta=1000000, attention_bias=False, tie_word_embeddings=True, use_sliding_window=False),
    "qwen1.5-moe-a2.7b": llama("qwen2_moe", (24, 2048, 16, 16, 5632, 151936), max_position_embeddings=8192,
                               rope_theta=1e6, decoder_sparse_step=1, moe_intermediate_size=1408, num_experts=60,
                               num_experts_per_tok=4, shared_expert_intermediate_size=5632, use_sliding_window=False),
    "gemma-2-2b": llama("gemma2", (26, 2304, 8, 4, 9216, 256000), head_dim=256, max_position_embeddings=8192,
                        hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True, sliding_window=4096,
                        attn_logit_softcapping=50.0, final_logit_softcapping=30.0, query_pre_attn_scalar=256),
    "gemma-3-1b": llama("gemma3_text", (26, 1152, 4, 1, 6912, 262144), head_dim=256, max_position_embeddings=32768,
                        hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True, sliding_window=512,
                        sliding_window_pattern=6, rope_theta=1000000, rope_local_base_freq=10000,
                        attn_logit_softcapping=None, final_logit_softcapping=None),
    "pythia-160m": neox(12, 768, 12, 50304),
    "pythia-6.9b": neox(32, 4096, 32, 50432),
    "gpt-neox-20b": neox(44, 6144, 64, 50432),
    "gpt-j-6b": {"model_type": "gptj", "n_layer": 28, "n_embd": 4096, "n_head": 16, "n_inner": None,
                 "n_positions": 2048, "rotary_dim": 64, "vocab_size": 50400, "activation_function": "gelu_new",
                 "tie_word_embeddings": False},
    "phi-2": llama("phi", (32, 2560, 32, 32, 10240, 51200), hidden_act="gelu_new", partial_rotary_factor=0.4,
                   max_position_embeddings=2048, qk_layernorm=False, num_key_value_heads=None),
    "phi-3-mini": llama("phi3", (32, 3072, 32, 32, 8192, 32064), max_position_embeddings=4096, sliding_window=2047),
    "bloom-560m": {"model_type": "bloom", "n_embed": 1024, "n_layer": 24, "num_attention_heads": 16,
                   "vocab_size": 250880, "seq_length": 2048, "apply_residual_connection_post_layernorm": False},
    "bloom-7b1": {"model_type": "bloom", "hidden_size": 4096, "n_layer": 30, "n_head": 32, "vocab_size": 250880},
    "falcon-7b": falcon(32, 4544, 71, multi_query=True, parallel_attn=True, new_decoder_architecture=False),
    "falcon-40b": falcon(60, 8192, 128, num_kv_heads=8, new_decoder_architecture=True, parallel_attn=True),
    "starcoder2-7b": llama("starcoder2", (32, 4608, 36, 4, 18432, 49152), hidden_act="gelu_pytorch_tanh",
                           max_position_embeddings=16384, sliding_window=4096, use_bias=True, rope_theta=1000000,
                           mlp_type="default", norm_type="layer_norm", tie_word_embeddings=True),
    "stablelm-2-1.6b": llama("stablelm", (24, 2048, 32, 32, 5632, 100352), max_position_embeddings=4096,
                             partial_rotary_factor=0.25, use_qkv_bias=True),
    "olmo-2-7b": llama("olmo2", (32, 4096, 32, 32, 11008, 100352), max_position_embeddings=4096, rope_theta=500000),
    "smollm2-135m": llama("llama", (30, 576, 9, 3, 1536, 49152), max_position_embeddings=8192, rope_theta=100000,
                          tie_word_embeddings=True),
    "flan-t5-base": {**t5(12, 768, 12, 2048), "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "mt5-small": {**t5(8, 512, 6, 1024), "model_type": "mt5", "vocab_size": 250112,
                  "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "t5-small": t5(6, 512, 8, 2048),
    "t5-3b": t5(24, 1024, 32, 16384, 128),
    "bart-base": bart(6, 768, 12),
    "bart-large": bart(12, 1024, 16),
    "whisper-tiny": whisper(4, 384, 6),
    "whisper-large": whisper(32, 1280, 20),
    "whisper-large-v3-turbo": {**whisper(32, 1280, 20), "decoder_layers": 4, "vocab_size": 51866, "num_mel_bins": 128},
    "distilbart": {**bart(12, 1024, 16), "decoder_layers": 6, "vocab_size": 50264},
    "byt5-small": {**t5(12, 1472, 6, 3584), "num_decoder_layers": 4, "vocab_size": 384,
                   "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "vit-base": vit("vit", 12, 768, 12),
    "vit-large": vit("vit", 24, 1024, 16),
    "deit-tiny": vit("deit", 12, 192, 3),
    "swin-tiny": swin([2, 2, 6, 2], 96, [3, 6, 12, 24]),
    "swin-base": swin([2, 2, 18, 2], 128, [4, 8, 16, 32]),
    "mobilevit-xs": mobilevit([16, 32, 48, 64, 80, 96, 384], [96, 120, 144], 4.0),
    "mobilevit-s": mobilevit([16, 32, 64, 96, 128, 160, 640], [144, 192, 240], 4.0),
    "longformer-base": bert("longformer", 12, 768, 12, **LONG, max_position_embeddings=4098,
                            attention_window=[512] * 12),
    "bigbird-base": bert("big_bird", 12, 768, 12, vocab_size=50358, max_position_embeddings=4096, block_size=64,
                         num_random_blocks=3, attention_type="block_sparse", hidden_act="gelu_new"),
    "reformer-enwik8": REFORMER,
}  # fmt: skip

WHOLE = ("swin-tiny", "swin-base", "mobilevit-xs", "mobilevit-s")
SIZES: dict[str, dict[str, Any]] = {
    "longformer-base": {"seq": 1024, "layers": 1},
    "bigbird-base": {"seq": 1024, "layers": 1},
    "reformer-enwik8": {"seq": 512, "layers": 3},
    **{name: {} for name in WHOLE},
}
"""Sizes that the networks are compared at; two layers of all others, which are alike."""


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_configuration_builds_the_network_of_that_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PUBLIC[name]))
    sizes = SIZES.get(name, {"layers": 2})
    imported, own = (build(which, **sizes).to_dict() for which in (str(tmp_path), name))
    assert (imported["ops"], imported["tensors"]) == (own["ops"], own["tensors"])


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("t5-small", {"feed_forward_proj": "gated-relu"}, "feed_forward_proj is 'gated-relu': this changes"),
        ("gemma-2-2b", {"final_logit_softcapping": None}, "must both be numbers or both null"),
        ("gemma-2-2b", {"attn_logit_softcapping": -3}, "attn_logit_softcapping is -3, must be a number above 0"),
        ("gemma-3-1b", {"layer_types": [{}] * 26}, "layer_types must be a list of 26"),
        ("gemma-3-1b", {"sliding_window_pattern": 0}, "sliding_window_pattern is 0, must be a whole number >= 1"),
        ("gemma-3-1b", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0: this changes the network"),
        ("gemma-3-1b", {"layer_types": ["full_attention"] * 3}, "layer_types must be a list of 26"),
        ("gemma-3-1b", {"sliding_window_pattern": "six"}, "sliding_window_pattern is 'six', must be a whole number"),
        ("stablelm-2-1.6b", {"use_parallel_residual": True}, "use_parallel_residual is True: this changes"),
        ("falcon-40b", {"num_kv_heads": 7}, "num_kv_heads 7 do not divide 128 heads"),
        ("falcon-7b", {"parallel_attn": "yes"}, "parallel_attn is 'yes', must be true or false"),
        ("pythia-160m", {"rotary_pct": 2}, "rotary_pct is 2, must be a number above 0, at most 1"),
        ("qwen1.5-moe-a2.7b", {"num_experts_per_tok": 61}, "must be 1 to num_experts (60)"),
        ("t5-small", {"num_decoder_layers": "4"}, "num_decoder_layers is '4', must be a whole number"),
        ("t5-small", {"d_kv": 0}, "d_kv is 0, must be a whole number"),
        ("whisper-tiny", {"decoder_ffn_dim": 2}, "decoder_ffn_dim is 2, must be encoder_ffn_dim (1536)"),
        ("whisper-tiny", {"d_model": 385}, "hidden size 385 is not a multiple of 6 heads"),
        ("swin-tiny", {"window_size": 12}, "window_size is 12: this changes the network"),
        ("swin-tiny", {"num_heads": [3, 6]}, "lists of equal length"),
        ("swin-tiny", {"depths": "2262"}, "lists of equal length"),
        ("mobilevit-xs", {"hidden_sizes": [1, 2, 3]}, "are those of none of mobilevit-xxs"),
        ("mobilebert", {"hidden_size": 256}, "hidden_size is 256: this changes the network"),
        ("reformer-enwik8", {"attn_layers": ["lsh"] * 12}, "attn_layers is"),
        ("deepseek-moe-16b", {"num_experts_per_tok": 65}, "must be 1 to n_routed_experts (64)"),
        ("deepseek-moe-16b", {"first_k_dense_replace": 29}, "must be 0 to num_hidden_layers (28)"),
    ],
)
def test_what_changes_the_network_is_refused(name: str, change: Content, told: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**PUBLIC[name], **change}))
    with pytest.raises(InputError) as caught:
        build(str(tmp_path), layers=1) if "layers" in SIZES.get(name, {"layers": 1}) else build(str(tmp_path))
    assert told in str(caught.value)


def test_layers_that_see_all_keys_are_named_by_their_types_as_by_their_period(tmp_path: Path) -> None:
    """Newer files of Gemma list the attention of each layer in the place of a period."""
    listed = {key: value for key, value in PUBLIC["gemma-3-1b"].items() if key != "sliding_window_pattern"}
    listed["layer_types"] = ["sliding_attention" if n % 6 else "full_attention" for n in range(1, 27)]
    graphs = []
    for name, content in (("period", PUBLIC["gemma-3-1b"]), ("types", listed)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(content))
        graphs.append(build(str(tmp_path / name), phase="decode", kv=1000, layers=7).to_dict())
    assert graphs[0]["ops"] == graphs[1]["ops"]
