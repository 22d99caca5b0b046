"""Model types that are refused by name, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.base.errors import did_you_mean

STATE_SPACE = "a recurrence over tokens instead of attention (a state space, or gates) is not modelled"
CONVOLUTIONAL = "it has no attention; its ONNX file runs (docs/ONNX.md)"

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("mamba", "mamba2", "falcon_mamba", "rwkv", "rwkv5", "rwkv6", "retnet", "xlstm", "hyena", "jamba", "bamba",
         "zamba", "zamba2", "recurrent_gemma", "falcon_h1", "granitemoehybrid", "nemotron_h", "qwen3_next", "lfm2",
         "minimax"),
        STATE_SPACE,
    ),
    **dict.fromkeys(
        ("convnext", "convnextv2", "resnet", "regnet", "efficientnet", "mobilenet_v1", "mobilenet_v2", "bit"),
        CONVOLUTIONAL,
    ),
}  # fmt: skip
"""Model type -> reason of the refusal."""


def unknown_type(content: Mapping[str, Any], known: Mapping[str, object]) -> str:
    """Return the message on a model_type that is not among the ``known``, with the nearest legal input."""
    kind = content["model_type"]
    reason = REFUSED.get(kind) if isinstance(kind, str) else None
    if reason:
        return f"model_type is {kind!r}: {reason}"
    parts = {
        key: part["model_type"]
        for key, part in content.items()
        if isinstance(part, Mapping) and isinstance(part.get("model_type"), str) and part["model_type"] in known
    }
    if parts:
        said = ", ".join(f"{key} ({part})" for key, part in parts.items())
        return f"model_type is {kind!r}, which joins several networks: save {said} as a config.json of its own"
    return f"model_type is {kind!r}{did_you_mean(str(kind), known)}"
