"""Vision transformers (Dosovitskiy et al. 2020, Touvron et al. 2021): patches, a class token, pre-norm encoder layers.

DINOv2 (Oquab et al. 2023) gives all rows behind the last norm; its factors of each branch's columns are part of the
weights of the product in front of them. CLIP and SigLIP (`workloads.networks.clip`) have towers of the same layers.

The patches of an image are an input as rows, one a patch: cutting them out needs no operator, and their embedding is a
product, not a convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, states_sizes
from workloads.networks.builder import Network

CHANNELS = 3


@dataclass(frozen=True)
class VisionSizes:
    """Published sizes of one model (elements; ``patch`` and ``image``: pixels a side; ``ffn`` 0: 4 * hidden).

    ``classes`` 0: no head. ``tokens``: learned rows in front of the patches, one of the class or none; ``registers``:
    learned rows without a position in front of them.
    ``activation``: "silu" stands for CLIP's x * sigmoid(1.702 x), which is SiLU but for scales. ``first_norm``: in
    front of the layers. ``patch_bias``: of the product that embeds patches.
    """

    layers: int
    hidden: int
    heads: int
    patch: int = 16
    image: int = 224
    classes: int = 1000
    ffn: int = 0
    tokens: int = 1
    registers: int = 0
    activation: Literal["gelu", "silu"] = "gelu"
    first_norm: bool = False
    patch_bias: bool = True


# Oquab et al. 2023.
DINO = partial(VisionSizes, patch=14, image=518, classes=0)
VISION: dict[str, VisionSizes] = {
    "vit-tiny": VisionSizes(12, 192, 3),
    "vit-small": VisionSizes(12, 384, 6),
    "vit-base": VisionSizes(12, 768, 12),
    "vit-large": VisionSizes(24, 1024, 16),
    "vit-huge": VisionSizes(32, 1280, 16, patch=14),
    "deit-tiny": VisionSizes(12, 192, 3),
    "deit-small": VisionSizes(12, 384, 6),
    "deit-base": VisionSizes(12, 768, 12),
    "dinov2-small": DINO(12, 384, 6),
    "dinov2-base": DINO(12, 768, 12),
    "dinov2-large": DINO(24, 1024, 16),
}


def vision(name: str, sizes: VisionSizes) -> Callable[..., Graph]:
    """Return the builder of one vision transformer."""

    @states_sizes
    def build(
        phase: str = "encode",
        batch: int = 1,
        image: int = sizes.image,
        layers: int | None = None,
        dtype: str = "int8",
    ) -> Graph:
        return _build(name, sizes, phase, batch, image, sizes.layers if layers is None else layers, dtype)

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = (
        f"Return {name} for ``batch`` images of ``image`` pixels a side. Raises InputError for illegal sizes.\n\n"
        "``layers`` cuts the stack, ``dtype``: element type."
    )
    return build


def _build(name: str, sizes: VisionSizes, phase: str, batch: int, image: int, layers: int, dtype: str) -> Graph:
    if phase != "encode":
        raise InputError(f"{name}: phase is {phase!r}, can be encode")
    check_sizes(name, {"batch": batch, "layers": layers}, dtype)
    check_image(name, sizes, image, dtype)
    net = Network(name, dtype)
    x = net.norm(tower(net, sizes, image, batch, layers), name="last_norm")
    if sizes.classes:
        net.linear(first_rows(x, batch), sizes.classes, name="head", wide=True)
    return net.graph()


def check_image(name: str, sizes: VisionSizes, image: int, dtype: str) -> None:
    """Raise InputError for an image that is not made of whole patches."""
    check_sizes(name, {"image": image}, dtype)
    if image % sizes.patch:
        nearest = max(1, round(image / sizes.patch)) * sizes.patch
        raise InputError(
            f"{name}: image {image} is not a multiple of its patches of {sizes.patch} (nearest: {nearest})"
        )


def first_rows(x: Tensor, batch: int) -> View:
    """Return the first row of each image."""
    rows, hidden = x.shape[0] // batch, x.shape[1]
    return View(x.name, 1, batch, hidden, rows * hidden, 0)


def tower(net: Network, sizes: VisionSizes, image: int, batch: int, layers: int) -> Tensor:
    """Add embedding and layers for ``batch`` images of ``image`` pixels a side; return the last layer's rows."""
    x = _embedded(net, sizes, (image // sizes.patch) ** 2, batch)
    if sizes.first_norm:
        x = net.norm(x, name="first_norm")
    for index in range(layers):
        with net.layer_of(index):
            x = encoder_layer(net, x, sizes.heads, sizes.ffn or 4 * sizes.hidden, batch, sizes.activation)
    return x


def _embedded(net: Network, sizes: VisionSizes, patches: int, batch: int) -> Tensor:
    """Embed the patches of each image behind the class token and registers, and add their positions."""
    pixels, hidden, rows = CHANNELS * sizes.patch**2, sizes.hidden, patches + sizes.tokens
    given = net.input("patches", batch * patches, pixels)
    joined = net.tensor("tokens", (batch * rows, hidden))
    whole, front = rows * hidden, sizes.tokens
    if front:
        token = net.tensor("class_token", (front, hidden), kind="weight")
        net.op("class", "copy", [View(token.name, batch, front, hidden, hidden, 0)],
               View(joined.name, batch, front, hidden, hidden, whole), None)  # fmt: skip
    behind = View(joined.name, batch, patches, hidden, hidden, whole, front * hidden)
    taken = View(given.name, batch, patches, pixels, pixels, patches * pixels)
    net.linear(taken, hidden, name="patch_embedding", into=behind, bias=sizes.patch_bias)
    table, free = net.tensor(net.name_of("position_table"), (rows, hidden), kind="weight"), sizes.registers
    placed = net.tensor("placed", (batch * (free + rows), hidden))
    every = View(joined.name, batch, rows, hidden, hidden, whole)
    out = View(placed.name, batch, rows, hidden, hidden, whole + free * hidden, free * hidden)
    if free:
        registers = net.tensor("registers", (free, hidden), kind="weight")
        put = View(placed.name, batch, free, hidden, hidden, whole + free * hidden)
        net.apply("copy", "place_registers", [View(registers.name, batch, free, hidden, hidden, 0)], put)
    views = [every, View(table.name, batch, rows, hidden, hidden, 0)]
    net.apply("residual_add", net.name_of("add_position"), views, out)
    return placed


def encoder_layer(net: Network, x: Tensor, heads: int, ffn: int, batch: int, activation: str = "gelu") -> Tensor:
    """Add a pre-norm encoder layer with an activation and biases; return its output."""
    hidden = x.shape[-1]
    source = net.norm(x, name="norm1")
    q, k, v = (net.linear(source, hidden, name=f"matmul_{part}") for part in "QKV")
    context = net.attention(q, k, v, heads=heads, batch=batch)
    x = net.add(x, net.linear(context, hidden, name="W_out"), name="residual_add1")
    wide = net.linear(net.norm(x, name="norm2"), ffn, name="FF1")
    fed = net.linear(net.each(activation, wide, name=activation), hidden, name="FF2")
    return net.add(x, fed, name="residual_add2")
