"""A whole run behind a DRAM: what it reports, what it refuses, what it costs against a memory of fixed latency."""

from __future__ import annotations

import pytest

import sim
from sim.base.errors import InputError
from sim.hardware import load
from sim.lower import Matmul, Operand, lower
from sim.timing.timer import run

SMALL = {"seq": 16, "layers": 1, "hidden": 64, "heads": 1, "ffn": 128}


def test_a_run_counts_its_bursts_and_prices_its_commands() -> None:
    result = sim.simulate("encoder-layer", "gemmini_ibert", overrides={"memory.dram": "ddr4_2400"}, **SMALL)
    totals, counters = result.totals, result.counters
    judged = totals["dram_row_hits"] + totals["dram_row_misses"] + totals["dram_row_conflicts"]
    assert judged == counters["DRAM_READ_BURSTS"] + counters["DRAM_WRITE_BURSTS"] > 0
    assert sum(result.dram_energy.values()) == pytest.approx(result.energy["dram"])
    assert set(result.dram_energy) == {"act", "pre", "rd", "wr", "ref", "background"}
    assert min(result.dram_energy.values()) > 0


def test_operands_keep_the_addresses_of_the_plan() -> None:
    """Without a DRAM tensors are moved to regions of their own, so that equal operators become one; with it never."""
    result = sim.simulate("encoder-layer", "gemmini_ibert", overrides={"memory.dram": "ddr4_2400"}, **SMALL)
    steps = [step for step in result.steps if step.engine == "array"]
    assert steps
    assert all(step.equivalent == step.works for step in steps)


def test_without_a_dram_nothing_is_reported_of_one() -> None:
    result = sim.simulate("encoder-layer", "gemmini_ibert", **SMALL)
    assert result.dram_energy == {}
    assert result.totals["dram_row_hits"] == 0
    assert result.energy["dram"] > 0


def test_a_graph_that_does_not_fit_is_refused_with_the_channels_that_hold_it() -> None:
    small = {"memory.dram": "lpddr5_6400", "memory.dram.rows": 64}
    with pytest.raises(InputError, match=r"holds 2,097,152 bytes.*memory.dram.channels = 8") as refused:
        sim.simulate("encoder-layer", "gemmini_ibert", overrides=small)
    assert len(refused.value.problems) == 1
    sim.simulate("encoder-layer", "gemmini_ibert", overrides=small | {"memory.dram.channels": 8})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("memory.dram", "ddr5_4800", "unknown DRAM 'ddr5_4800'"),
        ("memory.dram.timing.nRC", 10, "memory.dram.timing.nRC = 10: less than nRAS"),
        ("memory.dram.address_map", "row bank column", "memory.dram.address_map: bank_group is missing"),
        ("memory.dram.chanels", 2, "chanels"),
    ],
)
def test_a_broken_dram_is_refused_at_the_door(key: str, value: object, says: str) -> None:
    overrides = {"memory.dram": "ddr4_2400"} | {key: value}
    with pytest.raises(InputError, match=says):
        sim.simulate("encoder-layer", "gemmini_ibert", overrides=overrides, **SMALL)


def test_reads_on_their_way_alone_cost_no_cycles_of_their_own() -> None:
    """Work, not time: behind a DRAM the loop visits hardly more cycles than behind a memory of fixed latency.

    6 % on this product; 40 % when each read was stepped through its stages and each burst was a visit.
    """
    work = Matmul(128, 768, 768, Operand(0x2001_0000, 768), Operand(0x2003_0000, 768), Operand(0x200D_0000, 768))
    fixed, behind = (
        run(lower(work, hw), hw, clock="leap").visited_cycles
        for hw in (load("gemmini_default"), load("gemmini_default", {"memory.dram": "ddr4_2400"}))
    )
    assert fixed < behind < 1.1 * fixed
