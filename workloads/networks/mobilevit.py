"""MobileViT (Mehta & Rastegari 2021).

Inverted residual blocks, and transformers over the pixels at one position of all 2 x 2 patches.

Unfolding copies the pixels of each of the four positions into adjacent rows, folding copies them back; a transformer's
output and its input are the columns of one tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, states_sizes
from workloads.networks.images import Image, Images

HEADS, RATIO, PLACE = 4, 2, 2
"""Heads; ratio of the feed-forward network's columns to the layer's; pixels a side of a patch."""
DEPTHS = (2, 4, 3)
"""Layers of the transformers of the last three stages."""


@dataclass(frozen=True)
class MobileViT:
    """Published sizes of one model.

    Channels of five stages, columns of three transformers, expansion, last channels.
    """

    channels: tuple[int, int, int, int, int]
    hidden: tuple[int, int, int]
    ratio: int
    last: int


MOBILEVIT: dict[str, MobileViT] = {
    "mobilevit-xxs": MobileViT((16, 24, 48, 64, 80), (64, 80, 96), 2, 320),
    "mobilevit-xs": MobileViT((32, 48, 64, 80, 96), (96, 120, 144), 4, 384),
    "mobilevit-s": MobileViT((32, 64, 96, 128, 160), (144, 192, 240), 4, 640),
}
STEM = 16


def mobilevit(name: str, sizes: MobileViT) -> Callable[..., Graph]:
    """Return the builder of one MobileViT."""

    @states_sizes
    def build(
        phase: str = "encode", batch: int = 1, image: int = 256, folded: bool = True, dtype: str = "int8"
    ) -> Graph:
        if phase != "encode":
            raise InputError(f"{name}: phase is {phase!r}, can be encode")
        check_sizes(name, {"batch": batch, "image": image}, dtype)
        if image % 64:
            nearest = max(1, round(image / 64)) * 64
            raise InputError(f"{name}: image {image} is not a multiple of 64: patches of 2 x 2 in the last stage "
                             f"(nearest: {nearest})")  # fmt: skip
        return _build(Images(name, dtype, "silu", folded=folded), sizes, batch, image)

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = (
        f"Return {name} for ``batch`` images of ``image`` pixels a side. Raises InputError for illegal sizes.\n\n"
        "``folded``: batch norms are part of the convolutions before them. ``dtype``: element type. Layers are\n"
        "numbered by transformer layer."
    )
    return build


def _build(net: Images, sizes: MobileViT, batch: int, image: int) -> Graph:
    x = net.conv("stem", net.given(batch, image), STEM, 3, 2)
    first, second, *rest = sizes.channels
    x = net.inverted(x, first, sizes.ratio)
    for block in range(3):
        x = net.inverted(x, second, sizes.ratio, 1 if block else 2)
    index = 0
    for channels, hidden, depth in zip(rest, sizes.hidden, DEPTHS, strict=True):
        x = _mixed(net, net.inverted(x, channels, sizes.ratio, 2), hidden, range(index, index + depth))
        index += depth
    net.scores(net.conv("last", x, sizes.last))
    return net.graph()


def _mixed(net: Images, x: Image, hidden: int, layers: range) -> Image:
    """Return convolutions around a transformer, and one more convolution over their result and the input."""
    pixels, channels = x.data.shape
    local = net.conv("projected", net.conv("local", x, x.channels, 3), hidden, norm=False, act=False)
    y = _folded(net, local.data, x.side, back=False)
    for index in layers:
        with net.layer_of(index):
            y = _layer(net, y, PLACE**2 * (pixels // x.side**2))
    y = net.norm(y, name="transformer_norm")
    made = net.conv("restored", Image(_folded(net, y, x.side, back=True), x.side), channels, act=False)
    both = net.tensor(net.name_of("beside"), (pixels, 2 * channels))
    left, right = (View(both.name, 1, pixels, channels, 2 * channels, 0, first) for first in (0, channels))
    net.apply("copy", net.name_of("beside_copy"), [View.whole(x.data)], left)
    net.apply("silu", net.name_of("beside_silu"), [View.whole(made.data)], right)
    return net.conv("fused", Image(both, x.side), channels, 3)


def _folded(net: Images, x: Tensor, side: int, *, back: bool) -> Tensor:
    """Copy pixels so that those at one position of all 2 x 2 patches are adjacent, or back."""
    result = net.tensor(net.name_of("folded" if back else "unfolded"), x.shape)
    cols, half = x.shape[1], side // PLACE
    for image in range(x.shape[0] // side**2):
        for row in range(PLACE):
            for col in range(PLACE):
                start = ((image * side + row) * side + col) * cols
                spread = half, half, cols, PLACE * cols, PLACE * side * cols, start
                place = (image * PLACE**2 + row * PLACE + col) * half**2 * cols
                packed = half, half, cols, cols, half * cols, place
                source, put = (packed, spread) if back else (spread, packed)
                at = net.name_of("fold" if back else "unfold")
                net.apply("copy", at, [View(x.name, *source)], View(result.name, *put))
    return result


def _layer(net: Images, x: Tensor, sequences: int) -> Tensor:
    """Return a pre-norm transformer layer over each sequence of pixels."""
    hidden = x.shape[1]
    source = net.norm(x, name="norm1")
    q, k, v = (net.linear(source, hidden, name=f"matmul_{part}") for part in "QKV")
    context = net.attention(q, k, v, heads=HEADS, batch=sequences)
    x = net.add(x, net.linear(context, hidden, name="W_out"), name="residual_add1")
    wide = net.linear(net.norm(x, name="norm2"), RATIO * hidden, name="FF1")
    return net.add(x, net.linear(net.each("silu", wide), hidden, name="FF2"), name="residual_add2")
