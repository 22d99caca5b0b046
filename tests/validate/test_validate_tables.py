"""A measured table is known by its columns; a malformed one is refused by file, line, column and rule."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.core.events import Event
from sim.validate import csvfile, runner, sources, tables

ORACLE = Path(__file__).parents[1] / "oracle"
HEAD = "cfg,id,kind,mem_latency,rd_bytes_per_cycle,wr_bytes_per_cycle,cycles,read_bytes,write_bytes,sections"

GOOD = "default,mvin_1,mvin,40,16,16,77,16,0,10;67"


def table(tmp_path: Path, *rows: str, head: str = HEAD, name: str = "x.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def problems(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        runner.read_rows([path])
    return str(refused.value)


def test_every_column_that_is_compared_has_a_counter_of_that_name() -> None:
    assert set(tables.QUANTITIES.values()) <= set(Event.__members__)


def test_all_tables_of_the_oracle_are_read_and_nothing_in_them_is_dropped() -> None:
    files = [path for path in csvfile.inside(ORACLE) if "masks" not in path.name]
    rows = runner.read_rows(files)
    lines = sum(path.read_text().count("\n") - 1 for path in files if path.suffix == ".csv")
    assert len(rows) == lines
    assert {row.kind for row in rows} >= {
        "matmul",
        "conv",
        "norm",
        "resadd",
        "encoder",
        "blocksparse",
        "mvin",
    }


def test_name_and_compression_of_a_file_do_not_matter(tmp_path: Path) -> None:
    plain = table(tmp_path, GOOD, name="nobody has seen this name.txt")
    packed = tmp_path / "packed.csv"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [row.columns for row in runner.read_rows([plain])] == [row.columns for row in runner.read_rows([packed])]


def test_a_row_says_what_its_columns_and_its_case_say(tmp_path: Path) -> None:
    head = "cfg,id,kind,case,mem_latency,rd_bytes_per_cycle,cycles,loop_phase,cmd_interval,sections"
    path = table(tmp_path, "norm,c,chain,kind=chain df=OS rate=8 rep=3,40,16,100,1,,10;90", head=head)
    row = runner.read_rows([path])[0]
    assert (row.dataflow, row.command_gap_cycles, row.repeats, row.phase) == ("OS", 8, 3, 1)
    assert row.sections == (10, 90)
    assert row.measured("read_bytes") is None


@pytest.mark.parametrize(
    ("row", "column", "rule"),
    [
        (GOOD.replace(",77,", ",7x,"), "cycles", "whole number"),
        (GOOD.replace(",77,", ",,"), "cycles", "whole number"),
        (GOOD.replace(",77,", ",-2,"), "cycles", "at least -1"),
        (GOOD.replace(",77,", ",0,"), "cycles", "is not a measurement"),
        (GOOD.replace(",40,", ",-40,"), "mem_latency", "at least 0"),
        (GOOD.replace(",16,16,", ",0,16,"), "rd_bytes_per_cycle", "at least"),
        (GOOD.replace("10;67", "10;a"), "sections", "whole numbers"),
        (GOOD.replace(",mvin,", ",matmul,"), "column M", "kind matmul needs it"),
        (GOOD.replace("default,", ","), "cfg", "must not be empty"),
    ],
)
def test_a_bad_cell_is_named_with_line_column_and_rule(tmp_path: Path, row: str, column: str, rule: str) -> None:
    message = problems(table(tmp_path, GOOD, row))
    assert "x.csv: line 3" in message
    assert column in message
    assert rule in message


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    first = table(tmp_path, GOOD.replace(",77,", ",a,"), GOOD.replace(",77,", ",b,"), name="1.csv")
    second = table(tmp_path, "default,short", name="2.csv")
    with pytest.raises(InputError) as refused:
        runner.read_rows([first, second])
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bbroken", b"\xff\xfe\x00\x01", b"a,a\n1,2\n", b"a,b\n1,2\n"])
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    assert "odd.csv" in problems(path)


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    message = problems(table(tmp_path, GOOD, head=HEAD.replace("cycles", "cyles", 3)))
    assert "cycles" in message
    assert "did you mean 'cyles'" in message


def test_without_a_file_the_tables_that_ship_are_taken() -> None:
    names = {path.name.split(".")[0] for path in sources.default_tables()}
    assert {"matmul", "micro", "encoder", "configs", "timeline"} <= names
    assert "blocksparse_masks" not in names
