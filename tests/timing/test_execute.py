"""The execute controller and the array: rows per command, pairing, tags, drains, both dataflows.

Sources: ExecuteController.scala, MeshWithDelays.scala, TagQueue.scala, TransposePreloadUnroller.scala
(gemmini_machine.md 6; addendum D1, E1, E9, E10).
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from helpers.gates import ACC, DEFAULT, EX, FULL, NEWER, NOTHING, Gate, Times, configs, fire_to_write

from sim.base.errors import Hang
from sim.hardware import load

A = 4096  # A in bank 1, weights in bank 0
SEEN = 2  # issued -> visible to the controller: transpose unroller, execute queue


def result(gate: Gate, first_fire: int, rows: int) -> int:
    """Cycle in which the last of ``rows`` result rows is written, row 0 fired in ``first_fire``."""
    return first_fire + rows - 1 + fire_to_write(gate.hw)


@pytest.mark.parametrize("preset", ["default", "8c3f992", "8x8", "32x32", "tile4", "lean", "chip_fp32"])
@pytest.mark.parametrize("rows", (4, 0))
def test_a_pair_loads_its_weights_and_then_fires_its_rows(preset: str, rows: int) -> None:
    """The pair starts when its compute is seen; DIM rows of weights, the compute's rows, the array's depth."""
    gate = Gate(load(f"gemmini_{preset}")).configure()
    dim = gate.dim
    rows = min(rows or dim, dim)
    gate.pair(0, ACC, gate.hw.sp_bank_rows, rows)
    preload, compute = gate.times()
    first_fire = compute.issue + SEEN + dim
    assert compute.complete == first_fire + max(rows, 4) - 1 + 1
    assert preload.complete == result(gate, first_fire, max(rows, 4))


def test_the_newer_commit_reads_the_scratchpad_three_cycles_faster() -> None:
    """Addendum D1: four register stages behind the SRAM against a queue of latency one."""
    times = []
    for hw in (DEFAULT, NEWER):
        gate = Gate(hw).configure()
        gate.pair(0, ACC, A)
        times.append(gate.times()[0].complete)
    assert times[0] - times[1] == 4 - 1


@pytest.mark.parametrize("late", (2, 40))
def test_a_preload_waits_for_its_compute(late: int) -> None:
    gate = Gate().configure()
    gate.preload(0, ACC, (16, 16), (16, 16))
    gate.wait(late)
    gate.compute(A, NOTHING, (16, 16), (16, 16), preloaded=True)
    preload, compute = gate.times()
    assert compute.issue == preload.issue + late
    assert preload.complete == result(gate, compute.issue + SEEN + 16, 16)


def chain(weights: list[int], a: int = A, rows: int = 16, **changes: int) -> list[Times]:
    """Completion times of a chain of pairs, one per weight address."""
    gate = Gate(None, **changes).configure()
    for n, b in enumerate(weights):
        gate.pair(b, ACC + 16 * n, a + 16 * n, rows, preloaded=b != NOTHING)
    return [t for t in gate.times() if t.funct == 6]


def steps(times: list[Times]) -> list[int]:
    return [b.complete - a.complete for a, b in pairwise(times)]


def test_weights_are_loaded_under_the_compute_before() -> None:
    """Overlapped compute and preload: DIM cycles per pair, no bubble."""
    assert steps(chain([0, 16, 32, 48])) == [16, 16, 16]


def test_operands_in_one_bank_take_two_cycles_a_row() -> None:
    """A and the next weights from the same bank: 2 * DIM; the last compute runs alone."""
    assert steps(chain([0, 16, 32, 48], a=256)) == [32, 32, 16]


def test_operands_in_two_banks_do_not_collide() -> None:
    """The control: the same rows, A one bank further."""
    assert steps(chain([0, 16, 32, 48], a=256 + 4096)) == [16, 16, 16]


@pytest.mark.parametrize("rows, slots", [(1, 4), (3, 4), (4, 4), (5, 5), (16, 16)])
def test_a_command_without_new_weights_takes_its_rows_but_at_least_four(rows: int, slots: int) -> None:
    """ExecuteController.scala: an accumulated row must not meet itself in the write pipeline."""
    times = chain([0, NOTHING, NOTHING, NOTHING], rows=rows)
    assert steps(times) == [slots, slots, slots]


def test_new_weights_take_dim_rows_however_few_rows_are_computed() -> None:
    assert steps(chain([0, 16, 32], rows=1)) == [16, 4]


def test_short_commands_wait_for_a_tag() -> None:
    """Addendum E1: s(n + tags - 1) >= s(n) + R + L_mesh + 1, and s(n + 1) >= s(n) + R; results follow entries."""
    hw = DEFAULT
    count, rows, depth = 14, 4, hw.tag_queue_length - 1
    times = chain([0] + [NOTHING] * (count - 1), rows=1, reservation_station__ex=32)
    entry = [0]
    for n in range(1, count):
        earliest = entry[-1] + rows
        if n >= depth:
            earliest = max(earliest, entry[n - depth] + rows + hw.mesh_latency_cycles + 1)
        entry.append(earliest)
    assert [t.complete - times[0].complete for t in times] == entry
    assert entry[depth] > depth * rows  # the tags did hold it


def test_a_transposed_b_costs_a_weight_change_two_blocks() -> None:
    """TransposePreloadUnroller.scala: each pair becomes four commands; B goes through the transposer first."""
    gate = Gate()
    gate.config_ex(transpose_b=True)
    gate.config_st(64)
    gate.config_ld(64)
    for n in range(3):
        gate.pair(16 * n, ACC + 16 * n, A + 16 * n)
    preloads = [t for t in gate.times() if t.funct == 6]
    assert steps(preloads) == [32, 32]


def test_a_config_ex_waits_for_outstanding_results() -> None:
    """Seen in the last cycle of a result it starts a flush round, DIM rows and two cycles; one later, none."""
    pair = Gate().configure()
    pair.pair(0, ACC, A)
    gone = pair.times()[0].complete
    for seen, performed in ((gone, gone + pair.dim + 2), (gone + 1, gone + 1), (gone + 2, gone + 2)):
        gate = Gate().configure()
        gate.pair(0, ACC, A)
        accepted_before = 4  # position of the compute
        gate.wait(seen - SEEN - 5 - accepted_before)
        gate.config_ex()
        config = configs(gate.run())[-1]
        assert config.issue + SEEN == seen
        assert config.complete == performed


def test_an_output_stationary_result_needs_a_flush() -> None:
    """MeshWithDelays.scala: results leave when DIM further rows go in; addendum E9: exactly DIM cycles more."""
    done = []
    for dataflow in (1, 0):
        gate = Gate().configure(dataflow=dataflow)
        gate.pair(0, ACC, A)
        done.append(gate.times()[0].complete)
    assert done[1] - done[0] == 16


def test_output_stationary_blocks_follow_each_other_in_dim_cycles() -> None:
    gate = Gate().configure(dataflow=0)
    for n in range(4):
        gate.preload(NOTHING, ACC + 16 * n, (16, 16), (16, 16))
        gate.compute(A + 16 * n, 16 * n, (16, 16), (16, 16), preloaded=True)
    assert steps([t for t in gate.times() if t.funct == 6]) == [16, 16, 16]


def test_two_operands_for_one_transposer_never_end() -> None:
    """Addendum E10: output-stationary A uses the transposer already; the RTL flushes for ever."""
    gate = Gate()
    gate.config_ex(dataflow=0, transpose_b=True)
    gate.config_st(64)
    gate.config_ld(64)
    gate.pair(0, ACC, A)
    with pytest.raises(Hang, match="two operands from the one transposer"):
        gate.run()


def test_with_the_flag_of_a_set_the_transposer_is_free_for_b() -> None:
    gate = Gate()
    gate.config_ex(dataflow=0, transpose_a=True, transpose_b=True)
    gate.config_st(64)
    gate.config_ld(64)
    gate.pair(0, ACC, A)
    assert [t.queue for t in gate.times()] == [EX, EX]


@pytest.mark.parametrize("raw", (True, False))
def test_the_next_compute_must_be_there_for_an_overlap_unless_raw_is_impossible(raw: bool) -> None:
    """ExecuteController.scala: third_needed. With RAW possible the late compute costs its weights anew."""
    gate = Gate(array__ex_read_from_acc=raw, array__ex_write_to_spad=raw).configure()
    gate.pair(0, ACC, A)
    gate.preload(16, ACC + 16, (16, 16), (16, 16))
    gate.wait(30)  # the second compute is offered after the first has begun
    gate.compute(A + 16, NOTHING, (16, 16), (16, 16), preloaded=True)
    _, first, second, last = gate.times()
    begun = max(first.complete, last.issue + SEEN)
    # RAW possible: the first compute ran alone, and the weights go in before the rows of the second
    assert second.complete == result(gate, begun + (16 if raw else 0), 16)


@pytest.mark.parametrize(
    ("b", "a", "d"),
    [(ACC, A, NOTHING), (0, ACC, NOTHING), (0, ACC | FULL, NOTHING), (0, A, ACC)],
    ids=["b", "a", "full", "d"],
)
@pytest.mark.parametrize("dataflow", (0, 1))
def test_operands_in_the_accumulator_never_arrive(b: int, a: int, d: int, dataflow: int) -> None:
    """Such reads end in the store path: Gemmini 25809f78 under Verilator hangs as well (WS: A, B, D; OS: A)."""
    gate = Gate().configure(dataflow=dataflow)
    gate.pair(b, ACC + 16, a, d=d)
    with pytest.raises(Hang):
        gate.run()
