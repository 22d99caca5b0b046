"""Sliding windows over images: common rules of convolutions and poolings, and the poolings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.graph.kinds.kind import Array, Kind, Values, as_float32, is_count
from sim.graph.windows import positions

if TYPE_CHECKING:
    from sim.graph.op import Op

WINDOW: Mapping[str, Any] = {
    "in_rows": 0, "in_cols": 0, "kernel": 2, "stride": 2, "padding": 0,
    "kernel_rows": None, "padding_rows": None, "stride_rows": None, "padding_end": None, "padding_rows_end": None,
}  # fmt: skip
"""Attributes of a window; for rows, None = as for columns.

``padding_end`` (columns on the right), ``padding_rows_end`` (rows
below), None: as many as before the image."""

OPTIONAL = {"kernel_rows": 1, "padding_rows": 0, "stride_rows": 1, "padding_end": 0, "padding_rows_end": 0}
"""Attributes that may be None, and the least value of each."""


def kernel_of(attrs: Mapping[str, Any]) -> tuple[int, int]:
    """Return rows and columns of a window."""
    return attrs["kernel"] if attrs["kernel_rows"] is None else attrs["kernel_rows"], attrs["kernel"]


def padding_of(attrs: Mapping[str, Any]) -> tuple[int, int]:
    """Return the rows of zeros above and below an image, and the columns on both sides."""
    return attrs["padding"] if attrs["padding_rows"] is None else attrs["padding_rows"], attrs["padding"]


def padding_behind(attrs: Mapping[str, Any]) -> tuple[int, int]:
    """Return the rows of zeros below an image, and the columns on its right."""
    ends = (attrs["padding_rows_end"], attrs["padding_end"])
    return tuple(  # type: ignore[return-value]
        before if end is None else end for before, end in zip(padding_of(attrs), ends, strict=True)
    )


def stride_of(attrs: Mapping[str, Any]) -> tuple[int, int]:
    """Return the strides of a window along rows and along columns."""
    return attrs["stride"] if attrs["stride_rows"] is None else attrs["stride_rows"], attrs["stride"]


def window_results(attrs: Mapping[str, Any]) -> tuple[int, int]:
    """Return (rows, cols) of the result of a convolution or pooling with these attributes."""
    dilation, sizes = attrs.get("dilation", 1), (attrs["in_rows"], attrs["in_cols"])
    rows, cols = (
        positions(size, kernel + (dilation - 1) * (kernel - 1), stride, before, behind)
        for size, kernel, stride, before, behind in zip(
            sizes, kernel_of(attrs), stride_of(attrs), padding_of(attrs), padding_behind(attrs), strict=True
        )
    )
    return rows, cols


def window_rules(op: Op, channels: int) -> dict[str, bool]:
    """Return the rules of sizes.

    Images are stored pixel by pixel, row by row, image by image: a row of a view is a pixel.
    """
    attrs, image, result = op.attrs, op.inputs[0], op.output
    least = {"in_rows": 1, "in_cols": 1, "kernel": 1, "stride": 1, "padding": 0, "dilation": 1}
    least |= {name: n for name, n in OPTIONAL.items() if attrs[name] is not None}
    rules = {
        f"{name} is {attrs[name]!r}, must be a whole number >= {n}": is_count(attrs[name], n)
        for name, n in least.items()
        if name in attrs
    }
    if not all(rules.values()):
        return rules
    pixels, (rows, cols) = attrs["in_rows"] * attrs["in_cols"], window_results(attrs)
    size = f"{attrs['in_rows']}x{attrs['in_cols']}"
    paddings = (*padding_of(attrs), *padding_behind(attrs))
    for padding, kernel in zip(paddings, kernel_of(attrs) * 2, strict=True):
        rules[f"padding {padding} must be smaller than kernel {kernel}"] = padding < kernel
    rules[f"the kernel of {attrs['kernel']} exceeds the image of {size}"] = min(rows, cols) >= 1
    rules[
        f"input and output have batch {image.batch} and {result.batch}, must be 1 (images are stored one after the "
        f"other)"
    ] = image.batch == result.batch == 1
    rules[f"the input has {image.rows} pixels, no whole number of images of {size}"] = image.rows % pixels == 0
    images = image.rows // pixels
    rules[f"output is {result}, must be {images * rows * cols}x{channels} ({images} of {rows}x{cols})"] = (
        result.rows == images * rows * cols and result.cols == channels
    )
    return rules


def windows(attrs: Mapping[str, Any], image: Array, beyond: float = 0) -> Array:
    """Return the windows of images [pixels, channels]: [results, taps, channels]; ``beyond`` their border."""
    (high, wide), dilation = kernel_of(attrs), attrs.get("dilation", 1)
    images = image.reshape(-1, attrs["in_rows"], attrs["in_cols"], image.shape[-1])
    sides = ((0, 0), *zip(padding_of(attrs), padding_behind(attrs), strict=True), (0, 0))
    images = np.pad(images, sides, constant_values=beyond)
    rows, cols = window_results(attrs)
    counts = zip(stride_of(attrs), (rows, cols), (high, wide), strict=True)
    at_row, at_col = (move * np.arange(count)[:, None] + dilation * np.arange(taps) for move, count, taps in counts)
    seen = images[:, at_row][:, :, :, at_col]  # [image, row, kernel row, column, kernel column, channel]
    return np.asarray(seen.transpose(0, 1, 3, 2, 4, 5).reshape(-1, high * wide, image.shape[-1]))


def _pool_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    same = f"input {dtypes[0]} and output {dtypes[-1]} must be one dtype"
    return {**window_rules(op, op.inputs[0].cols), same: dtypes[0] == dtypes[-1]}


def _maxpool(op: Op, inputs: list[Array], values: Values) -> Array:
    return as_float32(windows(op.attrs, inputs[0][0], -np.inf).max(axis=1))[None]


def _avgpool(op: Op, inputs: list[Array], values: Values) -> Array:
    """The mean of all elements of a window, zeros beyond the border among them."""
    return as_float32(windows(op.attrs, inputs[0][0]).mean(axis=1))[None]


def _window_elements(op: Op) -> int:
    rows, cols = kernel_of(op.attrs)
    return op.output.elements * rows * cols


KINDS = (
    Kind(
        "maxpool",
        "image; in_rows, in_cols, kernel, stride, padding: the largest element of each window",
        _pool_rules,
        WINDOW,
        reference=_maxpool,
        converts=False,
    ),
    Kind(
        "avgpool",
        "image; in_rows, in_cols, kernel, stride, padding: the mean of each window, zeros beyond the border counted",
        _pool_rules,
        WINDOW,
        reference=_avgpool,
        priced=_window_elements,
        converts=False,
    ),
)
