"""Trained vision transformers in the Hugging Face layout: ViT, DeiT and DINOv2.

An image is cut into patches, each one row of a product; the class token precedes them (in DeiT followed by a second
one, for distillation). Rows of these tokens are zero in the patches: `TABLE`, which is added to the product, holds
their values, the positions, and the product's bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from workloads.checkpoint.decoder import ACTIVATIONS, Decoder

Array = npt.NDArray[Any]
Wanted = dict[str, tuple[str, tuple[int, ...], bool]]

PATCHES = "patch_embedding"
"""Our name of the product of an image's patches."""

TABLE = f"{PATCHES}.bias"
"""Tensor that is added to it, [tokens, hidden]."""

KEYS = {
    "vit": {
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
    },
}
KEYS["deit"] = KEYS["vit"]
KEYS["dinov2"] = {name: key for name, key in KEYS["vit"].items() if name != "ffn"}
"""Model type -> our name of a size -> its key in config.json; DINOv2 gives a ratio for the feed-forward layer."""

_VIT = {
    "matmul_Q": "attention.attention.query",
    "matmul_K": "attention.attention.key",
    "matmul_V": "attention.attention.value",
    "W_out": "attention.output.dense",
    "FF1": "intermediate.dense",
    "FF2": "output.dense",
    "layernorm1": "layernorm_before",
    "layernorm2": "layernorm_after",
}
MODULES = {
    "vit": _VIT,
    "deit": _VIT,
    "dinov2": {**_VIT, "FF1": "mlp.fc1", "FF2": "mlp.fc2", "layernorm1": "norm1", "layernorm2": "norm2"},
}
"""Model type -> our operator -> its module in a layer."""

LAYER_SCALES = {"W_out": "layer_scale1.lambda1", "FF2": "layer_scale2.lambda1"}
"""Operator -> factors of its columns, in DINOv2; they are folded into its weights."""

TOKENS = {"vit": ("cls_token",), "deit": ("cls_token", "distillation_token"), "dinov2": ("cls_token",)}
"""Model type -> tokens before the patches."""

BUFFERS = {"embeddings.mask_token"}
"""Tensors used only in training."""


@dataclass(frozen=True)
class Vision:
    """The images of a model. ``height``, ``width``, ``patch`` in pixels; ``first``: tokens before the patches."""

    height: int
    width: int
    channels: int
    patch: int
    first: int

    @property
    def tokens(self) -> int:
        """Rows of the embedded image."""
        return self.first + (self.height // self.patch) * (self.width // self.patch)

    @property
    def elements(self) -> int:
        """Values of a patch."""
        return self.channels * self.patch**2


def read(config: Mapping[str, Any], kind: str, sizes: dict[str, int], where: object) -> tuple[Decoder, Vision]:
    """Return the layers and the images that config.json describes; adds its feed-forward size to ``sizes``.

    Raises InputError listing everything that is not supported.
    """
    problems: list[str] = []
    if kind == "dinov2":
        ratio = config.get("mlp_ratio", 4)
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or ratio * sizes["hidden"] < 1:
            problems.append(f"{where}: config.json: mlp_ratio is {ratio!r}, must be a number > 0, e.g. 4")
        else:
            sizes["ffn"] = int(sizes["hidden"] * ratio)
        if config.get("use_swiglu_ffn"):
            problems.append(f"{where}: config.json: use_swiglu_ffn is not run (nearest: false)")
    name = str(config.get("hidden_act", "gelu"))
    if name not in ACTIVATIONS:
        problems.append(f"{where}: config.json: activation {name!r} is none of {', '.join(ACTIVATIONS)}")
    height, width = _pair(config, "image_size", 224, where, problems)
    patch, other = _pair(config, "patch_size", 14 if kind == "dinov2" else 16, where, problems)
    channels = config.get("num_channels", 3)
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        problems.append(f"{where}: config.json: num_channels is {channels!r}, must be a whole number >= 1, e.g. 3")
    if not problems and (patch != other or height % patch or width % patch):
        problems.append(
            f"{where}: config.json: {height} x {width} pixels do not split into patches of {patch} x {other} "
            "(nearest: square patches that divide both)"
        )
    if problems:
        raise InputError(problems)
    layers = Decoder(
        sizes["heads"], sizes["hidden"] // sizes["heads"], "layernorm", ACTIVATIONS[name], gated=False, causal=False
    )
    return layers, Vision(height, width, channels, patch, len(TOKENS[kind]))


def _pair(config: Mapping[str, Any], key: str, default: int, where: object, problems: list[str]) -> tuple[int, int]:
    """Return height and width of a size given as one number or two."""
    found = config.get(key, default)
    pair = found if isinstance(found, list) and len(found) == 2 else [found, found]
    if any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in pair):
        problems.append(f"{where}: config.json: {key} is {found!r}, must be a whole number >= 1, e.g. {default}")
        return 1, 1
    return pair[0], pair[1]


def prepared(
    raw: Mapping[str, Array], kind: str, sizes: Mapping[str, int], vision: Vision, where: object
) -> dict[str, Array]:
    """Return the tensors of a file with `TABLE` built, and layer scales folded in.

    Raises InputError for a missing part of the embeddings, or one of a wrong shape.
    """
    found, hidden = dict(raw), sizes["hidden"]
    shapes: dict[str, tuple[int, ...]] = {f"embeddings.{name}": (1, 1, hidden) for name in TOKENS[kind]}
    shapes["embeddings.position_embeddings"] = (1, vision.tokens, hidden)
    kernel = "embeddings.patch_embeddings.projection.weight"
    shapes |= {kernel: (hidden, vision.channels, vision.patch, vision.patch)}
    shapes |= {"embeddings.patch_embeddings.projection.bias": (hidden,)}
    problems = []
    for name, shape in shapes.items():
        if name not in found:
            problems.append(f"{where}: tensor {name!r} is missing")
        elif found[name].shape != shape:
            problems.append(f"{where}: tensor {name!r} has shape {found[name].shape}; config.json requires {shape}")
    if problems:
        raise InputError(problems)
    parts = {name: found.pop(name).astype(np.float32) for name in shapes}
    tokens = [parts[f"embeddings.{name}"].reshape(1, hidden) for name in TOKENS[kind]]
    bias = parts["embeddings.patch_embeddings.projection.bias"]
    rows = np.concatenate([*tokens, np.tile(bias, (vision.tokens - vision.first, 1))])
    found[TABLE] = rows + parts["embeddings.position_embeddings"][0]
    found[f"{PATCHES}.weight"] = parts[kernel].reshape(hidden, -1)
    for layer in range(sizes["layers"]):
        for operator, factors in LAYER_SCALES.items():
            _scale_columns(found, f"encoder.layer.{layer}.", MODULES[kind][operator], factors)
        for module in ("query", "key", "value"):  # without a bias where qkv_bias is false
            found.setdefault(f"encoder.layer.{layer}.attention.attention.{module}.bias", np.zeros(hidden, np.float32))
    return found


def _scale_columns(found: dict[str, Array], at: str, module: str, factors: str) -> None:
    """Fold factors of the columns of a product into its weights [out, in] and bias, where a file has them."""
    scale = found.pop(f"{at}{factors}", None)
    weight, bias = f"{at}{module}.weight", f"{at}{module}.bias"
    if scale is None or weight not in found or bias not in found or len(found[weight]) != scale.size:
        return
    found[weight] = found[weight].astype(np.float32) * scale.astype(np.float32).reshape(-1, 1)
    found[bias] = found[bias].astype(np.float32) * scale.astype(np.float32).reshape(-1)


def wanted(kind: str, sizes: Mapping[str, int], vision: Vision) -> Wanted:
    """Our name -> (name in the prepared file, shape there, transposed)."""
    hidden, ffn = sizes["hidden"], sizes["ffn"]
    found: Wanted = {
        f"{PATCHES}.weight": (f"{PATCHES}.weight", (hidden, vision.elements), True),
        TABLE: (TABLE, (vision.tokens, hidden), False),
    }
    for layer in range(sizes["layers"]):
        for name, module in MODULES[kind].items():
            at, source = f"L{layer}.{name}", f"encoder.layer.{layer}.{module}"
            rows, cols = (ffn, hidden) if name == "FF1" else (hidden, ffn) if name == "FF2" else (hidden, hidden)
            norm = name.startswith("layernorm")
            found[f"{at}.weight"] = (f"{source}.weight", (hidden,) if norm else (rows, cols), not norm)
            found[f"{at}.bias"] = (f"{source}.bias", (rows,), False)
    for part in ("weight", "bias"):
        found[f"final_norm.{part}"] = (f"layernorm.{part}", (hidden,), False)
    return found


def patches(vision: Vision, image: Array) -> Array:
    """Return the rows of the first product, float32[tokens, channels * patch * patch], of image [channels, rows, cols].

    Rows of the tokens before the patches are zero.
    """
    size, (rows, cols) = vision.patch, (vision.height // vision.patch, vision.width // vision.patch)
    cut = image.reshape(vision.channels, rows, size, cols, size).transpose(1, 3, 0, 2, 4).reshape(rows * cols, -1)
    return np.concatenate([np.zeros((vision.first, cut.shape[1]), np.float32), cut.astype(np.float32)])
