"""Trained decoders in the Hugging Face layout: GPT-2 and GPT-Neo; LLaMA, Mistral, Qwen2, Qwen3 and Gemma.

Their tensors are rearranged as GPT-2's or LLaMA's, from which our names follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from workloads.checkpoint.rearranged import as_gpt2, folded_gemma

Array = npt.NDArray[Any]
Wanted = dict[str, tuple[str, tuple[int, ...], bool]]

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}
"""Name in config.json -> operator."""

LM_HEAD = "lm_head"


@dataclass(frozen=True)
class Decoder:
    """Properties of a decoder besides an encoder's sizes.

    ``norm``, ``activation``: operator kinds. ``gated``: the feed-forward layer multiplies two products (SwiGLU).
    ``rope_base``: of the rotary embedding; None: positions have a table. ``causal``: a token sees no later one; False
    for a vision transformer, whose layers are otherwise a decoder's. ``normed_heads``: an RMSNorm of each head's Q and
    K before the rotary embedding (Qwen3).
    """

    kv_heads: int
    head_dim: int
    norm: Literal["layernorm", "rmsnorm"]
    activation: str
    gated: bool
    rope_base: float | None = None
    causal: bool = True
    normed_heads: bool = False


KEYS = {
    "gpt2": {
        "layers": "n_layer",
        "hidden": "n_embd",
        "heads": "n_head",
        "vocabulary": "vocab_size",
        "positions": "n_positions",
    },
    "llama": {
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
}
KEYS |= {
    "gpt_neo": {
        "layers": "num_layers",
        "hidden": "hidden_size",
        "heads": "num_heads",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
    **dict.fromkeys(("mistral", "qwen2", "qwen3", "gemma"), KEYS["llama"]),
}
"""Model type -> our name of a size -> its key in config.json."""

GPT2 = ("gpt2", "gpt_neo")
"""Model types with GPT-2's layers; all others have LLaMA's."""

HEAD_DIMS = {"qwen3": 128, "gemma": 256}
"""Model type -> elements of a head that config.json does not give (transformers' own defaults)."""

INNER = {"gpt2": "n_inner", "gpt_neo": "intermediate_size"}
"""Model type -> key of the feed-forward size, null for four times the hidden size."""


def read(config: Mapping[str, Any], kind: str, sizes: dict[str, int], where: object) -> Decoder:
    """Return the decoder that config.json describes; adds the feed-forward size of GPT-2 to ``sizes``.

    Raises InputError listing everything that is not supported.
    """
    problems: list[str] = []
    name = _activation(config, kind)
    if name not in ACTIVATIONS:
        problems.append(f"{where}: config.json: activation {name!r} is none of {', '.join(ACTIVATIONS)}")
    problems += _attention_problems(config, kind, sizes, where)
    if kind in GPT2:
        inner = config.get(INNER[kind])
        sizes["ffn"] = 4 * sizes["hidden"] if inner is None else inner
        if not isinstance(sizes["ffn"], int) or isinstance(inner, bool) or sizes["ffn"] < 1:
            rule = f"{INNER[kind]} is {inner!r}, must be a whole number >= 1, or null"
            problems.append(f"{where}: config.json: {rule}")
        kv, size, base = sizes["heads"], sizes["hidden"] // sizes["heads"], None
        if config.get("scale_attn_by_inverse_layer_idx"):
            problems.append(f"{where}: config.json: scale_attn_by_inverse_layer_idx is not run (nearest: false)")
    else:
        kv = config.get("num_key_value_heads", sizes["heads"])
        size = config.get("head_dim") or HEAD_DIMS.get(kind, sizes["hidden"] // sizes["heads"])
        rope = config.get("rope_parameters") or {}
        base = config.get("rope_theta", rope.get("rope_theta", 10000.0) if isinstance(rope, dict) else 10000.0)
        scaling = config.get("rope_scaling") or (rope if isinstance(rope, dict) else {})
        if isinstance(scaling, dict) and scaling.get("rope_type", scaling.get("type", "default")) != "default":
            problems.append(f"{where}: config.json: rope_scaling is not run; only plain rotary embeddings")
        if not isinstance(base, int | float) or isinstance(base, bool) or base <= 0:
            problems.append(f"{where}: config.json: rope_theta is {base!r}, must be a number > 0, e.g. 10000.0")
        if not isinstance(kv, int) or isinstance(kv, bool) or kv < 1 or sizes["heads"] % kv:
            problems.append(f"{where}: config.json: num_key_value_heads is {kv!r}, must divide {sizes['heads']} heads")
        if not isinstance(size, int) or isinstance(size, bool) or size < 2 or size % 2:
            problems.append(f"{where}: config.json: head_dim is {size!r}, must be an even number >= 2")
    if problems:
        raise InputError(problems)
    norm: Literal["layernorm", "rmsnorm"] = "layernorm" if kind in GPT2 else "rmsnorm"
    return Decoder(kv, size, norm, ACTIVATIONS[name], kind not in GPT2, base, normed_heads=kind == "qwen3")


def _activation(config: Mapping[str, Any], kind: str) -> str:
    """Return the name of the feed-forward layer's activation; Gemma's "gelu" has always been its tanh form."""
    if kind in GPT2:
        return str(config.get("activation_function", "gelu_new"))
    if kind == "gemma":
        name = str(config.get("hidden_activation") or config.get("hidden_act", "gelu"))
        return "gelu_pytorch_tanh" if name == "gelu" else name
    return str(config.get("hidden_act", "silu"))


def _attention_problems(config: Mapping[str, Any], kind: str, sizes: dict[str, int], where: object) -> list[str]:
    """Return the unsupported attention settings of a config.json; a sliding window limits the positions instead."""
    problems = []
    if kind == "gpt2":
        for key, legal in (("scale_attn_weights", True), ("add_cross_attention", False)):
            if config.get(key, legal) is not legal:
                problems.append(f"{where}: config.json: {key} is {config[key]!r}, only {legal} is run")
        return problems
    if kind == "gpt_neo":  # every layer of it, or every other one, sees a window of tokens
        local = "local" in str(config.get("attention_types", config.get("attention_layers", "local")))
        return _windowed(config.get("window_size", 256) if local else None, sizes, "window_size", where)
    rope = config.get("rope_parameters")
    places = (config, rope if isinstance(rope, dict) else {})
    part = next((place["partial_rotary_factor"] for place in places if "partial_rotary_factor" in place), 1)
    if part != 1:
        problems.append(f"{where}: config.json: partial_rotary_factor is {part!r}, only 1 is run")
    used = config.get("use_sliding_window", kind == "mistral")
    return problems + _windowed(config.get("sliding_window") if used else None, sizes, "sliding_window", where)


def _windowed(window: Any, sizes: dict[str, int], key: str, where: object) -> list[str]:
    """Limit the positions to a window of tokens, within which every token sees all earlier ones."""
    if window is None:
        return []
    if not isinstance(window, int) or isinstance(window, bool) or window < 1:
        return [f"{where}: config.json: {key} is {window!r}, must be a whole number >= 1, or null"]
    sizes["positions"] = min(sizes["positions"], window)
    return []


def prepared(raw: dict[str, Array], kind: str, sizes: Mapping[str, int], decoder: Decoder) -> dict[str, Array]:
    """Return the tensors of a file with GPT-2's joint projection cut in three, zero biases and a tied head added."""
    found = {name.removeprefix("transformer.").removeprefix("model."): values for name, values in raw.items()}
    hidden = sizes["hidden"]
    if kind == "gpt_neo":
        found = as_gpt2(found, sizes["layers"], sizes["positions"], decoder.head_dim)
    for layer in range(sizes["layers"]):
        if kind in GPT2:
            for part, axis in (("weight", 1), ("bias", 0)):
                joint = found.pop(f"h.{layer}.attn.c_attn.{part}", None)
                if joint is not None and joint.shape[-1] == 3 * hidden:
                    for letter, values in zip("qkv", np.split(joint, 3, axis=axis), strict=True):
                        found[f"h.{layer}.attn.{letter}.{part}"] = values
            found.pop(f"h.{layer}.attn.bias", None)  # the causal mask
            found.pop(f"h.{layer}.attn.masked_bias", None)
            continue
        at = f"layers.{layer}."
        widths = {"self_attn.q_proj": sizes["heads"] * decoder.head_dim, "self_attn.o_proj": hidden}
        widths |= dict.fromkeys(("self_attn.k_proj", "self_attn.v_proj"), decoder.kv_heads * decoder.head_dim)
        widths |= {"mlp.gate_proj": sizes["ffn"], "mlp.up_proj": sizes["ffn"], "mlp.down_proj": hidden}
        for module, width in widths.items():
            found.setdefault(f"{at}{module}.bias", np.zeros(width, np.float32))
    table = found.get("wte.weight" if kind in GPT2 else "embed_tokens.weight")
    if table is not None:
        found.setdefault("lm_head.weight", table)
        found.setdefault("lm_head.bias", np.zeros(len(table), np.float32))
    return folded_gemma(found, hidden) if kind == "gemma" else found


def wanted(kind: str, sizes: Mapping[str, int], decoder: Decoder) -> Wanted:
    """Our name -> (name in the prepared file, shape there, transposed)."""
    hidden, ffn, rows = sizes["hidden"], sizes["ffn"], sizes["vocabulary"]
    gpt2 = kind in GPT2
    found: Wanted = {"word": ("wte.weight" if gpt2 else "embed_tokens.weight", (rows, hidden), False)}
    if gpt2:
        found["position"] = ("wpe.weight", (sizes["positions"], hidden), False)
    own, kv = sizes["heads"] * decoder.head_dim, decoder.kv_heads * decoder.head_dim
    matrices = {
        "matmul_Q": ("attn.q", "self_attn.q_proj", hidden, own),
        "matmul_K": ("attn.k", "self_attn.k_proj", hidden, kv),
        "matmul_V": ("attn.v", "self_attn.v_proj", hidden, kv),
        "W_out": ("attn.c_proj", "self_attn.o_proj", own, hidden),
        "FF1": ("mlp.c_fc", "mlp.up_proj", hidden, ffn),
        "FF2": ("mlp.c_proj", "mlp.down_proj", ffn, hidden),
        **({"FF_gate": ("", "mlp.gate_proj", hidden, ffn)} if decoder.gated else {}),
    }
    norms = {"layernorm1": ("ln_1", "input_layernorm"), "layernorm2": ("ln_2", "post_attention_layernorm")}
    parts = ("weight", "bias") if gpt2 else ("weight",)
    for layer in range(sizes["layers"]):
        at, source = f"L{layer}.", f"h.{layer}." if gpt2 else f"layers.{layer}."
        for name, (first, second, inner, cols) in matrices.items():
            module = source + (first if gpt2 else second)
            # GPT-2 stores [in, out]
            shape = (inner, cols) if gpt2 else (cols, inner)
            found[f"{at}{name}.weight"] = (f"{module}.weight", shape, not gpt2)
            found[f"{at}{name}.bias"] = (f"{module}.bias", (cols,), False)
        for letter in "QK" if decoder.normed_heads else "":
            norm = f"{source}self_attn.{letter.lower()}_norm.weight"
            found[f"{at}norm_{letter}.weight"] = (norm, (decoder.head_dim,), False)
        for name, pair in norms.items():
            for part in parts:
                found[f"{at}{name}.{part}"] = (f"{source}{pair[0 if gpt2 else 1]}.{part}", (hidden,), False)
    for part in parts:
        found[f"final_norm.{part}"] = (f"{'ln_f' if gpt2 else 'norm'}.{part}", (hidden,), False)
    found[f"{LM_HEAD}.weight"] = ("lm_head.weight", (rows, hidden), True)
    found[f"{LM_HEAD}.bias"] = ("lm_head.bias", (rows,), False)
    return found
