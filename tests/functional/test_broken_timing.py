"""Law: a schedule that breaks a dependence gives wrong numbers and says which command saw data in motion."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.bench_machine import execute, matmul_operands

from sim import hardware
from sim.base.errors import InputError
from sim.functional import Machine
from sim.isa.commands import Funct
from sim.lower import build, lower, matmul
from sim.lower.matmul import tiles_of
from sim.lower.tiling import matmul_tile
from sim.timing import timer

LD, EX, ST = 0, 1, 2
LOADS = (Funct.MVIN, Funct.MVIN2, Funct.MVIN3)


@pytest.fixture(scope="module")
def case():
    """(hardware, work, operands, timeline, right answer)."""
    hw = hardware.load("gemmini_default", {"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"})
    work = build.matmul(60, 50, 150, bias="row", scale=0.002)
    _, _, _, places = matmul_operands(work, np.random.default_rng(5))
    machine, done, times = execute(work, hw, places)
    assert done.clashes == 0
    return hw, work, places, times.timeline, machine.read(work.c.address, (60, 50))


def rerun(case, times):
    hw, work, places, _, right = case
    machine = Machine(hw, 1 << 22)
    for address, matrix, stride, wide in places:
        machine.write(address, matrix, stride, wide=wide)
    done = machine.run(times)
    return done, np.array_equal(machine.read(work.c.address, right.shape), right)


def last(times, functs):
    return int(np.flatnonzero(np.isin(times["funct"], functs))[-1])


def test_the_true_schedule_is_right(case):
    done, right = rerun(case, case[3])
    assert right
    assert done.clashes == 0


@pytest.mark.parametrize("what", ["compute before its A", "store before its result", "load over what is read"])
def test_a_broken_dependence_is_a_wrong_answer(case, what):
    times = case[3].copy()
    loads, computes = (Funct.MVIN, Funct.MVIN2), (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)
    if what == "compute before its A":
        # the last load lands one cycle before the end of the program
        times["t_complete"][last(times, (Funct.MVIN,))] = times["t_complete"].max() - 1
    elif what == "store before its result":
        at = last(times, (Funct.MVOUT,))
        late = times["t_complete"][last(times, (Funct.PRELOAD,))]
        times["t_issue"][at] = late - 1
    else:
        # a load whose place was read by a compute begins before that compute has ended
        ends = times["t_complete"][np.isin(times["funct"], computes)]
        first = ends[len(ends) // 2]
        later = np.flatnonzero(np.isin(times["funct"], loads) & (times["t_issue"] > first))
        assert len(later)
        times["t_issue"][later[-1]] = ends[0] - 1
    done, right = rerun(case, times)
    assert not right
    assert done.clashes > 0
    assert done.clashed


@pytest.mark.parametrize("queue", [LD, ST])
def test_one_cycle_too_early_is_too_early(case, queue):
    """Tight gate: the dependant may issue in the cycle after the completion, not in the cycle of it."""
    if queue == LD:  # a transposed B keeps the array busy twice as long, so that loads wait for it
        hw = case[0]
        work = build.matmul(60, 50, 150, transpose_b=True, scale=0.002)
        _, _, _, places = matmul_operands(work, np.random.default_rng(5))
        machine, _, ran = execute(work, hw, places)
        case = hw, work, places, ran.timeline, machine.read(work.c.address, (60, 50))
    times = case[3]
    waits = []
    for at in np.flatnonzero((times["queue"] == queue) & (times["funct"] != Funct.CONFIG)):
        moved = times.copy()
        # issue with the completion that let it go: the last one of another queue before its issue
        other = (times["queue"] != queue) & (times["t_complete"] == times["t_issue"][at] - 1)
        if not other.any():
            continue
        moved["t_issue"][at] -= 1
        waits.append(rerun(case, moved)[0].clashes)
    assert waits
    assert max(waits) > 0


def test_every_single_command_matters(case):
    """A stream without any one of its loads, products or stores is a wrong answer."""
    times = case[3]
    moves = np.flatnonzero(np.isin(times["funct"], (*LOADS, Funct.MVOUT, Funct.PRELOAD)))
    done = set()
    for at in moves:
        again = (times["rs1"][at], times["rs2"][at]) in done
        done.add((times["rs1"][at], times["rs2"][at]))
        if again and times["funct"][at] == Funct.MVIN:
            continue  # the same part of A to the same rows: what lies there already
        keep = np.ones(len(times), bool)
        keep[at] = False
        if times["funct"][at] == Funct.PRELOAD:  # its compute goes with it
            later = np.flatnonzero((times["queue"] == EX) & (np.arange(len(times)) > at))
            keep[later[0]] = False
        assert not rerun(case, times[keep])[1], f"command {at} is not missed"
    assert len(done) > 50


def forget_a_tile(tiles):
    return np.delete(tiles, 2)


def forget_to_accumulate(tiles):
    changed = tiles.copy()
    changed["accumulate"] &= tiles["index"][:, 2] == 0
    return changed


def read_a_stale_operand(tiles):
    """The second tile takes the A that the first one left behind."""
    changed = tiles.copy()
    changed["a"][1], changed["a_half"][1] = 0, 1
    return changed


def mistake_a_row(tiles):
    changed = tiles.copy()
    changed["b"] += 50 * (tiles["index"][:, 2] > 0)
    return changed


@pytest.mark.parametrize("mutate", [forget_a_tile, forget_to_accumulate, read_a_stale_operand, mistake_a_row])
def test_a_broken_lowering_is_a_wrong_answer(case, mutate, monkeypatch):
    hw, work = case[:2]
    tiles = tiles_of(work, hw, matmul_tile(work, hw))
    assert tiles["index"][:, 2].any()
    for changed, is_right in ((tiles, True), (mutate(tiles), False)):
        monkeypatch.setattr(matmul, "tiles_of", lambda *_, kept=changed: kept)
        times = timer.run(lower(work, hw), hw, timeline=True).timeline
        assert rerun(case, times)[1] == is_right


def test_rows_that_were_never_written_are_noise(case):
    hw, work, _, times, right = case
    results = []
    for seed in (1, 2):
        machine = Machine(hw, 1 << 22, seed=seed)
        machine.run(times[times["queue"] != LD])
        results.append(machine.read(work.c.address, right.shape))
    assert not np.array_equal(*results)


def test_bad_input_is_refused(case):
    hw, work, _, times, _ = case
    machine = Machine(hw, 1 << 16)
    with pytest.raises(InputError, match="no timeline"):
        machine.run(timer.run(lower(work, hw), hw))
    unended = times.copy()
    unended["t_complete"][unended["funct"] == Funct.MVOUT] = -1
    with pytest.raises(InputError, match="never completed"):
        machine.run(unended)
    with pytest.raises(InputError, match="not in the image"):
        machine.write(0x1000, np.zeros((2, 2)))
    narrow = hardware.load("gemmini_bf16_4x4", {"array.acc_type": "bf16"})
    with pytest.raises(InputError, match=r"acc_type bf16.*nearest: fp32"):
        Machine(narrow, 1 << 16)
