"""Per-command times are compared command by command, with the measured machine of the case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.base.errors import InputError
from sim.validate import csvfile, timelines

ORACLE = Path(__file__).parents[1] / "oracle"

TIMES = [
    "case,seq,queue,funct,rs1,rs2,t_alloc,t_issue,t_complete",
    "right,0,ex,0,0x1,0x2,4,5,-1",
    "right,1,ld,2,0xffffffffffffffff,0x10,5,9,-1",
]


def test_differences_are_counted_per_time_and_command(core: Any, folder: Path) -> None:
    (folder / "times.csv").write_text("\n".join(TIMES) + "\n")
    found = timelines.compare([folder / "times.csv", folder / "anything.csv"])[0]
    assert (found.commands_measured, found.commands_simulated, found.same_commands) == (2, 2, 2)
    assert found.exact == 0.5
    assert found.first_difference == 1
    figures = found.as_dict()
    assert figures["t_alloc"]["exact"] == 1.0
    assert figures["t_issue"] == {"exact": 0.5, "median_cycles": 1.5, "worst_cycles": 3}


def test_the_machine_is_found_in_a_table_beside_the_timeline(core: Any, folder: Path) -> None:
    (folder / "times.csv").write_text("\n".join(TIMES) + "\n")
    assert timelines.compare([folder / "times.csv"])[0].commands_simulated == 2


def test_a_case_without_a_machine_is_refused(core: Any, folder: Path) -> None:
    (folder / "times.csv").write_text("\n".join(line.replace("right", "who") for line in TIMES) + "\n")
    with pytest.raises(InputError, match="case 'who'"):
        timelines.compare([folder / "times.csv"])


def test_missing_commands_are_not_exact(core: Any, folder: Path) -> None:
    more = [*TIMES, "right,2,ld,2,0x1,0x2,6,7,-1"]
    (folder / "times.csv").write_text("\n".join(more) + "\n")
    found = timelines.compare([folder / "times.csv"])[0]
    assert found.exact == pytest.approx(1 / 3)


def test_the_oracle_timelines_are_read_whole() -> None:
    table = csvfile.read(ORACLE / "timeline.csv.gz")
    cases = timelines.read_cases(table)
    assert len(cases) == 37
    assert sum(len(lines) for _, lines in cases) == len(table.lines)
