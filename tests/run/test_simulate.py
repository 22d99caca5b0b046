"""Laws of the pipeline on the real timing core: sums, bounds, memory of equal items, order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import sim
import workloads
from sim import hardware
from sim.base.errors import Hang, InputError
from sim.lower import lower
from sim.plan.planner import plan
from sim.run import columns
from sim.run.session import RESTART_CYCLES
from sim.timing import timer
from sim.timing.memo import Memo

TINY = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 64}
MACHINES = ("gemmini_ibert", "gemmini_default", "kim2023_baseline", "gemmini_8x8", "gemmini_fp32_4x4")


@pytest.fixture(scope="module", params=MACHINES)
def result(request: pytest.FixtureRequest) -> sim.Result:
    return sim.simulate("encoder-layer", request.param, layers=2, **TINY)


def test_every_cycle_has_exactly_one_cause(result: sim.Result) -> None:
    ops = result.ops
    causes = ops[[f"{cause}_cycles" for cause in columns.CAUSES]]
    assert (causes >= 0).all().all()
    assert (causes.sum(axis=1) == ops["cycles"]).all()
    assert sum(result.causes.values()) == result.cycles


def test_operators_follow_each_other_without_gap_or_overlap(result: sim.Result) -> None:
    ops = result.ops
    assert ops["start_cycle"].iloc[0] == 0
    assert (ops["start_cycle"].iloc[1:].to_numpy() == ops["end_cycle"].iloc[:-1].to_numpy()).all()
    assert ops["end_cycle"].iloc[-1] == result.cycles


def test_utilization_is_a_share_and_the_product_of_its_parts(result: sim.Result) -> None:
    ops = result.ops
    assert ops[["util_mapping", "util_compute", "utilization"]].max().max() <= 1.0
    matmuls = ops[ops["macs"] > 0]
    assert len(matmuls) and np.allclose(matmuls["util_mapping"] * matmuls["util_compute"], matmuls["utilization"])


def test_no_operator_is_faster_than_a_full_array(result: sim.Result) -> None:
    assert (result.ops["cycles"] * result.hardware.dim**2 >= result.ops["macs"]).all()


def test_totals_are_sums_of_operators(result: sim.Result) -> None:
    for name in ("cycles", "macs", "dram_read_bytes", "dram_write_bytes", "acc_write_bytes", "energy_pj"):
        assert result.totals[name] == pytest.approx(result.ops[name].sum()), name
    assert result.totals["energy_pj"] == pytest.approx(sum(result.energy.values()))
    assert result.totals["macs"] == result.graph.macs


def test_compulsory_traffic_is_paid(result: sim.Result) -> None:
    """Each weight is read and each result written at least once."""
    graph, hw = result.graph, result.hardware
    weights = sum(t.elements for t in graph.tensors.values() if t.name.endswith(".weight"))
    assert result.totals["dram_read_bytes"] >= weights * hw.input_bytes


def test_equal_items_are_simulated_once_and_change_nothing() -> None:
    class Forgetful(Memo):
        def timing(self, item, hw, phase, clock, run):  # type: ignore[no-untyped-def]
            return run()

    machine = {"layers": 3, **TINY}
    once = sim.simulate("encoder-layer", "gemmini_ibert", **machine)
    again = sim.simulate("encoder-layer", "gemmini_ibert", memo=Forgetful(), **machine)
    assert once.rows == again.rows
    assert once.totals["distinct"] < once.totals["invocations"]


HEADS = [  # hidden, heads, head_dim: rows of a page, of a part of a page, heads across pages, odd ones
    (64, 2, 32),
    (4096, 4, 64),
    (768, 6, 64),
    (1024, 3, 128),
    (1600, 5, 64),
    (200, 4, 24),
]


@pytest.mark.parametrize("machine", ["gemmini_ibert", "gemmini_bus64", "gemmini_8x8"])
@pytest.mark.parametrize(("hidden", "heads", "head_dim"), HEADS)
def test_items_that_are_alike_take_the_same_time(machine: str, hidden: int, heads: int, head_dim: int) -> None:
    """The memo's claim, checked on the core: tensors may move by whole pages, heads by requests within a page."""
    hw = hardware.load(machine)
    graph = workloads.build("encoder-layer", seq=20, hidden=hidden, heads=heads, head_dim=head_dim, ffn=16)
    for step in plan(graph, hw):
        if hidden > 64 and not step.name.endswith(("scores", "context")):
            continue  # the heads are what the sizes are about
        for work, equivalent in zip(step.works, step.equivalent, strict=True):
            here, there = (timer.run(lower(item, hw), hw) for item in (work, equivalent))
            assert (here.cycles, here.causes, here.counters) == (there.cycles, there.causes, there.counters)


@pytest.mark.parametrize(("hidden", "distinct"), [(1024, 1), (768, 3), (1600, 25)])
def test_heads_are_equal_unless_their_rows_meet_pages_differently(hidden: int, distinct: int) -> None:
    """Rows of 1,024 bytes: every head lies alike in a quarter page. Of 768: every fourth. Of 1,600: none."""
    hw = hardware.load("gemmini_ibert")
    steps = plan(workloads.build("encoder-layer", seq=64, hidden=hidden, heads=hidden // 64), hw)
    (scores,) = [step for step in steps if step.name == "L0.scores"]
    assert len(set(scores.equivalent)) == distinct


def test_operators_apart_equal_the_one_long_program() -> None:
    """Oracle: all programs in a row, as a chip runs them; each section equals the operator alone."""
    hw = hardware.load("gemmini_ibert")
    graph = workloads.build("encoder-layer", **TINY)
    works = [work for step in plan(graph, hw) for work in step.works]
    whole = timer.run(np.concatenate([lower(work, hw) for work in works]), hw)
    phase, apart = 0, []
    for index, work in enumerate(works):
        timed = timer.run(lower(work, hw), hw, phase=phase)
        phase = timed.phase
        apart.append(timed.cycles + (RESTART_CYCLES if index else 0))
    assert list(whole.sections) == apart
    assert whole.cycles == sim.simulate(graph, hw).cycles


def test_both_clocks_give_the_same_rows() -> None:
    leap, reference = (sim.simulate("encoder-layer", "gemmini_ibert", clock=c, **TINY) for c in ("leap", "reference"))
    changing = {"visited_cycles", "counters"}
    for ours, theirs in zip(leap.rows, reference.rows, strict=True):
        assert {k: v for k, v in ours.items() if k not in changing} == {
            k: v for k, v in theirs.items() if k not in changing
        }
    assert leap.totals["visited_cycles"] < reference.totals["visited_cycles"]


def test_host_operators_take_their_price_and_leave_the_array_idle() -> None:
    result = sim.simulate("encoder-layer", "kim2023_baseline", **TINY)
    (gelu,) = [row for row in result.rows if row["op_kind"] == "gelu"]
    price = result.hardware.host.cycles_per_element["gelu"]
    assert gelu["cycles"] == gelu["host_cycles"] == np.ceil(32 * 64 * price)
    assert gelu["dram_read_bytes"] == 0 and gelu["energy_mac_pj"] == 0 and gelu["energy_host_pj"] > 0


def test_full_density_is_dense_cycle_for_cycle() -> None:
    """Dense as sparse runs are compared with it: in the quicker of the library's and the block-sparse order."""
    library = sim.simulate("encoder-layer", "gemmini_ibert", **TINY)
    dense = sim.simulate("encoder-layer", "gemmini_ibert", sparsity="dense", **TINY)
    full = sim.simulate("encoder-layer", "gemmini_ibert", sparsity="block16:1", **TINY)
    assert [row["cycles"] for row in full.rows] == [row["cycles"] for row in dense.rows]
    assert dense.cycles <= library.cycles


def test_nested_masks_never_do_more_work() -> None:
    results = [
        sim.simulate("encoder-layer", "gemmini_ibert", sparsity=f"block16:{d}", seed=3, **TINY) for d in (0.25, 0.5, 1)
    ]
    for sparser, denser in itertools.pairwise(results):
        assert sparser.totals["macs"] < denser.totals["macs"]
        assert sparser.totals["macs"] + sparser.totals["macs_skipped"] == denser.graph.macs


def test_pruning_half_the_heads_halves_the_attention() -> None:
    whole = sim.simulate("encoder-layer", "gemmini_ibert", **TINY)
    half = sim.simulate("encoder-layer", "gemmini_ibert", prune="heads=1", **TINY)
    macs = [r.ops.set_index("op").loc["L0.scores", "macs"] for r in (whole, half)]
    assert macs[1] * 2 == macs[0]


def test_unknown_clock_is_refused() -> None:
    with pytest.raises(InputError, match="clock"):
        sim.simulate("encoder-layer", "gemmini_ibert", clock="sundial", **TINY)


def test_sizes_of_a_finished_graph_are_refused() -> None:
    with pytest.raises(InputError, match="sizes seq"):
        sim.simulate(workloads.build("encoder-layer", **TINY), "gemmini_ibert", seq=8)


def test_hang_names_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(*_: object, **__: object) -> None:
        raise Hang("load controller waits for ever")

    monkeypatch.setattr("sim.timing.timer.run", stuck)
    with pytest.raises(Hang, match=r"L0\.matmul_Q on gemmini_ibert: load controller"):
        sim.simulate("encoder-layer", "gemmini_ibert", **TINY)


def test_progress_names_each_operator_in_order() -> None:
    calls: list[tuple[int, int, str]] = []
    result = sim.simulate("encoder-layer", "gemmini_ibert", progress=lambda *call: calls.append(call), **TINY)
    assert [name for _, _, name in calls] == [*result.ops["op"], ""]
    assert [done for done, _, _ in calls] == list(range(len(result.ops) + 1))
