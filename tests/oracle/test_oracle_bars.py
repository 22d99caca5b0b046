"""Carat against the RTL: a fast part of every group of measured rows, and of the per-command times.

The whole tables are run by `carat validate`; here every STRIDE-th short row of each group, so that a broken
rule shows within a minute. A known gap has a looser bar and names the deviation that explains it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from sim.validate import csvfile, runner, statistics, timelines
from sim.validate.runner import Result
from sim.validate.tables import Row

ORACLE = Path(__file__).parent
LONGEST_CYCLES = 40_000
STRIDE = 5
SHORT_TIMELINE = 200
"""Commands of the longest timeline that is compared here."""


class Bar(NamedTuple):
    """What a group must reach: mean absolute error, share exact, share inside the bar of a single row."""

    mean: float = statistics.MEAN_BAR
    exact: float = statistics.EXACT_BAR
    inside: float = 1.0
    deviation: str = ""


BARS: dict[str, Bar] = {
    "config": Bar(),
    "mvin": Bar(),
    "mvout": Bar(),
    "chain": Bar(),
    "conf": Bar(),
    "mcm": Bar(),
    "loopws": Bar(),
    "matmul": Bar(),
    "resadd": Bar(),
    "conv": Bar(),
    "norm": Bar(),
    "normmv": Bar(),
    "encoder": Bar(),
    "blocksparse": Bar(),
}
"""Kind of row -> its bar. A looser one than the default names its entry in DEVIATIONS.md."""

TIMELINE_BAR = 0.95
"""Share of the commands whose allocation, issue and completion are all exact, over the short timelines."""


@cache
def results() -> dict[str, list[Result]]:
    """Simulate the fast part of the tables once for all tests of this file."""
    files = [
        path for path in csvfile.inside(ORACLE) if "masks" not in path.name and "timeline" not in path.name
    ]
    seen: dict[str, int] = defaultdict(int)

    def fast(row: Row) -> bool:
        if row.cycles > LONGEST_CYCLES or (row.kind == "encoder" and "_s32_" not in row.id):
            return False
        seen[row.kind] += 1
        return row.kind == "encoder" or seen[row.kind] % STRIDE == 0

    found: dict[str, list[Result]] = defaultdict(list)
    for result in runner.validate(files, [ORACLE / "programs"], select=fast):
        found[result.row.kind].append(result)
    return found


def test_every_kind_of_row_has_a_bar() -> None:
    assert set(results()) == set(BARS)


@pytest.mark.parametrize("kind", BARS)
def test_cycles_are_within_the_bar(kind: str) -> None:
    bar, found = BARS[kind], results()[kind]
    group = statistics.group(found)
    far = [statistics.name(result) for result in found if not statistics.within_bar(result)]
    inside = 1 - len(far) / len(found)
    reached = (group.cycles.mean <= bar.mean, group.cycles.exact >= bar.exact, inside >= bar.inside)
    assert all(reached), f"mean {group.cycles.mean:.4%}, exact {group.cycles.exact:.1%}, far off: {far}"


@pytest.mark.parametrize("kind", BARS)
def test_bytes_and_requests_are_exact(kind: str) -> None:
    group = statistics.group(results()[kind])
    assert {quantity: spread.worst_id for quantity, spread in group.counts.items() if spread.exact < 1} == {}


@pytest.mark.parametrize("kind", BARS)
def test_a_looser_bar_names_its_deviation(kind: str) -> None:
    bar = BARS[kind]
    if bar[:3] != Bar()[:3]:
        assert f"| {bar.deviation} |" in (ORACLE / "DEVIATIONS.md").read_text()


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
