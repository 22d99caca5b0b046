"""Convolutions over all channels, in groups, or depth-wise.

A kernel is ``kernel`` columns wide and as many rows high, or ``kernel_rows``; ``padding`` is that of columns and rows,
or ``padding_rows`` of rows. ``dilation``: pixels from one tap to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sim.graph.dtypes import ACCUMULATOR
from sim.graph.kinds.kind import Array, Kind, Values, as_float32, is_count
from sim.graph.kinds.products import activation_rule
from sim.graph.kinds.sliding import WINDOW, kernel_of, window_rules, windows

if TYPE_CHECKING:
    from sim.graph.op import Op


def _dimensions(op: Op) -> tuple[int, int, int]:
    return op.output.rows, op.output.cols, op.inputs[1].rows


def _depthwise_dimensions(op: Op) -> tuple[int, int, int]:
    return op.output.rows, op.output.cols, op.inputs[1].cols


def _types(op: Op, dtypes: Sequence[str], channels: int) -> dict[str, bool]:
    element, sums = dtypes[0], ACCUMULATOR.get(dtypes[0], "none")
    kinds = {*dtypes[:2], dtypes[-1]}
    rules = {
        f"input {dtypes[0]}, weights {dtypes[1]} and output {dtypes[-1]} must be one dtype": len(kinds) == 1,
        f"input is {element}, can be {', '.join(ACCUMULATOR)}": element in ACCUMULATOR,
        **activation_rule(op),
    }
    if len(op.inputs) > 2:
        bias = op.inputs[2]
        rules[f"bias is {bias}, must be 1x{channels}"] = bias.shape == (1, 1, channels)
        rules[f"bias is {dtypes[2]}, must be {sums}"] = dtypes[2] == sums
    return rules


def _rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    image, weights, groups = op.inputs[0], op.inputs[1], op.attrs["groups"]
    rules = window_rules(op, weights.cols)
    if not is_count(groups, 1):
        return {**rules, f"groups is {groups!r}, must be a whole number >= 1": False}
    rules[f"groups {groups} do not divide {image.cols} channels and {weights.cols} results"] = (
        image.cols % groups == weights.cols % groups == 0
    )
    if all(rules.values()):
        rows, cols = kernel_of(op.attrs)
        wanted = rows * cols * image.cols // groups
        rules[
            f"weights are {weights}, must have {wanted} rows (kernel {rows} * {cols} * {image.cols // groups} channels)"
        ] = weights.shape[:2] == (1, wanted)
    return {**rules, **_types(op, dtypes, weights.cols)}


def _depthwise_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    image, weights = op.inputs[:2]
    rules = window_rules(op, image.cols)
    if all(rules.values()):
        rows, cols = kernel_of(op.attrs)
        wanted = f"must be {image.cols}x{rows * cols}: a kernel of {rows} * {cols} for each channel"
        rules[f"weights are {weights}, {wanted}"] = weights.shape == (1, image.cols, rows * cols)
    return {**rules, **_types(op, dtypes, image.cols)}


def _finished(op: Op, sums: Array, inputs: list[Array]) -> Array:
    total = sums.reshape(op.output.shape) + (inputs[2] if len(inputs) > 2 else 0)
    return as_float32(np.maximum(total, 0) if op.attrs["activation"] == "relu" else total)


def _conv(op: Op, inputs: list[Array], values: Values) -> Array:
    groups, seen = op.attrs["groups"], windows(op.attrs, inputs[0][0])  # [pixels, taps, channels]
    pixels, taps, channels = seen.shape
    parts = seen.reshape(pixels, taps, groups, channels // groups)
    kernels = inputs[1][0].reshape(taps, channels // groups, groups, -1)
    return _finished(op, np.einsum("ptgc,tcgo->pgo", parts, kernels), inputs)


def _depthwise(op: Op, inputs: list[Array], values: Values) -> Array:
    return _finished(op, np.einsum("ptc,ct->pc", windows(op.attrs, inputs[0][0]), inputs[1][0]), inputs)


ATTRIBUTES = {**WINDOW, "kernel": 1, "stride": 1, "dilation": 1, "activation": "none", "scale": 1.0}

KINDS = (
    Kind(
        "conv",
        "image, weights[, bias]; images lie pixel by pixel, weights [kernel row, kernel column, channel; out channel]; "
        "groups: results of a group use the channels of that group only",
        _rules,
        {**ATTRIBUTES, "groups": 1},
        (2, 3),
        multiplies="windows",
        product=_dimensions,
        word_sizes=True,
        reference=_conv,
        color="#3C3C3C",
    ),
    Kind(
        "depthwise_conv",
        "image, weights[, bias]; one kernel per channel, weights [channel; kernel row, kernel column]",
        _depthwise_rules,
        ATTRIBUTES,
        (2, 3),
        multiplies="channel windows",
        product=_depthwise_dimensions,
        reference=_depthwise,
        color="#7A7A7A",
    ),
)
