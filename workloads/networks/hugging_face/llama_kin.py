"""Configurations of decoders that differ from LLaMA in norms, positions, biases or the names of their keys."""

from __future__ import annotations

from typing import Any

from sim.base.errors import InputError
from workloads.networks.hugging_face.decoders import DECODER, NO_BIAS, full_layers, llama, routed, windows
from workloads.networks.hugging_face.form import Builder, Fixed, ModelType, Sizes, activation

LAYER_NORM: dict[str, Any] = {"norm": "layernorm"}


def _biased(s: Sizes, default: bool = False) -> bool:
    return bool(s.get("attention_bias", default))


def _granite_moe(name: str, s: Sizes) -> Builder:
    shared = s["shared_intermediate_size"]
    return llama(name, s, shared_ffn=shared, **routed(s, "num_local_experts"))


def _cohere(name: str, s: Sizes, **more: Any) -> Builder:
    """Both branches read one LayerNorm without shift; the head is the word table."""
    of = {"tied": s.get("tie_word_embeddings", True), "parallel_norms": 1, "norm_weights": "gamma", **LAYER_NORM}
    return llama(name, s, **of, **more)


def _cohere2(name: str, s: Sizes) -> Builder:
    """Layers that see all keys have no positions."""
    found = windows(s, 4096, 4)
    return _cohere(name, s, unrotated=full_layers(s, found), **found)


def _olmo(name: str, s: Sizes) -> Builder:
    return llama(name, s, norm_weights="none", **LAYER_NORM)


def _olmoe(name: str, s: Sizes) -> Builder:
    return llama(name, s, qk_norm="row", **routed(s, "num_experts"))


def _olmo3(name: str, s: Sizes) -> Builder:
    return llama(name, s, qk_norm="row", norms_at="branch", **windows(s, 4096, 4))


def _phimoe(name: str, s: Sizes) -> Builder:
    biased, window = _biased(s), s.get("sliding_window") or 0
    of = {"qkv_bias": biased, "out_bias": biased, "head_bias": bool(s.get("lm_head_bias", False)), "window": window}
    return llama(name, s, **of, **LAYER_NORM, **routed(s, "num_local_experts"))


def _exaone4(name: str, s: Sizes) -> Builder:
    """Norms on the branches; if some layers see a window, those that see all keys have no positions."""
    pattern = s.get("sliding_window_pattern")
    s = {**s, "sliding_window_pattern": len(pattern) if isinstance(pattern, str) else pattern}
    found = windows(s, 4096, 4) if s.get("sliding_window") else {}
    return llama(name, s, qk_norm="head", norms_at="branch", unrotated=full_layers(s, found), **found)


def _exaone(name: str, s: Sizes) -> Builder:
    return llama(name, s, activation=activation(s, "activation_function", "silu"))


def _smollm3(name: str, s: Sizes) -> Builder:
    """Every fourth layer has no positions, or those with 0 in no_rope_layers."""
    layers, every = s["num_hidden_layers"], s.get("no_rope_layer_interval", 4)
    flags = s.get("no_rope_layers")
    if flags is None:
        flags = [0 if type(every) is int and every > 0 and (n + 1) % every == 0 else 1 for n in range(layers)]
    if not isinstance(flags, list) or len(flags) != layers or not all(flag in (0, 1) for flag in flags):
        raise InputError(f"no_rope_layers must be a list of {layers}, 1 for a layer with positions or 0")
    none = tuple(n for n, flag in enumerate(flags) if not flag)
    return llama(name, s, unrotated=none, tied=s.get("tie_word_embeddings", True))


def _glm(name: str, s: Sizes, **more: Any) -> Builder:
    return llama(name, s, qkv_bias=_biased(s), rotary_factor=0.5, **more)


def _glm4(name: str, s: Sizes) -> Builder:
    return _glm(name, s, norms_at="both")


def _nemotron(name: str, s: Sizes) -> Builder:
    act = activation(s, "hidden_act", "relu2")
    return llama(name, s, activation=act, gated=False, rotary_factor=0.5, **LAYER_NORM)


def _arcee(name: str, s: Sizes) -> Builder:
    return llama(name, s, activation=activation(s, "hidden_act", "relu2"), gated=False)


def _seed_oss(name: str, s: Sizes) -> Builder:
    return llama(name, s, qkv_bias=_biased(s, True), out_bias=bool(s.get("attention_out_bias", False)))


def _gpt_oss(name: str, s: Sizes) -> Builder:
    """Experts with biases; windows in every second layer."""
    biased = _biased(s, True)
    of = {"qkv_bias": biased, "out_bias": biased, "ffn_bias": True, "router_bias": True, "sinks": True}
    return llama(name, s, **of, **windows(s, 128, 2), **routed(s, "num_local_experts"))


def _hunyuan(name: str, s: Sizes) -> Builder:
    return llama(name, s, qk_norm="head")


def _internlm(name: str, s: Sizes) -> Builder:
    biased = bool(s.get("bias", True))
    return llama(name, s, qkv_bias=biased, out_bias=biased)


def _baichuan(name: str, s: Sizes) -> Builder:
    """The larger ones, without max_position_embeddings, have ALiBi instead of the rotary embedding."""
    if s.get("max_position_embeddings"):
        return llama(name, s)
    return llama(name, {**s, "max_position_embeddings": s["model_max_length"]}, alibi=True, rotated=0)


def _minicpm(name: str, s: Sizes) -> Builder:
    return llama(name, s, tied=s.get("tie_word_embeddings", True))


def _ernie(name: str, s: Sizes) -> Builder:
    biased = bool(s.get("use_bias", False))
    return llama(name, s, biases=biased, tied=s.get("tie_word_embeddings", True))


def _orion(name: str, s: Sizes) -> Builder:
    return llama(name, s, **LAYER_NORM)


def _qwen(name: str, s: Sizes) -> Builder:
    """The first Qwen: intermediate_size counts both products of the gate."""
    return llama(name, {**s, "intermediate_size": s["intermediate_size"] // 2, "head_dim": s["kv_channels"]},
                 qkv_bias=True)  # fmt: skip


def _chatglm(name: str, s: Sizes) -> Builder:
    """ChatGLM 2, 3 and 4; half of each head is rotated."""
    groups = s["multi_query_group_num"] if s.get("multi_query_attention") else 0
    given = {
        **s, "num_hidden_layers": s["num_layers"], "intermediate_size": s["ffn_hidden_size"],
        "vocab_size": s["padded_vocab_size"], "num_key_value_heads": groups, "head_dim": s["kv_channels"],
        "max_position_embeddings": s["seq_length"],
    }  # fmt: skip
    return llama(name, given, qkv_bias=bool(s.get("add_qkv_bias", False)), rotary_factor=0.5)


UNBIASED: Fixed = {"attention_bias": (False,)}
EXPERTS: dict[str, int | None] = {"num_experts_per_tok": None}
QWEN: dict[str, int | None] = {**DECODER, "kv_channels": 128}
CHATGLM: dict[str, int | None] = {
    "num_layers": None, "hidden_size": None, "num_attention_heads": None, "ffn_hidden_size": None,
    "padded_vocab_size": None, "kv_channels": 128, "multi_query_group_num": 1, "seq_length": 2048,
}  # fmt: skip

LLAMA_KIN: dict[str, ModelType] = {
    "granite": ModelType(DECODER, llama, NO_BIAS),
    "granitemoe": ModelType(
        {**DECODER, **EXPERTS, "num_local_experts": None, "shared_intermediate_size": 0}, _granite_moe, NO_BIAS
    ),
    "granitemoeshared": ModelType(
        {**DECODER, **EXPERTS, "num_local_experts": None, "shared_intermediate_size": 0}, _granite_moe, NO_BIAS
    ),
    "cohere": ModelType(DECODER, _cohere, {**UNBIASED, "use_qk_norm": (False,)}),
    "cohere2": ModelType(DECODER, _cohere2, UNBIASED),
    "olmo": ModelType(DECODER, _olmo, UNBIASED),
    "olmoe": ModelType({**DECODER, **EXPERTS, "num_experts": None}, _olmoe, UNBIASED),
    "olmo3": ModelType(DECODER, _olmo3, UNBIASED),
    "phimoe": ModelType({**DECODER, **EXPERTS, "num_local_experts": None}, _phimoe),
    "exaone4": ModelType(DECODER, _exaone4),
    "exaone": ModelType(DECODER, _exaone, {}, {"num_layers": "num_hidden_layers"}),
    "smollm3": ModelType(DECODER, _smollm3, {**NO_BIAS, "use_sliding_window": (False,)}),
    "glm": ModelType(DECODER, _glm),
    "glm4": ModelType(DECODER, _glm4),
    "nemotron": ModelType(DECODER, _nemotron, NO_BIAS),
    "arcee": ModelType(DECODER, _arcee, NO_BIAS),
    "seed_oss": ModelType(DECODER, _seed_oss, {"mlp_bias": (False,)}),
    "gpt_oss": ModelType({**DECODER, **EXPERTS, "num_local_experts": None}, _gpt_oss),
    "hunyuan_v1_dense": ModelType(DECODER, _hunyuan, UNBIASED),
    "internlm": ModelType(DECODER, _internlm),
    "internlm2": ModelType(DECODER, llama, {"bias": (False,)}),
    "baichuan": ModelType({**DECODER, "max_position_embeddings": 0, "model_max_length": 4096}, _baichuan),
    "minicpm": ModelType(DECODER, _minicpm),
    "ernie4_5": ModelType(DECODER, _ernie),
    "helium": ModelType(DECODER, llama, NO_BIAS),
    "orion": ModelType(DECODER, _orion),
    "qwen": ModelType(QWEN, _qwen, {"no_bias": (True,)}),
    "chatglm": ModelType(
        CHATGLM, _chatglm,
        {"add_bias_linear": (False,), "rmsnorm": (True,), "post_layer_norm": (True,),
         "apply_residual_connection_post_layernorm": (False,)},
    ),
}  # fmt: skip
"""Model types of LLaMA's kind beside `DECODERS`."""
