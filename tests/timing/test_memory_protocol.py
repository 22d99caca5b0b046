"""A memory whose time depends on more of an address than the default clock compares is refused by it, not mistimed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from sim import hardware
from sim.core import machine
from sim.core.address import ALL_BITS
from sim.lower import build, lower
from sim.timing import parameters, timer
from sim.timing.items import equivalent

HERE = Path(__file__).parent


def test_all_clocks_agree_in_front_of_an_open_row(tmp_path: Path) -> None:
    """With the toy behind the port the default clock repeated steps whose rows were closed: 35,017 for 35,025."""
    path = tmp_path / "runs.json"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(HERE.parents[1])}
    subprocess.run([sys.executable, str(HERE / "open_row.py"), str(path)], env=environment, check=True)
    results = json.loads(path.read_text())
    cycles, ran, refusal, beats = results["reference"]
    assert cycles > results["fixed"]  # the toy is in the way
    assert ran == "reference" and refusal == ""
    assert results["leap"] == [cycles, "leap", "", beats]
    assert results["periodic"][0] == cycles
    assert results["periodic"][1] == "leap"
    assert "depends on the whole address" in results["periodic"][2]


def test_the_clock_that_ran_is_reported_with_the_reason() -> None:
    program = lower(build.matmul(256, 512, 512), hardware.load("gemmini_l2"))
    timed = timer.run(program, hardware.load("gemmini_l2"))
    assert timed.clock == "leap" and "whole address" in timed.refusal
    timed = timer.run(program, hardware.load("gemmini_default"))
    assert timed.clock == "periodic" and timed.refusal == ""
    timed = timer.run(program, hardware.load("gemmini_default"), clock="reference")
    assert timed.clock == "reference" and timed.refusal == ""


def test_items_keep_addresses_on_which_time_depends() -> None:
    """Behind an L2 no tensor moves; in front of a memory of fixed latency the place in a request decides."""
    work = build.matmul(64, 64, 64)
    assert parameters.timing_bits(hardware.load("gemmini_l2")) == ALL_BITS
    assert equivalent(work, [work.a.address, work.b.address, work.c.address], hardware.load("gemmini_l2")) == work
    hw = hardware.load("gemmini_default")
    assert 1 << parameters.timing_bits(hw) == hw.dma.max_request_bytes
    assert equivalent(work, [work.a.address, work.b.address, work.c.address], hw) != work


def test_what_a_program_leaves_behind_the_port_comes_back_whole() -> None:
    """The records of the memory's side survive being handed on."""
    state = machine.build(timer.parameters(hardware.load("gemmini_l2")))
    for name in machine.MEMORY_SIDE:
        words = np.asarray(state)[name].view(np.int64)
        words[:] = np.arange(len(words)) + len(name)
    fresh = machine.build(timer.parameters(hardware.load("gemmini_l2")))
    machine.resume_memory(fresh, machine.memory_side(state))
    for name in machine.MEMORY_SIDE:
        assert np.array_equal(np.asarray(fresh)[name], np.asarray(state)[name])
