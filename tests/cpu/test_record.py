"""`carat record` and `carat replay --calls`: the commands of a C program run natively, and what its calls cost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.cli import main
from sim.cpu import cost
from sim.cpu.recognise import calls_of, paced, priced
from sim.cpu.record import Build, record
from sim.hardware import load
from sim.isa.commands import Funct
from sim.lower import build, lower
from sim.lower.work import Matmul
from sim.validate import call_table, replay

HERE = Path(__file__).resolve().parent / "native"
SOC = Path(__file__).resolve().parents[1] / "oracle" / "soc"
ROCKET = load("gemmini_default", {"cpu.prices": "rocket", "cpu.sizes": "runtime", "cpu.code": "warm"})

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("record") / "two.csv"
    assert record([HERE / "program.c"], output, Build(), "two").code == 0
    return output


def test_commands_fences_and_marks_are_recorded_in_order(stream: Path) -> None:
    lines = [line.split(",") for line in stream.read_text().splitlines()[1:]]
    codes = [line[2] for line in lines]
    one = ["0", "0", "0", "0", "0", "9", "10", "11", "12", "13", "8", "fence"]
    assert codes == ["mark", *one, *one, "mark", "end"]
    assert {line[5] for line in lines if line[2] not in ("fence", "mark", "end")} == {"16"}


def test_two_recordings_of_one_program_are_equal(stream: Path, tmp_path: Path) -> None:
    record([HERE / "program.c"], tmp_path / "again.csv", Build(), "two")
    assert (tmp_path / "again.csv").read_text() == stream.read_text()


def test_recorded_calls_are_recognised_and_cost_what_the_lowering_says(stream: Path) -> None:
    (recording,) = replay.choose(stream)
    calls = calls_of(recording.program, 16)
    assert [call.name for call in calls] == ["matmul 64x64x64"] * 2
    product = build.matmul(64, 64, 64)
    assert np.array_equal(paced(calls[0], ROCKET)["gap"], lower(product, ROCKET, bare=True)["gap"][:-1])
    rows = call_table.of_recordings([recording], ROCKET, "periodic")
    assert [row.call_cycles for row in rows] == [cost(product, ROCKET).around] * 2
    assert all(sum(row.causes.values()) == row.cycles for row in rows)
    # mm_dn_64x64x64_WS_L40_RT: 2,574 and 2,576 from call to return
    assert all(abs(row.cycles / 2575 - 1) < 0.005 for row in rows)


@pytest.mark.parametrize(
    "work",
    [
        build.matmul(100, 96, 224),
        build.matmul(130, 70, 1000, activation="relu"),
        build.matmul(32, 512, 128, full_c=True),
        build.matmul(64, 64, 64, activation="softmax", bert_scale=0.05),
        build.conv(14, 32, 32, 3, padding=1, stride=2),
        build.conv(12, 16, 48, 3, padding=1, pool_size=2, pool_stride=2),
        build.conv(8, 16, 16, 1, stride=2, batch=2, bias=False),
        build.resadd(128, 128),
        build.norm(33, 256, "layernorm"),
        build.norm(16, 128, "softmax", bert_scale=0.05),
    ],
)
def test_what_the_lowering_issues_is_recognised_with_the_same_gaps(work: object) -> None:
    machine = {"cpu.prices": "rocket", "cpu.sizes": "runtime", "features.max_pool": True}
    hw = load("gemmini_ibert", machine)
    program = lower(work, hw)  # type: ignore[arg-type]
    (call,) = calls_of(program, hw.dim)
    assert np.array_equal(paced(call, hw)["gap"], program["gap"][program["funct"] != Funct.FENCE])
    if isinstance(call.work, Matmul):
        assert (call.work.m, call.work.n, call.work.k) == (work.m, work.n, work.k)  # type: ignore[attr-defined]
    elif call.work is not None:
        assert cost(call.work, hw).around == cost(work, hw).around and call.work.macs == work.macs  # type: ignore[arg-type, attr-defined]
    assert (call.work is None) == (call.function in ("resadd", "norm"))


def test_calls_without_a_fence_between_them_are_one_with_parts() -> None:
    """What surrounds the second call lies before its first command; alone with a fence each is as before."""
    works = build.matmul(64, 64, 64), build.resadd(64, 64)
    streams = [lower(work, ROCKET, bare=True) for work in works]
    bare = [stream[stream["funct"] != Funct.FENCE] for stream in streams]
    (call,) = calls_of(np.concatenate(bare), ROCKET.dim)
    assert call.function == "matmul+resadd" and call.name == "matmul 64x64x64, resadd" and call.macs == 64**3
    commands, outside = priced(call, ROCKET, frozenset())
    assert outside.cycles == cost(works[0], ROCKET).cycles
    wanted = np.concatenate([stream["gap"] for stream in bare])
    wanted[len(bare[0])] += ROCKET.cpu.prices.calls["runtime"]["resadd"]  # type: ignore[union-attr]
    assert np.array_equal(commands["gap"], wanted)


def test_a_trace_replays_call_by_call_with_its_own_gaps_or_a_price_list(capsys: pytest.CaptureFixture[str]) -> None:
    case = ["replay", str(SOC / "traces.csv.gz"), "--case", "mm_dn_64x64x64_WS_L40_RT", "--json"]
    found = {}
    for name, more in (("own", ["--set", "memory.latency_cycles=42"]), ("rocket", ["--cpu", "rocket"])):
        with pytest.raises(SystemExit) as ended:
            main([*case, *more])
        assert ended.value.code in (0, None)
        found[name] = json.loads(capsys.readouterr().out)["cases"][0]["calls"]
    assert [call["first_command_to_idle_cycles"] for call in found["own"]][1:] == [2360, 2359]
    assert all(abs(call["cycles"] / 2575 - 1) < 0.05 for call in found["rocket"][1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.c"], "missing.c: no such file"),
        ([str(HERE / "program.c"), "--cc", "no-such-cc"], "no C compiler 'no-such-cc'"),
        ([str(HERE / "program.c"), "-D", "STRANGE"], "assembly 'wfi' is neither a fence nor a reading of a counter"),
        ([str(HERE / "own_gemmini.h")], "cc:"),
    ],
)
def test_what_cannot_be_recorded_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "stream.csv"
    with pytest.raises(SystemExit) as ended:
        main(["record", *arguments, "-o", str(output)])
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_program_that_fails_its_checks_is_recorded_and_said_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["record", str(HERE / "program.c"), "-D", "FAILS", "-o", str(tmp_path / "x.csv")])
    assert ended.value.code in (0, None)
    assert "exit code 3" in capsys.readouterr().err and (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_recording_that_is_cut_off_is_refused(kept: float, stream: Path, tmp_path: Path) -> None:
    lines = stream.read_text().splitlines(keepends=True)
    (tmp_path / "cut.csv").write_text("".join(lines[: int(len(lines) * kept)]))
    with pytest.raises(InputError, match="the recording ends here"):
        replay.choose(tmp_path / "cut.csv")


def test_a_failed_check_of_results_is_passed_and_counted(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No accelerator wrote the results: on a chip the exit would not be reached, so the stream is the same without."""
    with pytest.raises(SystemExit) as ended:
        main(["record", str(HERE / "program.c"), "-D", "CHECKS", "--case", "two", "-o", str(tmp_path / "x.csv")])
    assert ended.value.code in (0, None)
    assert "2 exits at a failed check" in capsys.readouterr().err
    codes = [[line.split(",")[2] for line in path.read_text().splitlines()] for path in (tmp_path / "x.csv", stream)]
    assert codes[0] == codes[1]


def test_a_call_that_the_library_refuses_ends_the_recording(tmp_path: Path) -> None:
    message = "after line 13 of the stream and ends the program; it says: 64 blocks are too many"
    with pytest.raises(InputError, match=message):
        record([HERE / "program.c"], tmp_path / "x.csv", Build(define=("REFUSES",)), "x")
    assert not list(tmp_path.iterdir())


def test_a_header_with_another_dim_is_refused(tmp_path: Path) -> None:
    record([HERE / "program.c"], tmp_path / "x.csv", Build(define=("DIM=8",)), "x")
    recordings = replay.choose(tmp_path / "x.csv")
    with pytest.raises(InputError, match="compiled with DIM 8, and gemmini_default has 16 PEs a side"):
        call_table.of_recordings(recordings, load("gemmini_default"), "periodic")
    assert call_table.of_recordings(recordings, load("gemmini_8x8"), "periodic")
