"""Windows that slide over images: the rules that convolutions and poolings share, and the poolings themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.graph.kinds.kind import Kind, is_count
from sim.graph.windows import positions

if TYPE_CHECKING:
    from sim.graph.graph import Op


def window_results(attrs: Mapping[str, Any]) -> tuple[int, int]:
    """Return (rows, cols) of the result of a convolution or pooling with these attributes."""
    kernel, stride, padding = attrs["kernel"], attrs["stride"], attrs["padding"]
    rows, cols = (positions(attrs[name], kernel, stride, padding) for name in ("in_rows", "in_cols"))
    return rows, cols


def window_rules(op: Op, channels: int) -> dict[str, bool]:
    """Return the rules of sizes. Images lie pixel by pixel, row by row, image by image: a row of a view is a pixel."""
    attrs, image, result = op.attrs, op.inputs[0], op.output
    least = {"in_rows": 1, "in_cols": 1, "kernel": 1, "stride": 1, "padding": 0}
    rules = {
        f"{name} is {attrs[name]!r}, must be a whole number >= {n}": is_count(attrs[name], n)
        for name, n in least.items()
    }
    if not all(rules.values()):
        return rules
    pixels, (rows, cols) = attrs["in_rows"] * attrs["in_cols"], window_results(attrs)
    size = f"{attrs['in_rows']}x{attrs['in_cols']}"
    rules[f"padding {attrs['padding']} must be smaller than kernel {attrs['kernel']}"] = (
        attrs["padding"] < attrs["kernel"]
    )
    rules[f"the kernel of {attrs['kernel']} exceeds the image of {size}"] = min(rows, cols) >= 1
    rules[
        f"input and output have batch {image.batch} and {result.batch}, must be 1 (images lie one behind the other)"
    ] = image.batch == result.batch == 1
    rules[f"the input has {image.rows} pixels, no whole number of images of {size}"] = image.rows % pixels == 0
    images = image.rows // pixels
    rules[f"output is {result}, must be {images * rows * cols}x{channels} ({images} of {rows}x{cols})"] = (
        result.rows == images * rows * cols and result.cols == channels
    )
    return rules


def _pool_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    same = f"input {dtypes[0]} and output {dtypes[-1]} must be one dtype"
    return {**window_rules(op, op.inputs[0].cols), same: dtypes[0] == dtypes[-1]}


POOL = {"in_rows": 0, "in_cols": 0, "kernel": 2, "stride": 2, "padding": 0}

KINDS = (
    Kind(
        "maxpool",
        "image; in_rows, in_cols, kernel, stride, padding: the largest element of each window",
        _pool_rules,
        POOL,
        converts=False,
    ),
    Kind(
        "avgpool",
        "image; in_rows, in_cols, kernel, stride, padding: the mean of each window",
        _pool_rules,
        POOL,
        priced=lambda op: op.output.elements * int(op.attrs["kernel"]) ** 2,
        converts=False,
    ),
)
