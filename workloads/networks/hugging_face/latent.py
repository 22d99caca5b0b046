"""Configurations of decoders with latent attention or DeepSeek's experts: shared ones, and dense first layers."""

from __future__ import annotations

from typing import Any

from sim.base.errors import InputError
from workloads.networks.config import Latent
from workloads.networks.hugging_face.decoders import DECODER, llama, routed
from workloads.networks.hugging_face.form import Builder, Fixed, ModelType, Sizes


def _latent(s: Sizes) -> dict[str, Any]:
    """Return the sizes of latent attention. Raises InputError for columns that cannot be rotated."""
    if s["qk_rope_head_dim"] % 2:
        raise InputError(f"qk_rope_head_dim is {s['qk_rope_head_dim']}, must be even: pairs of columns are rotated")
    sizes = Latent(
        rank=s["kv_lora_rank"], plain=s["qk_nope_head_dim"], rotated=s["qk_rope_head_dim"],
        values=s["v_head_dim"] or s["hidden_size"] // s["num_attention_heads"], query_rank=s["q_lora_rank"],
    )  # fmt: skip
    return {"latent": sizes}


def _experts(s: Sizes, router: str) -> tuple[Sizes, dict[str, Any]]:
    """Return the sizes with the width of a routed expert, and the experts' `Config` fields. Raises InputError."""
    narrow, dense = s["moe_intermediate_size"], s.get("first_k_dense_replace", 1)
    if type(dense) is not int or not 0 <= dense <= s["num_hidden_layers"]:
        raise InputError(
            f"first_k_dense_replace is {dense!r}, must be 0 to num_hidden_layers ({s['num_hidden_layers']})"
        )
    first = {"first_ffn": s["intermediate_size"] if dense else 0, "dense_layers": dense}
    shared = {"shared_ffn": s["n_shared_experts"] * narrow, "router": router}
    return {**s, "intermediate_size": narrow}, {**first, **shared, **routed(s, "n_routed_experts")}


def _deepseek(name: str, s: Sizes) -> Builder:
    """Shared experts in addition to the routed ones; first layers without experts."""
    given, more = _experts(s, s.get("scoring_func") or "softmax")
    return llama(name, given, **more)


def _deepseek_v2(name: str, s: Sizes) -> Builder:
    default = "sigmoid" if s["model_type"] != "deepseek_v2" else "softmax"
    given, more = _experts(s, s.get("scoring_func") or default)
    return llama(name, given, **_latent(s), **more)


def _minicpm3(name: str, s: Sizes) -> Builder:
    return llama(name, s, tied=s.get("tie_word_embeddings", True), **_latent(s))


def _glm4_moe(name: str, s: Sizes) -> Builder:
    given, more = _experts(s, "sigmoid")
    normed = "head" if s.get("use_qk_norm", False) else "none"
    return llama(name, given, qkv_bias=bool(s.get("attention_bias", False)), qk_norm=normed, rotary_factor=0.5, **more)


def _dots1(name: str, s: Sizes) -> Builder:
    given, more = _experts(s, "sigmoid")
    return llama(name, given, qk_norm="head", **more)


def _ernie_moe(name: str, s: Sizes) -> Builder:
    """ERNIE 4.5, whose layers from moe_layer_start_index on all have experts."""
    last = s["moe_layer_end_index"]
    if last not in (0, s["num_hidden_layers"] - 1):
        raise InputError(f"moe_layer_end_index is {last}, must be the last layer ({s['num_hidden_layers'] - 1})")
    renamed = {
        "n_routed_experts": s["moe_num_experts"], "num_experts_per_tok": s["moe_k"],
        "n_shared_experts": s["moe_num_shared_experts"], "first_k_dense_replace": s["moe_layer_start_index"],
    }  # fmt: skip
    given, more = _experts({**s, **renamed}, "softmax")
    tied, biased = s.get("tie_word_embeddings", True), bool(s.get("use_bias", False))
    return llama(name, given, biases=biased, router_bias=True, tied=tied, **more)


EXPERTS: dict[str, int | None] = {
    **DECODER, "moe_intermediate_size": None, "n_routed_experts": None, "num_experts_per_tok": None,
    "n_shared_experts": 0,
}  # fmt: skip
LATENT: dict[str, int | None] = {
    "kv_lora_rank": None, "qk_nope_head_dim": None, "qk_rope_head_dim": None, "v_head_dim": 0, "q_lora_rank": 0,
}  # fmt: skip
FIXED: Fixed = {
    "moe_layer_freq": (1,), "attention_bias": (False,), "scoring_func": ("softmax", "sigmoid"), "ep_size": (1,),
}  # fmt: skip

ERNIE: dict[str, int | None] = {
    **DECODER, "moe_intermediate_size": None, "moe_num_experts": None, "moe_k": None, "moe_num_shared_experts": 0,
    "moe_layer_start_index": 0, "moe_layer_end_index": 0,
}  # fmt: skip

LATENT_KIN: dict[str, ModelType] = {
    "deepseek": ModelType(EXPERTS, _deepseek, FIXED),
    "deepseek_v2": ModelType({**EXPERTS, **LATENT}, _deepseek_v2, FIXED),
    "deepseek_v3": ModelType({**EXPERTS, **LATENT}, _deepseek_v2, FIXED),
    "kimi_k2": ModelType({**EXPERTS, **LATENT}, _deepseek_v2, FIXED),
    "minicpm3": ModelType({**DECODER, **LATENT}, _minicpm3, {"attention_bias": (False,)}),
    "glm4_moe": ModelType(EXPERTS, _glm4_moe),
    "ernie4_5_moe": ModelType(ERNIE, _ernie_moe, {"moe_layer_interval": (1,)}),
    "dots1": ModelType(EXPERTS, _dots1, {"attention_bias": (False,)}),
}
"""Model types with latent attention, or with DeepSeek's experts."""
