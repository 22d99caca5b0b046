"""Convolutions as operators of a graph: values in float, plans, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sim
from sim.base.errors import InputError
from sim.functional.host import forward
from sim.graph import Graph, Op, Tensor, View
from sim.graph.kinds.sliding import WINDOW, window_results


def network(kind: str, channels: int, results: int, weights: tuple[int, int], **attrs: Any) -> Graph:
    """Return a graph of one convolution over two images of 7 x 6 pixels."""
    window = {**WINDOW, "kernel": 3, "stride": 1, **attrs}
    rows, cols = window_results({**window, "in_rows": 7, "in_cols": 6})
    x, w = Tensor("x", (2 * 42, channels), "int8", "input"), Tensor("w", weights, "int8", "weight")
    b, y = Tensor("b", (results,), "int32", "weight"), Tensor("y", (2 * rows * cols, results), "int8", "activation")
    views = tuple(View.whole(tensor) for tensor in (x, w, b))
    op = Op("conv", kind, views, View.whole(y), {**window, "in_rows": 7, "in_cols": 6})
    return Graph.from_ops("one", (x, w, b, y), [op])


def slow(graph: Graph, x: Any, weight: Any) -> Any:
    """Return the convolution tap by tap; ``weight``: (row, column, in channel, out channel) -> number."""
    op = graph.op("conv")
    attrs = op.attrs
    high, wide = attrs["kernel_rows"] or attrs["kernel"], attrs["kernel"]
    above = attrs["padding"] if attrs["padding_rows"] is None else attrs["padding_rows"]
    down = attrs["stride_rows"] or attrs["stride"]
    rows, cols = window_results(attrs)
    found = np.zeros((2, rows, cols, op.output.cols), np.float32)
    images = x.reshape(2, 7, 6, -1)
    for place in np.ndindex(*found.shape[:3], high, wide):
        image, row, col, i, j = place
        at_row = row * down + i * attrs["dilation"] - above
        at_col = col * attrs["stride"] + j * attrs["dilation"] - attrs["padding"]
        if 0 <= at_row < 7 and 0 <= at_col < 6:
            for cin in range(images.shape[3]):
                for cout in range(op.output.cols):
                    found[image, row, col, cout] += images[image, at_row, at_col, cin] * weight(i, j, cin, cout)
    return found.reshape(-1, op.output.cols)


WINDOWS: list[dict[str, Any]] = [
    {"kernel": 3, "padding": 1}, {"kernel": 3, "kernel_rows": 1, "padding": 1, "padding_rows": 0},
    {"kernel": 2, "stride": 2}, {"kernel": 2, "dilation": 2, "padding": 1}, {"kernel": 1, "kernel_rows": 3},
    {"kernel": 3, "stride": 2, "padding_end": 1, "padding_rows_end": 1},  # SAME_UPPER of an even image
    {"kernel": 3, "stride": 2, "stride_rows": 1, "padding": 1}, {"kernel": 3, "stride_rows": 2, "padding": 1},
    {"kernel": 2, "kernel_rows": 3, "stride": 3, "stride_rows": 2, "padding_rows": 2, "padding_rows_end": 0},
    {"kernel": 3, "padding": 2, "padding_end": 0, "dilation": 2, "stride_rows": 2, "padding_rows": 1},
]  # fmt: skip


@pytest.mark.parametrize("attrs", WINDOWS)
@pytest.mark.parametrize("groups", [1, 2, 0])
def test_values_are_those_of_the_sum_over_taps(attrs: dict[str, Any], groups: int) -> None:
    """``groups`` 0: depth-wise. The array's own values: tests/functional/test_operators.py."""
    high, wide = attrs.get("kernel_rows") or attrs["kernel"], attrs["kernel"]
    if groups:
        graph = network("conv", 4, 6, (high * wide * 4 // groups, 6), groups=groups, **attrs)
    else:
        graph = network("depthwise_conv", 4, 4, (4, high * wide), **attrs)
    draw = np.random.default_rng(1)
    given = {name: draw.normal(size=graph.tensors[name].shape).astype(np.float32) for name in "xwb"}

    def weight(i: int, j: int, cin: int, cout: int) -> float:
        if not groups:
            return float(given["w"][cin, i * wide + j]) if cin == cout else 0.0
        ins = 4 // groups
        if cin // ins != cout // (6 // groups):
            return 0.0
        return float(given["w"][(i * wide + j) * ins + cin % ins, cout])

    wanted = slow(graph, given["x"], weight) + given["b"]
    np.testing.assert_allclose(forward(graph, given, 1e-12, 1)["y"], wanted, rtol=1e-4, atol=1e-5)


def test_depthwise_takes_a_column_of_the_array_for_each_channel() -> None:
    """A tap of every pixel and channel is a row through the array, against one for 16 channels of a full one."""
    one = sim.simulate(network("depthwise_conv", 32, 32, (32, 9)), "gemmini_default", progress=False)
    full = sim.simulate(network("conv", 32, 32, (288, 32)), "gemmini_default", progress=False)
    assert one.totals["macs"] * 32 == full.totals["macs"]
    assert one.totals["cycles"] > full.totals["cycles"] / 4


def test_groups_are_independent_convolutions() -> None:
    whole = sim.simulate(network("conv", 32, 32, (144, 32), groups=2), "gemmini_default", progress=False)
    assert whole.totals["macs"] == 2 * 20 * 144 * 32 and whole.rows[0]["invocations"] == 2


@pytest.mark.parametrize(
    ("kind", "attrs", "weights", "message"),
    [
        ("conv", {"groups": 3}, (36, 6), "groups 3 do not divide 4 channels"),
        ("conv", {"groups": 0}, (36, 6), "groups is 0, must be a whole number >= 1"),
        ("conv", {"groups": 2}, (36, 6), "must have 18 rows (kernel 3 * 3 * 2 channels)"),
        ("conv", {"kernel_rows": 2, "padding": 2}, (24, 6), "padding 2 must be smaller than kernel 2"),
        ("conv", {"dilation": 0}, (36, 6), "dilation is 0, must be a whole number >= 1"),
        ("depthwise_conv", {}, (9, 4), "must be 4x9: a kernel of 3 * 3 for each channel"),
    ],
)
def test_wrong_windows_are_refused(kind: str, attrs: dict[str, Any], weights: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        network(kind, 4, 6 if kind == "conv" else 4, weights, **attrs)
    assert message in str(caught.value)
