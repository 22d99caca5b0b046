"""MobileNetV2 (Sandler et al. 2018): inverted residual blocks around depth-wise convolutions.

ReLU6 is the array's ReLU: an int8 result whose scale maps its largest value to 6 saturates there.
"""

from __future__ import annotations

from sim.base.errors import InputError
from sim.graph import Graph
from workloads.encoder import check_sizes, states_sizes
from workloads.networks.images import Images

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of the first block of each stage (Table 2 there)."""

STEM, LAST = 32, 1280


@states_sizes
def mobilenet_v2(
    phase: str = "encode", batch: int = 1, image: int = 224, folded: bool = True, dtype: str = "int8"
) -> Graph:
    """Return MobileNetV2 for ``batch`` images of ``image`` pixels a side. Raises InputError for illegal sizes.

    ``folded``: batch norms are part of the convolutions before them, otherwise operators. ``dtype``: element type.
    Layers are numbered by block.
    """
    if phase != "encode":
        raise InputError(f"mobilenet-v2: phase is {phase!r}, can be encode")
    check_sizes("mobilenet-v2", {"batch": batch, "image": image}, dtype)
    net, index = Images("mobilenet-v2", dtype, "relu", folded=folded), 0
    x = net.conv("stem", net.given(batch, image), STEM, 3, 2)
    for ratio, channels, blocks, stride in BLOCKS:
        for block in range(blocks):
            with net.layer_of(index):
                x = net.inverted(x, channels, ratio, 1 if block else stride)
            index += 1
    net.scores(net.conv("last", x, LAST))
    return net.graph()
