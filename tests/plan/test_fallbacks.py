"""What is planned has a program; what the host runs has a reason and, where there is one, a setting that avoids it."""

from __future__ import annotations

import pytest

import workloads
from sim import hardware
from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from sim.lower import Norm, ResidualAdd, check
from sim.mapping.maps import operators
from sim.plan.planner import plan
from sim.plan.step import Step


def reasons(steps: tuple[Step, ...]) -> dict[str, str]:
    return {step.name: str(step.fallback) for step in steps if step.fallback is not None}


def copying(row_stride: int, rows: int = 8, cols: int = 32) -> Graph:
    x = Tensor("x", (rows, cols), "int8", "input")
    y = Tensor("y", (rows, row_stride), "int8", "state")
    return Graph.from_ops("g", [x, y], [Op("move", "copy", (View.whole(x),), View("y", 1, rows, cols, row_stride, 0))])


def test_what_is_planned_fits_scratchpad_and_accumulator() -> None:
    """Issue 17.12: softmax of 2,048 columns was fused where B of one K-block lacked 16 scratchpad rows."""
    hw = hardware.load("kim2023_tuned")
    steps = plan(workloads.build("encoder-layer", seq=2048), hw)
    assert "matmul+softmax" not in {step.kind for step in steps}
    for step in steps:
        for work in set(step.equivalent):
            check(work, step.machine or hw)


def test_a_program_that_cannot_be_made_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"L0\.W_out cannot run on gemmini_lean.*full width"):
        plan(workloads.build("encoder-layer", seq=16), hardware.load("gemmini_lean"))


def test_a_host_operator_names_the_unit_that_lacks_and_the_key_that_adds_it() -> None:
    graph = workloads.build("encoder-layer", seq=16)
    reasons_found = reasons(plan(graph, hardware.load("gemmini_default")))
    assert {name.split(".")[1] for name in reasons_found} == {"softmax", "gelu", "layernorm1", "layernorm2"}
    assert "gemmini_default has no normalisation units" in reasons_found["L0.softmax"]
    assert "features.normalizations = true" in reasons_found["L0.softmax"]
    avoided = hardware.load("gemmini_default", {"features.normalizations": True})
    assert not reasons(plan(graph, avoided)), "the hint, applied, is accepted and avoids it"


def test_an_operator_that_the_host_takes_says_so() -> None:
    hw = hardware.load("gemmini_ibert", {"host.takes": ["layernorm"]})
    reasons_found = reasons(plan(workloads.build("encoder-layer", seq=16), hw))
    assert "host.takes without 'layernorm'" in reasons_found["L0.layernorm1"]


@pytest.mark.parametrize(("machine", "seq"), [("gemmini_ibert", 1025), ("gemmini_ibert", 40_000)])
def test_rows_of_any_width_stay_on_the_array(machine: str, seq: int) -> None:
    """Issue 17.10: 1,024 -> 1,025 tokens cost 34.7 times as much, silently."""
    steps = plan(workloads.build("encoder-layer", seq=seq), hardware.load(machine))
    assert "L0.softmax" not in reasons(steps)
    (softmax,) = [step for step in steps if step.name == "L0.softmax"]
    assert softmax.engine == "array" and isinstance(softmax.works[0], Norm) and softmax.works[0].low_x


def test_a_wide_array_normalises_its_rows_too() -> None:
    """A 64x64 array holds 256 accumulator rows: LayerNorm of 768 columns went to the host."""
    wide = {"array.mesh_rows": 64, "array.mesh_columns": 64, "dma.bus_bytes": 64}
    hw = hardware.load("gemmini_ibert", {**wide, "scratchpad.capacity": "512KiB"})
    assert not [name for name in reasons(plan(workloads.build("encoder-layer", seq=64), hw)) if "norm" in name]


def test_a_copy_with_two_row_strides_runs_on_the_array() -> None:
    """Issue 17.15: it was refused with "host has no price for 'copy'"."""
    (step,) = plan(copying(48), hardware.load("gemmini_default"))
    (work,) = step.works
    assert isinstance(work, ResidualAdd) and (work.a.row_stride, work.c.row_stride) == (32, 48)


def test_one_row_is_added_to_all_on_the_array() -> None:
    x, row = Tensor("x", (8, 32), "int8", "input"), Tensor("row", (1, 32), "int8", "weight")
    y = Tensor("y", (8, 32), "int8", "activation")
    ops = [Op("add", "residual_add", (View.whole(x), View("row", 1, 8, 32, 0, 0)), View.whole(y))]
    (step,) = plan(Graph.from_ops("g", [x, row, y], ops), hardware.load("gemmini_default"))
    assert step.engine == "array"


def test_only_what_a_mapping_can_name_is_searched_for_tiles() -> None:
    """Issue 17.14: a copy was searched, then "no residual_add of copy is named" ended the command."""
    hw = hardware.load("gemmini_default")
    found = operators(copying(48), hw)
    assert set(found) == {"move"}
    plan(copying(48), hw, mapping={"move": {"tile": (8, 32)}})


def test_a_name_with_brackets_is_mapped_by_its_very_name() -> None:
    x, y = Tensor("x", (8, 32), "int8", "input"), Tensor("y", (8, 32), "int8", "activation")
    graph = Graph.from_ops("g", [x, y], [Op("m[0]", "copy", (View.whole(x),), View.whole(y))])
    (step,) = plan(graph, hardware.load("gemmini_default"), mapping={"m[0]": {"tile": (4, 32)}})
    assert isinstance(step.works[0], ResidualAdd) and step.works[0].tile == (4, 32)


def test_a_residual_add_that_no_accumulator_half_holds_falls_back_with_the_reason() -> None:
    """Issue 17.34: "range() arg 3 must not be zero"."""
    small = {"array.mesh_rows": 8, "array.mesh_columns": 8, "array.tile_rows": 4, "array.tile_columns": 4}
    try:
        hw = hardware.load("gemmini_fp32_4x4", {**small, "accumulator.capacity": "4KiB"})
    except InputError:
        pytest.skip("the door refuses the machine")
    x, y = Tensor("x", (33, 64), "fp32", "input"), Tensor("y", (33, 64), "fp32", "activation")
    graph = Graph.from_ops("g", [x, y], [Op("add", "residual_add", (View.whole(x), View.whole(x)), View.whole(y))])
    assert "accumulator.capacity_bytes" in reasons(plan(graph, hw))["add"]
