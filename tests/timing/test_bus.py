"""The memory and the bus to it: pace, order, arbitration, acknowledges.

Sources: Scratchpad.scala (TLBuffer, TLXbar), the measurement set-up of the RTL tables (reads in request order,
acknowledges before read beats, bursts in one piece, one beat a cycle on each channel).
"""

from __future__ import annotations

import pytest
from helpers.gates import BUS, DRAM, GET, HEAD, OUT, Gate, loaded

SENT = 2  # beat -> writer's A channel: TLB stage, translate stage


@pytest.mark.parametrize("per_cycle, pace", [(16.0, 1), (8.0, 2), (4.0, 4), (1.0, 16), (64.0, 1)])
def test_read_beats_come_at_the_memory_s_pace(per_cycle: float, pace: int) -> None:
    """The first beat at once, each further one a pace later; never more than a beat a cycle."""
    gate = Gate(memory__read_bytes_per_cycle=per_cycle).configure()
    gate.mvin(DRAM, 0, 64, 4)
    [load] = gate.times()
    assert load.complete == loaded(gate.hw, load.issue, 1) + 15 * pace


@pytest.mark.parametrize("per_cycle, pace", [(16.0, 1), (8.0, 2), (4.0, 4)])
def test_a_write_is_acknowledged_when_its_last_beat_has_drained(per_cycle: float, pace: int) -> None:
    """A Put of four beats: the write queue drains a beat a pace, the acknowledge a latency later."""
    cycles = []
    for paced in (16.0, per_cycle):
        gate = Gate(memory__write_bytes_per_cycle=paced).configure()
        gate.mvout(OUT, 0, 64, 1)
        cycles.append(gate.run().cycles)
    # beats arrive one a cycle, so three of the four paces are waited for, and the first's own
    assert cycles[1] - cycles[0] == 4 * (pace - 1)


def test_acknowledges_go_before_read_beats() -> None:
    """Each acknowledge that falls into a stream of reads takes one beat's cycle from it."""
    lone = Gate().configure()
    lone.mvin(DRAM, 0, 64, 16)
    [alone] = lone.times()
    for rows in (1, 4):
        gate = Gate().configure()
        gate.mvin(DRAM, 0, 64, 16)
        gate.wait(30)  # the Gets are all out; the acknowledges return inside the stream
        gate.mvout(OUT, 3 * 4096, 16, rows)
        load, _ = gate.times()
        assert load.complete == alone.complete + rows


def test_an_acknowledge_behind_the_reads_costs_them_nothing() -> None:
    gate = Gate().configure()
    gate.mvin(DRAM, 0, 64, 16)
    gate.wait(90)
    gate.mvout(OUT, 3 * 4096, 16, 4)
    load, _ = gate.times()
    assert load.complete == loaded(gate.hw, load.issue, 64)


def meeting(last: str, blocks: int, after: int) -> int:
    """Cycles that a Get loses which reaches the crossbar ``after`` cycles after a Put's first beat.

    Both pages have been touched before, by the reader or the writer last.
    """
    gate = Gate().configure()
    for client in ("writer", "reader") if last == "reader" else ("reader", "writer"):
        if client == "reader":
            gate.mvin(DRAM, 0, 16, 1)
        else:
            gate.mvout(OUT, 3 * 4096, 16, 1)
        gate.fence()
    gate.mvout(OUT, 3 * 4096, 16 * blocks, 1)
    # dispatch, SRAM and its pipeline, gathering; then the beat and its two stages
    put = HEAD + 2 + gate.hw.scratchpad.read_pipeline_cycles + (blocks - 1) + 1 + SENT
    gate.wait(put + after - HEAD - GET)
    gate.mvin(DRAM, 0, 16, 1)
    load = gate.times()[-1]
    return load.complete - loaded(gate.hw, load.issue, 1)


def test_the_crossbar_serves_reader_and_writer_in_turn() -> None:
    """TLXbar, round robin: a tie goes to the one that was not served last; without a tie no request waits."""
    assert [meeting("reader", 1, after) for after in (-1, 0, 1)] == [0, 1, 0]
    assert [meeting("writer", 1, after) for after in (-1, 0, 1)] == [0, 0, 0]


def test_a_put_of_many_beats_holds_the_channel() -> None:
    """A burst on A is not interleaved: a Get that arrives behind its first beat waits for all four."""
    assert [meeting("reader", 4, after) for after in range(5)] == [4, 3, 2, 1, 0]
    assert [meeting("writer", 4, after) for after in range(5)] == [0, 3, 2, 1, 0]


@pytest.mark.parametrize("latency", (1, 10, 40, 200))
def test_a_load_takes_the_memory_s_latency_and_four_buffers(latency: int) -> None:
    gate = Gate(memory__latency_cycles=latency).configure()
    gate.mvin(DRAM, 0, 16, 1)
    [load] = gate.times()
    base = Gate(memory__latency_cycles=1).configure()
    base.mvin(DRAM, 0, 16, 1)
    assert load.complete - base.times()[0].complete == latency - 1
    assert BUS == 4
