"""The figures of a group, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.validate import markdown, statistics, text
from sim.validate.report import Report
from sim.validate.runner import RowResult
from sim.validate.tables import MeasuredRow
from sim.validate.tasks import TaskOutcome


def result(kind: str, measured: int, simulated: int | None, name: str = "r", **columns: str) -> RowResult:
    cells = {"cfg": "default", "id": name, "kind": kind, "cycles": str(measured), "flow": "WS", **columns}
    return RowResult(MeasuredRow(Path("t.csv"), 2, cells), TaskOutcome(simulated, {"DRAM_READ_BYTES": 64}), "recorded")


def test_a_spread_by_hand() -> None:
    found = statistics.spread([(0.0, "a"), (-0.4, "b"), (0.1, "c"), (0.0, "d"), (0.2, "e")])
    assert found.mean == pytest.approx(0.14)
    assert found.median == pytest.approx(0.1)
    assert found.p90 == pytest.approx(0.32)  # between 0.2 and 0.4, at 0.9 x 4 = 3.6
    assert (found.worst, found.worst_id, found.exact) == (-0.4, "b", 0.4)


def test_rows_are_grouped_by_kind_dataflow_configuration_and_all_three() -> None:
    rows = [
        result("matmul", 100, 100),
        result("matmul", 100, 100, flow="OS"),
        result("mvin", 10, 10, cfg="chip"),
    ]
    groups = statistics.groups(rows)
    assert groups["kind=matmul"].rows == 2
    assert groups["dataflow=OS"].rows == 1
    assert groups["dataflow=-"].rows == 1, "a move has no dataflow, whatever the column says"
    assert groups["kind=mvin dataflow=- configuration=chip"].rows == 1
    assert sum(group.rows for key, group in groups.items() if key.startswith("configuration=")) == 3


def test_a_row_that_cannot_be_simulated_counts_as_an_error_of_one() -> None:
    group = statistics.group([result("mvin", 10, 10), result("mvin", 10, None)])
    assert group.not_simulated == 1
    assert group.cycles.mean == 0.5
    assert group.cycles.worst == 1.0


@pytest.mark.parametrize(
    ("measured", "simulated", "inside"),
    [
        (999, 1005, True),
        (999, 1010, False),
        (1001, 1011, True),
        (1001, 1012, False),
        (50, 56, True),
        (50, 57, False),
    ],
)
def test_the_bar_of_a_single_row(measured: int, simulated: int, inside: bool) -> None:
    assert statistics.within_bar(result("mvin", measured, simulated)) is inside


def test_counts_have_errors_of_their_own() -> None:
    group = statistics.group([result("mvin", 10, 10, read_bytes="64"), result("mvin", 10, 10, read_bytes="128")])
    assert group.counts["read_bytes"].exact == 0.5
    assert group.counts["read_bytes"].worst == -0.5
    assert "write_bytes" not in group.counts, "none was measured"


def test_markdown_and_text_name_the_worst_row_and_the_missed_bars() -> None:
    report = Report([result("mvin", 5000, 5000), result("mvin", 5000, 6000, name="far_off")])
    for page in (markdown.document(report), text.text(report)):
        assert "far_off" in page
        assert "missed" in page
        assert "20.0 %" in page
    table = [line for line in markdown.document(report).splitlines() if line.startswith("|")]
    assert all(line.count("|") in (12, 7) for line in table), "every line of a table has its columns"


def test_what_is_short_of_all_never_reads_as_all() -> None:
    """One row of 2,800 with an error must show in a share, however many rows there are."""
    assert statistics.percent(1) == "100 %"
    assert statistics.percent(2799 / 2800) == "99.9642 %"
    assert statistics.percent(1 - 1e-9) != statistics.percent(1)
    assert [statistics.percent(value) for value in (0, 0.00012, 0.034)] == ["0", "0.012 %", "3.4 %"]
