"""The store path: requests, the scale pipeline's limit, gathering, ids of the writer, pooling, serialised stores.

Sources: StoreController.scala, Scratchpad.scala, AccumulatorScale.scala, StreamWriter in DMA.scala,
ReservationStation.scala (gemmini_machine.md 4.3, 4.4; addendum D2, D3, E4, E5).
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from helpers.gates import ACC, BUS, DRAM, FULL, HEAD, NEWER, OUT, Gate

from sim.hardware import Hardware
from sim.isa.commands import ConfigKind, Funct

IDLE = 1
SEND = 3  # row at the writer -> beat, TLB stage, translate stage: on the writer's A channel


def first_row(hw: Hardware, issue: int, *, scratchpad: bool) -> int:
    """Cycle in which the writer is offered the first row of a store issued in ``issue``."""
    if scratchpad:  # dispatch, SRAM, read pipeline
        return issue + HEAD + 2 + hw.scratchpad.read_pipeline_cycles
    # dispatch, SRAM, normaliser bypass, scale pipeline
    return issue + HEAD + 3 + hw.accumulator.scale_latency_cycles


def idle(hw: Hardware, last_row: int) -> int:
    """First idle cycle after the last row reached the writer: send, two buffers, memory, two buffers."""
    return last_row + SEND + BUS + hw.memory.latency_cycles + 1


def paced(row: int, entries: int, latency: int) -> int:
    """Cycles after row 0 in which accumulator row ``row`` enters the scale pipeline.

    Its issue queue holds a row during the whole latency, so that row n waits for the way out of row n - entries.
    """
    return row if row < entries else max(row, paced(row - entries, entries, latency) + latency)


@pytest.mark.parametrize("rows", (1, 4, 5, 6, 8, 16))
def test_an_accumulator_store_moves_five_rows_in_eight_cycles(rows: int) -> None:
    """Scratchpad.scala: write_issue_q has read_delay + 1 = 5 entries, the scale unit 8 stages."""
    gate = Gate().configure()
    gate.mvout(OUT, ACC, 16, rows)
    timing = gate.run()
    [store] = gate.times()
    delay = paced(rows - 1, 5, 8)
    assert delay == rows - 1 + 3 * ((rows - 1) // 5)
    assert timing.cycles == idle(gate.hw, first_row(gate.hw, store.issue, scratchpad=False) + delay)


@pytest.mark.parametrize("rows", (1, 5, 16))
def test_a_scratchpad_store_moves_a_row_a_cycle(rows: int) -> None:
    gate = Gate().configure()
    gate.mvout(OUT, 0, 16, rows)
    timing = gate.run()
    [store] = gate.times()
    assert store.complete == store.issue + HEAD + rows + 1  # last read accepted, tracker
    assert timing.cycles == idle(gate.hw, first_row(gate.hw, store.issue, scratchpad=True) + rows - 1)


@pytest.mark.parametrize("rows", (1, 2, 5, 7, 8, 9, 13, 16))
def test_an_accumulator_store_completes_when_its_last_row_was_read(rows: int) -> None:
    """Three rows of data wait in the bank's output and the two-entry bypass: r is read after r - 3 was scaled."""
    gate = Gate().configure()
    gate.mvout(OUT, ACC, 16, rows)
    [store] = gate.times()
    read = store.issue + HEAD + 1
    scaled = read + 2  # row 0
    last = max(read + rows - 1, scaled + paced(rows - 4, 5, 8) + 1 if rows > 3 else 0)
    assert store.complete == last + 1


@pytest.mark.parametrize("blocks, beats", [(2, 2), (4, 4)])
def test_the_writer_gathers_blocks_and_then_sends_beats(blocks: int, beats: int) -> None:
    """StreamWriter: a row of b blocks takes b - 1 cycles of gathering and its beats: 2b - 1 (7 of 64 bytes)."""
    cycles = []
    for stores in (1, 2):
        gate = Gate().configure()
        for n in range(stores):
            gate.mvout(OUT + 4096 * n, 4096 * n, 16 * blocks, 16)
        cycles.append(gate.run().cycles)
    bubble = 2 if blocks == 2 else 0  # addendum 4: a bubble per 8 rows of two blocks, seen in the RTL too
    assert cycles[1] - cycles[0] == 16 * (blocks - 1 + beats) + bubble


def test_a_full_width_row_of_64_bytes_takes_its_four_beats() -> None:
    cycles = []
    for stores in (1, 2):
        gate = Gate().configure()
        for n in range(stores):
            gate.mvout(OUT + 4096 * n, ACC | FULL, 16, 16)
        cycles.append(gate.run().cycles)
    assert cycles[1] - cycles[0] == 16 * 4


def test_a_masked_put_sends_all_its_beats() -> None:
    """48 bytes at a 64-byte boundary: one Put of four beats, 48 bytes of them unmasked."""
    gate = Gate().configure()
    gate.mvout(OUT, 0, 48, 1)
    counters = gate.run().counters
    assert (counters["DRAM_WRITE_REQUESTS"], counters["BUS_WRITE_BEATS"]) == (1, 4)
    assert (counters["DRAM_WRITE_BYTES"], counters["DRAM_WRITE_BYTES_UNMASKED"]) == (64, 48)


@pytest.mark.parametrize("latency", (40, 100))
def test_sixteen_puts_wait_for_their_acknowledges(latency: int) -> None:
    """Addendum E4: an id serves Lw + 3 cycles, so one-beat Puts move in rounds of 16."""
    cycles = []
    for stores in (1, 2, 3):
        gate = Gate(memory__latency_cycles=latency).configure()
        for n in range(stores):
            gate.mvout(OUT + 4096 * n, ACC, 16, 16)
        cycles.append(gate.run().cycles)
    period = latency + BUS + 3
    assert [b - a for a, b in pairwise(cycles)] == [period, period]


def test_no_beat_goes_while_all_ids_are_taken() -> None:
    """Addendum E4 (b): not even the second beat of the Put that took the last id; with two ids rows alternate."""
    cycles = []
    for rows in (2, 3):
        gate = Gate(dma__max_in_flight_requests=2).configure()
        gate.mvout(OUT, ACC | FULL, 16, rows)
        cycles.append(gate.run().cycles)
    hw = Gate().hw
    # row 1 starts with the last id: beats 2..4 wait until the acknowledge of row 0 has freed its id
    wait = hw.memory.latency_cycles + BUS + 3
    gate = Gate(dma__max_in_flight_requests=2).configure()
    gate.mvout(OUT, ACC | FULL, 16, 1)
    one = gate.run().cycles
    assert cycles[0] == one + wait + (4 - 2)


def test_stores_issue_one_a_cycle_at_the_old_commit_and_one_after_the_other_at_the_new() -> None:
    """ReservationStation.scala: 25809f78 orders stores by issue, 8c3f992 by completion (addendum D3)."""
    for gate in (Gate(), Gate(NEWER)):
        gate.configure()
        gate.mvout(OUT, ACC, 16, 16)
        gate.mvout(OUT + 4096, ACC + 16, 16, 16)
        first, second = gate.times()
        serial = gate.hw.reservation_station.serialise_stores
        assert serial == (gate.hw is NEWER)
        assert second.issue == (first.complete + 1 if serial else first.issue + 1)


def test_a_third_store_waits_for_the_store_queue() -> None:
    """StoreController.scala: two entries; the first leaves with its last request."""
    gate = Gate().configure()
    for n in range(3):
        gate.mvout(OUT + 4096 * n, 4096 * n, 16, 8)
    first, second, third = gate.times()
    last_request = first.issue + HEAD + 7
    assert second.issue == first.issue + 1
    assert third.issue == last_request + 1


@pytest.mark.parametrize("out, size", [(1, 2), (2, 1), (2, 2), (1, 3)])
def test_pooling_asks_for_every_tap_of_every_window(out: int, size: int) -> None:
    """StoreController.scala: porows * pocols * size * size requests, one a cycle; one write per pixel."""
    gate = Gate().configure()
    image = out * size
    rs1 = image << 56 | image << 48 | out << 40 | out << 32 | out << 24 | size << 6 | size << 4 | ConfigKind.ST
    gate.emit(Funct.CONFIG, rs1, 0x3F800000 << 32 | 16)
    gate.mvout(OUT, ACC, 16, 1)
    timing = gate.run()
    [store] = gate.times()
    taps = out * out * size * size
    assert timing.counters["ACC_READ_ROWS"] == taps
    assert timing.counters["DRAM_WRITE_REQUESTS"] == out * out
    read, scaled = store.issue + HEAD + 1, store.issue + HEAD + 3
    last = max(read + taps - 1, scaled + paced(taps - 4, 5, 8) + 1 if taps > 3 else 0)
    assert store.complete == last + 1


def test_taps_outside_the_image_are_not_read() -> None:
    """A 2x2 window at the padded corner: one real tap, three garbage ones that take their cycles all the same."""
    gate = Gate().configure()
    rs1 = 2 << 56 | 2 << 48 | 1 << 40 | 1 << 32 | 1 << 24 | 1 << 10 | 1 << 8 | 2 << 6 | 2 << 4 | ConfigKind.ST
    gate.emit(Funct.CONFIG, rs1, 0x3F800000 << 32 | 16)
    gate.mvout(OUT, ACC, 16, 1)
    timing = gate.run()
    [store] = gate.times()
    assert timing.counters["ACC_READ_ROWS"] == 1
    assert store.complete == store.issue + HEAD + 4 + 1


def test_loads_and_stores_share_no_requests() -> None:
    """Reads of one machine's DMA do not count as writes of it, nor the other way round."""
    gate = Gate().configure()
    gate.mvin(DRAM, 0, 64, 16)
    gate.mvout(OUT, 8192, 64, 16)
    counters = gate.run().counters
    assert counters["DRAM_READ_BYTES"] == counters["DRAM_WRITE_BYTES"] == 16 * 64
