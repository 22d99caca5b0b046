"""Schedules on the executor: whatever stays on chip, DRAM ends as the library's order leaves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.functional import Machine, run_step
from sim.graph import Graph
from sim.lower import Chain, build, lower
from sim.lower.work import Matmul, Operand, RowsMatmul, Streaming
from sim.plan.placement import BASE_ADDRESS
from sim.plan.planner import plan
from sim.plan.schedules.resident import programs
from sim.timing import timer
from workloads import encoder_layer

DRAM_BYTES = 1 << 22
SIZES = {"seq": 40, "hidden": 96, "heads": 2, "ffn": 160}
"""No multiples of the array's 16, so that edges of blocks are among what is compared."""


def values(graph: Graph, hw: hardware.Hardware, seed: int = 0, **requested: object) -> dict[str, np.ndarray]:
    """Return each tensor after all programs of a plan ran on the same DRAM; nothing clashed."""
    steps = plan(graph, hw, **requested)
    assert all(step.engine == "array" for step in steps)
    machine = Machine(hw, DRAM_BYTES, BASE_ADDRESS, layernorm="hardware")
    rng = np.random.default_rng(seed)
    addresses = placed(graph, hw)
    for name, tensor in graph.tensors.items():
        if tensor.kind != "activation":
            drawn = rng.integers(-40, 40, (1, tensor.elements))
            machine.write(addresses[name], drawn, wide=tensor.dtype == "int32")
    for step in steps:
        for done in run_step(machine, step):
            assert (done.clashes, done.outside_reads, done.outside_writes) == (0, 0, 0), step.name
    wide = {name: tensor.dtype == "int32" for name, tensor in graph.tensors.items()}
    return {
        name: machine.read(addresses[name], (1, tensor.elements), wide=wide[name])
        for name, tensor in graph.tensors.items()
    }


def placed(graph: Graph, hw: hardware.Hardware) -> dict[str, int]:
    from sim.plan.placement import place

    return place(graph, hw)[0]


def hidden_by_fusion(graph: Graph, schedule: object, hw: hardware.Hardware) -> set[str]:
    """Return the tensors that never reach memory under a schedule: what a fused pair hands on."""
    steps = plan(graph, hw, schedule=schedule)
    named = {op.name: op for op in graph.ops}
    hidden = {named[step.name].output.tensor for step in steps if "+" in step.kind}
    streamed = [(step.name, *step.covers)[:-1] for step in steps if step.schedule == "streaming"]
    return hidden | {named[name].output.tensor for names in streamed for name in names}


def test_attention_of_long_rows_is_fused_in_strips_bit_for_bit():
    # Oracle: softmax as a pass of its own over the same sums. 256 columns fill all of 16 KiB.
    hw = hardware.load("gemmini_ibert").with_({"accumulator.capacity": "16KiB"})
    graph = encoder_layer(seq=256, hidden=32, heads=2, ffn=32)
    scores = {step.name: step for step in plan(graph, hw, schedule={"*": "fused"})}["L0.scores"]
    assert scores.schedule == "fused, in strips"
    assert scores.works[0].turned is not None
    apart, found = (values(graph, hw, schedule={"L0.scores": name}) for name in ("unfused", "fused"))
    for name in ("L0.probabilities", "L0.context"):
        np.testing.assert_array_equal(found[name], apart[name], err_msg=name)
    assert len(np.unique(found["L0.probabilities"])) > 4


@pytest.mark.parametrize(
    "schedule",
    ["fused", "unfused", "overlap", "streaming", "fused+overlap", "unfused+overlap", "fused+streaming+overlap",
     "resident", "overlap+resident", {"*.W_out": "fused"}],
)  # fmt: skip
@pytest.mark.parametrize("accumulator", ["64KiB", "16KiB"])
def test_schedules_leave_what_the_library_leaves(schedule, accumulator):
    # Oracle: the library's order on the same executor. 16 KiB: LayerNorm's 96 columns still fit half of it.
    hw = hardware.load("gemmini_ibert").with_({"accumulator.capacity": accumulator})
    graph = encoder_layer(**SIZES)
    choices = {"*": schedule} if isinstance(schedule, str) else schedule
    library, found = values(graph, hw), values(graph, hw, schedule=choices)
    never = hidden_by_fusion(graph, choices, hw) | hidden_by_fusion(graph, {}, hw)
    compared = [name for name in graph.tensors if name not in never]
    assert "L0.sum2" in compared or len(compared) > 10
    assert "streaming" not in str(schedule) or "L0.probabilities" in never
    for name in compared:
        np.testing.assert_array_equal(found[name], library[name], err_msg=name)
    assert len(np.unique(found[graph.ops[-1].output.tensor])) > 20  # numbers, not zeros


@pytest.mark.parametrize(("activation", "transposed"), [("layernorm", False), ("softmax", True), ("softmax", False)])
@pytest.mark.parametrize("bias", ["none", "row", "full"])
def test_rows_in_all_of_the_accumulator_are_those_of_the_loop(activation, transposed, bias):
    # Oracle: the library's loop on a machine whose accumulator is twice as large, so that a row fits half of it.
    small = hardware.load("gemmini_ibert").with_({"accumulator.capacity": "16KiB"})
    large = hardware.load("gemmini_ibert")
    product = build.matmul(
        40, 200, 72, bias=bias, activation=activation, transpose_b=transposed, scale=1.0, bert_scale=0.05
    )
    rng, results = np.random.default_rng(1), []
    drawn = {place.name: rng.integers(-30, 30, (place.rows, place.cols)) for place in product.places()}
    behind = product.c.address + (1 << 20)
    turned = RowsMatmul(product, Operand(behind, 72), Operand(behind + 72 * 80, 200))
    drawn["identity"] = np.eye(72)
    works = [(large, product), (small, RowsMatmul(product)), *([(small, turned)] if transposed else [])]
    for hw, work in works:
        machine = Machine(hw, DRAM_BYTES, layernorm="hardware")
        for place in work.places():
            if not place.operand.address or place.name == "turned":
                continue
            stride = place.operand.row_stride or place.cols
            machine.write(place.operand.address, drawn[place.name], stride, wide=place.width == "sums")
        done = machine.run(timer.run(lower(work, hw), hw, timeline=True))
        assert (done.clashes, done.outside_reads, done.outside_writes) == (0, 0, 0)
        results.append(machine.read(product.c.address, (40, 200)))
    for found in results[1:]:
        np.testing.assert_array_equal(found, results[0])
    assert len(np.unique(results[0])) > 4


def attention(sizes: tuple[int, int, int, int], heads: int, bias: str) -> tuple[Matmul, ...]:
    """Return of each head the product of scores [m, n] over k and that of them with the values [n, o]."""
    m, n, k, o = sizes
    found: list[Matmul] = []
    for head in range(heads):
        base = BASE_ADDRESS + head * HEAD_BYTES
        softmax = {"activation": "softmax", "scale": 1.0, "bert_scale": 0.05}
        scores = build.matmul(m, n, k, base=base, bias=bias, transpose_b=True, **softmax)
        context = build.matmul(m, o, n, base=base + HEAD_BYTES // 2, scale=0.02)
        found += [scores, replace(context, a=scores.c)]
    return tuple(found)


HEAD_BYTES = 1 << 18


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 200), st.integers(1, 70), st.integers(1, 70)),
    heads=st.integers(1, 2),
    bias=st.sampled_from(["none", "row", "full"]),
    cut=st.sampled_from([(16, 1, 2), (16, 2, 1), (16, 2, 2), (6, 1, 2), (2, 3, 1), (5, 2, 2)]),
    scratchpad=st.sampled_from(["64KiB", "256KiB"]),
    turns=st.booleans(),
)
def test_attention_in_blocks_is_that_of_its_products(sizes, heads, bias, cut, scratchpad, turns):
    # Oracle: the library's two products a head, on the same memory contents. In 64 KiB long keys come with every block.
    hw = hardware.load("gemmini_ibert").with_({"scratchpad.capacity": scratchpad})
    parts, (m, n, k, o) = attention(sizes, heads, bias), sizes
    behind = BASE_ADDRESS + heads * HEAD_BYTES
    free = [Operand(behind + part * (1 << 16), stride) for part, stride in enumerate((n, k, n))]
    work = Streaming(parts, free[0], *cut, *(free[1:] if turns else (None, None)))
    results = []
    for works in (parts, (work,)):
        machine, rng = Machine(hw, DRAM_BYTES, BASE_ADDRESS, layernorm="hardware"), np.random.default_rng(3)
        for place in work.places():
            if place.name in "abd" and place.operand.address:
                drawn = rng.integers(-NOISE, NOISE, (place.rows, place.cols))
                machine.write(place.operand.address, drawn, place.operand.row_stride, wide=place.width == "sums")
        for one in works:
            for place in one.places():
                if place.name == "identity":
                    machine.write(place.operand.address, np.eye(k))
            done = machine.run(timer.run(lower(one, hw), hw, timeline=True))
            assert (done.clashes, done.outside_reads, done.outside_writes) == (0, 0, 0)
        results.append([machine.read(part.c.address, (m, o)) for part in parts[1::2]])
    for found, wanted in zip(results[1], results[0], strict=True):
        np.testing.assert_array_equal(found, wanted)


NOISE = 30


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(*(st.integers(1, 9) for _ in "mnk"), st.sampled_from(["matmul", "turned", "norm", "add"]))
        .map(lambda one: (*(8 * n for n in one[:3]), one[3])), min_size=2, max_size=5),
    fenced=st.booleans(),
    resident=st.sampled_from(["library", "none"]),
)  # fmt: skip
def test_a_chain_computes_what_its_parts_compute_one_by_one(sizes, fenced, resident):
    # Oracle: each part as a program of its own, on the same memory contents. Small memories: tiles meet at borders.
    hw = hardware.load("gemmini_ibert").with_({"scratchpad.capacity": "16KiB", "accumulator.capacity": "16KiB"})
    parts = []
    for number, (m, n, k, kind) in enumerate(sizes):
        base = BASE_ADDRESS + number * (1 << 18)
        if kind in ("matmul", "turned"):
            turned = {"transpose_b": True, "activation": "softmax", "scale": 1.0} if kind == "turned" else {}
            parts.append(build.matmul(m, n, k, base=base, resident=resident, **turned))
            continue
        work = build.resadd(m, n) if kind == "add" else build.norm(m, n, "layernorm")
        parts.append(work.moved({at: at + number * (1 << 18) for at in work.addresses()}))
    chain = Chain(tuple(parts), fences=(1,) if fenced else ())
    results = []
    for works in ((chain,), parts):
        machine, rng = Machine(hw, DRAM_BYTES, BASE_ADDRESS, layernorm="hardware"), np.random.default_rng(7)
        for place in chain.places():
            if place.name != "c" and place.operand.address:
                drawn = rng.integers(-NOISE, NOISE, (place.rows, place.cols))
                machine.write(place.operand.address, drawn, place.operand.row_stride, wide=place.width == "sums")
        for work in works:
            assert machine.run(timer.run(lower(work, hw), hw, timeline=True)).clashes == 0
        outputs = [place for place in chain.places() if place.name == "c"]
        results.append([machine.read(p.operand.address, (p.rows, p.cols), p.operand.row_stride) for p in outputs])
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(found, wanted)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 200), depth=st.integers(1, 100), columns=st.lists(st.integers(1, 90), min_size=2, max_size=4),
    bias=st.sampled_from(["none", "row", "full"]), most=st.sampled_from([3, 24]), cut=st.integers(0, 15),
)  # fmt: skip
def test_products_of_rows_that_stay_are_those_of_the_library(rows, depth, columns, bias, most, cut):
    # Oracle: each product by the library's program, on the same memory contents; nothing meets data in motion.
    hw = hardware.load("gemmini_ibert").with_({"scratchpad.capacity": "16KiB", "accumulator.capacity": "16KiB"})
    works: list[Matmul] = []
    for number, n in enumerate(columns):
        work = build.matmul(rows, n, depth, base=BASE_ADDRESS + number * (1 << 18), bias=bias)
        works.append(replace(work, a=works[0].a) if works else work)
    every = list(programs(works, hw, most))
    chains = every[cut % len(every)]
    assert sum(len(chain.keeps) for chain in chains) * 2 >= sum(len(chain.parts) for chain in chains) / 2
    results = []
    for some in (works, chains):
        machine, rng = Machine(hw, DRAM_BYTES, BASE_ADDRESS, layernorm="hardware"), np.random.default_rng(11)
        for place in [place for work in works for place in work.places()]:
            if place.name != "c" and place.operand.address:
                drawn = rng.integers(-NOISE, NOISE, (place.rows, place.cols))
                machine.write(place.operand.address, drawn, place.operand.row_stride, wide=place.width == "sums")
        for one in some:
            done = machine.run(timer.run(lower(one, hw), hw, timeline=True))
            assert (done.clashes, done.outside_reads, done.outside_writes) == (0, 0, 0)
        results.append([machine.read(work.c.address, (rows, work.n), work.c.row_stride) for work in works])
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(found, wanted)
