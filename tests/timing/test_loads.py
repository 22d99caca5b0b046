"""The load path: tracker, request splitting, transaction ids, scalers, zero writer, repeats.

Sources: LoadController.scala, DMACommandTracker.scala, DMA.scala, BeatMerger.scala, VectorScalarMultiplier.scala,
PixelRepeater.scala, ZeroWriter.scala (gemmini_machine.md 4.1, 4.2, 5.3; addendum 3 E2, E3).
"""

from __future__ import annotations

import pytest
from helpers.gates import ACC, ADD, BUS, DEFAULT, DRAM, HEAD, Gate, load_path, loaded

from sim.isa.commands import ConfigKind, Funct


@pytest.mark.parametrize("latency", (1, 40, 200))
@pytest.mark.parametrize("rows, blocks", [(1, 1), (16, 1), (1, 4), (16, 2), (16, 4)])
def test_a_lone_load_completes_a_path_after_its_last_beat(rows: int, blocks: int, latency: int) -> None:
    """DMA.scala, Scratchpad.scala: one Get a row, one beat a cycle, merger, scaler, repeater, write, tracker."""
    if rows * blocks > 16 and latency == 200:
        pytest.skip("more transaction ids than the reader has: see the gate of the ids")
    gate = Gate(memory__latency_cycles=latency).configure()
    gate.mvin(DRAM, 0, 16 * blocks, rows)
    [load] = gate.times()
    assert load.complete == loaded(gate.hw, load.issue, rows * blocks)


def test_a_row_for_the_accumulator_skips_scaler_and_repeater() -> None:
    """No accumulator-width scaler in the default machine: two stages less (addendum 4, mvinacc_shr0)."""
    gate = Gate().configure()
    gate.mvin(DRAM, ACC, 16, 16)
    [load] = gate.times()
    assert load.complete == loaded(gate.hw, load.issue, 16 * 4, wide=True)
    assert load_path(gate.hw) - load_path(gate.hw, wide=True) == 2


def test_without_the_pixel_repeater_a_load_is_one_cycle_faster() -> None:
    gate = Gate(features__first_layer_optimizations=False).configure()
    gate.mvin(DRAM, 0, 16, 16)
    [load] = gate.times()
    assert load.complete == loaded(gate.hw, load.issue, 16) == loaded(DEFAULT, load.issue, 16) - 1


def test_a_load_waits_for_a_free_tracker_slot() -> None:
    """DMACommandTracker.scala: nCmds = ids / DIM + 1 = 2; the slot is free the cycle after the completion."""
    gate = Gate().configure()
    for n in range(3):
        gate.mvin(DRAM + 64 * n, 16 * n, 16, 1)
    first, second, third = gate.times()
    assert gate.hw.load_commands_in_flight == 2
    assert second.complete == first.complete + 2  # a command of one request takes its controller two cycles
    assert third.complete == loaded(gate.hw, first.complete + 1 - HEAD, 1)


def test_a_third_tracker_slot_lets_the_third_load_go() -> None:
    gate = Gate(dma__max_in_flight_requests=32).configure()
    for n in range(3):
        gate.mvin(DRAM + 64 * n, 16 * n, 16, 1)
    first, second, third = gate.times()
    assert gate.hw.load_commands_in_flight == 3
    assert (second.complete, third.complete) == (first.complete + 2, first.complete + 4)


@pytest.mark.parametrize(
    "offset, requests, beats, last",
    [
        (0, 1, 4, 4),  # one Get of 64 bytes
        (16, 2, 5, 5),  # 48 useful bytes of a 64-byte Get, then 16 by a Get of one beat
        (32, 2, 4, 4),  # two Gets of 32 bytes: a 64-byte one would carry no more
        (48, 2, 5, 4),  # 16 bytes, then 48 of a 64-byte Get whose last beat is useless
    ],
)
def test_a_row_is_split_by_most_useful_bytes(offset: int, requests: int, beats: int, last: int) -> None:
    """DMA.scala: of the aligned windows of 16, 32, 64 bytes the most useful one, on a tie the smallest."""
    gate = Gate().configure()
    gate.mvin(DRAM + offset, 0, 64, 1)
    timing = gate.run()
    [load] = gate.times()
    assert timing.counters["DRAM_READ_REQUESTS"] == requests
    assert timing.counters["BUS_READ_BEATS"] == beats
    assert load.complete == loaded(gate.hw, load.issue, last)


def test_a_row_that_starts_inside_a_beat_is_written_in_pieces() -> None:
    """60 + 4 bytes: the first Get's fourth local row is a piece and leaves a cycle after its last beat."""
    gate = Gate().configure()
    gate.mvin(DRAM + 4, 0, 64, 1)
    timing = gate.run()
    assert timing.counters["BUS_READ_BEATS"] == 5
    assert timing.counters["SPAD_WRITE_ROWS"] == 5
    assert gate.times()[0].complete == loaded(gate.hw, gate.times()[0].issue, 5) + 1


@pytest.mark.parametrize("ids", (1, 2, 4, 8))
def test_a_get_waits_for_a_transaction_id(ids: int) -> None:
    """XactTracker.scala: an id serves Lm + 2 + beats cycles from Get to Get (addendum E2)."""
    gate = Gate(dma__max_in_flight_requests=ids).configure()
    gate.mvin(DRAM, 0, 16, 16)
    [load] = gate.times()
    period = gate.hw.memory.latency_cycles + BUS + 2 + 1
    assert load.complete == loaded(gate.hw, load.issue, ids) + (16 // ids - 1) * period


def test_a_stride_of_zero_asks_once_and_writes_every_row() -> None:
    """LoadController.scala: one request with 15 repeats, replayed one a cycle at the scaler's input."""
    gate = Gate().configure(stride=0)
    gate.mvin(DRAM, 0, 16, 16)
    timing = gate.run()
    [load] = gate.times()
    assert timing.counters["DRAM_READ_REQUESTS"] == 1
    assert timing.counters["SPAD_WRITE_ROWS"] == 16
    assert load.complete == loaded(gate.hw, load.issue, 1) + 15


@pytest.mark.parametrize("rows, blocks", [(1, 1), (16, 1), (16, 4)])
def test_zeros_are_written_one_local_row_a_cycle_without_traffic(rows: int, blocks: int) -> None:
    """ZeroWriter.scala: request, writer, pixel repeater, then a local row a cycle."""
    gate = Gate().configure()
    gate.mvin(0, 0, 16 * blocks, rows)
    timing = gate.run()
    [load] = gate.times()
    first_write = load.issue + HEAD + 2
    assert load.complete == first_write + (rows * blocks - 1) + 1
    assert timing.counters["DRAM_READ_REQUESTS"] == 0


@pytest.mark.parametrize("units, latency", [(4, 4), (4, 2), (8, 4), (8, 6), (2, 4)])
def test_scaled_rows_share_few_multipliers(units: int, latency: int) -> None:
    """VectorScalarMultiplier.scala: three row slots; DIM / units multiplications a row, one a cycle, no overlap.

    Three rows take three times their multiplications, the pipeline, and three cycles to come and go.
    """
    completed = {}
    for rows in (1, 16):
        gate = Gate(dma__mvin_scale_units=units, dma__mvin_scale_latency_cycles=latency).configure(scale=0.5)
        gate.mvin(DRAM, 0, 16, rows)
        completed[rows] = gate.times()[0].complete
    each = 16 // units
    assert completed[1] == loaded(DEFAULT, 8, 1) + each + latency + 1
    assert completed[16] - completed[1] == 5 * (3 * each + latency + 3)


def test_one_multiplier_per_lane_scales_a_row_a_cycle() -> None:
    gate = Gate(dma__mvin_scale_units="per_lane").configure(scale=0.5)
    gate.mvin(DRAM, 0, 16, 16)
    [load] = gate.times()
    # the pipeline in place of the identity's single cycle
    assert load.complete == loaded(gate.hw, load.issue, 16) - 1 + gate.hw.dma.mvin_scale_latency_cycles


@pytest.mark.parametrize("pixels", (1, 2, 4))
def test_the_pixel_repeater_writes_each_row_several_times(pixels: int) -> None:
    """PixelRepeater.scala: a copy a cycle; rows that would fall below the half's start are skipped."""
    gate = Gate().configure()
    gate.emit(Funct.CONFIG, 0x3F800000 << 32 | 16 << 16 | pixels << 8 | ConfigKind.LD, 64)
    gate.mvin(DRAM, 64, 16, 16)
    timing = gate.run()
    [load] = gate.times()
    assert timing.counters["SPAD_WRITE_ROWS"] == 16 * pixels
    assert load.complete == loaded(gate.hw, load.issue, 1) + 16 * pixels - 1


@pytest.mark.parametrize(
    ("pixels", "address", "cols", "cycles"),
    [
        *[(2, 0, 16, 93), (2, 0, 64, 183), (3, 16, 16, 108), (3, 16, 64, 243)],
        *[
            (2, ADD, 16, 121),
            (2, ADD | 512, 16, 121),
            (2, ADD | 512, 64, 183),
            (3, ADD, 16, 122),
            (3, ADD | 512, 64, 243),
        ],
    ],
)
def test_the_pixel_repeater_takes_accumulator_rows_for_scratchpad_rows(
    pixels: int, address: int, cols: int, cycles: int
) -> None:
    """Scratchpad.scala: the reader hands on a row without the accumulator bit, so copies go to the rows before it.

    The cycles are those of Gemmini 25809f78 under Verilator, dummy datapath, 15 rows of input width, latency 40.
    """
    gate = Gate()
    gate.config_ex(dataflow=1)
    gate.config_st(16)
    gate.emit(Funct.CONFIG, 0x3F800000 << 32 | 16 << 16 | pixels << 8 | 1 << 2 | ConfigKind.LD, 16)
    gate.mvin(DRAM, ACC | address, cols, 15)
    assert gate.run().cycles == cycles
