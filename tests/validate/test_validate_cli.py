"""The commands: exit code 0 whatever the errors are, 2 with a message on what is malformed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.cli import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_errors_are_no_failure_and_json_is_one_object(
    core: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["validate", "--measurements", str(folder / "anything.csv"), "--jobs", "1", "--json"]
    assert run(*arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in report["rows"]] == ["right", "wrong", "endless", "lost"]
    assert report["overall"]["rows"] == 4


def test_a_malformed_file_ends_with_2_and_its_line(core: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "anything.csv"
    path.write_text(path.read_text().replace(",30,64", ",thirty,64"))
    assert run("validate", "--measurements", str(path), "--jobs", "1", "--json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path}: line 2, column cycles" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_the_other_forms_print_tables(
    core: Any, folder: Path, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    assert run("validate", "--measurements", str(folder / "anything.csv"), "--jobs", "1", *form) == 0
    assert "wrong" in capsys.readouterr().out


def test_given_programs_replace_those_beside_the_table(core: Any, folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    arguments = [
        "validate",
        "--measurements",
        str(folder / "anything.csv"),
        "--programs",
        str(own),
        "--jobs",
        "1",
    ]
    assert run(*arguments, "--json") == 0
    assert core.calls == []


def test_replay_prints_cycles_and_writes_the_timeline(
    core: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream, times = folder / "programs" / "streams.csv", tmp_path / "times.csv"
    code = run("replay", str(stream), "--case", "right", "--timeline", str(times), "--json")
    assert code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cases"][0]["cycles"] == 30
    assert times.read_text().splitlines()[2] == "right,1,ld,2,0xffffffffffffffff,0x10,5,6,-1"


def test_replay_refuses_an_unknown_case_and_an_unwritable_timeline(
    core: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = str(folder / "programs" / "streams.csv")
    assert run("replay", stream, "--case", "rigth") == 2
    assert "did you mean 'right'" in capsys.readouterr().err
    assert run("replay", stream, "--case", "right", "--timeline", str(folder / "no" / "t.csv")) == 2
    assert core.calls == []


def test_compare_prints_the_rule_beside_carat(core: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = "cfg,id,kind,M,N,K,flow,mem_latency,rd_bytes_per_cycle,wr_bytes_per_cycle,cycles"
    rows = ["default,a,matmul,128,768,768,WS,40,16,16,301082", "default,b,matmul,16,16,16,OS,40,16,16,301"]
    (tmp_path / "m.csv").write_text("\n".join([head, *rows]) + "\n")
    arguments = ["compare", "--measurements", str(tmp_path / "m.csv"), "--jobs", "1", "--json", "--peer"]
    assert run(*arguments, "scalesim-rule") == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["cycles_peer"] for row in report["rows"]] == [400_896, 16 + 16 + 16 + 16 - 2]
    assert report["groups"]["dataflow: WS"]["peer_worst_error"] == pytest.approx(400_896 / 301_082 - 1)
    assert run(*arguments, "onnxim-rule") == 0
    assert json.loads(capsys.readouterr().out)["rows"][1]["cycles_peer"] is None, "the rule has no OS"
    assert run(*arguments, "onxim-rule") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "matmull"], "did you mean 'matmul'"),
        (["--cfg", "nosuch"], "--cfg nosuch: no row of the tables has it"),
        (["--case", "nosuch*"], "none of the"),
        (["--programs", "no/such/folder"], "no/such/folder: no such folder"),
    ],
)
def test_a_choice_of_no_row_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", *words) == 2
    assert message in capsys.readouterr().err
