"""Command traces of the SoC, replayed with the gaps that its CPU had."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.validate import csvfile, runner
from sim.validate.soc import formats, traces

SOC = Path(__file__).resolve().parents[1] / "oracle" / "soc"
EXACT = ("mm_dn_64x64x64_WS_L40_O3.1", "mm_dn_128x128x128_WS_L40_RT.2", "mm_dn_64x64x64_OS_L40_O3.1", "calls_dn.9")
"""Without an L2 and with the code warm, to the cycle: products of both flows, a convolution."""


def test_without_an_l2_the_cpus_gaps_explain_every_cycle() -> None:
    results = runner.validate([SOC / "traces.csv.gz"], select=lambda row: row.id in EXACT)
    assert [result.error for result in results] == [0.0] * len(EXACT)


def test_behind_an_l2_the_tiles_buffer_explains_the_rest() -> None:
    """README of the measurements: 2,336 and 10,412 cold, 2,134 warm; 4 to 6 cycles lacked without the buffer."""
    wanted = ("mm_dl2_64x64x64_WS_L40_O3.0", "mm_dl2_128x128x128_WS_L40_O3.0", "mm_dl2_64x64x64_WS_L40_O3.1")
    results = runner.validate([SOC / "traces.csv.gz"], select=lambda row: row.id in wanted)
    assert [result.error for result in results] == [0.0] * len(wanted)


def test_a_known_difference_is_still_there() -> None:
    """README, surprises: the RTL without normalisation units executes a config_norm as an mvout; refused here."""
    (result,) = runner.validate([SOC / "traces.csv.gz"], select=lambda row: row.id == "calls_dn.17")
    assert (result.row.cycles, result.outcome.cycles) == (3070, None)
    assert result.outcome.reason is not None
    assert "the RTL takes it for an mvout" in result.outcome.reason


def case(lines: list[str], tmp_path: Path, cut: int | None = None) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text("case,event,cycle,value,rs1,rs2,port_stall\n" + "\n".join(lines[:cut]) + "\n")
    return path


LINES = ["x,mark,10,0,,,", "x,command,20,7,0x0,0x0,0", "x,busy,21,1,,,", "x,busy,25,0,,,", "x,mark,40,1000,,,"]


def test_a_trace_is_read_into_calls(tmp_path: Path) -> None:
    ((segment,),) = traces.cases_of(csvfile.read(case(LINES, tmp_path))).values()
    assert (segment.call, segment.cycles, segment.before, segment.behind) == (0, 5, 10, 15)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[:-1], "call 0 opens and never closes: the trace ends at line 5"),
        ([LINES[0], LINES[1], LINES[-1]], "call 0 closes before the accelerator is idle"),
        ([LINES[-1]], "mark 1000 closes no open call"),
        (["x,comand,20,7,0,0,0"], "'comand' is none of command, busy, mark"),
        (["x,command,2o,7,0,0,0"], "must be whole numbers"),
    ],
)
def test_a_faulty_trace_is_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        formats.rows_of(csvfile.read(case(lines, tmp_path)))
    assert message in str(refused.value)


def test_a_trace_cut_off_in_its_compression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes((SOC / "traces.csv.gz").read_bytes()[:50_000])
    with pytest.raises(InputError, match="gzip"):
        csvfile.read(path)


def test_two_cores_are_no_program_of_one() -> None:
    rows = formats.rows_of(csvfile.read(SOC / "traces2.csv.gz"))
    with gzip.open(SOC / "traces2.csv.gz", "rt") as lines:
        two = {line["case"] for line in csv.DictReader(lines) if line["hart"] == "1"}
    assert two and not {row.columns["case"] for row in rows} & two
