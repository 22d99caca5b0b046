"""Law: a timing core that forgets one rule of its reservation station computes wrong numbers, and is caught.

The core itself runs with the rule left out, not a schedule made up by hand; uncompiled, in a process of its own,
because the compiled core cannot be changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.broken_core import CLASSES, HARDWARE, PROGRAMS, RULES

from sim.functional import Machine

SCRIPT = Path(__file__).parents[1] / "helpers" / "broken_core.py"
DRAM_BYTES = 1 << 16


@pytest.fixture(scope="module")
def timelines(tmp_path_factory):
    """Timelines by "program" or "program/waiting/for"."""
    path = tmp_path_factory.mktemp("broken") / "timelines.npz"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, str(SCRIPT), str(path)], check=True, env=environment)  # 15 s of CPU
    with np.load(path) as stored:
        return dict(stored)


def outcome(timeline):
    """(clashes, all of DRAM) behind a timeline on random data."""
    machine = Machine(HARDWARE, DRAM_BYTES)
    # every fourth byte, so that words read as int32 are small too and no result saturates
    machine.image[::4] = np.random.default_rng(3).integers(0, 100, machine.image.size // 4)
    done = machine.run(timeline)
    return done.clashes, machine.image.copy()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(CLASSES[c] for c in rule))
def test_each_rule_of_the_reservation_station_shows_in_the_numbers(timelines, rule):
    caught = []
    for name in PROGRAMS:
        right = outcome(timelines[name])
        broken = outcome(timelines["/".join([name, *(CLASSES[c] for c in rule)])])
        assert right[0] == 0
        same = np.array_equal(right[1], broken[1])
        assert same == (broken[0] == 0)  # it says so, or nothing happened
        caught.append(not same)
    assert any(caught)
