"""Recorded streams are found by machine and case, and come out as the very commands of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.isa.commands import Funct
from sim.validate import recordings, runner, sources
from sim.validate.recordings import Library
from sim.validate.tables import WORK_COLUMNS

ORACLE = Path(__file__).parents[1] / "oracle"

HEAD = "case,seq,funct,rs1,rs2\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    recordings.load.cache_clear()
    return path


def test_operands_keep_all_64_bits_and_a_fence_is_a_command(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", HEAD + "c,0,2,0xffffffffffffffff,0x8000000000000000\nc,1,fence,,\n")
    program = recordings.load(path)[(None, "c")].program
    assert program["funct"].tolist() == [Funct.MVIN, Funct.FENCE]
    assert program["rs1"].view(np.uint64)[0] == 0xFFFF_FFFF_FFFF_FFFF
    assert program["rs2"].view(np.uint64)[0] == 0x8000_0000_0000_0000


def test_an_index_beside_the_file_gives_machine_and_pace(tmp_path: Path) -> None:
    write(tmp_path / "set1.csv", HEAD + "c,0,2,0x1,0x2\nd,0,2,0x1,0x2\n")
    write(tmp_path / "index.csv", "set,cfg,case,min_cmd_gap\nset1,norm,c,8\n")
    streams = recordings.load(tmp_path)
    assert streams[("norm", "c")].program["gap"].tolist() == [8]
    assert streams[(None, "d")].program["gap"].tolist() == [1]


def test_the_machine_of_a_stream_must_fit_and_the_first_folder_wins(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    near.mkdir()
    far.mkdir()
    write(near / "a.csv", "case,cfg,seq,funct,rs1,rs2\nc,chip,0,2,0x1,0x2\n")
    write(far / "a.csv", "case,cfg,seq,funct,rs1,rs2\nc,chip,0,2,0x7,0x7\nc,lean,0,2,0x3,0x4\n")
    library = Library((near, far))
    chip, lean = library.find("chip", "c"), library.find("lean", "c")
    assert chip is not None
    assert lean is not None
    assert chip.program["rs1"].tolist() == [1]
    assert lean.program["rs1"].tolist() == [3]
    assert library.find("default", "c") is None


def test_every_command_sequence_of_the_oracle_has_its_recorded_program() -> None:
    library = sources.library(ORACLE / "micro.csv")
    for name in ("micro", "sweep", "configs", "norm", "l2", "blocksparse"):
        rows = [row for row in runner.read_rows([ORACLE / f"{name}.csv"]) if row.kind not in WORK_COLUMNS]
        assert rows
        assert [row.id for row in rows if library.find(row.cfg, row.id) is None] == []


@pytest.mark.parametrize(
    "command", ["99,0x1,0x2", "2,zz,0x2", "2,0x1,0x10000000000000000", "2,-1,0x2", "Fence,,", "2,,"]
)
def test_a_bad_command_is_named_by_its_line(tmp_path: Path, command: str) -> None:
    path = write(tmp_path / "p.csv", HEAD + f"c,0,0,0x1,0x2\nc,1,{command}\n")
    with pytest.raises(InputError, match=r"p\.csv: line 3: funct must be"):
        recordings.load(path)


def test_a_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        recordings.load(tmp_path / "nowhere")
