"""Spike's log of retired instructions: the command stream in it is the one that `carat record` keeps of the program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.spike import COMMAND, log

from sim.base.errors import InputError
from sim.cli import main
from sim.hardware import load
from sim.lower import build, lower
from sim.validate import replay, spike


@pytest.mark.parametrize("padded", ["x%-2d", "x%2d"])  # today's Spike, and that of esp-isa-sim
def test_a_log_holds_the_commands_and_fences_of_its_program(padded: str, tmp_path: Path) -> None:
    program = lower(build.matmul(64, 64, 64), load("gemmini_default"))
    (tmp_path / "spike.log").write_text("".join(log(program, padded)))
    (recording,) = replay.choose(tmp_path / "spike.log")
    assert recording.case == "core0"
    assert all(np.array_equal(recording.program[name], program[name]) for name in ("funct", "rs1", "rs2"))


def test_a_log_is_replayed_with_causes_energy_and_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = lower(build.matmul(32, 32, 32), load("gemmini_default"))
    (tmp_path / "spike.log").write_text("".join(log(np.concatenate([program, program]))))
    command = ["replay", str(tmp_path / "spike.log"), "--cpu", "rocket", "--json", "--trace", str(tmp_path / "t.json")]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code in (0, None)
    found = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "\n}")
    calls, total = found["cases"][0]["calls"], found["total"]
    assert [call["name"] for call in calls] == ["matmul 32x32x32"] * 2
    assert sum(call["cycles"] for call in calls) == total["cycles"] == sum(total["causes"].values())
    energy = sum(call["energy_pj"] for call in calls)
    assert sum(total["energy_parts_pj"].values()) == pytest.approx(energy)
    traced = json.loads((tmp_path / "t.json").read_text())
    slices = [event for event in traced["traceEvents"] if event["ph"] == "X"]
    names = {event["name"] for event in slices}
    assert {"matmul 32x32x32", "library call", "issues commands"} < names
    assert max(event["ts"] + event["dur"] for event in slices) == total["cycles"] == traced["otherData"]["cycles"]


COMMIT = f"core   0: 3 0x0000000080000004 (0x{COMMAND:08x})\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("core   0: 0x0000000080000000 (0x00000513) li      a0, 0\n", "run spike with --log-commits"),
        ("core   0: 3 0x0000000080000000 (0x00000513) x10 0x0000000000000000\n", "no Gemmini command"),
        (COMMIT, "line 1: no value of x10 in the log before it"),
        ("".join(log(lower(build.matmul(16, 16, 16), load("gemmini_default"))))[:-9], "the line is truncated"),
        (
            f"core   0: 3 0x0000000080000000 (0x00000513) x10 0x00 x11 0x00\n{COMMIT.replace('0x00b5', '0x42b5')}",
            "funct must be 'fence' or a known command code",
        ),
    ],
)
def test_a_faulty_log_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "spike.log"
    path.write_text(text)
    assert spike.is_log(path)
    with pytest.raises(InputError) as refused:
        replay.choose(path)
    assert message in str(refused.value)
