"""ResNet-50 (He et al. 2015) for integer inference: batch norms folded into weights and biases.

The stride of a stage is that of the 3x3 convolution of its first block (version 1.5, published with 4.1 GMACs). The
global average is a product with a row of ones; the divisor is folded into the scale.
"""

from __future__ import annotations

from sim.graph import Graph, Tensor, View
from sim.graph.encoder import Builder
from sim.graph.windows import positions
from workloads.encoder import check_sizes, states_sizes

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks and inner channels of each stage; a block's output has four times as many channels."""

EXPANSION = 4
CLASSES = 1000


class _Images(Builder):
    """Adjacent images of one size as [pixels, channels]. ``stage``: of the operators."""

    stage: int | None = None

    def conv(
        self,
        name: str,
        source: Tensor,
        side: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        relu: bool = True,
    ) -> tuple[Tensor, int]:
        """Add a convolution with bias, padded to keep the size except for its stride.

        Return the output and its side in pixels.
        """
        attrs = {"in_rows": side, "in_cols": side, "kernel": kernel, "stride": stride, "padding": kernel // 2}
        images, out = source.shape[0] // side**2, positions(side, kernel, stride, kernel // 2)
        weight = self.tensor(f"{name}.weight", (kernel**2 * source.shape[1], channels), kind="weight")
        bias = self.tensor(f"{name}.bias", (channels,), self.sums, "weight")
        result = self.tensor(f"{name}.out", (images * out**2, channels))
        views = [View.whole(tensor) for tensor in (source, weight, bias)]
        self.op(name, "conv", views, View.whole(result), self.stage, **attrs, activation="relu" if relu else "none")
        return result, out

    def block(self, name: str, source: Tensor, side: int, channels: int, stride: int) -> tuple[Tensor, int]:
        """Add a bottleneck: 1x1, 3x3, 1x1 and the sum with its input, resized by a 1x1 if needed."""
        wide = channels * EXPANSION
        inner, _ = self.conv(f"{name}.conv1", source, side, channels, 1)
        inner, out = self.conv(f"{name}.conv2", inner, side, channels, 3, stride=stride)
        inner, _ = self.conv(f"{name}.conv3", inner, out, wide, 1, relu=False)
        if source.shape[1] != wide or stride > 1:
            source, _ = self.conv(f"{name}.fit", source, side, wide, 1, stride=stride, relu=False)
        added = self.map(f"{name}.add", "residual_add", [inner, source], f"{name}.sum", self.stage, activation="relu")
        return added, out


@states_sizes
def resnet50(batch: int = 1, image: int = 224, dtype: str = "int8") -> Graph:
    """Return ResNet-50 for ``batch`` square images of ``image`` pixels a side. Raises InputError for illegal sizes.

    Layers are numbered by stage, 0 to 3.
    """
    check_sizes("resnet50", {"batch": batch, "image": image}, dtype)
    builder = _Images(dtype)
    data = builder.tensor("image", (batch * image**2, 3), kind="input")
    data, side = builder.conv("stem", data, image, STAGES[0][1], 7, stride=2)
    out = positions(side, 3, 2, 1)
    pooled = builder.tensor("stem.pooled", (batch * out**2, data.shape[1]))
    window = {"in_rows": side, "in_cols": side, "kernel": 3, "stride": 2, "padding": 1}
    builder.op("stem.maxpool", "maxpool", [View.whole(data)], View.whole(pooled), None, **window)
    data, side = pooled, out
    for stage, (blocks, channels) in enumerate(STAGES):
        builder.stage = stage
        for number in range(blocks):
            stride = 2 if stage and not number else 1
            data, side = builder.block(f"S{stage}.B{number}", data, side, channels, stride)
    features = _average(builder, data, batch, side)
    builder.linear("classes", features, CLASSES, "scores", None, full=True, repeating=True)
    return Graph("resnet50", {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops))


def _average(builder: Builder, data: Tensor, batch: int, side: int) -> Tensor:
    """Add the sum over each image's pixels: a row of ones times [pixels, channels]; return [batch, channels]."""
    pixels, channels = side**2, data.shape[1]
    ones = builder.tensor("ones", (1, pixels), kind="input")
    result = builder.tensor("features", (batch, channels))
    source = View(data.name, batch, pixels, channels, channels, pixels * channels)
    builder.op(
        "average", "matmul", [View.whole(ones), source], View(result.name, batch, 1, channels, channels, channels), None
    )
    return result
