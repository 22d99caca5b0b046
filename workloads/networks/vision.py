"""Vision transformers (Dosovitskiy et al. 2020, Touvron et al. 2021): patches, a class token, pre-norm encoder layers.

The patches of an image are an input as rows, one a patch: cutting them out is a matter of addresses, and their
embedding is a product, not a convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, states_sizes
from workloads.networks.builder import Network

CHANNELS = 3


@dataclass(frozen=True)
class Vision:
    """Published sizes of one model (elements; ``patch`` and ``image``: pixels a side; ``ffn`` 0: 4 * hidden)."""

    layers: int
    hidden: int
    heads: int
    patch: int = 16
    image: int = 224
    classes: int = 1000
    ffn: int = 0


VISION: dict[str, Vision] = {
    "vit-tiny": Vision(12, 192, 3),
    "vit-small": Vision(12, 384, 6),
    "vit-base": Vision(12, 768, 12),
    "vit-large": Vision(24, 1024, 16),
    "vit-huge": Vision(32, 1280, 16, patch=14),
    "deit-tiny": Vision(12, 192, 3),
    "deit-small": Vision(12, 384, 6),
    "deit-base": Vision(12, 768, 12),
}


def vision(name: str, sizes: Vision) -> Callable[..., Graph]:
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


def _build(name: str, sizes: Vision, phase: str, batch: int, image: int, layers: int, dtype: str) -> Graph:
    if phase != "encode":
        raise InputError(f"{name}: phase is {phase!r}, can be encode")
    check_sizes(name, {"batch": batch, "image": image, "layers": layers}, dtype)
    if image % sizes.patch:
        nearest = max(1, round(image / sizes.patch)) * sizes.patch
        raise InputError(f"{name}: image {image} is no multiple of its patches of {sizes.patch} (nearest: {nearest})")
    net = Network(name, dtype)
    patches = (image // sizes.patch) ** 2
    x = _embedded(net, sizes, patches, batch)
    for index in range(layers):
        with net.layer_of(index):
            x = encoder_layer(net, x, sizes.heads, sizes.ffn or 4 * sizes.hidden, batch)
    x = net.norm(x, name="last_norm")
    first = View(x.name, 1, batch, sizes.hidden, (patches + 1) * sizes.hidden, 0)
    net.linear(first, sizes.classes, name="head", wide=True)
    return net.graph()


def _embedded(net: Network, sizes: Vision, patches: int, batch: int) -> Tensor:
    """Embed the patches behind the class token of each image, and add their positions."""
    pixels, hidden, rows = CHANNELS * sizes.patch**2, sizes.hidden, patches + 1
    given = net.input("patches", batch * patches, pixels)
    token = net.tensor("class_token", (1, hidden), kind="weight")
    joined = net.tensor("tokens", (batch * rows, hidden))
    whole = rows * hidden
    net.op("class", "copy", [View(token.name, batch, 1, hidden, hidden, 0)],
           View(joined.name, batch, 1, hidden, hidden, whole), None)  # fmt: skip
    behind = View(joined.name, batch, patches, hidden, hidden, whole, hidden)
    taken = View(given.name, batch, patches, pixels, pixels, patches * pixels)
    net.linear(taken, hidden, name="patch_embedding", into=behind)
    table = net.tensor("position_table", (rows, hidden), kind="weight")
    placed = net.tensor("placed", joined.shape)
    every, out = (View(tensor.name, batch, rows, hidden, hidden, whole) for tensor in (joined, placed))
    net.op("add_position", "residual_add", [every, View(table.name, batch, rows, hidden, hidden, 0)], out, None)
    return placed


def encoder_layer(net: Network, x: Tensor, heads: int, ffn: int, batch: int) -> Tensor:
    """Add a pre-norm encoder layer with GELU and biases; return its output."""
    hidden = x.shape[-1]
    source = net.norm(x, name="norm1")
    q, k, v = (net.linear(source, hidden, name=f"matmul_{part}") for part in "QKV")
    context = net.attention(q, k, v, heads=heads, batch=batch)
    x = net.add(x, net.linear(context, hidden, name="W_out"), name="residual_add1")
    wide = net.linear(net.norm(x, name="norm2"), ffn, name="FF1")
    fed = net.linear(net.each("gelu", wide, name="gelu"), hidden, name="FF2")
    return net.add(x, fed, name="residual_add2")
