"""Scratchpad and accumulator banks: what a write keeps from being read, to the cycle.

Sources: Scratchpad.scala, AccumulatorMem.scala (gemmini_machine.md 5; addendum E13). A store's SRAM read comes
two cycles after its issue, a zero mvin's first write three cycles after its issue.
"""

from __future__ import annotations

import pytest
from helpers.gates import ACC, ADD, ALLOC, DRAM, ISSUE, OUT, Gate, Times, fire_to_write

from sim.hardware import load
from sim.lower import Operand, ResidualAdd, lower
from sim.timing.timer import run

A = 4096  # bank 1
READ = 2  # store issued -> SRAM read
WRITE = 3  # zero mvin issued -> first local row written
PAIR_FIRES = 9 + 2 + 16  # a pair behind Gate.configure: compute issued in 9, seen, weights


def at(gate: Gate, issue: int, before: int) -> None:
    """Offer the next command so that it is issued in cycle ``issue``; the last one was accepted in ``before``."""
    gate.wait(issue - ISSUE - ALLOC - before)


def store_while_results_arrive(read: int, bank: int, flag: int, row: int = 64) -> Times:
    """A one-row store that wants to read in cycle ``read`` while 16 results go to accumulator bank 0, rows 0..15."""
    gate = Gate().configure()
    gate.pair(0, ACC | flag, A)
    at(gate, read - READ, 4)
    gate.mvout(OUT, ACC + bank * gate.hw.acc_bank_rows + row, 16, 1)
    return gate.times()[-1]


def results() -> range:
    """Cycles in which the pair's 16 results are written."""
    first = PAIR_FIRES + fire_to_write(Gate().hw)
    return range(first, first + 16)


def test_an_accumulating_result_blocks_a_read_of_its_bank() -> None:
    """AccumulatorMem.scala: the addend takes the one read port. Free the cycle before and the cycle after."""
    written = results()
    for read in (written[0] - 1, written[-1] + 1):
        assert store_while_results_arrive(read, 0, ADD).complete == read + 1
    for read in (written[0], written[5], written[-1]):
        assert store_while_results_arrive(read, 0, ADD).complete == written[-1] + 1 + 1


def test_it_does_not_block_the_other_bank() -> None:
    for read in (results()[0], results()[5]):
        assert store_while_results_arrive(read, 1, ADD).complete == read + 1


def test_a_plain_result_blocks_no_read() -> None:
    for read in (results()[0], results()[5]):
        assert store_while_results_arrive(read, 0, 0).complete == read + 1


def test_a_store_of_a_row_just_loaded_finds_the_write_pipeline_empty() -> None:
    """Completion, issue and read take longer than acc_latency: the dependence is all the store waits for."""
    gate = Gate().configure()
    gate.mvin(0, ACC, 16, 1)
    gate.mvout(OUT, ACC, 16, 1)
    load, store = gate.times()
    write = load.issue + WRITE
    assert (load.complete, store.issue) == (write + 1, write + 2)
    assert store.complete == store.issue + READ + 1


@pytest.mark.parametrize("single", (True, False))
def test_a_write_blocks_the_read_of_a_single_ported_bank(single: bool) -> None:
    """Zeros go to other rows of A's bank, one a cycle: a compute that meets them waits for the last of them."""
    fires = PAIR_FIRES
    for first_write, rows, lost in (
        (fires + 16, 16, 0),
        (fires + 15, 16, 16),
        (fires + 3, 16, 16),
        (fires - 11, 12, 1),
        (fires - 12, 12, 0),
    ):
        gate = Gate(scratchpad__single_ported=single).configure()
        gate.pair(0, ACC, A)
        at(gate, first_write - WRITE, 4)
        gate.mvin(0, A + 64, 16, rows)
        _, compute, zeros = gate.times()
        assert zeros.issue + WRITE == first_write
        assert compute.complete == fires + 16 + (lost if single else 0)


def test_a_write_to_another_bank_takes_nothing() -> None:
    gate = Gate().configure()
    gate.pair(0, ACC, A)
    at(gate, PAIR_FIRES, 4)
    gate.mvin(0, 2 * A, 16, 16)
    assert gate.times()[1].complete == PAIR_FIRES + 16


def test_the_array_reads_before_the_store_does() -> None:
    """Scratchpad.scala: execute first. A store from A's bank gets its read when the last row has been fired."""
    for read, granted in (
        (PAIR_FIRES - 1, PAIR_FIRES - 1),
        (PAIR_FIRES, PAIR_FIRES + 16),
        (PAIR_FIRES + 15, PAIR_FIRES + 16),
        (PAIR_FIRES + 16, PAIR_FIRES + 16),
    ):
        gate = Gate().configure()
        gate.pair(0, ACC, A)
        at(gate, read - READ, 4)
        gate.mvout(OUT, A + 64, 16, 1)
        assert gate.times()[-1].complete == granted + 1


def test_an_accumulating_load_waits_while_its_row_is_being_written() -> None:
    """AccumulatorMem.scala: two pieces of one row meet in the write pipeline; the second must let it pass."""
    plain, adding = (Gate().configure(), Gate().configure())
    for gate, flag in ((plain, 0), (adding, ADD)):
        gate.mvin(DRAM + 4, ACC | flag, 16, 1)  # 60 + 4 bytes: the row arrives in two pieces
    first, second = plain.times()[0], adding.times()[0]
    latency = plain.hw.accumulator.latency_cycles
    assert plain.run().counters["ACC_WRITE_ROWS"] == 2
    # plain pieces enter in t and t + 1; an adding one waits until t + latency + 1
    assert second.complete - first.complete == latency


def test_a_refused_accumulating_row_still_holds_its_sub_bank() -> None:
    """Rows of 47 B come in two parts: the second waits for the first in the pipeline, and queued writes wait with it.

    AccumulatorMem.scala: rmw_req is valid whether or not the pipeline lets the row in, and goes before w_q. 848 cycles
    measured on Gemmini 25809f78 (the chip configuration) under Verilator, latency 10.
    """
    hw = load("gemmini_chip", {"memory.latency_cycles": 10})
    a, b, c = (Operand(0x2001_0000 + 0x1_0000 * place, 47) for place in range(3))
    program = lower(ResidualAdd(47, 47, a, b, c), hw)
    assert run(program, hw).cycles == run(program, hw, clock="reference").cycles == 848
