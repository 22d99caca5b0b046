"""Configurations of networks of images: vision transformers, and pairs of an image and a text tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.base.errors import InputError
from workloads.networks.clip import Pair, clip, text_tower
from workloads.networks.encoders import encoded_model
from workloads.networks.hugging_face.form import ACTIVATIONS, Builder, Fixed, ModelType, Sizes
from workloads.networks.vision import VisionSizes, vision

VIT: dict[str, int | None] = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "intermediate_size": None,
    "patch_size": None, "image_size": None, "num_labels": 2,
}  # fmt: skip
VIT_FIXED: Fixed = {"qkv_bias": (True,), "num_channels": (3,), "hidden_act": ("gelu", "gelu_pytorch_tanh")}
TOWERS: dict[str, dict[str, int | None]] = {
    "vision_config": {
        "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072,
        "patch_size": 32, "image_size": 224,
    },
    "text_config": {
        "num_hidden_layers": 12, "hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048,
        "vocab_size": 49408, "max_position_embeddings": 77,
    },
}  # fmt: skip
"""Keys of CLIP's towers, and what a file means that leaves one out."""

SIGLIP: dict[str, dict[str, int | None]] = {
    "vision_config": {**TOWERS["vision_config"], "patch_size": 16},
    "text_config": {
        **TOWERS["text_config"], "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072,
        "vocab_size": 32000, "max_position_embeddings": 64,
    },
}  # fmt: skip
MAX_SIZE = 1 << 24


def _vit(name: str, s: Sizes) -> Builder:
    labels = s.get("id2label") or {}
    sizes = VisionSizes(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], patch=s["patch_size"],
        image=s["image_size"], classes=len(labels) or s["num_labels"], ffn=s["intermediate_size"],
    )  # fmt: skip
    return vision(name, sizes)


def _dinov2(name: str, s: Sizes) -> Builder:
    """All rows behind the last norm, registers among them."""
    sizes = VisionSizes(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], patch=s["patch_size"],
        image=s["image_size"], classes=0, ffn=s["mlp_ratio"] * s["hidden_size"], registers=s["num_register_tokens"],
    )  # fmt: skip
    return vision(name, sizes)


def _tower(s: Sizes, known: Mapping[str, int | None], where: str) -> dict[str, Any]:
    """Return the sizes of one tower. Raises InputError listing all that are wrong."""
    given = s.get(where) or {}
    if not isinstance(given, Mapping):
        raise InputError(f"{where} is {given!r}, must be an object")
    sizes: dict[str, Any] = {key: default if given.get(key) is None else given[key] for key, default in known.items()}
    problems = [
        f"{where}.{key} is {value!r}, must be a whole number from 1 to {MAX_SIZE}"
        for key, value in sizes.items()
        if type(value) is not int or not 1 <= value <= MAX_SIZE
    ]
    act = given.get("hidden_act", "quick_gelu")
    if act not in ("quick_gelu", *ACTIVATIONS) or ACTIVATIONS.get(act, "silu") not in ("silu", "gelu", "gelu_tanh"):
        problems.append(f"{where}.hidden_act is {act!r}, can be quick_gelu, gelu, gelu_pytorch_tanh")
    if not problems and sizes["hidden_size"] % sizes["num_attention_heads"]:
        problems.append(f"{where}: hidden_size is no multiple of num_attention_heads")
    if problems:
        raise InputError(problems)
    return {**sizes, "act": "silu" if act == "quick_gelu" else ACTIVATIONS[act].removesuffix("_tanh")}


def _image(sizes: Mapping[str, Any], *, siglip: bool) -> VisionSizes:
    return VisionSizes(
        sizes["num_hidden_layers"], sizes["hidden_size"], sizes["num_attention_heads"], sizes["patch_size"],
        sizes["image_size"], 0, sizes["intermediate_size"], tokens=0 if siglip else 1, activation=sizes["act"],
        first_norm=not siglip, patch_bias=siglip,
    )  # fmt: skip


def _pair(name: str, s: Sizes) -> Builder:
    siglip = s["model_type"] == "siglip"
    known = SIGLIP if siglip else TOWERS
    default = {"hidden_act": "gelu_pytorch_tanh"} if siglip else {}
    given = {where: {**default, **(s.get(where) or {})} if isinstance(s.get(where), Mapping | None) else s[where]
             for where in known}  # fmt: skip
    eye, text = (_tower(given, known[where], where) for where in ("vision_config", "text_config"))
    words = text_tower(
        text["num_hidden_layers"], text["hidden_size"], text["num_attention_heads"], text["intermediate_size"],
        vocab=text["vocab_size"], positions=text["max_position_embeddings"], activation=text["act"],
    )  # fmt: skip
    columns = eye["hidden_size"] if siglip else s["projection_dim"]
    return clip(name, Pair(_image(eye, siglip=siglip), words, columns, siglip=siglip))


def _text(name: str, s: Sizes) -> Builder:
    """CLIP's text tower alone, without its projection."""
    text = _tower({"text_config": s}, TOWERS["text_config"], "text_config")
    words = text_tower(
        text["num_hidden_layers"], text["hidden_size"], text["num_attention_heads"], text["intermediate_size"],
        vocab=text["vocab_size"], positions=text["max_position_embeddings"], activation=text["act"],
    )  # fmt: skip
    return encoded_model(name, words, causal=True)


PICTURES: dict[str, ModelType] = {
    "vit": ModelType(VIT, _vit, VIT_FIXED),
    "deit": ModelType(VIT, _vit, VIT_FIXED),
    "vit_msn": ModelType(VIT, _vit, VIT_FIXED),
    "dinov2": ModelType(
        {**{key: default for key, default in VIT.items() if key != "intermediate_size"}, "mlp_ratio": 4,
         "num_register_tokens": 0},
        _dinov2, {**VIT_FIXED, "use_swiglu_ffn": (False,)},
    ),
    "dinov2_with_registers": ModelType(
        {**{key: default for key, default in VIT.items() if key != "intermediate_size"}, "mlp_ratio": 4,
         "num_register_tokens": 4},
        _dinov2, {**VIT_FIXED, "use_swiglu_ffn": (False,)},
    ),
    "clip": ModelType({"projection_dim": 512}, _pair),
    "siglip": ModelType({}, _pair),
    "clip_text_model": ModelType({}, _text),
}  # fmt: skip
"""Model types of images."""
