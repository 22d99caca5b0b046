"""Rows become programs, equal programs run once, and what cannot run is a row with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.base.errors import InputError
from sim.validate import runner, tasks
from sim.validate.report import Report
from sim.validate.tables import MeasuredRow

ORACLE = Path(__file__).parents[1] / "oracle"


def by_id(results: list[runner.RowResult]) -> dict[str, runner.RowResult]:
    return {result.row.id: result for result in results}


def test_each_row_gets_its_error_as_defined(core: Any, folder: Path) -> None:
    found = by_id(runner.validate([folder / "anything.csv"]))
    assert found["right"].error == 0.0
    assert found["wrong"].error == pytest.approx(30 / 20 - 1)
    assert found["wrong"].error_of("read_bytes") == pytest.approx(64 / 128 - 1)
    assert found["endless"].error == 0.0, "RTL and simulator agree that it never ends"
    assert found["lost"].error == 1.0, "a row that cannot be simulated counts as an error of 1"
    assert "no recorded program of case 'lost'" in found["lost"].outcome.reason


def test_rows_come_back_in_the_order_of_the_table(core: Any, folder: Path) -> None:
    results = runner.validate([folder / "anything.csv"])
    assert [result.row.id for result in results] == ["right", "wrong", "endless", "lost"]


def test_equal_programs_on_equal_machines_are_simulated_once(core: Any, folder: Path) -> None:
    runner.validate([folder / "anything.csv"])
    assert len(core.calls) == len(set(core.calls)) == 2  # right and wrong hold the same commands


def test_a_hang_where_the_rtl_ended_is_an_error_of_one_and_null_in_json(core: Any, folder: Path) -> None:
    text = (folder / "anything.csv").read_text().replace("endless,chain,40,16,16,-1", "endless,chain,40,16,16,99")
    (folder / "anything.csv").write_text(text)
    results = runner.validate([folder / "anything.csv"])
    row = next(row for row in Report(results).as_dict()["rows"] if row["id"] == "endless")
    assert row["cycles_simulated"] is None
    assert row["error"] == 1.0
    assert "waits for the mesh" in row["reason"]


def test_an_end_where_the_rtl_hung_is_an_error_of_one(core: Any, folder: Path) -> None:
    text = (folder / "anything.csv").read_text().replace(",30,64,0,30", ",-1,,,")
    (folder / "anything.csv").write_text(text)
    assert by_id(runner.validate([folder / "anything.csv"]))["right"].error == 1.0


def test_json_has_the_promised_keys(core: Any, folder: Path) -> None:
    report = Report(runner.validate([folder / "anything.csv"])).as_dict()
    assert set(report) >= {"rows", "groups", "overall"}
    for key in ("id", "cfg", "kind", "cycles_measured", "cycles_simulated", "error"):
        assert key in report["rows"][0]
    for quantity in ("read_bytes", "write_bytes", "read_reqs", "write_reqs"):
        assert f"{quantity}_measured" in report["rows"][0]
        assert f"{quantity}_simulated" in report["rows"][0]
    endless = next(row for row in report["rows"] if row["id"] == "endless")
    assert endless["cycles_measured"] == endless["cycles_simulated"] == -1


def test_history_pace_and_repeats_of_a_row_reach_the_core(core: Any, folder: Path) -> None:
    head = "cfg,id,kind,case,mem_latency,rd_bytes_per_cycle,wr_bytes_per_cycle,cycles,loop_phase"
    rows = ["default,right,mvin,kind=mvin rate=8 rep=2,40,16,16,60,1"]
    (folder / "second.csv").write_text("\n".join([head, *rows]) + "\n")
    result = runner.validate([folder / "second.csv"])[0]
    assert core.calls[0][2] == 1
    assert result.outcome.cycles == 60, "two calls of three commands"
    task = tasks.RowTask(None, runner.sources.library(folder / "x").find("default", "right").program, gap_cycles=8)
    assert set(tasks.program_of(task)["gap"].tolist()) == {8}


def test_an_encoder_layer_gives_every_operator_and_the_total(core: Any) -> None:
    def select(row):
        return row.id == "enc_s32_h128_a2_f512"

    results = runner.validate([ORACLE / "encoder.csv"], select=select)
    cycles = {result.row.columns["operator"]: result.outcome.cycles for result in results}
    assert len(cycles) == 15
    assert None not in cycles.values()
    assert sum(cycles.values()) - cycles["TOTAL"] == cycles["TOTAL"], "operators are the sections of the layer"


def test_a_renamed_row_is_simulated_the_same(core: Any, tmp_path: Path) -> None:
    """No table value is looked up: a row's name and measured figures never reach the simulation."""
    lines = (ORACLE / "matmul.csv").read_text().splitlines()
    head = lines[0].split(",")
    cells = lines[5].split(",")
    for column, text in (
        ("id", "unheard"),
        ("cycles", "77"),
        ("read_bytes", "1"),
        ("mesh_in_rows", "3"),
        ("util", "0"),
    ):
        cells[head.index(column)] = text
    (tmp_path / "a.csv").write_text("\n".join([lines[0], lines[5]]) + "\n")
    (tmp_path / "b.csv").write_text("\n".join([lines[0], ",".join(cells)]) + "\n")
    first, second = runner.validate([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert first.outcome == second.outcome
    assert len(core.calls) == 1


def test_a_broken_row_does_not_hide_the_others(core: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(program, hw, **options):
        raise IndexError("ring 3 of 2")

    monkeypatch.setattr("sim.timing.timer.run", run)
    found = by_id(runner.validate([folder / "anything.csv"]))
    assert found["right"].outcome.reason == "internal error: IndexError: ring 3 of 2"
    assert len(found) == 4


def test_an_unknown_way_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'recorded'"):
        runner.validate([folder / "anything.csv"], way="record")


@pytest.mark.long
def test_worker_processes_change_nothing() -> None:
    """Compiled core, real machines: order and figures do not depend on how many processes run the rows."""

    def select(row: MeasuredRow) -> bool:
        return row.kind in ("config", "chain") and row.cycles < 100

    one = runner.validate([ORACLE / "micro.csv"], [ORACLE / "programs"], select=select)
    two = runner.validate([ORACLE / "micro.csv"], [ORACLE / "programs"], select=select, jobs=2)
    assert [result.outcome for result in one] == [result.outcome for result in two]
