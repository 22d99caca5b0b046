"""No machine moves less than a product needs, nor computes faster than its array and its port can.

Machines are drawn far wider than the RTL was measured on (arrays from 2x2 to 256x256, behind an L2, on any bus), as far
as the door accepts them.
"""

from __future__ import annotations

from random import Random

import pytest
from helpers.clocks import outcome
from helpers.strategies import SEEDS
from hypothesis import assume, given

from sim.base.errors import Hang, InputError
from sim.hardware import Hardware, load
from sim.lower import build, lower
from sim.timing.parameters import parameters
from sim.timing.timer import run


def wide_machine(seed: int) -> Hardware:
    """A machine of any array size, its memories large enough to be legal."""
    random = Random(seed)
    dim = random.choice((2, 4, 8, 16, 32, 64, 128, 256))
    overrides: dict[str, object] = {
        "array.mesh_rows": dim,
        "array.mesh_columns": dim,
        "array.dataflow": "WS",
        "scratchpad.capacity": 16 * dim * dim * random.choice((4, 16)),
        "accumulator.capacity": 8 * dim * dim * random.choice((4, 8)),
        "dma.bus_bytes": random.choice((8, 16, 32, 64)),
        "dma.max_in_flight_requests": random.choice((2, 16, 47, 64, 256)),
        "memory.latency_cycles": random.choice((1, 10, 200)),
        "memory.l2_bytes": random.choice((0, 0, 4096, 1 << 19)),
        "memory.read_bytes_per_cycle": random.choice((0.7, 5.3, 16.0, 64.0)),
    }
    overrides["dma.max_request_bytes"] = 64
    try:
        hw = load("gemmini_default", overrides)
        parameters(hw)  # what the core holds
        return hw
    except InputError:
        assume(False)
        raise


@given(SEEDS)
def test_bytes_and_cycles_are_at_least_what_the_product_needs(seed: int) -> None:
    hw = wide_machine(seed)
    random = Random(seed + 1)
    m, n, k = (random.choice((1, 3, hw.dim - 1, hw.dim, hw.dim + 1)) for _ in range(3))
    try:
        timed = run(lower(build.matmul(m, n, k), hw), hw, clock="leap")
    except Hang:
        assume(False)
        raise
    needed = m * k + k * n
    counted = timed.counters
    assert counted["DRAM_READ_BYTES"] >= needed or hw.memory.l2_bytes
    assert counted["DRAM_WRITE_BYTES"] >= m * n or hw.memory.l2_bytes
    assert timed.cycles >= m * n * k / hw.dim**2
    assert timed.cycles >= needed / hw.dma.bus_bytes
    assert timed.cycles >= counted["BUS_READ_BEATS"]


@given(SEEDS)
def test_clocks_agree_behind_an_l2_on_any_port(seed: int) -> None:
    """An L2 keeps requests behind MSHRs, in queues whose sizes follow from the port's width."""
    random = Random(seed)
    hw = load(
        "gemmini_l2",
        {
            "dma.bus_bytes": random.choice((8, 16, 32, 64)),
            "dma.max_in_flight_requests": random.choice((16, 33, 47, 64, 128, 256)),
            "memory.latency_cycles": random.choice((1, 10, 100, 300)),
            "memory.l2_bytes": random.choice((1024, 8192, 1 << 19)),
        },
    )
    m, n, k = (random.choice((1, 7, 16, 33, 64)) for _ in range(3))
    program = lower(build.matmul(m, n, k), hw)
    leap, _ = outcome(program, hw, "leap")
    reference, _ = outcome(program, hw, "reference")
    assert leap == reference
    assert "cycles" in leap, leap["hang"]


@pytest.mark.parametrize("dim", (128, 256))
def test_a_product_of_one_block_passes_the_whole_array(dim: int) -> None:
    """Every row of the block goes in, after both operands have come through the port."""
    sizes = {"array.mesh_rows": dim, "array.mesh_columns": dim, "scratchpad.capacity": 4 << 20}
    hw = load("gemmini_default", {**sizes, "accumulator.capacity": 4 << 20})
    timed = run(lower(build.matmul(dim, dim, dim), hw), hw)
    assert timed.counters["MESH_INPUT_ROWS"] >= dim
    assert timed.cycles >= 2 * dim * dim / hw.dma.bus_bytes
