"""Oracle: a product by hand equals numpy's, in any order and on any part of the array."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import DRAM_BYTES, check_traffic, matmul_operands
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import InputError
from sim.functional import Machine
from sim.lower import build
from sim.lower.by_hand import ORDERS, HandMapping, lower_by_hand
from sim.timing import timer

SUMS_ADDRESS = 0x2001_0000 + (1 << 21)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 70)] * 3),
    tile=st.tuples(*[st.integers(1, 5)] * 3),
    order=st.sampled_from(ORDERS),
    inner=st.sampled_from(ORDERS),
    used=st.tuples(*[st.sampled_from([3, 4, 8, 16])] * 2),
    full_c=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_order_and_part_of_the_array_is_exact(size, tile, order, inner, used, full_c, seed) -> None:
    hw = hardware.load("gemmini_default")
    work = build.matmul(*size, full_c=full_c, activation="none" if full_c else "relu", scale=0.01)
    how = HandMapping(tile, order, inner, *used)
    blocks = how.blocks(work, hw.dim)
    how = HandMapping(tuple(min(t, b) for t, b in zip(tile, blocks, strict=True)), order, inner, *used)
    program = lower_by_hand(work, how, hw, SUMS_ADDRESS)
    times = timer.run(program, hw, timeline=True)
    a, b, d, places = matmul_operands(work, np.random.default_rng(seed))
    machine = Machine(hw, DRAM_BYTES, seed=seed)
    for address, matrix, stride, wide in places:
        machine.write(address, matrix, stride, wide=wide)
    done = machine.run(times)
    found = machine.read(work.c.address, (work.m, work.n), work.c.row_stride, wide=work.full_c)
    sums = reference.product(a, b, d, work, hw, how.array_rows)
    np.testing.assert_array_equal(found, reference.activate(sums, work, "int8"))
    check_traffic(done, times)


def test_half_of_the_array_takes_twice_the_computes() -> None:
    hw = hardware.load("gemmini_default")
    work = build.matmul(64, 64, 64)
    whole, half = (HandMapping((4, 4, 4), "ijk", "kji", rows, 16) for rows in (16, 8))
    timed = [timer.run(lower_by_hand(work, how, hw), hw) for how in (whole, half)]
    rows = [t.counters["MESH_INPUT_ROWS"] for t in timed]
    assert (
        rows[1] - rows[0] == 64 * 16
    )  # 64 rows of A pass 16 blocks of weights more; the array is flushed once in both
    assert timed[1].cycles > timed[0].cycles


@pytest.mark.parametrize(
    "tile, order, used, message",
    [
        ((40, 1, 1), "ijk", (16, 16), "tile I = 40 must be 1..4; nearest: 4"),
        ((4, 4, 4), "ikk", (16, 16), "order 'ikk' must be one of ijk"),
        ((4, 4, 4), "ijk", (17, 0), "array_rows 17 must be 1..16; nearest: 16"),
        ((1, 1, 1), "kij", (16, 16), "partial sums need a place in DRAM"),
    ],
)
def test_refusals(tile, order, used, message) -> None:
    work = build.matmul(64, 64, 64)
    with pytest.raises(InputError, match=message):
        lower_by_hand(work, HandMapping(tile, order, "ijk", *used), hardware.load("gemmini_default"))


def test_partial_sums_need_full_width() -> None:
    hw = hardware.load("gemmini_default", {"accumulator.read_full_width": False})
    with pytest.raises(InputError, match="partial sums leave at full width"):
        lower_by_hand(build.matmul(64, 64, 64), HandMapping((1, 1, 1), "kij", "ijk", 16, 16), hw, SUMS_ADDRESS)
