"""Carat against the RTL: a fast part of every group of measured rows, and of the per-command times.

The whole tables are run by `carat validate`; here every STRIDE-th short row of each group, so that a broken
rule shows within a minute.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from sim.validate import csvfile, runner, statistics, timelines
from sim.validate.runner import RowResult
from sim.validate.tables import MeasuredRow

ORACLE = Path(__file__).parent
LONGEST_CYCLES = 40_000
STRIDE = 5
WHOLE = ("encoder", "normmv")
"""Groups of which every row is taken: few rows, or operators of one program."""
SHORT_TIMELINE = 200
"""Commands of the longest timeline that is compared here."""


KINDS = (
    "config", "mvin", "mvout", "chain", "conf", "mcm", "loopws", "matmul", "resadd", "conv", "norm", "normmv",
    "encoder", "blocksparse", "l2",
)  # fmt: skip
"""Every group, so that one that is lost shows."""

TIMELINE_BAR = 1.0
"""Share of the commands whose allocation, issue and completion are all exact, over the short timelines."""


@cache
def results() -> dict[str, list[RowResult]]:
    """Simulate the fast part of the tables once for all tests of this file."""
    files = [path for path in csvfile.inside(ORACLE) if "masks" not in path.name and "timeline" not in path.name]
    seen: dict[str, int] = defaultdict(int)

    def fast(row: MeasuredRow) -> bool:
        if row.cycles > LONGEST_CYCLES or (row.kind == "encoder" and "_s32_" not in row.id):
            return False
        group = group_of(row)
        seen[group] += 1
        return group in WHOLE or seen[group] % STRIDE == 1

    found: dict[str, list[RowResult]] = defaultdict(list)
    for result in runner.validate(files, [ORACLE / "programs"], select=fast):
        found[group_of(result.row)].append(result)
    return found


def group_of(row: MeasuredRow) -> str:
    """Return the kind of a row; all rows behind an L2 are a group of their own."""
    return "l2" if row.whole("l2_KiB", 0) else row.kind


def test_every_kind_of_row_is_measured() -> None:
    assert set(results()) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_cycles_are_within_the_bar(kind: str) -> None:
    found = results()[kind]
    off = {statistics.name(r): (r.row.cycles, r.outcome.cycles) for r in found if not statistics.within_bar(r)}
    cycles = statistics.group(found).cycles
    assert cycles.mean <= statistics.MEAN_BAR and cycles.exact >= statistics.EXACT_BAR and not off, f"{cycles}: {off}"


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_and_requests_are_exact(kind: str) -> None:
    group = statistics.group(results()[kind])
    assert {quantity: spread.worst_id for quantity, spread in group.counts.items() if spread.exact < 1} == {}


def test_commands_are_allocated_issued_and_completed_when_they_were(tmp_path: Path) -> None:
    table = csvfile.read(ORACLE / "timeline.csv.gz")
    case = table.position("case")
    commands = Counter(cells[case] for _, cells in table.lines)
    short = [cells for _, cells in table.lines if commands[cells[case]] <= SHORT_TIMELINE]
    path = tmp_path / "short.csv"
    path.write_text("\n".join(",".join(cells) for cells in [table.header, *short]) + "\n")
    found = timelines.compare([path, ORACLE / "timeline_totals.csv"], [ORACLE / "programs"])
    total = sum(comparison.commands_measured for comparison in found)
    exact = sum(comparison.exact * comparison.commands_measured for comparison in found) / total
    apart = {comparison.case: f"{comparison.exact:.0%}" for comparison in found if comparison.exact < 1}
    assert exact >= TIMELINE_BAR, f"{exact:.1%} exact: {apart}"
