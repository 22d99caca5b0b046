"""What is compiled ahead is what runs call: one type of each argument, so nothing is compiled a second time."""

from __future__ import annotations

import os

import numba
import pytest

from sim import hardware
from sim.core import compiling, engine
from sim.core.repeat import stretch
from sim.lower import build, lower
from sim.lower.work import Norm, Operand
from sim.timing import timer

ENTRIES = (engine.run, stretch.go_on, stretch.next_stop, stretch.end)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_runs_call_what_was_compiled_ahead() -> None:
    compiling.compile_all(compiling.wanted())
    hw = hardware.load("gemmini_ibert")
    repeating = lower(build.matmul(256, 256, 64), hw)
    by_hand = lower(Norm(64, 256, "layernorm", Operand(0x2001_0000, 256), Operand(0x2101_0000, 256)), hw)
    for program in (repeating, by_hand):
        for clock in ("leap", "reference", "periodic"):
            for timeline in (False, True):
                timer.run(program, hw, clock=clock, timeline=timeline)
    kinds = {entry.py_func.__name__: len(entry.kinds) for entry in ENTRIES}
    assert kinds == {entry.py_func.__name__: 1 for entry in ENTRIES}


def test_the_process_that_helps_takes_no_module_from_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setattr("sim.core.compiling.prepare", lambda _: seen.append(os.environ.get("PYTHONSAFEPATH")))
    timer._prepared.cache_clear()
    timer.prepare()
    timer.prepare()
    timer._prepared.cache_clear()
    assert seen == ["1"] and "PYTHONSAFEPATH" not in os.environ
