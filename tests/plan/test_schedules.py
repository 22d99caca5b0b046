"""Schedules at the door and in the plan: what is fused, what is declined and why, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sim
from sim import hardware
from sim.analysis.scheduled import savings
from sim.base.errors import InputError
from sim.lower import check, lower
from sim.lower.build import matmul as build_matmul
from sim.lower.work import Chain, RowsMatmul
from sim.plan.planner import plan
from sim.timing import timer
from workloads import build, encoder_layer

IBERT = hardware.load("gemmini_ibert")
SMALL = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 128}


def steps(graph, hw=IBERT, **schedule):
    return {step.name: step for step in plan(graph, hw, **schedule)}


def test_the_librarys_schedule_is_the_plan_without_one():
    graph = encoder_layer(**SMALL)
    assert plan(graph, IBERT, schedule={"*": "library"}) == plan(graph, IBERT)


def test_layernorm_is_fused_where_a_product_makes_its_rows_and_named_where_not():
    fused = steps(encoder_layer(**SMALL), schedule={"*": "fused"})
    assert fused["L0.W_out"].kind == "matmul+layernorm"
    assert "L0.layernorm1" in fused["L0.W_out"].covers
    assert "L0.layernorm1" not in fused
    gpt = steps(build("gpt2", seq=32, layers=1), schedule={"*": "fused"})
    assert "residual_add" in str(gpt["L0.norm2"].declined)


def test_rows_wider_than_the_accumulator_are_declined_with_a_size_that_fits():
    # 16 rows of 4,096 columns of 4 bytes are 256 KiB.
    graph = encoder_layer(seq=4096, hidden=64, heads=1, ffn=64)
    small = steps(graph, IBERT, schedule={"*.scores": "fused"})["L0.scores"]
    assert small.kind == "matmul"
    assert "accumulator.capacity_bytes = 262144" in str(small.declined)
    large = IBERT.with_({"accumulator.capacity_bytes": 262144})
    found = steps(graph, large, schedule={"*.scores": "fused"})["L0.scores"]
    assert found.kind == "matmul+softmax"
    assert isinstance(found.works[0], RowsMatmul)


@pytest.mark.parametrize(
    ("machine", "schedule", "words"),
    [
        ("gemmini_ibert", "fusd", "did you mean 'fused'"),
        ("gemmini_ibert", "fused+unfused", "contradict"),
        ("gemmini_ibert", "residnt", "did you mean 'resident'"),
        ("gemmini_ibert", "library+fused", "cannot be joined with others"),
        ("gemmini_ibert", {"L0.W_ou": "fused"}, "did you mean 'L0.W_out'"),
        ("gemmini_ibert", {"*": 3}, "must be text"),
        ("gemmini_default", "fused", "features.normalizations=true"),
    ],
)
def test_schedules_that_cannot_be_meant_are_refused(machine, schedule, words):
    with pytest.raises(InputError, match=r"schedule") as caught:
        sim.simulate("encoder-layer", machine, schedule=schedule, **SMALL)
    assert words in str(caught.value)


@pytest.mark.parametrize(("dataflow", "words"), [("IS", "input-stationary"), ("RS", "row-stationary")])
def test_dataflows_that_the_array_has_not_got_are_refused_by_name(dataflow, words):
    with pytest.raises(InputError, match=words):
        sim.simulate("encoder-layer", "gemmini_ibert", dataflow=dataflow, **SMALL)


def test_the_machine_of_the_refusals_hint_takes_the_schedule():
    keys = {"features.normalizations": True, "features.nonlinear_activations": True}
    assert sim.simulate("encoder-layer", "gemmini_default", overrides=keys, schedule="fused", **SMALL).cycles > 0


def test_what_schedules_saved_is_the_difference_of_the_two_runs():
    # Law: savings of all groups are the difference of the totals, and those of the causes that of the cycles.
    before, after = (sim.simulate("encoder-layer", "gemmini_ibert", schedule=name, **SMALL) for name in (None, "fused"))
    found = savings(before, after)
    assert {schedule for one in found for schedule in one.schedules.split("; ")} <= {"fused", "fused, in strips"}
    assert sum(one.saved_cycles for one in found) == before.cycles - after.cycles
    for one in found:
        assert sum(n for _, n in one.saved_by_cause) == one.before_cycles - one.after_cycles
    apart = sim.simulate("encoder-layer", "gemmini_ibert", schedule="unfused", **SMALL)
    assert sum(one.saved_cycles for one in savings(before, apart)) == before.cycles - apart.cycles
    assert savings(before, before) == []


@pytest.mark.parametrize("schedule", ["fused", "unfused", "overlap", "resident", "streaming", "fused+overlap"])
def test_all_clocks_agree_on_the_programs_of_schedules(schedule):
    # Law of the clocks (docs/CLOCKS.md): cycles and causes of every operator are equal.
    runs = [
        sim.simulate("encoder-layer", "gemmini_ibert", schedule=schedule, clock=clock, cache=False, **SMALL).rows
        for clock in ("reference", "leap", "periodic")
    ]
    cycles = [[{name: n for name, n in row.items() if name.endswith("_cycles")} for row in rows] for rows in runs]
    for rows in cycles:
        for row in rows:
            row.pop("visited_cycles")
    assert cycles[0] == cycles[1] == cycles[2]


def test_independent_products_and_heads_are_one_program_without_fences():
    graph = encoder_layer(**SMALL)
    found = steps(graph, schedule={"*": "overlap"})
    assert found["L0.matmul_Q"].covers == ("L0.matmul_K", "L0.matmul_V")
    assert found["L0.matmul_Q"].batch == 3
    assert [len(work.parts) for work in found["L0.scores"].works] == [SMALL["heads"]]
    assert "single program" in str(found["L0.FF1"].declined)
    # Law: joining moves no multiply-accumulate.
    assert sum(step.macs for step in found.values()) == sum(step.macs for step in plan(graph, IBERT))


@pytest.mark.parametrize("machine", ["gemmini_ibert", "gemmini_default"])
@pytest.mark.parametrize(("workload", "sizes"), [("encoder-layer", SMALL), ("gpt2", {"seq": 24, "layers": 1})])
def test_the_best_schedule_is_never_slower_than_any_other(machine, workload, sizes):
    found = sim.simulate(workload, machine, schedule="best", **sizes)
    for schedule in ("library", "overlap", "resident", *(["streaming"] if machine == "gemmini_ibert" else [])):
        assert found.cycles <= sim.simulate(workload, machine, schedule=schedule, **sizes).cycles


def test_attention_is_one_step_of_blocks_that_fit_the_accumulator():
    graph = encoder_layer(**SMALL)
    step = steps(graph, schedule={"*": "streaming"})["L0.scores"]
    assert (step.kind, step.schedule, step.covers) == (
        "matmul+softmax+matmul", "streaming", ("L0.softmax", "L0.context"),
    )  # fmt: skip
    library = steps(graph)
    # Law: the same multiply-accumulates; and the library's programs stay to be compared.
    assert step.macs == library["L0.scores"].macs + library["L0.context"].macs
    assert [work.macs for work in step.others[-1].works] == [work.macs for work in (*library["L0.scores"].works[:1],
        *library["L0.context"].works[:1])] * SMALL["heads"]  # fmt: skip


def test_attention_longer_than_the_accumulator_is_in_narrower_strips_and_beyond_them_refused_with_a_size():
    # 128 KiB are 2,048 rows: 16 rows of 4,096 scores are 4,096, two are 512. Nothing of it needs an l x l tensor.
    graph = encoder_layer(seq=4096, hidden=64, heads=1, ffn=64)
    step = steps(graph, schedule={"*": "streaming"})["L0.scores"]
    assert {work.height for one in (step, *step.others) for work in one.works} == {2, 6}
    small = IBERT.with_({"accumulator.capacity": "8KiB"})
    refused = steps(graph, small, schedule={"*.scores": "streaming"})["L0.scores"]
    assert "accumulator.capacity_bytes = 65536" in str(refused.declined)
    found = steps(graph, small.with_({"accumulator.capacity_bytes": 65536}), schedule={"*.scores": "streaming"})
    assert found["L0.scores"].schedule == "streaming"


@pytest.mark.parametrize("scratchpad", ["256KiB", "16KiB"])
def test_rows_that_several_products_read_are_loaded_once(scratchpad):
    # Law: all but the first of a strip's products load B alone, so that of the shared rows each is read once.
    hw = IBERT.with_({"scratchpad.capacity": scratchpad, "accumulator.capacity": "16KiB"})
    graph = encoder_layer(**{**SMALL, "seq": 200})
    library, found = steps(graph, hw), steps(graph, hw, schedule={"*": "resident"})
    step = found["L0.matmul_Q"]
    assert step.covers == ("L0.matmul_K", "L0.matmul_V")
    assert step.schedule == "resident"
    assert step.macs == sum(library[f"L0.matmul_{name}"].macs for name in "QKV")
    assert "reads the same rows" in str(found["L0.scores"].declined)
    assert found["L0.scores"].works == library["L0.scores"].works
    for one in step.others[:-1]:
        for chain in one.works:
            kept = [part.m * part.k for n, part in enumerate(chain.parts) if n not in chain.keeps]
            loads = [timer.run(lower(part, hw), hw).counters["DRAM_READ_BYTES"] for part in chain.parts]
            whole = timer.run(lower(chain, hw), hw).counters["DRAM_READ_BYTES"]
            assert whole == sum(loads) - 2 * sum(kept)


def test_resident_rows_take_no_more_cycles_and_fewer_bytes_where_the_library_loads_them_anew():
    # Law: a group takes whichever of its programs ends first, its own among them. 8 bytes a cycle: loads are seen.
    sizes = {"seq": 128, "hidden": 256, "heads": 4, "ffn": 256}
    runs = [
        sim.simulate(
            "encoder-layer", "gemmini_ibert", overrides={"memory.read_bytes_per_cycle": 8}, schedule=name, **sizes
        )
        for name in ("library", "overlap", "resident", "overlap+resident")
    ]
    library, overlap, resident, both = (one.cycles for one in runs)
    assert both <= min(overlap, resident)
    assert max(overlap, resident) <= library
    (saved,) = savings(runs[0], runs[2])
    assert saved.schedules == "resident"
    assert saved.before_bytes - saved.after_bytes >= 2 * 128 * 256


def test_a_chain_is_refused_whose_part_would_not_find_the_rows_it_keeps():
    work = build_matmul(32, 32, 64, resident="a", tile=(2, 2, 2))
    other = replace(work, a=replace(work.a, address=work.a.address + 4096))
    deep = replace(work, tile=(1, 2, 1))
    for parts, keeps, words in [
        ((work, work), (0,), "no part without a fence"),
        ((work, replace(work, resident="none")), (1,), "must stay in both"),
        ((work, other), (1,), "reads another"),
        ((deep, deep), (1,), "8 tiles"),
    ]:
        with pytest.raises(InputError, match=words):
            check(Chain(parts, keeps=keeps), IBERT)


def test_a_plan_alone_has_no_best_schedule():
    with pytest.raises(InputError, match="a run finds it"):
        plan(encoder_layer(**SMALL), IBERT, schedule={"*": "best"})


def test_an_overlapped_run_is_never_slower_than_the_librarys():
    # Law: a group takes its chain or its operators' own programs, whichever ends first.
    for seq in (16, 50):
        sizes = {**SMALL, "seq": seq}
        library, found = (
            sim.simulate("encoder-layer", "gemmini_ibert", schedule=name, **sizes) for name in ("library", "overlap")
        )
        assert found.cycles <= library.cycles


def test_a_sweep_over_schedules_has_a_row_and_a_name_for_each():
    # Oracle: the runs one by one.
    requested = [None, "streaming", {"*.W_out": "fused"}]
    table = sim.sweep("gemmini_ibert", workloads="encoder-layer", sizes=SMALL, schedule=requested, jobs=1)
    assert [None if name != name else name for name in table["schedule"]] == [None, "streaming", "*.W_out=fused"]
    alone = [sim.simulate("encoder-layer", "gemmini_ibert", schedule=one, **SMALL).cycles for one in requested]
    assert list(table["cycles"]) == alone
