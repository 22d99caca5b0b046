"""Machines whose scratchpad pipe is shorter than the queues beside it lose data on the way to DRAM, as the RTL does.

Source: Scratchpad.scala at 25809f78: what leaves a bank's pipe is taken against the bits at the head of the issue
queue, valid or not. Measured: the float machines' mvouts from the scratchpad never end (configs.csv, cycles -1).
"""

from __future__ import annotations

import pytest
from helpers.gates import ACC, OUT, Gate

from sim.base.errors import Hang
from sim.hardware import load


@pytest.mark.parametrize("preset", ["gemmini_fp32_4x4", "gemmini_chip_fp32", "gemmini_bf16_8x8"])
def test_a_float_machine_cannot_store_from_the_scratchpad(preset: str) -> None:
    gate = Gate(load(preset)).configure()
    gate.mvout(OUT, 0, gate.dim, 1)
    with pytest.raises(Hang, match="lost its data"):
        gate.run()


@pytest.mark.parametrize("preset", ["gemmini_fp32_4x4", "gemmini_chip_fp32", "gemmini_bf16_8x8"])
def test_it_can_store_from_the_accumulator(preset: str) -> None:
    gate = Gate(load(preset)).configure()
    gate.mvout(OUT, ACC, gate.dim, gate.dim)
    assert gate.run().counters["DRAM_WRITE_REQUESTS"] == gate.dim


@pytest.mark.parametrize("pipeline", (4, 3))
def test_with_a_pipe_as_long_as_the_queues_nothing_is_lost(pipeline: int) -> None:
    """int8: dispatch, norm, scale and issue queue take three cycles; a pipe of three or more arrives behind."""
    gate = Gate(scratchpad__read_pipeline_cycles=pipeline).configure()
    gate.mvout(OUT, 0, 16, 16)
    assert gate.run().counters["DRAM_WRITE_REQUESTS"] == 16
