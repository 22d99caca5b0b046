"""Long calls show progress; short ones and silent ones print nothing."""

from __future__ import annotations

import pytest

import sim
from sim.run import progress

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is a long one, and the core is compiled."""
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    monkeypatch.setattr("sim.base.notice.compiling", lambda _part: None)


@pytest.mark.usefixtures("hasty")
def test_long_calls_say_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    result = sim.simulate("encoder-layer", "gemmini_ibert", cache=False, **TINY)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"carat: encoder-layer gemmini_ibert: 0 of {len(result.steps)}, L0.matmul_Q (")
    sim.sweep("gemmini_ibert", workloads="encoder-layer", sizes=TINY, jobs=1, cache=False)
    assert "carat: sweep: 0 of 1" in capsys.readouterr().err


@pytest.mark.usefixtures("hasty")
def test_silence_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    result = sim.simulate("encoder-layer", "gemmini_ibert", cache=False, progress=False, **TINY)
    sim.sweep("gemmini_ibert", workloads="encoder-layer", sizes=TINY, jobs=1, cache=False, progress=False)
    sim.explain(result, progress=False)
    assert capsys.readouterr().err == ""


def test_lines_become_fewer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A call of an hour with a part a second: 2 s, 6, 14, 30, 62, then one line a minute."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr("sim.base.notice.compiling", lambda _part: None)
    with progress.shown("hour") as shown:
        for second in range(3600):
            clock[0] = float(second)
            shown(second, 3600, "")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rsplit("(")[1] for line in lines[:5]] == ["2 s)", "6 s)", "14 s)", "30 s)", "62 s)"]
    assert 60 <= len(lines) <= 66
