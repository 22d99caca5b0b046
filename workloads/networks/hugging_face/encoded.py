"""Configurations of encoders of decoders' layers: pre-norm, or with rotary embeddings and gates."""

from __future__ import annotations

from typing import Any

from sim.base.errors import InputError
from workloads.networks.config import Config
from workloads.networks.encoders import encoded_model
from workloads.networks.hugging_face.decoders import DECODER, rotary
from workloads.networks.hugging_face.form import ACTIVATIONS, Builder, Fixed, ModelType, Sizes, activation


def _sizes(s: Sizes) -> dict[str, Any]:
    return {
        "layers": s["num_hidden_layers"], "hidden": s["hidden_size"], "heads": s["num_attention_heads"],
        "ffn": s["intermediate_size"], "vocab": s["vocab_size"], "most_positions": s["max_position_embeddings"],
    }  # fmt: skip


def _modernbert(name: str, s: Sizes) -> Builder:
    """Every n-th layer sees all keys, from the first on; the others a window of local_attention keys."""
    every, biased = s["global_attn_every_n_layers"], bool(s.get("attention_bias", False))
    kinds = s.get("layer_types")
    full = tuple(range(0, s["num_hidden_layers"], every))
    if isinstance(kinds, list):
        full = tuple(n for n, kind in enumerate(kinds) if kind == "full_attention")
    config = Config(
        **_sizes(s), norm="layernorm", norm_weights="all" if s.get("norm_bias") else "gamma", qkv_bias=biased,
        out_bias=biased, ffn_bias=bool(s.get("mlp_bias", False)), window=s["local_attention"], full_layers=full,
        activation=activation(s, "hidden_activation", "gelu"), word_norm=True, word_norm_first=True,
        rope_base=float(rotary(s, "global_rope_theta", 160000.0)),
    )  # fmt: skip
    return encoded_model(name, config)


def _nomic(name: str, s: Sizes) -> Builder:
    """Norms behind the sums, rotary embeddings, a gate; biases of each product by its own key."""
    gate = str(s.get("activation_function", s.get("hidden_act", "swiglu")))
    gates = {"swiglu": "silu", "geglu": "gelu", "silu": "silu", "gelu": "gelu", "glu": ""}
    if not gates.get(gate):
        raise InputError(f"activation_function is {gate!r}, can be {', '.join(key for key in gates if gates[key])}")
    gated: Any = gates[gate]
    config = Config(
        **_sizes(s), norm="layernorm", norms_at="before" if s.get("prenorm") else "behind", activation=gated,
        qkv_bias=bool(s.get("qkv_proj_bias", False)), ffn_bias=bool(s.get("mlp_fc1_bias", False)), word_norm=True,
        token_types=s["type_vocab_size"],
        rope_base=float(s.get("rotary_emb_base") or rotary(s, "rope_theta", 10000.0)),
    )  # fmt: skip
    return encoded_model(name, config)


def _gte(name: str, s: Sizes) -> Builder:
    """Alibaba's NewModel (gte): norms behind the sums, a gate without biases but behind it."""
    act: Any = ACTIVATIONS.get(s.get("hidden_act", "gelu"))
    if act is None:
        raise InputError(f"hidden_act is {s['hidden_act']!r}, can be {', '.join(ACTIVATIONS)}")
    config = Config(
        **_sizes(s), norm="layernorm", norms_at="behind", activation=act, qkv_bias=True, out_bias=True, word_norm=True,
        token_types=s["type_vocab_size"], rope_base=float(rotary(s, "rope_theta", 10000.0)),
    )  # fmt: skip
    return encoded_model(name, config)


def _esm(name: str, s: Sizes) -> Builder:
    config = Config(**_sizes(s), norm="layernorm", gated=False, activation="gelu", biases=True)
    return encoded_model(name, config)


def _pre_norm(name: str, s: Sizes) -> Builder:
    """BERT with norms in front of its branches; RoBERTa's has one of the words, too."""
    act, words = activation(s, "hidden_act", "gelu"), s["model_type"] == "roberta-prelayernorm"
    config = Config(
        **_sizes(s), norm="layernorm", gated=False, activation=act, biases=True, rotated=0, word_norm=words,
        positions=s["max_position_embeddings"], token_types=s["type_vocab_size"],
    )  # fmt: skip
    return encoded_model(name, config)


def _eurobert(name: str, s: Sizes) -> Builder:
    config = Config(
        **_sizes(s), kv_heads=s["num_key_value_heads"], head_dim=s["head_dim"],
        activation=activation(s, "hidden_act", "silu"), rope_base=float(rotary(s, "rope_theta", 250000.0)),
    )  # fmt: skip
    return encoded_model(name, config)


PLAIN: Fixed = {"is_decoder": (False,), "add_cross_attention": (False,)}
BERT: dict[str, int | None] = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "intermediate_size": None,
    "vocab_size": None, "max_position_embeddings": 512, "type_vocab_size": 0,
}  # fmt: skip
MODERN: dict[str, int | None] = {
    **BERT, "global_attn_every_n_layers": 3, "local_attention": 128, "max_position_embeddings": 8192,
}  # fmt: skip
NOMIC = {
    "n_layer": "num_hidden_layers", "n_embd": "hidden_size", "n_head": "num_attention_heads",
    "n_inner": "intermediate_size", "n_positions": "max_position_embeddings",
}  # fmt: skip

ENCODED_KIN: dict[str, ModelType] = {
    "modernbert": ModelType(MODERN, _modernbert),
    "nomic_bert": ModelType(BERT, _nomic, {"rotary_emb_fraction": (1.0, 1), "use_rms_norm": (False,)}, NOMIC),
    "new": ModelType(BERT, _gte, {"position_embedding_type": ("rope",), "layer_norm_type": ("layer_norm",)}),
    "esm": ModelType(
        BERT,
        _esm,
        {
            **PLAIN,
            "position_embedding_type": ("rotary",),
            "emb_layer_norm_before": (False,),
            "is_folding_model": (False,),
        },
    ),
    "roberta-prelayernorm": ModelType(BERT, _pre_norm, {**PLAIN, "position_embedding_type": ("absolute",)}),
    "megatron-bert": ModelType(BERT, _pre_norm, {**PLAIN, "position_embedding_type": ("absolute",)}),
    "xlm-roberta-xl": ModelType(BERT, _pre_norm, {**PLAIN, "position_embedding_type": ("absolute",)}),
    "eurobert": ModelType(DECODER, _eurobert, {"attention_bias": (False,), "mlp_bias": (False,)}),
}
"""Model types of encoders of decoders' layers."""
