"""Configurations of decoders of GPT's kind: LayerNorms, and a feed-forward network of two products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.base.errors import InputError
from workloads.networks.config import Config
from workloads.networks.hugging_face.decoders import DECODER, GPT2_KEYS, PLAIN_FFN, gptj, llama, routed
from workloads.networks.hugging_face.form import Builder, ModelType, Sizes, activation
from workloads.networks.models import decoder_model


def _gpt_bigcode(name: str, s: Sizes) -> Builder:
    config = Config(
        layers=s["n_layer"], hidden=s["n_embd"], heads=s["n_head"], ffn=s["n_inner"] or 4 * s["n_embd"],
        kv_heads=1 if s.get("multi_query", True) else 0, vocab=s["vocab_size"], positions=s["n_positions"],
        most_positions=s["n_positions"], rotated=0,
        activation=activation(s, "activation_function", "gelu_pytorch_tanh"), biases=True,
        tied=s.get("tie_word_embeddings", True), gated=False, norm="layernorm",
    )  # fmt: skip
    return decoder_model(name, config)


def _openai_gpt(name: str, s: Sizes) -> Builder:
    config = Config(
        layers=s["n_layer"], hidden=s["n_embd"], heads=s["n_head"], ffn=4 * s["n_embd"], vocab=s["vocab_size"],
        positions=s["n_positions"], most_positions=s["n_positions"], rotated=0, activation=activation(s, "afn", "gelu"),
        norms_at="behind", biases=True, tied=True, gated=False, norm="layernorm",
    )  # fmt: skip
    return decoder_model(name, config)


def _gpt_neo(name: str, s: Sizes) -> Builder:
    """Layers see all keys or a window, by attention_types."""
    kinds: list[Any] = []
    for entry in s.get("attention_types") or [[["global", "local"], s["num_layers"] // 2]]:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], list) and type(entry[1]) is int):
            raise InputError(f"attention_types has {entry!r}, must be lists of [kinds, how often]")
        kinds += entry[0] * min(entry[1], s["num_layers"])
    if len(kinds) != s["num_layers"] or not all(kind in ("global", "local") for kind in kinds):
        raise InputError(
            f"attention_types names {len(kinds)} layers, must be num_layers ({s['num_layers']}) of global, local"
        )
    full = tuple(n for n, kind in enumerate(kinds) if kind == "global")
    config = Config(
        layers=s["num_layers"], hidden=s["hidden_size"], heads=s["num_heads"],
        ffn=s["intermediate_size"] or 4 * s["hidden_size"], vocab=s["vocab_size"],
        positions=s["max_position_embeddings"], most_positions=s["max_position_embeddings"], rotated=0,
        activation=activation(s, "activation_function", "gelu_new"), out_bias=True, ffn_bias=True, tied=True,
        window=s["window_size"], full_layers=full, gated=False, norm="layernorm",
    )  # fmt: skip
    return decoder_model(name, config)


def _mpt(name: str, s: Sizes) -> Builder:
    """ALiBi, or learned positions; norms without shift if there are no biases."""
    attention = s.get("attn_config") or {}
    if not isinstance(attention, Mapping):
        raise InputError(f"attn_config is {attention!r}, must be an object")
    wrong = {"qk_ln": False, "rope": False, "prefix_lm": False, "attn_type": "multihead_attention"}
    problems = [
        f"attn_config.{key} is {attention[key]!r}: this changes the network and is not modelled (nearest: {legal!r})"
        for key, legal in wrong.items()
        if attention.get(key, legal) != legal and not (key == "attn_type" and attention[key] == "multiquery_attention")
    ]
    if problems:
        raise InputError(problems)
    alibi, unbiased = bool(attention.get("alibi", True)), s.get("no_bias", True)
    config = Config(
        layers=s["n_layers"], hidden=s["d_model"], heads=s["n_heads"], ffn=s["expansion_ratio"] * s["d_model"],
        kv_heads=1 if attention.get("attn_type") == "multiquery_attention" else 0, vocab=s["vocab_size"],
        positions=0 if alibi else s["max_seq_len"], most_positions=s["max_seq_len"], rotated=0, alibi=alibi,
        activation="gelu", biases=not unbiased, norm_weights="gamma" if unbiased else "all",
        tied=s.get("tie_word_embeddings", True), gated=False, norm="layernorm",
    )  # fmt: skip
    return decoder_model(name, config)


def _dbrx(name: str, s: Sizes) -> Builder:
    """Sizes of attention and experts are in nested objects."""
    attention, ffn = (s.get(key) or {} for key in ("attn_config", "ffn_config"))
    given: dict[str, Any] = {"kv_n_heads": attention.get("kv_n_heads"), **{
        key: ffn.get(key) for key in ("ffn_hidden_size", "moe_num_experts", "moe_top_k")
    }}  # fmt: skip
    if wrong := [f"{key} is {value!r}, must be a whole number >= 1" for key, value in given.items()
                 if type(value) is not int or value < 1]:  # fmt: skip
        raise InputError(wrong)
    if s["n_heads"] % given["kv_n_heads"]:
        raise InputError(f"kv_n_heads {given['kv_n_heads']} do not divide {s['n_heads']} heads")
    found = routed({"experts": given["moe_num_experts"], "num_experts_per_tok": given["moe_top_k"]}, "experts")
    config = Config(
        layers=s["n_layers"], hidden=s["d_model"], heads=s["n_heads"], kv_heads=given["kv_n_heads"],
        ffn=given["ffn_hidden_size"], vocab=s["vocab_size"], most_positions=s["max_seq_len"],
        rope_base=float(attention.get("rope_theta", 10000.0)), norm="layernorm", norm_weights="gamma",
        tied=s.get("tie_word_embeddings", False), **found,
    )  # fmt: skip
    return decoder_model(name, config)


def _xglm(name: str, s: Sizes) -> Builder:
    """Positions are sines and cosines, computed once."""
    config = Config(
        layers=s["num_layers"], hidden=s["d_model"], heads=s["attention_heads"], ffn=s["ffn_dim"],
        vocab=s["vocab_size"], most_positions=s["max_position_embeddings"], rotated=0, sinusoids=True,
        activation=activation(s, "activation_function", "gelu"), biases=True, tied=True, gated=False, norm="layernorm",
    )  # fmt: skip
    return decoder_model(name, config)


def _biogpt(name: str, s: Sizes) -> Builder:
    config = Config(
        layers=s["num_hidden_layers"], hidden=s["hidden_size"], heads=s["num_attention_heads"],
        ffn=s["intermediate_size"], vocab=s["vocab_size"], positions=s["max_position_embeddings"] + 2,
        most_positions=s["max_position_embeddings"], rotated=0, activation=activation(s, "hidden_act", "gelu"),
        biases=True, tied=s.get("tie_word_embeddings", True), gated=False, norm="layernorm",
    )  # fmt: skip
    return decoder_model(name, config)


def _persimmon(name: str, s: Sizes) -> Builder:
    of = {"qk_norm": "head" if s.get("qk_layernorm", True) else "none", "biases": True, "rotary_factor": 0.5}
    whole = {**s, "num_key_value_heads": 0}
    return llama(name, whole, activation=activation(s, "hidden_act", "relu2"), **of, **PLAIN_FFN)


MPT: dict[str, int | None] = {
    "n_layers": None, "d_model": None, "n_heads": None, "vocab_size": None, "expansion_ratio": 4, "max_seq_len": 2048,
}  # fmt: skip
DBRX = {key: default for key, default in MPT.items() if key != "expansion_ratio"}
XGLM: dict[str, int | None] = {
    "num_layers": None, "d_model": None, "attention_heads": None, "ffn_dim": None, "vocab_size": None,
    "max_position_embeddings": 2048,
}  # fmt: skip
NEO: dict[str, int | None] = {
    "num_layers": None, "hidden_size": None, "num_heads": None, "vocab_size": None, "intermediate_size": 0,
    "max_position_embeddings": 2048, "window_size": 256,
}  # fmt: skip

GPT_KIN: dict[str, ModelType] = {
    "gpt_bigcode": ModelType(GPT2_KEYS, _gpt_bigcode, {"add_cross_attention": (False,), "scale_attn_weights": (True,)}),
    "openai-gpt": ModelType({**GPT2_KEYS, "n_positions": 512}, _openai_gpt),
    "gpt_neo": ModelType(NEO, _gpt_neo),
    "codegen": ModelType({**GPT2_KEYS, "rotary_dim": 64}, gptj),
    "mpt": ModelType(MPT, _mpt, {"norm_type": ("low_precision_layernorm", "layernorm"), "learned_pos_emb": (True,)}),
    "dbrx": ModelType(DBRX, _dbrx),
    "xglm": ModelType(XGLM, _xglm, {"add_cross_attention": (False,)}),
    "biogpt": ModelType(DECODER, _biogpt),
    "persimmon": ModelType(DECODER, _persimmon),
}
"""Model types of GPT's kind beside `DECODERS`."""
