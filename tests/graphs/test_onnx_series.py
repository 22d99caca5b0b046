"""Convolutions of series [batch, channels, frames]: in groups they are images of one row, otherwise products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from helpers.onnx_models import Writer

import workloads
from sim.base.errors import InputError


@pytest.mark.parametrize(
    ("channels", "made", "groups", "given"),
    [
        (8, 8, 8, {"pads": [1, 1]}),
        (8, 8, 8, {"pads": [2, 0]}),
        (8, 16, 4, {"pads": [1, 1]}),
        (8, 8, 2, {"strides": [2]}),
        (8, 8, 8, {"dilations": [2], "pads": [2, 2]}),
    ],
)
def test_a_series_in_groups_has_the_macs_of_its_windows(
    channels: int, made: int, groups: int, given: dict[str, Any], tmp_path: Path
) -> None:
    """Frames out x channels out x taps x channels of a group; wav2vec2's positions, ConvBERT's and Mamba's taps."""
    w = Writer()
    x = w.add("Relu", w.input("series", 2, channels, 20))
    y = w.add("Conv", x, w.weight(made, channels // groups, 3), w.weight(made), group=groups, **given)
    graph = workloads.build(str(w.save(tmp_path / "series.onnx", w.add("Tanh", y))))
    (conv,) = [op for op in graph.ops if op.kind in ("conv", "depthwise_conv")]
    pads, dilation = given.get("pads", [0, 0]), given.get("dilations", [1])[0]
    frames = (20 + sum(pads) - 1 - 2 * dilation) // given.get("strides", [1])[0] + 1
    assert conv.macs == 2 * frames * made * 3 * (channels // groups)
    assert conv.output.shape == (1, 2 * frames, made) and conv.attrs["in_rows"] == 1


def test_convolutions_of_volumes_are_refused_by_name(tmp_path: Path) -> None:
    w = Writer()
    y = w.add("Conv", w.input("volume", 1, 2, 4, 4, 4), w.weight(2, 2, 3, 3, 3))
    with pytest.raises(InputError, match="5 axes, only images and series are read"):
        workloads.build(str(w.save(tmp_path / "volume.onnx", y)))
