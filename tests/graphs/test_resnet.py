"""ResNet-50: published size and work, its operators on two machines, and the rules of convolution operators."""

from __future__ import annotations

import dataclasses

import pytest

import workloads
from sim import hardware, simulate
from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from sim.lower.work import Conv
from sim.plan.planner import plan


def test_parameters_and_macs_are_the_published_ones() -> None:
    """torchvision's resnet50 has 25,557,032 parameters; folding a batch norm drops one of two per channel."""
    graph = workloads.build("resnet50")
    norms = sum(op.output.cols for op in graph.ops if op.kind == "conv")
    assert norms == 26_560
    assert graph.parameters == 25_557_032 - norms
    assert sum(op.kind == "conv" for op in graph.ops) == 53
    average = graph.op("average").macs
    assert graph.macs - average == 4_089_184_256  # 4.09 GMACs, the usual count of version 1.5 at 224 x 224


def test_the_array_pools_where_it_can_and_the_host_where_not() -> None:
    graph = workloads.build("resnet50")
    able, unable = (plan(graph, hardware.load(name)) for name in ("gemmini_default", "gemmini_ibert"))
    assert [step.kind for step in able[:2]] == ["conv+maxpool", "conv"]
    assert [(step.kind, step.engine) for step in unable[:2]] == [("conv", "array"), ("maxpool", "host")]
    assert unable[1].host_elements == 56 * 56 * 64
    assert {step.engine for step in able} == {"array"}


def test_sums_of_blocks_are_rectified_on_the_array() -> None:
    steps = {step.name: step for step in plan(workloads.build("resnet50"), hardware.load("gemmini_default"))}
    assert steps["S0.B0.add"].works[0].relu  # type: ignore[union-attr]


def test_convolutions_are_those_of_the_published_network() -> None:
    steps = plan(workloads.build("resnet50", batch=2), hardware.load("gemmini_default"))
    works = {step.name: step.works[0] for step in steps}
    stem, strided = works["stem"], works["S1.B0.conv2"]
    assert isinstance(stem, Conv) and isinstance(strided, Conv)
    assert (stem.batch, stem.kernel, stem.stride, stem.padding, stem.pool) == (2, 7, 2, 3, (3, 2, 1))
    assert (stem.out_rows, stem.pooled_rows) == (112, 56)
    assert (strided.in_rows, strided.out_rows, strided.in_channels, strided.stride) == (56, 28, 128, 2)
    assert works["S3.B2.conv3"].out_channels == 2048  # type: ignore[union-attr]


def test_a_small_image_runs_to_the_end() -> None:
    """The work done is the work of the graph, and equal blocks are simulated once."""
    graph = workloads.build("resnet50", image=32)
    result = simulate(graph, "gemmini_default")
    assert result.totals["macs"] == graph.macs
    assert result.totals["distinct"] < result.totals["invocations"]
    assert 0 < result.totals["utilization"] < 1


def conv_graph(**attrs: object) -> Graph:
    """Return one convolution of an 8x8 image with 4 channels."""
    shape = {"in_rows": 8, "in_cols": 8, "kernel": 3, "padding": 1, **attrs}
    tensors = [
        Tensor("x", (64, 4), "int8", "input"),
        Tensor("w", (36, 8), "int8", "weight"),
        Tensor("b", (8,), "int32", "weight"),
        Tensor("y", (64, 8), "int8", "activation"),
    ]
    views = [View.whole(tensor) for tensor in tensors]
    return Graph("one", {t.name: t for t in tensors}, (Op("conv", "conv", tuple(views[:3]), views[3], shape),))


def test_a_sound_convolution_has_its_macs() -> None:
    assert conv_graph().macs == 64 * 8 * 9 * 4


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"stride": 2}, "output is 64x8, must be 16x8"),
        ({"kernel": 5, "padding": 2}, "must have 100 rows"),
        ({"in_rows": 7}, "64 pixels, no whole number of images of 7x8"),
        ({"padding": 3}, "padding 3 must be smaller than kernel 3"),
        ({"kernel": 0}, "kernel is 0, must be a whole number >= 1"),
        ({"activation": "gelu"}, "can be none, relu"),
        ({"strid": 1}, "did you mean 'stride'"),
    ],
)
def test_unsound_convolutions_are_refused(attrs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        conv_graph(**attrs)
    assert message in str(refused.value)


def test_wrong_types_are_refused_by_the_machine() -> None:
    graph = conv_graph()
    wide = {
        name: dataclasses.replace(t, dtype="fp32" if t.dtype == "int8" else t.dtype)
        for name, t in graph.tensors.items()
    }
    wide["b"] = dataclasses.replace(wide["b"], dtype="fp32")
    with pytest.raises(InputError, match="the array convolves int8"):
        plan(dataclasses.replace(graph, tensors=wide), hardware.load("gemmini_default"))


def test_a_tile_by_hand_has_seven_sizes() -> None:
    hw = hardware.load("gemmini_default")
    (step,) = plan(conv_graph(), hw, mapping={"conv": {"tile": (1, 4, 8, 8, 3, 3, 4)}})
    assert step.works[0].tile == (1, 4, 8, 8, 3, 3, 4)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"pooled rows = 9 must be 1\.\.8"):
        plan(conv_graph(), hw, mapping={"conv": {"tile": (1, 9, 8, 8, 3, 3, 4)}})
