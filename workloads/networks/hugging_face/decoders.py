"""Configurations of decoders, each as the sizes of one `Config`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim.base.errors import InputError
from workloads.networks.config import Config
from workloads.networks.hugging_face.form import ACTIVATIONS, Builder, Fixed, ModelType, Sizes, activation
from workloads.networks.models import decoder_model

DECODER = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "intermediate_size": None,
    "vocab_size": None, "max_position_embeddings": 2048, "num_key_value_heads": 0, "head_dim": 0,
}  # fmt: skip
NO_BIAS: Fixed = {"attention_bias": (False,), "mlp_bias": (False,)}


def _gpt2(name: str, s: Sizes) -> Builder:
    config = Config(
        layers=s["n_layer"], hidden=s["n_embd"], heads=s["n_head"], ffn=s["n_inner"] or 4 * s["n_embd"],
        vocab=s["vocab_size"], positions=s["n_positions"], most_positions=s["n_positions"], rotated=0,
        activation=activation(s, "activation_function", "gelu_new"), gated=False, norm="layernorm", biases=True,
        tied=s.get("tie_word_embeddings", True),
    )  # fmt: skip
    return decoder_model(name, config)


def _opt(name: str, s: Sizes) -> Builder:
    narrow = s["word_embed_proj_dim"]
    config = Config(
        layers=s["num_hidden_layers"], hidden=s["hidden_size"], heads=s["num_attention_heads"], ffn=s["ffn_dim"],
        vocab=s["vocab_size"], positions=s["max_position_embeddings"] + 2, most_positions=s["max_position_embeddings"],
        rotated=0, activation=activation(s, "activation_function", "relu"), gated=False, norm="layernorm",
        biases=True, tied=s.get("tie_word_embeddings", True), 
        norms_at="before" if s.get("do_layer_norm_before", True) else "behind",
        embedding_size=0 if narrow in (0, s["hidden_size"]) else narrow,
    )  # fmt: skip
    return decoder_model(name, config)


def rotary(s: Sizes, key: str, default: Any) -> Any:
    """Return a number of the rotary embedding, a key at top level or in rope_parameters."""
    nested = s.get("rope_parameters")
    return s.get(key) or (nested.get(key) if isinstance(nested, Mapping) else None) or default


def llama(name: str, s: Sizes, **more: Any) -> Builder:
    """Return the builder of LLaMA's layers, with the `Config` fields ``more`` changed.

    ``rotary_factor``: the share of a head that is rotated, if the file has none.
    """
    size = s["head_dim"] or s["hidden_size"] // s["num_attention_heads"]
    factor = rotary(s, "partial_rotary_factor", more.pop("rotary_factor", 1.0))
    config = Config(
        layers=s["num_hidden_layers"], hidden=s["hidden_size"], heads=s["num_attention_heads"],
        kv_heads=s["num_key_value_heads"], head_dim=s["head_dim"], ffn=s["intermediate_size"], vocab=s["vocab_size"],
        most_positions=s["max_position_embeddings"], rope_base=float(rotary(s, "rope_theta", 10000.0)),
        **{
            "tied": s.get("tie_word_embeddings", more.pop("tied", False)),
            "activation": more.pop("activation", None) or activation(s, "hidden_act", "silu"),
            "rotated": -1 if factor == 1.0 else int(size * factor), **more,
        },
    )  # fmt: skip
    return decoder_model(name, config)


def mistral(name: str, s: Sizes) -> Builder:
    """Return the builder of LLaMA's layers with a sliding window."""
    return llama(name, s, window=s.get("sliding_window") or 0)


def routed(s: Sizes, key: str) -> dict[str, Any]:
    """Return the number of experts (key ``key``) and of experts per token. Raises InputError."""
    experts, picked = s[key], s["num_experts_per_tok"]
    if not 1 <= picked <= experts:
        raise InputError(f"num_experts_per_tok is {picked}, must be 1 to {key} ({experts})")
    return {"experts": experts, "per_token": picked}


def _mixtral(name: str, s: Sizes) -> Builder:
    return llama(name, s, window=s.get("sliding_window") or 0, **routed(s, "num_local_experts"))


def _qwen2(name: str, s: Sizes) -> Builder:
    return llama(name, s, qkv_bias=True)


def _qwen2_moe(name: str, s: Sizes) -> Builder:
    shared = {"shared_ffn": s["shared_expert_intermediate_size"], "shared_gate": True}
    narrow = {**s, "intermediate_size": s["moe_intermediate_size"]}
    return llama(name, narrow, qkv_bias=True, **shared, **routed(s, "num_experts"))


def _qwen3(name: str, s: Sizes) -> Builder:
    return llama(name, s, qk_norm="head")


def _qwen3_moe(name: str, s: Sizes) -> Builder:
    narrow = {**s, "intermediate_size": s["moe_intermediate_size"]}
    return llama(name, narrow, qk_norm="head", **routed(s, "num_experts"))


def olmo2(name: str, s: Sizes) -> Builder:
    """Return the builder of OLMo 2: norms on the branches and on whole rows of Q and K."""
    return llama(name, s, qk_norm="row", norms_at="branch")


def _gemma(name: str, s: Sizes, **more: Any) -> Builder:
    act = ACTIVATIONS.get(s.get("hidden_activation") or "gelu_pytorch_tanh", "gelu_tanh")
    return llama(name, s, activation=act, tied=True, **more)


def _gemma2(name: str, s: Sizes) -> Builder:
    caps = {
        key: s.get(key, default) for key, default in (("attn_logit_softcapping", 50), ("final_logit_softcapping", 30))
    }
    wrong = [
        f"{key} is {cap!r}, must be a number above 0 or null"
        for key, cap in caps.items()
        if cap is not None and not (type(cap) in (int, float) and 0 < cap < math.inf)
    ]
    if not wrong and len({cap is None for cap in caps.values()}) > 1:
        wrong = [f"{' and '.join(f'{key} {cap!r}' for key, cap in caps.items())}: must both be numbers or both null"]
    if wrong:
        raise InputError(wrong)
    capped = all(cap is not None for cap in caps.values())
    return _gemma(name, s, norms_at="both", capped=capped, **windows(s, 4096, 2))


def _gemma3(name: str, s: Sizes) -> Builder:
    return _gemma(name, s, norms_at="both", qk_norm="head", **windows(s, 4096, 6))


ATTENTIONS = ("sliding_attention", "full_attention")
"""Values of layer_types."""


def windows(s: Sizes, window: int, every: int) -> dict[str, Any]:
    """Return the window, and the layers that see all keys: those named, or every n-th. Raises InputError."""
    layers, types = s["num_hidden_layers"], s.get("layer_types")
    for key in ("sliding_window_pattern", "_sliding_window_pattern"):
        every = every if s.get(key) is None else s[key]
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise InputError(f"{key} is {every!r}, must be a whole number >= 1")
    size = s.get("sliding_window") or window
    if types is None:
        return {"window": size, "full_every": every}
    if not (isinstance(types, list) and len(types) == layers and all(kind in ATTENTIONS for kind in types)):
        raise InputError(f"layer_types must be a list of {layers}, {' or '.join(ATTENTIONS)}")
    full = [n for n, kind in enumerate(types, start=1) if kind == ATTENTIONS[1]]
    if full and full == list(range(full[0], layers + 1, full[0])):
        return {"window": size, "full_every": full[0]}
    return {"window": size, "full_layers": tuple(n - 1 for n in full)}


def full_layers(s: Sizes, found: dict[str, Any]) -> tuple[int, ...]:
    """Return the layers that see all keys from the result of `windows`."""
    every = found.get("full_every", 0)
    named: tuple[int, ...] = found.get("full_layers", ())
    return named or tuple(range(every - 1, s["num_hidden_layers"], every)) if every else named


PLAIN_FFN = {"gated": False, "norm": "layernorm"}
"""Decoders with LayerNorms and a feed-forward network of two products."""


def _starcoder2(name: str, s: Sizes) -> Builder:
    act, window = activation(s, "hidden_act", "gelu_pytorch_tanh"), s.get("sliding_window") or 0
    biases = s.get("use_bias", True)
    return llama(name, s, activation=act, biases=biases, tied=True, window=window, **PLAIN_FFN)


def _stablelm(name: str, s: Sizes) -> Builder:
    return llama(name, s, norm="layernorm", qkv_bias=s.get("use_qkv_bias", False), rotary_factor=0.25)


def _phi(name: str, s: Sizes) -> Builder:
    act = activation(s, "hidden_act", "gelu_new")
    of = {"activation": act, "biases": True, "head_bias": True, "parallel_norms": 1, "rotary_factor": 0.5}
    return llama(name, s, **of, **PLAIN_FFN)


def _gpt_neox(name: str, s: Sizes) -> Builder:
    of = {"activation": activation(s, "hidden_act", "gelu"), "biases": True, "rotary_factor": s.get("rotary_pct", 0.25)}
    parallel, whole = s.get("use_parallel_residual", True), {**s, "num_key_value_heads": 0}
    return llama(name, whole, parallel_norms=2 if parallel else 0, **of, **PLAIN_FFN)


def gptj(name: str, s: Sizes) -> Builder:
    """Return the builder of GPT-J and CodeGen: both branches read one norm, and some columns are rotated."""
    config = Config(
        layers=s["n_layer"], hidden=s["n_embd"], heads=s["n_head"], ffn=s["n_inner"] or 4 * s["n_embd"],
        vocab=s["vocab_size"], most_positions=s["n_positions"], rotated=s["rotary_dim"], parallel_norms=1,
        activation=activation(s, "activation_function", "gelu_new"), gated=False, norm="layernorm", ffn_bias=True,
        head_bias=True, tied=s.get("tie_word_embeddings", False),
    )  # fmt: skip
    return decoder_model(name, config)


def _bloom(name: str, s: Sizes) -> Builder:
    config = Config(
        layers=s["n_layer"], hidden=s["hidden_size"], heads=s["n_head"], ffn=4 * s["hidden_size"],
        vocab=s["vocab_size"], most_positions=s["seq_length"], rotated=0, alibi=True, word_norm=True,
        activation="gelu_tanh", gated=False, norm="layernorm", biases=True, tied=s.get("tie_word_embeddings", True),
    )  # fmt: skip
    return decoder_model(name, config)


def _falcon(name: str, s: Sizes) -> Builder:
    grouped, biases, alibi = (s.get(key, False) for key in ("new_decoder_architecture", "bias", "alibi"))
    heads = s["num_attention_heads"]
    groups = (s["num_kv_heads"] or heads) if grouped else 1 if s.get("multi_query", True) else heads
    parallel = grouped or s.get("parallel_attn", True)
    norms = (s["num_ln_in_parallel_attn"] or 2) if grouped else 1
    config = Config(
        layers=s["num_hidden_layers"], hidden=s["hidden_size"], heads=heads, kv_heads=groups,
        ffn=s["ffn_hidden_size"] or 4 * s["hidden_size"], vocab=s["vocab_size"],
        most_positions=s["max_position_embeddings"], rotated=0 if alibi else -1, alibi=alibi,
        rope_base=float(rotary(s, "rope_theta", 10000.0)), parallel_norms=norms if parallel else 0,
        activation=activation(s, "activation", "gelu"), gated=False, norm="layernorm", biases=biases,
        tied=s.get("tie_word_embeddings", True),
    )  # fmt: skip
    return decoder_model(name, config)


GPT2_KEYS: Mapping[str, int | None] = {
    "n_layer": None, "n_embd": None, "n_head": None, "n_inner": 0, "vocab_size": None, "n_positions": None,
}  # fmt: skip
OPT_KEYS: Mapping[str, int | None] = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "ffn_dim": None, "vocab_size": None,
    "max_position_embeddings": None, "word_embed_proj_dim": 0,
}  # fmt: skip
BLOOM_KEYS: Mapping[str, int | None] = {
    "n_layer": None, "hidden_size": None, "n_head": None, "vocab_size": None, "seq_length": 2048,
}  # fmt: skip
FALCON_KEYS: Mapping[str, int | None] = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "vocab_size": None, "num_kv_heads": 0,
    "ffn_hidden_size": 0, "num_ln_in_parallel_attn": 0, "max_position_embeddings": 2048,
}  # fmt: skip
EXPERTS: Mapping[str, int | None] = {"num_experts": None, "num_experts_per_tok": None, "moe_intermediate_size": None}
UNMIXED: Fixed = {"use_sliding_window": (False,), "decoder_sparse_step": (1,), "mlp_only_layers": ([],)}
UNCAPPED: Fixed = {"attn_logit_softcapping": (), "final_logit_softcapping": ()}

DECODERS: dict[str, ModelType] = {
    "gpt2": ModelType(GPT2_KEYS, _gpt2, {"add_cross_attention": (False,), "scale_attn_weights": (True,)}),
    "opt": ModelType(
        OPT_KEYS, _opt,
        {"enable_bias": (True,), "_remove_final_layer_norm": (False,), "layer_norm_elementwise_affine": (True,)},
    ),
    "llama": ModelType(DECODER, llama, NO_BIAS),
    "mistral": ModelType(DECODER, mistral),
    "mixtral": ModelType({**DECODER, "num_local_experts": None, "num_experts_per_tok": None}, _mixtral),
    "qwen2": ModelType(DECODER, _qwen2, {"use_sliding_window": (False,)}),
    "qwen2_moe": ModelType(
        {**DECODER, **EXPERTS, "shared_expert_intermediate_size": None}, _qwen2_moe, {**UNMIXED, "qkv_bias": (True,)},
        {"num_local_experts": "num_experts"},
    ),
    "qwen3": ModelType(DECODER, _qwen3, {"attention_bias": (False,), "use_sliding_window": (False,)}),
    "qwen3_moe": ModelType(
        {**DECODER, **EXPERTS}, _qwen3_moe, {**UNMIXED, "attention_bias": (False,)},
        {"num_local_experts": "num_experts"},
    ),
    "gemma": ModelType(DECODER, _gemma, {"attention_bias": (False,)}),
    "gemma2": ModelType(DECODER, _gemma2, {"attention_bias": (False,)}),
    "gemma3_text": ModelType(DECODER, _gemma3, {"attention_bias": (False,), **UNCAPPED}),
    "phi": ModelType(DECODER, _phi, {"qk_layernorm": (False,)}),
    "phi3": ModelType(DECODER, mistral, {"attention_bias": (False,)}),
    "olmo2": ModelType(DECODER, olmo2, {"attention_bias": (False,)}),
    "stablelm": ModelType(DECODER, _stablelm, {"qk_layernorm": (False,), "use_parallel_residual": (False,)}),
    "starcoder2": ModelType(DECODER, _starcoder2, {"mlp_type": ("default",), "norm_type": ("layer_norm",)}),
    "gpt_neox": ModelType(DECODER, _gpt_neox, {"attention_bias": (True,)}),
    "gptj": ModelType({**GPT2_KEYS, "rotary_dim": 64}, gptj),
    "bloom": ModelType(
        BLOOM_KEYS, _bloom, {"apply_residual_connection_post_layernorm": (False,)},
        {"n_embed": "hidden_size", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"},
    ),
    "falcon": ModelType(
        FALCON_KEYS, _falcon, {}, {"n_layer": "num_hidden_layers", "n_head": "num_attention_heads",
                                   "n_head_kv": "num_kv_heads"},
    ),
}  # fmt: skip
"""Model types whose tokens see only earlier ones."""
