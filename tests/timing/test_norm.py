"""The normaliser in the store path: how long each command occupies its statistic and whom it blocks.

Source: Normalizer.scala, NormCmd.scala (gemmini_machine.md 8.2; addendum E11). A row of real data (loaded before:
divisions of zeros are short) enters at t; the row behind it, of the same statistic, enters when it may.
"""

from __future__ import annotations

import pytest
from helpers.gates import ACC, DRAM, OUT, Gate

from sim.hardware import load

IBERT = load("gemmini_ibert")
SUM, MEAN, VARIANCE, INV_STDDEV, MAX, SUM_EXP, INV_SUM_EXP = range(1, 8)


def end(first: int, *, stat: int = 0, blocks: int = 1) -> int:
    """Cycles of a pass of ``first`` over a row and an ordinary pass over another on statistic ``stat``."""
    gate = Gate(IBERT).configure()
    gate.mvin(DRAM, ACC, 16, 2)
    gate.fence()
    gate.config_norm(0, only_stat=True)
    gate.mvout(OUT, ACC | MAX << 26, 16, 1)  # without a maximum an exponential is zero
    gate.fence()
    gate.mvout(OUT, ACC | first << 26, 16 * blocks, 1)
    if stat:
        gate.config_norm(stat, only_stat=True)
    gate.mvout(OUT, ACC + 1, 16, 1)
    return gate.run().sections[2]


@pytest.mark.parametrize(
    "command, occupied", [(VARIANCE, 2), (SUM_EXP, 2), (MEAN, 24), (INV_STDDEV, 60), (INV_SUM_EXP, 23)]
)
def test_a_statistic_is_occupied_until_its_result_is_there(command: int, occupied: int) -> None:
    """Stores of one row come two cycles apart, so what is free by t + 2 delays no store."""
    assert end(command) - end(SUM) == occupied - 2


def test_a_maximum_takes_two_cycles_a_block() -> None:
    """All other statistics take a block a cycle; the row behind comes a cycle after the fourth block."""
    assert end(MAX, blocks=4) - end(SUM, blocks=4) == 4


@pytest.mark.parametrize("command, blocked", [(SUM, 0), (MEAN, 6), (INV_STDDEV, 6), (MAX, 1), (INV_SUM_EXP, 1)])
def test_the_other_statistic_waits_only_while_the_lanes_drain(command: int, blocked: int) -> None:
    """Inputs are shut in t + 1 ... t + blocked; the next row comes three cycles behind (a config_norm between)."""
    assert end(command, stat=1) - end(SUM, stat=1) == max(0, blocked + 1 - 3)


def test_without_normaliser_the_command_in_the_address_is_ignored() -> None:
    """The same program on a machine without the units stores every row."""
    gate = Gate().configure()
    gate.mvout(OUT, ACC | MEAN << 26, 16, 1)
    assert gate.run().counters["DRAM_WRITE_REQUESTS"] == 1
    norm = Gate(IBERT).configure()
    norm.mvout(OUT, ACC | MEAN << 26, 16, 1)
    assert norm.run().counters["DRAM_WRITE_REQUESTS"] == 0
