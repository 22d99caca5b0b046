"""Parts of networks on images: convolutions with their batch norms, depth-wise ones, the average over an image.

Images are stored as rows, one per pixel, image after image. A batch norm is folded into the weights and the bias of
the convolution before it, or (``folded`` False) is an operator: a depth-wise convolution of one tap with a bias.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.graph import Tensor, View
from sim.graph.windows import positions
from workloads.networks.builder import Network

CHANNELS, CLASSES = 3, 1000


@dataclass(frozen=True)
class Image:
    """Images of ``side`` pixels a side, as rows of a tensor."""

    data: Tensor
    side: int

    @property
    def channels(self) -> int:
        """Columns of the tensor."""
        return self.data.shape[1]


class Images(Network):
    """A network on images under construction. ``activation``: "relu", of the array, or the kind of an operator."""

    def __init__(self, name: str, dtype: str, activation: str, *, folded: bool = True):
        super().__init__(name, dtype)
        self.activation, self.folded = activation, folded

    def given(self, batch: int, side: int) -> Image:
        """Return the images that the network is given."""
        return Image(self.input("image", batch * side**2, CHANNELS), side)

    def conv(
        self,
        name: str,
        x: Image,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        norm: bool = True,
        act: bool = True,
    ) -> Image:
        """Return a convolution, padded to keep the size except for its stride.

        ``norm`` False: neither bias nor batch norm.
        """
        shape = (kernel**2 * x.channels, channels)
        return self._windows("conv", name, x, shape, (kernel, stride), norm=norm, act=act)

    def depthwise(self, name: str, x: Image, kernel: int = 3, stride: int = 1) -> Image:
        """Return a depth-wise convolution."""
        shape = (x.channels, kernel**2)
        return self._windows("depthwise_conv", name, x, shape, (kernel, stride), norm=True, act=True)

    def _windows(
        self, kind: str, name: str, x: Image, shape: tuple[int, int], window: tuple[int, int], *,
        norm: bool, act: bool,
    ) -> Image:  # fmt: skip
        (kernel, stride), at = window, self.name_of(name)
        channels = shape[1] if kind == "conv" else shape[0]
        out = positions(x.side, kernel, stride, kernel // 2)
        images = x.data.shape[0] // x.side**2
        views = [View.whole(x.data), View.whole(self.tensor(f"{at}.weight", shape, kind="weight"))]
        if norm and self.folded:
            views.append(View.whole(self.tensor(f"{at}.bias", (channels,), self.sums, "weight")))
        result = self.tensor(at, (images * out**2, channels))
        own = act and self.activation == "relu" and (self.folded or not norm)
        attrs = {"in_rows": x.side, "in_cols": x.side, "kernel": kernel, "stride": stride, "padding": kernel // 2}
        self.apply(kind, at, views, View.whole(result), **attrs, activation="relu" if own else "none")
        made = Image(result, out)
        if norm and not self.folded:
            made = self._batch_norm(f"{name}_norm", made, relu=act and self.activation == "relu")
        return Image(self.each(self.activation, made.data), out) if act and self.activation != "relu" else made

    def _batch_norm(self, name: str, x: Image, *, relu: bool) -> Image:
        at = self.name_of(name)
        scale = self.tensor(f"{at}.weight", (x.channels, 1), kind="weight")
        shift = self.tensor(f"{at}.bias", (x.channels,), self.sums, "weight")
        result = self.tensor(at, x.data.shape)
        views = [View.whole(tensor) for tensor in (x.data, scale, shift)]
        attrs = {"in_rows": x.side, "in_cols": x.side, "activation": "relu" if relu else "none"}
        self.apply("depthwise_conv", at, views, View.whole(result), **attrs)
        return Image(result, x.side)

    def scores(self, x: Image) -> None:
        """Add the average over each image, as a product with a row of ones, and the scores of all classes."""
        pixels, cols = x.side**2, x.channels
        images = x.data.shape[0] // pixels
        features = self.tensor("features", (images, cols))
        seen = View(x.data.name, images, pixels, cols, cols, pixels * cols)
        put = View(features.name, images, 1, cols, cols, cols)
        self.op("average", "matmul", [View.whole(self.input("ones", 1, pixels)), seen], put, None)
        self.linear(features, CLASSES, name="head", wide=True)

    def inverted(self, x: Image, channels: int, ratio: int, stride: int = 1) -> Image:
        """Return an inverted residual block (Sandler et al.

        2018): widening product, depth-wise convolution, narrowing product, sum.
        """
        wide = x if ratio == 1 else self.conv("expand", x, ratio * x.channels)
        narrow = self.conv("project", self.depthwise("depthwise", wide, stride=stride), channels, act=False)
        if stride > 1 or channels != x.channels:
            return narrow
        return Image(self.add(x.data, narrow.data), x.side)
