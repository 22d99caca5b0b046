"""Operands that stay: fewer loads, the same product, and no half overwritten while the loop before reads it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import check_traffic, execute, matmul_operands

from sim import hardware
from sim.base.errors import InputError
from sim.lower import build, lower
from sim.lower.matmul import tiles_of
from sim.lower.residency import HALVES, RESIDENTS
from sim.lower.work import Matmul
from sim.timing import timer

SMALL = hardware.load("gemmini_default", {"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"})
SIZES = [(40, 100, 60), (100, 40, 30), (70, 90, 16), (20, 20, 100), (48, 48, 48)]
TILES = [(1, 1, 1), (2, 1, 2), (1, 2, 4), (1, 3, 1), (2, 2, 2)]


@cache
def variants() -> list[Matmul]:
    """Return every legal choice of order, residency and halves for the sizes and tiles above."""
    works = []
    for size, tile in product(SIZES, TILES):
        for order, resident, halves in product(("ijk", "jik"), RESIDENTS, HALVES):
            work = build.matmul(*size, tile=tile, loop_order=order, resident=resident, halves=halves)
            try:
                lower(work, SMALL)
            except InputError:
                continue
            works.append(work)
    return works


def test_there_are_hundreds_of_variants_of_each_kind() -> None:
    assert len(variants()) > 300
    assert {(w.resident, w.halves) for w in variants()} == set(product(RESIDENTS, HALVES))


def test_what_stays_does_not_change_the_product() -> None:
    """Oracle: numpy's product, whatever stays where; in the order of the timing core, so that a race would show."""
    rng = np.random.default_rng(0)
    for work in variants():
        a, b, _, places = matmul_operands(work, rng, -8, 8)
        machine, done, times = execute(work, SMALL, places)
        check_traffic(done, times)
        found = machine.read(work.c.address, (work.m, work.n), work.c.row_stride)
        np.testing.assert_array_equal(found, reference.activate(a @ b, work), err_msg=str(work))


def test_no_loop_loads_over_what_the_loop_before_it_reads() -> None:
    """Two loops are in the unroller at once and loads overtake computes (LoopMatmul.scala): a law of every variant."""
    for work in variants():
        tiles = tiles_of(work, SMALL, work.tile)  # type: ignore[arg-type]
        for number, (before, after) in enumerate(pairwise(tiles), start=1):
            for address, half in (("a", "a_half"), ("b", "b_half")):
                halves = [before[half] or (number - 1) % 2 + 1, after[half] or number % 2 + 1]
                loads = after[address] != 0
                assert not (loads and halves[0] == halves[1]), (work, before["index"], after["index"])


@pytest.mark.parametrize(
    ("order", "resident", "operand_loads"), [("ijk", "none", (3, 2)), ("ijk", "a", (1, 2)), ("jik", "b", (3, 1))]
)
def test_an_operand_that_stays_is_read_once(order: str, resident: str, operand_loads: tuple[int, int]) -> None:
    """Law: A of m*k bytes is read once per column tile, or once if it stays; B of k*n likewise per row tile."""
    hw = hardware.load("gemmini_default")
    work = replace(build.matmul(64, 96, 32, tile=(2, 2, 2)), loop_order=order, resident=resident)
    read_bytes = timer.run(lower(work, hw), hw).counters["DRAM_READ_BYTES"]
    assert read_bytes == operand_loads[0] * 64 * 32 + operand_loads[1] * 32 * 96


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resident": "a"}, "4 tiles of A are used before the first comes again"),
        ({"resident": "ab"}, "nearest: 'none'"),
        ({"resident": "c"}, "resident 'c' is unknown"),
        ({"halves": "aprt"}, "did you mean 'apart'"),
        ({"dataflow": "OS", "halves": "apart"}, "an OS tile has the whole scratchpad"),
        ({"dataflow": "OS", "resident": "b"}, "nearest: resident 'none'"),
    ],
)
def test_what_has_no_room_to_stay_is_refused(fields: dict[str, str], message: str) -> None:
    hw = hardware.load("gemmini_default")
    with pytest.raises(InputError, match=message):
        lower(replace(build.matmul(64, 64, 64, tile=(1, 1, 1)), **fields), hw)  # type: ignore[arg-type]


def test_nearest_legal_residency_is_legal() -> None:
    """'ab' has room for B only: the message says 'b', and 'b' is taken."""
    hw = hardware.load("gemmini_default")
    work = replace(build.matmul(64, 64, 32, tile=(1, 1, 1)), loop_order="jik")
    with pytest.raises(InputError, match="nearest: 'b'"):
        lower(replace(work, resident="ab"), hw)
    lower(replace(work, resident="b"), hw)
