"""With a numba that `sim.core.jit` was not written for, everything is compiled as numba does by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

ROOT = Path(__file__).parents[2]

OTHER_RELEASE = """
import numba
numba.version_info = numba.version_info._replace(short=(0, 1))
"""

PARTS = """
import json
import numpy as np
from sim.core import jit, machine, passes
from sim.core.repeat import inner, memo, stretch
from sim.hardware import load
from sim.lower import build, lower
from sim.timing import timer
hw = load("gemmini_default")
state = machine.build(timer.parameters(hw))
program = lower(build.matmul(64, 64, 64), hw, repeat=3).view(np.recarray)
stops, at = [], 0
while (at := stretch.next_stop(jit.passed(program), at, 1)) >= 0:
    stops.append(int(at))
words = np.asarray(state).view(np.int64)
pool = np.zeros(2 * len(words), np.int64)
pairs, digest = memo.compress(words, np.zeros(len(words), np.int64), pool, 0)
spacing = inner.spacing(jit.passed(state), 64)
print(json.dumps([passes._UNIT == {}, passes._ENTRY == {}, stops, int(pairs), int(digest), int(spacing)]))
"""

WHOLE = """
import json
from sim.hardware import load
from sim.lower import build, lower
from sim.timing import timer
hw = load("gemmini_default")
runs = [timer.run(lower(build.matmul(48, 64, 80), hw), hw, clock=clock) for clock in ("periodic", "leap", "reference")]
print(json.dumps([[timed.cycles, timed.counters, timed.causes] for timed in runs]))
"""


def said(script: str, folder: Path) -> list[object]:
    """What a process of its own prints, with a compile cache of its own."""
    environment = {**os.environ, "CARAT_CACHE_DIR": str(folder), "NUMBA_DISABLE_JIT": "0"}
    printed = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, env=environment, text=True)
    found: list[object] = json.loads(printed.splitlines()[-1])
    return found


def test_entries_and_their_units_compile_and_agree(tmp_path: Path) -> None:
    ours, plain = said(PARTS, tmp_path / "ours"), said(OTHER_RELEASE + PARTS, tmp_path / "plain")
    assert plain[:2] == [True, True]
    assert ours[:2] == [numba.version_info.short != (0, 68)] * 2
    assert plain[2:] == ours[2:]
    assert len(plain[2]) > 0  # type: ignore[arg-type]


@pytest.mark.long
def test_the_whole_core_compiles_and_agrees(tmp_path: Path) -> None:
    assert said(OTHER_RELEASE + WHOLE, tmp_path) == said(WHOLE, tmp_path)
