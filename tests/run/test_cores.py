"""A run on several cores: what the split leaves alone, what it costs, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

import sim
from sim import hardware
from sim.base.errors import InputError
from sim.run import columns
from sim.run.result import Result

TINY = {"seq": 64, "hidden": 128, "heads": 4, "ffn": 512}


@cache
def result(count: int, split: str = "tensor", machine: str = "gemmini_ibert", **changes: Any) -> Result:
    """An encoder layer on some cores."""
    own = {"cores.count": count, "cores.shared": "memory", "cores.split": split}
    return sim.simulate("encoder-layer", machine, overrides={**own, **changes}, cache=False, **TINY)


def test_one_core_of_a_machine_of_several_is_the_machine() -> None:
    alone = sim.simulate("encoder-layer", "gemmini_ibert", cache=False, **TINY)
    assert result(1).rows == alone.rows and result(1).core_rows == ()
    assert result(1).hardware.key == hardware.load("gemmini_ibert").key


@pytest.mark.parametrize("split", ("tensor", "data"))
def test_work_is_conserved_and_time_is_not_more_than_alone(split: str) -> None:
    alone, four = result(1), result(4, split)
    assert four.totals["macs"] == alone.totals["macs"]
    assert alone.cycles / 4 <= four.cycles < alone.cycles
    assert four.totals["dram_read_bytes"] >= alone.totals["dram_read_bytes"]
    assert four.totals["dram_write_bytes"] >= alone.totals["dram_write_bytes"]
    assert four.totals["peak_macs_per_cycle"] == 4 * alone.totals["peak_macs_per_cycle"]
    assert sum(four.causes.values()) == four.cycles


@pytest.mark.parametrize("split", ("tensor", "data"))
def test_each_core_accounts_for_all_cycles_and_together_for_all_bytes(split: str) -> None:
    run = result(4, split)
    assert list(run.cores.columns) == list(columns.table("cores"))
    starts = sum(row["invocations"] > 0 for row in run.rows)  # the restart of the array before each operator
    for row in run.core_rows:
        assert run.cycles - starts <= row["busy_cycles"] + row["barrier_cycles"] <= run.cycles
        assert 0 <= row["port_wait_cycles"] <= row["busy_cycles"]
    assert sum(row["core_macs"] for row in run.core_rows) == run.totals["macs"]
    assert sum(row["core_read_bytes"] for row in run.core_rows) == run.totals["dram_read_bytes"]
    assert sum(row["core_write_bytes"] for row in run.core_rows) == run.totals["dram_write_bytes"]


def test_the_clocks_agree_on_a_run() -> None:
    own = {"cores.count": 3, "cores.shared": "memory"}
    small = {"seq": 16, "hidden": 64, "heads": 2, "ffn": 64, "overrides": own, "cache": False}
    leap, reference = (sim.simulate("encoder-layer", "gemmini_ibert", clock=c, **small) for c in ("leap", "reference"))
    assert leap.cycles == reference.cycles and leap.causes == reference.causes
    assert leap.core_rows == reference.core_rows


def test_batch_items_run_at_the_same_time_with_a_split_by_data() -> None:
    own = {"cores.count": 4, "cores.shared": "memory", "cores.split": "data"}
    run = sim.simulate("bert-tiny", "gemmini_default", seq=32, batch=4, layers=1, overrides=own, cache=False)
    assert [row["busy_share"] > 0.97 for row in run.core_rows] == [True] * 4
    assert {row["op"] for row in run.rows} == {step.name for step in run.steps}
    assert sum(row["cycles"] for row in run.rows) == run.cycles


def test_a_barrier_costs_what_is_reported_and_a_split_by_data_has_none_between_operators() -> None:
    free, dear = (result(4, **{"cores.barrier_cycles": n}).cycles for n in (0, 1000))
    assert dear - free == 1000 * len(result(4).rows)
    assert result(4, "data", **{"cores.barrier_cycles": 1000}).cycles == result(4, "data").cycles
    assert result(4).hardware.barrier_cycles == 2 * 59  # two lines from memory at latency 40


def test_cores_behind_an_l2_and_a_dram_find_what_earlier_operators_left() -> None:
    run = sim.simulate("encoder-layer", "gemmini_4core_ddr4", cache=False, **TINY)
    assert run.counters["L2_HITS"] > 0 and run.counters["DRAM_READ_BURSTS"] > 0
    assert len(run.core_rows) == 4 and run.totals["energy_l2_pj"] > 0


@pytest.mark.parametrize("changes, said", [
    ({"cores.count": 4}, "the machine names none; nearest legal: cores.shared = memory|nearest.*memory"),
    ({"cores.count": 4, "cores.shared": "l2"}, "the machine has no L2"),
    ({"cores.count": 4, "cores.shared": "memory", "memory.l2_bytes": "512KiB"}, "the L2 is between"),
    ({"cores.count": 16, "cores.shared": "memory", "dma.max_in_flight_requests": 32}, "16"),
    ({"cores.count": 2, "cores.shared": "memory", "memory.latency_cycles": 2}, "3"),
    ({"cores.count": 17, "cores.shared": "memory"}, "16"),
    ({"cores.count": 2, "cores.shared": "memory", "cores.split": "tensors"}, "tensor"),
])  # fmt: skip
def test_a_machine_that_is_none_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        hardware.load("gemmini_default").with_(changes)


def test_a_split_that_leaves_a_core_without_work_names_the_nearest_number() -> None:
    own = {"cores.count": 16, "cores.shared": "memory"}
    small = {"seq": 16, "hidden": 64, "heads": 2, "ffn": 128, "cache": False}
    with pytest.raises(InputError, match=r"leaves 8 cores without work.*nearest legal value 8"):
        sim.simulate("encoder-layer", "gemmini_ibert", overrides=own, **small)
    with pytest.raises(InputError, match="split by data leaves 14 cores without work"):
        sim.simulate("encoder-layer", "gemmini_ibert", overrides={**own, "cores.split": "data"}, **small)


def test_what_is_recorded_of_one_core_is_refused_for_several() -> None:
    run = result(4)
    with pytest.raises(InputError, match=r"cores\.count = 1"):
        run.timeline("FF1")
    own = {"cores.count": 2, "cores.shared": "memory"}
    with pytest.raises(InputError, match=r"cannot be cut; nearest legal value cores\.count = 1"):
        sim.simulate("encoder-layer", "gemmini_ibert", overrides=own, sparsity="block16:0.5", cache=False, **TINY)
