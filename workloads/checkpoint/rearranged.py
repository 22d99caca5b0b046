"""Tensors of decoders that differ from GPT-2's or LLaMA's in their form only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]


def as_gpt2(tensors: Tensors, layers: int, positions: int, head_dim: int) -> Tensors:
    """Return GPT-Neo's tensors as GPT-2's: matrices [in, out], zero biases, and the ``positions`` of a local window.

    GPT-Neo does not divide scores by sqrt(head_dim): its queries are multiplied by it. Causal masks are left out.
    """
    found = dict(tensors)
    if "wpe.weight" in found:
        found["wpe.weight"] = found["wpe.weight"][:positions]
    for layer in range(layers):
        at = f"h.{layer}."
        for name in ("bias", "masked_bias"):
            found.pop(f"{at}attn.attention.{name}", None)
        modules = {f"attn.attention.{letter}_proj": f"attn.{letter}" for letter in "qkv"}
        modules |= {"attn.attention.out_proj": "attn.c_proj", "mlp.c_fc": "mlp.c_fc", "mlp.c_proj": "mlp.c_proj"}
        for source, name in modules.items():
            weight, bias = (found.pop(f"{at}{source}.{part}", None) for part in ("weight", "bias"))
            if weight is None:
                continue
            times = np.float32(math.sqrt(head_dim) if name == "attn.q" else 1)
            found[f"{at}{name}.weight"] = weight.T * times
            found[f"{at}{name}.bias"] = np.zeros(len(weight), np.float32) if bias is None else bias * times
    return found


def folded_gemma(tensors: Tensors, hidden: int) -> Tensors:
    """Return Gemma's tensors as LLaMA's: gains are stored less 1, embeddings are multiplied by sqrt(hidden)."""
    found = {name: 1 + values if name.endswith("norm.weight") else values for name, values in tensors.items()}
    if (table := found.get("embed_tokens.weight")) is not None:
        found["embed_tokens.weight"] = table * np.float32(math.sqrt(hidden))
    return found
