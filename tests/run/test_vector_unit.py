"""The vector unit: cycles by hand, bytes by operands, laws of lanes and ports, and what it leaves to the host."""

from __future__ import annotations

from typing import Any

import pytest

import sim
from sim import hardware
from sim.analysis.whatif import knobs, whatif
from sim.base.errors import InputError
from sim.cost import area
from sim.graph import Graph, kinds
from sim.run.result import Result
from sim.side_units.vector import CHAINED, COUNTS
from sim.trace.chrome import trace
from workloads.networks.builder import Network

MACHINE = "gemmini_ibert"
LATENCY = hardware.load(MACHINE).memory.latency_cycles


def one(kind: str, rows: int = 64, cols: int = 128, **attrs: Any) -> Graph:
    """A product and an operator of one input on its result."""
    net = Network(kind)
    y = net.linear(net.input("x", rows, 32), cols)
    net.each(kind, y, **attrs)
    return net.graph()


def gated(kind: str = "silu") -> Graph:
    """The gate of a feed-forward network: an activation times a product."""
    net = Network("gated")
    x = net.input("x", 16, 64)
    gate, up = net.linear(x, 256), net.linear(x, 256)
    net.linear(net.multiply(net.each(kind, gate), up), 64)
    return net.graph()


def run(graph: Graph, lanes: int = 16, **keys: Any) -> Result:
    overrides = {"vector.lanes": lanes, **{f"vector.{key}": value for key, value in keys.items()}}
    return sim.simulate(graph, MACHINE, overrides=overrides)


def test_no_preset_has_the_unit_and_its_keys_change_nothing_without_lanes() -> None:
    for name in hardware.presets():
        assert hardware.load(name).vector.lanes == 0
    plain = hardware.load(MACHINE)
    assert plain.with_({"vector.divide_cycles": 1}).key == plain.key
    assert plain.with_({"vector.lanes": 1}).key != plain.key


def test_an_rmsnorm_by_hand() -> None:
    """64 rows of 128: rounds of 16 lanes; operand scaled, squared, summed, times the root's inverse, result scaled."""
    (row,) = (row for row in run(one("rmsnorm")).rows if row["op_kind"] == "rmsnorm")
    element = (
        1 + 2 + 1 + 2
    )  # a product of the operand's scale; square and sum; inverse; the result's scale and rounding
    of_row = 1 + 17 + 18 + 4  # mean, square root, its inverse, four joins of sixteen sums
    assert row["cycles"] == 64 * (128 // 16 * element + of_row) + LATENCY
    assert row["vector_cycles"] == row["cycles"] and row["engine"] == "vector" and row["bound"] == "vector"
    assert (row["dram_read_bytes"], row["dram_write_bytes"]) == (64 * 128, 64 * 128)


def test_operators_of_the_unit_are_those_of_the_graph_and_have_a_price_on_the_host() -> None:
    host = hardware.load(MACHINE).host
    assert host != "none"
    for kind in COUNTS:
        assert kinds.find(kind).price_key in host.priced
    assert set(COUNTS) >= CHAINED


@pytest.mark.parametrize("kind", ["rmsnorm", "silu", "exp", "gelu_tanh", "tanh", "sigmoid"])
def test_more_lanes_and_wider_ports_never_cost_cycles(kind: str) -> None:
    cycles = [run(one(kind), lanes).cycles for lanes in (1, 2, 16, 128)]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]
    ports = [run(one(kind), 128, port_bytes=port).cycles for port in (1, 4, 16)]
    assert ports == sorted(ports, reverse=True)
    row = run(one(kind), 128, port_bytes=1).rows[-1]
    assert row["cycles"] >= row["dram_read_bytes"] + LATENCY


def test_rows_beyond_the_buffer_are_read_again_by_each_pass() -> None:
    small, large = (run(one("rmsnorm", cols=256), buffer_bytes=size).rows[-1] for size in (256, 512))
    assert small["dram_read_bytes"] == 2 * large["dram_read_bytes"] == 2 * 64 * 256
    assert small["dram_write_bytes"] == large["dram_write_bytes"]


def test_a_gate_is_one_pass_and_costs_the_steps_of_both() -> None:
    result = run(gated())
    kinds_run = [row["op_kind"] for row in result.rows]
    assert kinds_run == ["matmul", "matmul", "silu+multiply", "matmul"]
    row = result.rows[2]
    assert row["dram_read_bytes"] == 2 * 16 * 256 and row["dram_write_bytes"] == 16 * 256
    apart = run(one("silu", 16, 256)).rows[-1]
    assert row["vector_operations"] > apart["vector_operations"]
    assert row["dram_read_bytes"] + row["dram_write_bytes"] < 2 * (apart["dram_read_bytes"] + apart["dram_write_bytes"])


def test_both_operands_activated_only_the_first_is_handed_on() -> None:
    net = Network("both")
    x = net.input("x", 16, 64)
    one_side, other = (net.each("silu", net.linear(x, 64)) for _ in range(2))
    net.multiply(one_side, other)
    assert [row["op_kind"] for row in run(net.graph()).rows] == ["matmul", "matmul", "silu", "silu+multiply"]


def test_the_fallback_names_the_key_that_avoids_it_and_following_it_does() -> None:
    slow = sim.simulate(gated(), MACHINE)
    assert all("avoided by vector.lanes = 16" in group["fallback"] for group in slow.fallbacks()) and slow.fallbacks()
    fast = sim.simulate(gated(), MACHINE, overrides={"vector.lanes": 16})
    assert not fast.fallbacks() and fast.cycles < slow.cycles
    kept = sim.simulate(gated(), MACHINE, overrides={"vector.lanes": 16, "host.takes": ["silu"]})
    assert [row["engine"] for row in kept.rows if row["op_kind"] in ("silu", "multiply")] == ["host", "vector"]


def test_a_machine_without_a_host_runs_what_the_unit_takes() -> None:
    result = sim.simulate(gated(), MACHINE, overrides={"vector.lanes": 16, "host": "none"})
    assert result.causes["vector"] > 0 == result.causes["host"]
    with pytest.raises(InputError, match="needs a host CPU"):
        sim.simulate(gated(), MACHINE, overrides={"host": "none"})


def test_causes_energy_and_area_count_it() -> None:
    result = run(gated())
    assert sum(result.causes.values()) == result.cycles
    assert sum(result.energy.values()) == pytest.approx(result.totals["energy_pj"])
    assert result.energy["vector"] > 0 == sim.simulate(gated(), MACHINE).energy["vector"]
    areas = [area.area_um2(hardware.load(MACHINE, {"vector.lanes": lanes}))["vector"] for lanes in (0, 16, 32)]
    assert areas[0] == 0 < areas[1] < areas[2]
    assert "vector unit" in result.totals["area_not_modelled"] and "vector unit" in result.totals["energy_not_modelled"]


def test_its_time_and_the_clock_agree_with_every_clock() -> None:
    overrides = {"vector.lanes": 16}
    runs = [
        sim.simulate(gated(), MACHINE, overrides=overrides, clock=clock) for clock in ("periodic", "leap", "reference")
    ]
    assert len({(result.cycles, tuple(result.causes.items())) for result in runs}) == 1


def test_a_slower_memory_is_a_longer_wait_though_the_plan_is_kept() -> None:
    """Plans are shared between memories of other speeds; the unit's work is not."""
    fast, slow = (
        sim.simulate(gated(), MACHINE, overrides={"vector.lanes": 128, "memory.read_bytes_per_cycle": rate})
        for rate in (16.0, 1.0)
    )
    assert slow.causes["vector"] > fast.causes["vector"]


def test_trace_explain_and_whatif_know_it() -> None:
    result = run(gated("gelu_tanh"), 1)
    events = trace(result)["traceEvents"]
    (slice_,) = (event for event in events if event["name"] == "gelu_tanh+multiply")
    assert slice_["dur"] == result.rows[2]["cycles"]
    assert any(event.get("args", {}).get("name") == "vector unit" for event in events)
    assert "vector.lanes = 2" in sim.explain(result)
    assert {"vector.lanes", "vector.multiply_cycles"} <= knobs(result.hardware).keys()
    assert not any(name.startswith("vector") for name in knobs(hardware.load(MACHINE)))
    assert len(whatif(result, ["vector.lanes"])) == 1  # no half of one lane


def test_cores_with_the_unit_are_refused_by_name() -> None:
    overrides = {"vector.lanes": 16, "cores.count": 2, "cores.shared": "memory"}
    with pytest.raises(InputError, match=r"multiply: side units work with one core; .* cores.count = 1"):
        sim.simulate(gated(), MACHINE, overrides=overrides)
