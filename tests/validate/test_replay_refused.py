"""A replay in which no program ends is refused input: exit code 2, the reason, and no empty timeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.cli import REFUSED, main


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_loop_without_bounds(form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, times = tmp_path / "loop.csv", tmp_path / "times.csv"
    stream.write_text("case,seq,funct,rs1,rs2\nx,0,8,0x0,0x0\nx,1,fence,,\n")
    with pytest.raises(SystemExit) as end:
        main(["replay", str(stream), "--timeline", str(times), *form])
    assert end.value.code == REFUSED and "the loop has no bounds" in capsys.readouterr().err
    assert not times.exists()
