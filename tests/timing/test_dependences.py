"""Dependences between classes: the class that waits, until when, and over which rows.

Source: ReservationStation.scala (gemmini_machine.md 3.2, 3.3). A dependence cleared at t lets its dependant issue at
t + 1; without one a command issues the cycle after its allocation.
"""

from __future__ import annotations

import pytest
from helpers.gates import ACC, DRAM, ISSUE, NOTHING, OUT, Gate, Times

A, B = 4096, 0
DIM = 16


def run(*actions: tuple[str, int]) -> list[Times]:
    """mvin/mvout at an address (16 rows), or a pair whose C, A or B is at an address."""
    gate = Gate().configure()
    for kind, address in actions:
        if kind == "mvin":
            gate.mvin(DRAM, address, 16, DIM)
        elif kind == "mvout":
            gate.mvout(OUT, address, 16, DIM)
        elif kind == "c":
            gate.pair(B, address, A)
        elif kind == "a":
            gate.pair(B, ACC, address)
        else:
            gate.pair(address, ACC, A)
    return gate.times()


@pytest.mark.parametrize("rows, held", [(0, True), (DIM - 1, True), (DIM, False), (1 - DIM, True), (-DIM, False)])
def test_a_preload_waits_for_the_load_of_its_weights(rows: int, held: bool) -> None:
    """RAW, to the row: one row of overlap holds, adjacency does not."""
    load, preload, _ = run(("mvin", 64 + rows), ("b", 64))
    assert preload.issue == (load.complete + 1 if held else preload.alloc + ISSUE)


@pytest.mark.parametrize("rows, held", [(0, True), (DIM - 1, True), (DIM, False)])
def test_a_compute_waits_for_the_load_of_its_rows(rows: int, held: bool) -> None:
    load, preload, compute = run(("mvin", A + 64 + rows), ("a", A + 64))
    assert preload.issue == preload.alloc + ISSUE
    assert compute.issue == (load.complete + 1 if held else compute.alloc + ISSUE)


@pytest.mark.parametrize("rows, held", [(0, True), (DIM - 1, True), (DIM, False)])
def test_a_store_waits_for_the_preload_that_names_its_rows(rows: int, held: bool) -> None:
    """RAW on the result: the preload lives until the last row has left the mesh."""
    preload, compute, store = run(("c", ACC + 64 + rows), ("mvout", ACC + 64))
    assert preload.complete > compute.complete
    assert store.issue == (preload.complete + 1 if held else store.alloc + ISSUE)


@pytest.mark.parametrize("rows, held", [(0, True), (DIM - 1, True), (DIM, False)])
def test_a_preload_waits_for_the_store_of_what_it_will_overwrite(rows: int, held: bool) -> None:
    """WAR: until the store has read its last row, long before it has written."""
    store, preload, _ = run(("mvout", ACC + 64 + rows), ("c", ACC + 64))
    assert preload.issue == (store.complete + 1 if held else preload.alloc + ISSUE)


@pytest.mark.parametrize("rows, held", [(0, True), (DIM - 1, True), (DIM, False)])
def test_a_load_over_the_weights_waits_for_the_result(rows: int, held: bool) -> None:
    """WAR: the preload's entry carries C too, so the load waits longer than the data need."""
    preload, _, load = run(("b", 64), ("mvin", 64 + rows))
    assert load.issue == (preload.complete + 1 if held else load.alloc + ISSUE)


def test_a_load_over_the_rows_of_a_compute_waits_for_its_last_row() -> None:
    preload, compute, load = run(("a", A), ("mvin", A))
    assert load.issue == compute.complete + 1 < preload.complete


@pytest.mark.parametrize("rows, held", [(0, True), (DIM, False)])
def test_a_load_waits_for_the_store_of_its_place(rows: int, held: bool) -> None:
    store, load = run(("mvout", 64), ("mvin", 64 + rows))
    assert load.issue == (store.complete + 1 if held else load.alloc + ISSUE)


@pytest.mark.parametrize("rows, held", [(0, True), (DIM, False)])
def test_a_store_waits_for_the_load_of_its_rows(rows: int, held: bool) -> None:
    load, store = run(("mvin", 64), ("mvout", 64 + rows))
    assert store.issue == (load.complete + 1 if held else store.alloc + ISSUE)


def test_scratchpad_and_accumulator_rows_of_one_number_are_different() -> None:
    load, store = run(("mvin", 64), ("mvout", ACC + 64))
    assert store.issue == store.alloc + ISSUE < load.complete


def test_nothing_waits_for_the_garbage_address() -> None:
    gate = Gate().configure()
    gate.mvin(DRAM, 0, 16, DIM)
    gate.pair(NOTHING, NOTHING, A)
    _, preload, compute = gate.times()
    assert (preload.issue, compute.issue) == (preload.alloc + ISSUE, compute.alloc + ISSUE)


def test_computes_of_one_result_do_not_wait_for_each_other() -> None:
    """Hazards inside the execute class are the controller's business."""
    first, _, second, _ = run(("c", ACC), ("c", ACC))
    assert second.issue == second.alloc + ISSUE < first.complete


def test_the_blocks_of_a_load_lie_a_block_stride_apart() -> None:
    """Range of a four-block load: 3 * block stride + rows; a preload just behind it is free."""
    for row, held in ((4 * DIM - 1, True), (4 * DIM, False)):
        gate = Gate().configure()
        gate.mvin(DRAM, 0, 64, DIM)
        gate.pair(row, ACC, A)
        load, preload, _ = gate.times()
        assert preload.issue == (load.complete + 1 if held else preload.alloc + ISSUE)
