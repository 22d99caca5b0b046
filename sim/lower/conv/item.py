"""The work item of a convolution: one library call, depth-wise or over all channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from sim.graph.windows import positions
from sim.lower.item import DEFAULT_SCALE, Item, Operand, Place

if TYPE_CHECKING:
    from sim.hardware import Hardware

CONV_ORDER = "NPQKRSC"
"""Loops of tiled_conv, outermost first: batch, rows, columns, out channels, kernel rows and columns, in channels."""


@dataclass(frozen=True)
class Conv(Item):
    """Two-dimensional convolution with optional max-pooling after it (tiled_conv_auto, tiled_conv_dw_auto).

    ``x``: NHWC, row_stride = elements from pixel to pixel (normally in_channels). ``weights``: [kernel
    row][kernel column][in channel][out channel], row_stride from in channel to in channel. ``bias``: one
    value of accumulator type per out channel, or None. ``c``: NHWC, row_stride from pixel to pixel.
    ``pool_stride`` 0: no pooling. ``tile``: (batches, pooled rows, pooled columns, out channels, kernel
    rows, kernel columns, in channels); None = the library's own choice. ``loop_order``: letters N P Q K R S C for these
    sizes, the outermost loop first. ``resident`` "none": no operand stays between tiles, as in the library before 2023;
    ``downsampling`` False: a 1x1 kernel of stride 2 loads all pixels, as in that library. ``kernel_rows``,
    ``padding_rows``: if they differ from those along a row, ``kernel`` and ``padding`` (the library's are square;
    the hardware loop has the rows of a tile and finds weights by the kernel's columns alone). ``padding_end``,
    ``padding_rows_end``: zeros after an image, if they are not as many as before it: a tile has its own of each.
    ``depthwise``: each channel has a kernel of its own, [channel][kernel row][kernel column]; a hardware loop takes one
    channel.
    """

    batch: int
    in_rows: int
    in_cols: int
    in_channels: int
    out_channels: int
    kernel: int
    x: Operand
    weights: Operand
    c: Operand
    bias: Operand | None = None
    stride: int = 1
    padding: int = 0
    input_dilation: int = 1
    kernel_dilation: int = 1
    pool_size: int = 0
    pool_stride: int = 0
    pool_padding: int = 0
    activation: Literal["none", "relu"] = "none"
    scale: float = DEFAULT_SCALE
    wrot180: bool = False
    trans_output_1203: bool = False
    trans_input_3120: bool = False
    trans_weight_1203: bool = False
    trans_weight_0132: bool = False
    tile: tuple[int, int, int, int, int, int, int] | None = None
    loop_order: str = CONV_ORDER
    resident: Literal["library", "none"] = "library"
    downsampling: bool = True
    kernel_rows: int | None = None
    padding_rows: int | None = None
    padding_end: int | None = None
    padding_rows_end: int | None = None
    depthwise: bool = False

    MAPPING_FIELDS = ("tile",)
    OPERATORS = ("conv", "depthwise_conv")
    TILE_SIZES = 7

    def places(self) -> list[Place]:
        """Return the operands: pixels, weights, results and the bias if there is one."""
        found = [
            Place("x", self.x, self.batch * self.in_rows * self.in_cols, self.in_channels, "a"),
            Place("weights", self.weights, *self._weight_shape, "b"),
            Place("c", self.c, self.batch * self.pooled_rows * self.pooled_cols, self.out_channels, "c"),
        ]
        return found if self.bias is None else [*found, Place("bias", self.bias, 1, self.out_channels, "sums")]

    @property
    def title(self) -> str:
        """Function and sizes, for messages."""
        image = f"{self.in_rows}x{self.in_cols}x{self.in_channels}"
        return f"conv {image} to {self.out_channels}, {self.kernel}x{self.kernel}"

    @property
    def divisible_columns(self) -> int:
        """Output channels, unless each channel is a program or the weights are stored transposed."""
        transposed = self.trans_weight_0132 or self.trans_weight_1203 or self.trans_output_1203
        return 0 if self.depthwise or transposed else self.out_channels

    def column_part(self, start: int, end: int, hw: Hardware) -> Self:
        """Return the convolution for output channels ``start`` to ``end``, in the same tensors."""
        return replace(
            self,
            out_channels=end - start,
            weights=self.weights.forward(start, "b", hw),
            c=self.c.forward(start, "c", hw),
            bias=None if self.bias is None else self.bias.forward(start, "sums", hw),
            tile=None,
        )

    @property
    def _weight_shape(self) -> tuple[int, int]:
        if self.depthwise:
            return self.in_channels, self.taps
        return self.taps * self.in_channels, self.out_channels

    @property
    def rows_of_kernel(self) -> int:
        """Rows of the kernel."""
        return self.kernel if self.kernel_rows is None else self.kernel_rows

    @property
    def padding_above(self) -> int:
        """Rows of zeros above the image."""
        return self.padding if self.padding_rows is None else self.padding_rows

    @property
    def paddings(self) -> tuple[int, int, int, int]:
        """Zeros above, below, to the left and to the right of the image."""
        below = self.padding_above if self.padding_rows_end is None else self.padding_rows_end
        right = self.padding if self.padding_end is None else self.padding_end
        return self.padding_above, below, self.padding, right

    @property
    def taps(self) -> int:
        """Weights of one channel: the kernel's rows times its columns."""
        return self.rows_of_kernel * self.kernel

    def _out(self, size: int, kernel: int, before: int, behind: int) -> int:
        dilated = size + (self.input_dilation - 1) * (size - 1)
        wide = kernel + (self.kernel_dilation - 1) * (kernel - 1)
        return positions(dilated, wide, self.stride, before, behind)

    @property
    def out_rows(self) -> int:
        """Rows of the convolution's result before pooling."""
        return self._out(self.in_rows, self.rows_of_kernel, *self.paddings[:2])

    @property
    def out_cols(self) -> int:
        """Columns of the convolution's result before pooling."""
        return self._out(self.in_cols, self.kernel, *self.paddings[2:])

    @property
    def pool(self) -> tuple[int, int, int]:
        """Size, stride and padding of the pooling window; (1, 1, 0) without pooling."""
        return (self.pool_size, self.pool_stride, self.pool_padding) if self.pool_stride else (1, 1, 0)

    @property
    def pooled_rows(self) -> int:
        """Rows of the stored result."""
        size, stride, padding = self.pool
        return positions(self.out_rows, size, stride, padding)

    @property
    def pooled_cols(self) -> int:
        """Columns of the stored result."""
        size, stride, padding = self.pool
        return positions(self.out_cols, size, stride, padding)

    @property
    def downsample(self) -> bool:
        """A 1x1 kernel of stride 2 on an even image: only every other pixel is loaded."""
        even = self.in_rows % 2 == 0 and self.in_cols % 2 == 0
        plain = not any(self.paddings) and self.pool_stride == 0 and self.input_dilation == 1
        return (
            self.downsampling
            and self.stride == 2
            and self.taps == 1
            and even
            and plain
            and not (self.trans_input_3120 or self.depthwise)
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates: every output pixel before pooling times kernel area times channels."""
        pixels = self.batch * self.out_rows * self.out_cols
        return pixels * self.taps * self.out_channels * (1 if self.depthwise else self.in_channels)
