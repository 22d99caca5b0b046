"""A saved run is read back unchanged, states the command that repeats it; folders that are no whole run are refused."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import sim
from reports.activity import activity
from reports.page.sweep import sweep_page
from sim.analysis import saved, sweep_table
from sim.base.errors import InputError
from sim.cli import main


def test_a_run_comes_back_as_it_was(fast: sim.Result, runs: dict[str, saved.SavedRun]) -> None:
    run = runs["fast"]
    assert run.totals == fast.totals and run.record["sentence"] == fast_sentence(fast)
    assert run.ops["cycles"].tolist() == fast.ops["cycles"].tolist()
    assert run.record["reproduce"] == "carat run fast"
    assert ["accumulator.capacity_bytes", 65536, 131072] in run.record["changes"]


def fast_sentence(result: sim.Result) -> str:
    from sim.analysis.explain import explain

    return explain(result, measure=False)


def test_the_reproduce_line_reproduces(fast: sim.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run that no command made: the line names the files of the folder."""
    fast.save(tmp_path / "made")
    command = shlex.split(saved.load(tmp_path / "made").record["reproduce"])
    with pytest.raises(SystemExit) as ended:
        main([*command[1:], "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["totals"] == fast.totals


def test_the_command_line_says_what_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "encoder-layer", "--seq", "16", "--size", "hidden=32", "--size", "heads=2", "--size", "ffn=32"]
    with pytest.raises(SystemExit):
        main([*words, "-o", str(tmp_path / "run")])
    assert "carat report" in capsys.readouterr().out
    assert saved.load(tmp_path / "run").record["reproduce"] == shlex.join(
        ["carat", *words, "-o", str(tmp_path / "run")]
    )


def test_energy_band_encloses_the_run(runs: dict[str, saved.SavedRun]) -> None:
    for run in runs.values():
        for part, band in run.record["energy_pj"].items():
            assert band["low"] <= band["nominal"] <= band["high"], part
            assert band["nominal"] == pytest.approx(run.totals[f"energy_{part}_pj"])


def broken(folder: Path, target: Path, spoil: str) -> Path:
    shutil.copytree(folder, target)
    if spoil == "empty":
        for path in target.iterdir():
            path.unlink()
    elif spoil == "half-written":
        (target / "run.json").unlink()
    elif spoil == "cut off":
        (target / "totals.json").write_text((target / "totals.json").read_text()[:100])
    elif spoil == "other format":
        record = json.loads((target / "run.json").read_text())
        (target / "run.json").write_text(json.dumps({**record, "format": 99, "version": "9.9.9"}))
    elif spoil == "without profile":
        record = json.loads((target / "run.json").read_text())
        (target / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k != "profile"}))
    elif spoil == "gone":
        shutil.rmtree(target)
    return target


BROKEN = {
    "empty": "no run is saved in it",
    "half-written": "no run.json: the run was interrupted",
    "cut off": "damaged: line",
    "other format": r"format 99, written by Carat 9\.9\.9",
    "without profile": "incomplete, without profile",
    "gone": "no such folder",
}


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_folder_that_is_no_whole_run_is_refused(folders: list[Path], tmp_path: Path, spoil: str) -> None:
    with pytest.raises(InputError, match=BROKEN[spoil]):
        saved.load(broken(folders[0], tmp_path / "bad", spoil))


def test_all_bad_folders_are_named_at_once(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [broken(folders[0], tmp_path / name, name) for name in ("empty", "gone")]
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folders[0]), *map(str, bad), "-o", str(page)])
    message = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in message
    assert "empty: no run is saved" in message and "gone: no such folder" in message
    assert not page.exists(), "nothing half-written"


def test_operators_of_another_run_are_refused(folders: list[Path], tmp_path: Path) -> None:
    mixed = broken(folders[0], tmp_path / "mixed", "")
    shutil.copy(folders[1] / "ops.csv", mixed / "ops.csv")
    with pytest.raises(InputError, match="does not belong to the totals beside it"):
        _ = saved.load(mixed).ops


def sweep(path: Path) -> Path:
    sweep_table = sim.sweep(
        "gemmini_ibert",
        grid={"scratchpad.capacity": ["128KiB", "256KiB"], "accumulator.capacity": ["64KiB", "512KiB"]},
        workloads="encoder-layer",
        sizes={"seq": 16, "hidden": 32, "heads": 2, "ffn": 32},
        store=path / "sweep.sqlite",
    )
    sweep_table.to_csv(path / "sweep.csv", index=False)
    return path


def test_table_and_store_of_a_sweep_read_alike(tmp_path: Path) -> None:
    """The store alone is enough, also of a sweep that was cut off: same points, same results, in any order."""
    sweep(tmp_path)
    swept, store = sweep_table.read(tmp_path / "sweep.csv"), sweep_table.read(tmp_path / "sweep.sqlite")
    done = swept.loc[swept["error"].isna()]
    assert sorted(store["cycles"].dropna()) == sorted(done["cycles"])
    assert sorted(store["area_mm2"].dropna()) == sorted(done["area_mm2"])
    assert {"scratchpad.capacity", "accumulator.capacity"} <= set(store.columns)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cut.csv", "hardware,cycles,energy_pj\na,1,2\nb,1", "last line is cut off"),
        ("failed.csv", "hardware,cycles,energy_pj,error\na,,,Hang\n", "1 points, all failed"),
        ("endless.csv", "hardware,cycles,energy_pj\na,1,1e999\n", "energy_pj = 'inf': must be a number"),
        ("other.csv", "a,b\n1,2\n", "columns missing: cycles, energy_pj"),
        ("noise.sqlite", "this is no database, whatever its name says" * 40, "cannot be read as a sweep store"),
        ("words.txt", "cycles", "sweeps are read as"),
        ("dict.json", "{}", "a list of points is expected"),
    ],
)
def test_what_is_no_finished_sweep_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        sweep_table.read(tmp_path / name)


def test_texts_of_a_sweep_are_texts_and_its_page_needs_the_workload(tmp_path: Path) -> None:
    """A workload may be called 8 or be missing in a row; pandas makes numbers of both."""
    head = "hardware,workload,sizes,cycles,energy_pj,dram_read_bytes,dram_write_bytes,area_mm2\n"
    (tmp_path / "odd.csv").write_text(head + "m,8,seq=1,10,5,3,2,1\nm,,seq=2,20,4,3,2,1\n")
    read = sweep_table.read(tmp_path / "odd.csv")
    assert {type(value) for value in read["workload"].dropna()} == {str}
    assert "8" in sweep_page(read, "odd")
    with pytest.raises(InputError, match="columns missing in the sweep: workload"):
        sweep_page(read.drop(columns="workload"), "odd")


def test_runs_of_equal_names_stay_apart_and_none_is_given_twice(folders: list[Path], tmp_path: Path) -> None:
    """a/x/run and b/x/run differ three folders up; one of them would replace the other in every picture."""
    paths = []
    for place in ("a/x/run", "b/x/run"):
        (tmp_path / place).parent.mkdir(parents=True)
        paths.append(Path(shutil.copytree(folders[0], tmp_path / place)))
    assert [run.name for run in saved.load_all([*paths, folders[1]])] == ["a/x/run", "b/x/run", "slow"]
    with pytest.raises(InputError, match="given more than once"):
        saved.load_all([folders[0], folders[0]])


def test_a_saved_run_states_sizes_words_and_energy_table(runs: dict[str, saved.SavedRun]) -> None:
    record = runs["fast"].record
    assert record["sizes"] == "seq=32,batch=1,hidden=64,heads=2,ffn=64,layers=1"
    assert record["word_sizes"] == "int8, sums int32"
    assert record["energy_table"] == {"name": "45nm", "node_nm": 45}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cycles", "x"),
        ("cycles", [1]),
        ("cycles", 10**400),
        ("energy_pj", math.inf),
        ("workload", 3),
        ("area_mm2", True),
        ("load_wait_cycles", None),
        ("workload", None),
    ],
)
def test_totals_altered_inside_are_refused(tmp_path: Path, name: str, value: object) -> None:
    sim.simulate("encoder-layer", "gemmini_ibert", seq=16, hidden=32, heads=2, ffn=32).save(tmp_path / "run")
    path = tmp_path / "run" / "totals.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(InputError, match=f"damaged: {name} is .*Save the run again"):
        sim.load(tmp_path / "run")


def test_an_infinite_cell_of_a_kept_table_is_refused(tmp_path: Path) -> None:
    sim.simulate("encoder-layer", "gemmini_ibert", seq=16, hidden=32, heads=2, ffn=32).save(tmp_path / "run")
    path = tmp_path / "run" / "ops.csv"
    head, first, *rest = path.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index("cycles")] = "1e400"
    path.write_text("\n".join([head, ",".join(cells), *rest]))
    with pytest.raises(InputError, match=r"cycles = .*must be a number"):
        sim.load(tmp_path / "run").ops  # noqa: B018


def test_a_run_of_several_cores_is_saved_and_says_what_is_not_recorded(tmp_path: Path) -> None:
    result = sim.simulate("encoder-layer", "gemmini_2core", seq=32, hidden=64, heads=2, ffn=64)
    result.save(tmp_path / "cores")
    run = saved.load(tmp_path / "cores")
    assert run.record["profile"]["left_out"] == [step.name for step in result.steps if step.works]
    with pytest.raises(InputError, match="several cores"):
        activity(Figure().subplots(), run)


def test_a_run_that_cannot_be_saved_leaves_nothing_half_written(
    fast: sim.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InputError("no profile")

    monkeypatch.setattr("sim.trace.profile.profile", refuse)
    with pytest.raises(InputError):
        fast.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
