"""Front end and reservation station: when a command is accepted, allocated, issued, and what a full class does.

Sources: Controller.scala, ReservationStation.scala, LoopMatmul.scala (gemmini_machine.md 3.1, 3.4, 10; addendum 4).
"""

from __future__ import annotations

import pytest
from helpers.gates import ACC, ALLOC, DEFAULT, DRAM, EX, HEAD, ISSUE, LD, OUT, Gate, configs, loaded

from sim.isa.commands import Funct

LONE = 3  # position of the first command behind Gate.configure
IDLE = 1  # the busy wire is low in the cycle after the last unit went idle


def test_a_command_is_allocated_four_cycles_after_acceptance_and_issued_one_later() -> None:
    """Four two-entry queues between the port and the tables (Controller.scala)."""
    gate = Gate()
    gate.config_st(64)
    [store] = configs(gate.run())
    assert (store.alloc, store.issue) == (ALLOC, ALLOC + ISSUE)


def test_one_command_a_cycle_enters() -> None:
    assert [c.alloc for c in configs(Gate().configure().run())] == [ALLOC, ALLOC + 1, ALLOC + 2]


def test_a_load_or_store_configuration_completes_on_issue_and_takes_its_controller_a_cycle() -> None:
    """ReservationStation.scala: complete_on_issue. Busy falls when the reservation station is empty."""
    gate = Gate()
    gate.config_ld(64)
    timing = gate.run()
    assert configs(timing)[0].complete == -1
    assert timing.cycles == ALLOC + ISSUE + IDLE


def test_config_ex_completes_when_the_execute_controller_performs_it() -> None:
    """Issue, transpose unroller, execute queue: seen two cycles after issue (ExecuteController.scala)."""
    gate = Gate()
    gate.config_ex()
    timing = gate.run()
    assert configs(timing)[0].complete == ALLOC + ISSUE + 2
    assert timing.cycles == ALLOC + ISSUE + 2 + IDLE


@pytest.mark.parametrize("cycles", (2, 50))
def test_a_command_comes_no_earlier_than_the_cpu_sends_it(cycles: int) -> None:
    gate = Gate().configure()
    gate.wait(cycles)
    gate.mvin(DRAM, 0, 16, 1)
    assert gate.times()[0].alloc == LONE - 1 + cycles + ALLOC


def test_a_full_class_blocks_everything_behind_its_head() -> None:
    """Allocation is in order over all classes: the ninth load waits for an entry, the preload waits behind it."""
    gate = Gate().configure()
    entries = gate.hw.reservation_station.ld
    for n in range(entries + 1):
        gate.mvin(DRAM + 64 * n, 16 * n, 16, 16)
    gate.pair(8192, ACC, 12288)
    loads, pair = gate.times()[: entries + 1], gate.times()[entries + 1 :]
    assert [c.alloc for c in loads[:-1]] == [LONE + n + ALLOC for n in range(entries)]
    assert loads[-1].alloc == loads[0].complete + 1  # an entry freed at t is used again at t + 1
    assert [c.alloc for c in pair] == [loads[-1].alloc + 1, loads[-1].alloc + 2]


def test_a_class_that_is_not_full_does_not_block() -> None:
    """The control of the gate above: one load fewer, and the preload follows at once."""
    gate = Gate().configure()
    entries = gate.hw.reservation_station.ld
    for n in range(entries):
        gate.mvin(DRAM + 64 * n, 16 * n, 16, 16)
    gate.pair(8192, ACC, 12288)
    assert gate.times()[entries].alloc == LONE + entries + ALLOC


def test_each_class_issues_on_its_own() -> None:
    """Up to one issue per class per cycle: a load waiting for its controller holds up no execute command."""
    gate = Gate(queues__ld=1).configure()
    for n in range(4):
        gate.mvin(DRAM, 16 * n, 16, 16)
    gate.pair(8192, ACC, 12288)
    times = gate.times()
    assert times[3].issue > times[3].alloc + ISSUE
    assert [c.issue - c.alloc for c in times if c.queue == EX] == [ISSUE, ISSUE]


def test_a_fence_waits_for_the_first_idle_cycle() -> None:
    """Idle at t: the next command is offered, and accepted, at t + 1."""
    gate = Gate().configure()
    gate.mvin(DRAM, 0, 16, 1)
    gate.fence()
    gate.mvin(DRAM, 16, 16, 1)
    timing = gate.run()
    first, second = gate.times()
    idle = first.complete + IDLE
    assert timing.sections[0] == idle
    assert second.alloc == idle + 1 + ALLOC
    assert timing.cycles == sum(timing.sections) == loaded(gate.hw, second.issue, 1) + IDLE


def test_several_fences_in_a_row_count_once() -> None:
    once, thrice = Gate().configure(), Gate().configure()
    for gate, fences in ((once, 1), (thrice, 3)):
        gate.mvin(DRAM, 0, 16, 1)
        for _ in range(fences):
            gate.fence()
        gate.mvin(DRAM, 16, 16, 1)
    assert once.run().sections == thrice.run().sections


def test_a_flush_is_eaten_at_the_door_in_one_cycle() -> None:
    """FLUSH (TLB) never enters the tables and waits for nothing (Controller.scala)."""
    gate = Gate().configure()
    gate.emit(Funct.FLUSH)
    gate.mvin(DRAM, 0, 16, 1)
    [load] = gate.times()
    assert load.alloc == LONE + 1 + ALLOC


def test_a_preload_without_its_compute_leaves_the_accelerator_idle() -> None:
    """ReservationStation.scala: busy is low when only a solitary preload is inside."""
    gate = Gate().configure()
    gate.preload(0, ACC, (16, 16), (16, 16))
    timing = gate.run()
    preload = gate.times()[0]
    assert preload.complete == -1
    # judged from the preload's allocation on, when the last configuration was performed
    assert timing.cycles == preload.alloc + IDLE


def test_the_execute_controller_sees_a_command_two_cycles_after_issue() -> None:
    """Transpose unroller and execute queue: with no weights to load, row 0 of a compute fires at once."""
    gate = Gate().configure()
    gate.compute(0, 0xFFFFFFFF, (16, 16), (16, 16), preloaded=False)
    [compute] = gate.times()
    assert compute.complete == compute.issue + 2 + (gate.dim - 1) + 1


def test_one_load_and_one_store_at_a_time_do_not_touch_each_other() -> None:
    """Each controller has its own queue: both commands reach their heads a cycle after issue."""
    gate = Gate().configure()
    gate.mvin(DRAM, 0, 16, 1)
    gate.mvout(OUT, 4096, 16, 1)
    load, store = gate.times()
    assert load.complete == loaded(DEFAULT, load.issue, 1)
    assert store.complete == store.issue + HEAD + 2
    assert load.queue == LD
