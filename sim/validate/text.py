"""The error tables for a terminal or a pipe: plain aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

from sim.validate import statistics
from sim.validate.report import Report
from sim.validate.runner import RowResult
from sim.validate.statistics import percent
from sim.validate.tasks import NEVER_ENDS

WORST_ROWS = 10
"""Number of rows with the largest errors that are listed."""

_ROW_HEAD = ("row", "measured", "simulated", "error")
_HEAD = ("group", "rows", "exact", "mean", "median", "p90", "worst", "bytes", "requests", "bars")


def text(report: Report, with_rows: bool = True) -> str:
    """Return the error of every row (if ``with_rows``), errors per group, the worst rows, and timelines."""
    parts = []
    if report.overall is None:
        parts.append("no rows")
    else:
        if with_rows:
            parts += [_columns([_ROW_HEAD, *map(_row, report.results)]), ""]
        groups = {"all rows": report.overall, **{k: g for k, g in report.groups.items() if " " not in k}}
        parts.append(_columns([_HEAD, *(statistics.figures(key, group) for key, group in groups.items())]))
        parts += _worst(report)
    for comparison in report.timelines:
        exact = f"{percent(comparison.exact)} of {comparison.commands_measured:,} commands exact"
        parts.append(f"timeline {comparison.case}: {exact} {_first_line(comparison.reason)}".rstrip())
    return "\n".join(parts) + "\n"


def _worst(report: Report) -> list[str]:
    ranked = sorted((r for r in report.results if r.error), key=lambda r: -abs(r.error))[:WORST_ROWS]
    lines = ["", f"worst {len(ranked)} rows:"] if ranked else ["", "every row is exact"]
    for result in ranked:
        name, measured, simulated, error = _row(result)
        line = f"  {name}: measured {measured}, simulated {simulated} ({error})"
        lines.append(f"{line} {_first_line(result.outcome.reason)}".rstrip())
    return lines


def _row(result: RowResult) -> tuple[str, str, str, str]:
    measured, simulated = _cycles(result.row.cycles), _cycles(result.outcome.cycles)
    return (statistics.name(result), measured, simulated, percent(result.error))


def _cycles(cycles: int | None) -> str:
    return "not simulated" if cycles is None else "never ends" if cycles == NEVER_ENDS else f"{cycles:,}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *figures]))
    return "\n".join(lines)


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0][:100]
