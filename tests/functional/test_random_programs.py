"""Law: on any program the executor's own traffic equals the timing core's, and no schedule breaks a dependence.

The programs are those of the two-clock law, on every preset and on random machines.
"""

from __future__ import annotations

import numpy as np
from helpers.bench_machine import MACHINES
from helpers.strategies import SEEDS, program
from helpers.strategies import machine as random_machine
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import Hang
from sim.functional import Machine
from sim.isa.commands import ACCUMULATOR_BIT, ConfigKind, Funct
from sim.timing import timer


def machine(name, seed, copies):
    """A preset or a random machine; ``copies``: with pixel copies."""
    hw = random_machine(seed) if name == "random" else MACHINES[name]
    plain = hw.features.model_copy(update={"first_layer_optimizations": False})
    return hw if copies else hw.model_copy(update={"features": plain})


def image_wraps(hw, commands):
    """Does a stored image go on behind the last row of its memory?"""
    rows = 0
    for funct, rs1, rs2 in zip(*(commands[name].tolist() for name in ("funct", "rs1", "rs2")), strict=True):
        if funct == Funct.CONFIG and rs1 & 3 == ConfigKind.ST:
            rows = (rs1 >> 48 & 0xFF) * (rs1 >> 56 & 0xFF) if rs1 >> 6 & 3 else 0
        elif funct == Funct.MVOUT and rows:
            there = hw.acc_rows if rs2 & ACCUMULATOR_BIT else hw.sp_rows
            if (rs2 & there - 1) + rows > there:
                return True
    return False


@settings(max_examples=250, deadline=None)
@given(
    name=st.sampled_from([*sorted(MACHINES), *["random"] * 20]),
    machine_seed=SEEDS,
    actions=st.lists(st.tuples(SEEDS, SEEDS), min_size=2, max_size=15),
    copies=st.booleans(),
    phase=st.integers(0, 1),
)
def test_traffic_is_the_core_s_and_nothing_clashes(name, machine_seed, actions, copies, phase):
    hw = machine(name, machine_seed, copies)
    commands = program(hw, actions)
    try:
        times = timer.run(commands, hw, timeline=True, phase=phase)
    except Hang:
        return
    done = Machine(hw, 1 << 20).run(times)
    assert done.counters == {counter: times.counters[counter] for counter in done.counters}
    if not copies and not image_wraps(hw, commands):
        # with pixel copies the reservation station's range ends p - 1 rows too early (ReservationStation.scala adds
        # the rows to the lowered start), and that of a pooled image with its bank, so that a hand-written program can
        # really race
        assert done.clashes == 0


def test_what_runs_twice_gives_the_same():
    hw = hardware.load("gemmini_default")
    commands = program(hw, [(n * 7919, n * 104729) for n in range(12)])
    times = timer.run(commands, hw, timeline=True)
    images = []
    for _ in range(2):
        machine = Machine(hw, 1 << 20)
        machine.image[:] = np.arange(machine.image.size, dtype=np.uint32).astype(np.uint8)
        machine.run(times)
        images.append(machine.image.copy())
    np.testing.assert_array_equal(*images)
