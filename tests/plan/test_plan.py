"""What runs where: fusion as in the C library, conversions around host operators, refusals by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from itertools import pairwise

import pytest

import workloads
from sim import hardware
from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from sim.hardware import Hardware
from sim.lower import Matmul, Norm, ResidualAdd
from sim.lower.encoder import operators
from sim.lower.work import Operand
from sim.plan.array import MAX_ELEMENTS_PER_CALL
from sim.plan.planner import Step, plan
from sim.sparsity.spec import parse

SMALL = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 128}


def layer(**sizes: int) -> Graph:
    return workloads.build("encoder-layer", **{**SMALL, **sizes})


@pytest.fixture(scope="module")
def ibert() -> Hardware:
    return hardware.load("gemmini_ibert")


def host_elements(steps: tuple[Step, ...]) -> Counter[str]:
    total: Counter[str] = Counter()
    for step in steps:
        if step.host_kind:
            total[step.host_kind] += step.host_elements
    return total


def test_encoder_layer_is_planned_as_the_library_calls_it(ibert: Hardware) -> None:
    """Oracle: the library's own order and arguments (sim.lower.encoder, held to the recorded streams)."""
    planned = [work for step in plan(layer(), ibert) for work in step.works]
    expected = [work for _, work in operators(32, 64, 2, 128, ibert)]
    scales = {"scale", "bert_scale"}
    assert len(planned) == len(expected)
    for mine, library in zip(planned, expected, strict=True):
        assert type(mine) is type(library)
        for field in fields(mine):
            ours, theirs = getattr(mine, field.name), getattr(library, field.name)
            if ours is None and isinstance(theirs, Operand):
                assert theirs.row_stride == 0, "no bias: the library configures stride 0, as None does"
                continue
            if isinstance(ours, Operand) and isinstance(theirs, Operand):
                assert ours.row_stride == theirs.row_stride, field.name
            elif field.name not in scales and not isinstance(ours, Operand):
                assert ours == theirs, (mine, field.name)


def test_nothing_runs_on_the_host_with_the_normalisation_units(ibert: Hardware) -> None:
    steps = plan(layer(), ibert)
    assert {step.engine for step in steps} == {"array"}
    assert [step.kind for step in steps].count("matmul+softmax") == 1
    assert [step.kind for step in steps].count("matmul+gelu") == 1


def test_baseline_converts_as_many_elements_as_its_prices_were_derived_from() -> None:
    """hwconfigs/host/rocket_kim2023.toml, step 5: elements per layer of BERT-base at 512 tokens."""
    graph = workloads.build("encoder-layer", seq=512, hidden=768, heads=12, ffn=3072)
    elements = host_elements(plan(graph, hardware.load("kim2023_baseline")))
    assert elements == {
        "softmax": 12 * 512 * 512,
        "gelu": 512 * 3072,
        "layernorm": 2 * 512 * 768,
        "residual_add": 2 * 512 * 768,
        "dequantize": 7_077_888,
        "quantize": 6_291_456,
    }


def test_floating_point_array_needs_no_conversions() -> None:
    elements = host_elements(plan(layer(), hardware.load("gemmini_fp32_4x4")))
    assert set(elements) == {"softmax", "gelu", "layernorm"}


@pytest.mark.parametrize("machine", ["gemmini_default", "gemmini_ibert", "kim2023_baseline", "gemmini_fp32_4x4"])
def test_every_mac_of_the_graph_is_planned_once(machine: str) -> None:
    graph = layer(batch=2)
    steps = plan(graph, hardware.load(machine))
    assert sum(step.macs for step in steps) == graph.macs
    assert sum(work.macs for step in steps for work in step.works) == graph.macs


def test_one_invocation_per_head_at_its_place_in_the_tensor(ibert: Hardware) -> None:
    (scores,) = [step for step in plan(layer(), ibert) if step.name.endswith("scores")]
    first, second = scores.works
    assert isinstance(first, Matmul) and isinstance(second, Matmul)
    assert second.a.address - first.a.address == 64 // 2  # int8, head size
    assert second.c.address - first.c.address == 32 * 32


def test_output_stationary_only_where_the_library_has_it() -> None:
    """gemmini.h refuses OS with a transposed operand or a normalised row."""
    steps = plan(layer(), hardware.load("gemmini_default"), dataflow="OS")
    flows = {step.name.removeprefix("L0."): step.dataflow for step in steps if step.dataflow}
    assert flows.pop("scores") == "WS"
    assert set(flows.values()) == {"OS"}


def test_dataflow_that_the_array_lacks_is_refused_with_operator_and_machine() -> None:
    with pytest.raises(InputError, match=r"L0\.matmul_Q.*gemmini_lean.*needs dataflow OS"):
        plan(layer(), hardware.load("gemmini_lean"), dataflow="OS")


def test_operator_that_no_engine_can_run_is_refused_by_name() -> None:
    machine = hardware.load("gemmini_default", {"host": "none"})
    with pytest.raises(InputError) as refused:
        plan(layer(layers=2), machine)
    text = str(refused.value)
    assert "L0.softmax" in text and "gemmini_default" in text and "L0.gelu" in text
    assert "matmul" not in text


def test_operator_without_a_price_is_refused_by_name() -> None:
    machine = hardware.load("gemmini_default")
    priced = {kind: cycles for kind, cycles in machine.host.cycles_per_element.items() if kind != "tanh"}
    machine = machine.model_copy(update={"host": machine.host.model_copy(update={"cycles_per_element": priced})})
    tensors = [Tensor("x", (4, 8), "int8", "input"), Tensor("y", (4, 8), "int8", "activation")]
    graph = Graph.from_ops("g", tensors, [Op("pool", "tanh", (View.whole(tensors[0]),), View.whole(tensors[1]))])
    with pytest.raises(InputError, match=r"pool cannot run on gemmini_default.*no price.*tanh"):
        plan(graph, machine)


def test_floating_point_operands_do_not_fit_an_integer_array() -> None:
    graph = workloads.build("encoder-layer", **SMALL, dtype="fp32")
    with pytest.raises(InputError, match=r"operand \S+ is fp32; the array multiplies int8"):
        plan(graph, hardware.load("gemmini_ibert"))


def test_softmax_rows_that_do_not_fit_the_accumulator_go_to_the_host(ibert: Hardware) -> None:
    """tiled_matmul_auto normalises whole rows out of half an accumulator: at most acc_rows / 2 columns."""
    fits, too_long = ibert.acc_rows // 2, ibert.acc_rows // 2 + 16
    kinds = {seq: {step.kind for step in plan(layer(seq=seq), ibert)} for seq in (fits, too_long)}
    assert "matmul+softmax" in kinds[fits] and "softmax" not in kinds[fits]
    assert "matmul+softmax" not in kinds[too_long] and "softmax" in kinds[too_long]


def test_a_pass_over_many_wide_rows_is_several_calls_over_the_same_rows(ibert: Hardware) -> None:
    """In one program the softmax of 32,768 tokens would be a billion commands: 27 GB."""
    seq, heads = 32768, 4
    [softmax] = [step for step in plan(layer(seq=seq, heads=heads), ibert) if step.kind == "softmax"]
    works = [work for work in softmax.works if isinstance(work, Norm)]
    assert len(works) == len(softmax.works) == heads * seq * seq // MAX_ELEMENTS_PER_CALL
    assert len(set(softmax.equivalent)) == 1
    for before, after in pairwise(works):
        assert after.x.address - before.x.address == before.rows * seq
        assert after.c.address - before.c.address == before.rows * seq
    assert sum(work.rows for work in works) == heads * seq


def test_equal_layers_are_alike_and_heads_keep_their_place_in_the_page(ibert: Hardware) -> None:
    steps = {step.name: step for step in plan(layer(layers=3), ibert)}
    for name in ("matmul_Q", "scores", "layernorm1", "residual_add1", "FF1"):
        assert steps[f"L1.{name}"].works != steps[f"L2.{name}"].works
        assert steps[f"L1.{name}"].equivalent == steps[f"L2.{name}"].equivalent
    assert len(set(steps["L1.scores"].equivalent)) == 2


def test_no_two_layers_are_alike_behind_a_shared_cache() -> None:
    steps = {step.name: step for step in plan(layer(layers=2), hardware.load("gemmini_l2"))}
    assert steps["L0.FF2"].equivalent != steps["L1.FF2"].equivalent


def test_tensors_lie_on_pages_of_their_own(ibert: Hardware) -> None:
    starts: set[int] = set()
    for step in plan(layer(), ibert):
        for work in step.works:
            if isinstance(work, Norm | ResidualAdd):
                starts |= {work.c.address}
    assert all(address % 4096 == 0 and address >= 0x20010000 for address in starts)


def test_tile_that_does_not_fit_is_refused_before_anything_runs(ibert: Hardware) -> None:
    with pytest.raises(InputError, match=r"L0\.FF1.*tile.*nearest legal"):
        plan(layer(), ibert, mapping={"*FF1": {"tile": (99, 1, 1)}})


@pytest.mark.parametrize("tile", [(1, 2, 1), [1, 2, 1]])
def test_tile_by_hand_reaches_the_work_item(ibert: Hardware, tile: object) -> None:
    steps = {step.name: step for step in plan(layer(), ibert, mapping={"*FF1": {"tile": tile}})}
    (work,) = steps["L0.FF1"].works
    assert isinstance(work, Matmul) and work.tile == (1, 2, 1)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"*FF7": {"tile": (1, 1, 1)}}, "no matmul of encoder-layer"),
        ({"*FF1": {"til": 1}}, "did you mean 'tile'"),
        ({"*FF1": {"tile": 5}}, "tile is 5, must be whole numbers"),
        ({"*FF1": {"tile": (1, 1.5, 2)}}, "must be whole numbers"),
    ],
)
def test_wrong_mapping_is_refused(ibert: Hardware, mapping: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(layer(), ibert, mapping=mapping)


def test_sparse_weights_skip_the_macs_of_zero_blocks(ibert: Hardware) -> None:
    """Skipped + done = dense, and exactly round(density x blocks) blocks are done."""
    steps = {step.name: step for step in plan(layer(), ibert, sparsity=parse("block16:0.25"))}
    ff1 = steps["L0.FF1"]
    assert ff1.macs == 32 * 64 * 128
    assert ff1.macs_done == 32 * 256 * round(0.25 * 4 * 8)
    assert steps["L0.scores"].macs_done == steps["L0.scores"].macs


def test_a_block_of_any_size_leaves_out_what_is_all_zero(ibert: Hardware) -> None:
    """Weights that are not zero are counted one by one, and every skipped array block is all zero."""
    (ff1,) = [step for step in plan(layer(), ibert, sparsity=parse("block8:0.5")) if step.name == "L0.FF1"]
    assert ff1.macs_done == 32 * 64 * round(0.5 * 8 * 16)
    assert ff1.macs_done < ff1.macs_switched <= ff1.macs
