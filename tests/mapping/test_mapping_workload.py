"""A whole workload: mapped, run, compared, and refused at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import workloads
from sim import hardware, simulate
from sim.cli import main
from sim.mapping.mapfile import read
from sim.mapping.maps import Maps, Searched, compare, find

SMALL = ["encoder-layer", "--seq", "32", "--size", "hidden=64", "--size", "heads=2", "--size", "ffn=64"]
EFFORT_CYCLES = 300_000


@pytest.fixture(scope="module")
def maps() -> Maps:
    graph = workloads.build("encoder-layer", seq=32, hidden=64, heads=2, ffn=64)
    return find(Searched(graph, hardware.load("gemmini_ibert")), effort_cycles=EFFORT_CYCLES)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def test_no_operator_of_the_run_is_slower_and_the_causes_explain_the_gain(maps: Maps) -> None:
    """Whatever loop slot an operator starts with: before and after differ by what its causes gave up."""
    graph = workloads.build("encoder-layer", seq=32, hidden=64, heads=2, ffn=64)
    before = simulate(graph, "gemmini_ibert")
    after = simulate(graph, "gemmini_ibert", mapping=maps.fields())
    found = compare(before, after)
    assert after.cycles < before.cycles
    assert sum(len(change.operators) for change in found) == len(before.rows)
    for change in found:
        assert change.after_cycles <= change.before_cycles
        assert sum(saved for _, saved in change.saved) == change.before_cycles - change.after_cycles


def test_command_line_writes_maps_and_runs_with_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, maps: Maps
) -> None:
    names = [str(tmp_path / f"maps{suffix}") for suffix in (".toml", ".h", ".json")]
    outputs = [word for name in names for word in ("-o", name)]
    effort = ["--effort", str(EFFORT_CYCLES), "--jobs", "1", "--store", str(tmp_path / "store.sqlite")]
    code, out, err = call(capsys, "map", *SMALL, *effort, *outputs)
    assert code == 0, err
    assert " best " in out
    assert read(names[0]) == maps
    code, out, err = call(capsys, "run", *SMALL, "--mapping", names[0], "--json")
    assert code == 0, err
    told = json.loads(out)
    assert sum(c["cycles_after"] * len(c["operators"]) for c in told["mapping"]) == told["totals"]["cycles"]
    code, out, err = call(capsys, "run", *SMALL, "--mapping", names[0])
    assert code == 0, err
    assert "shrank most" in out
    code, out, err = call(capsys, "map", *SMALL, "--from", names[0], "--json")
    assert code == 0, err
    assert json.loads(out)["operators"]


def test_wider_reach_is_never_slower(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the library's call can be given is part of what the hardware can do."""
    store = ["--store", str(tmp_path / "store.sqlite"), "--json"]
    found = {}
    for reach in ("call", "hardware"):
        code, out, err = call(capsys, "run", *SMALL, "--mapping", "best", "--reach", reach, *store)
        assert code == 0, err
        found[reach] = json.loads(out)["totals"]["cycles"]
    assert found["hardware"] <= found["call"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run", *SMALL, "--mapping", "bets"], "must be library, best or a file"),
        (["run", *SMALL, "--mapping", "none.toml"], "none.toml: cannot be read"),
        (["run", *SMALL, "--mapping", "best", "--sparsity", "block16:0.5"], "leave out --sparsity block16:0.5"),
        (["run", *SMALL, "--reach", "hardware"], "only a search uses it; use --mapping best"),
        (["run", *SMALL, "--mapping", "m.toml", "--objective", "edp"], "--objective edp: only a search uses it"),
        (["run", *SMALL, "--tile", "*FF1=2,4,2,resident=c"], "resident 'c' is unknown"),
        (["run", *SMALL, "--tile", "*FF1=2,1,1,resident=a"], "tiles of A are used before the first comes again"),
        (["run", *SMALL, "--tile", "*FF1=2,4,2,stays=a"], "unknown key 'stays'"),
        (["run", *SMALL, "--tile", "*FF1=2,4,2,resident"], "must be OP=I,J,K"),
        (["run", *SMALL, "--tile", "*FF1=0,4,2"], "tile I = 0 must be 1..2"),
        (["map", *SMALL, "--reach", "hardwar"], "hardware"),
        (["map", *SMALL, "-o", "maps.yaml"], "the name must end in .toml"),
        (["map", "encoder-layr"], "did you mean 'encoder-layer'"),
        (["map", *SMALL, "--store", "/dev/null/x"], "cannot be opened"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
