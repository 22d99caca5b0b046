"""What schedules saved in saved runs, by cause, and which operators keep the library's program, with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from reports.page.tables import Cell, Head, PageRow, PageTable, number, plain, word
from sim.analysis.saved import SavedRun
from sim.run.columns import CAUSES


def savings(runs: Sequence[SavedRun]) -> PageTable | None:
    """Return a row per group of equal operators that a schedule changed; None where no run has a schedule."""
    found = [(run, one) for run in runs for one in run.record.get("schedule", ())]
    if not found:
        return None
    causes = [cause for cause in CAUSES if any(one["saved_by_cause"].get(cause) for _, one in found)]
    heads = [Head("operators", True), Head("groups"), Head("schedule", True), Head("library's order")]
    heads += [Head("as scheduled"), Head("saved"), Head("MB less")]
    heads += [Head(cause.replace("_", " "), hint=CAUSES[cause]) for cause in causes]
    rows = []
    for run, one in found:
        groups, many = one["operators"], len(runs) > 1
        before, after = one["cycles_before"], one["cycles_after"]
        cells = [word(f"{run.name}: {'+'.join(groups[0])}" if many else "+".join(groups[0])), number(len(groups))]
        cells += [word(one["schedules"]), number(before), number(after), _saved(before - after)]
        cells.append(number((one["bytes_before"] - one["bytes_after"]) / 1e6, "{:,.3f}"))
        rows.append(PageRow([*cells, *(_saved(one["saved_by_cause"].get(cause, 0)) for cause in causes)]))
    return PageTable(heads, rows)


def declined(runs: Sequence[SavedRun]) -> PageTable | None:
    """Return a row per reason for which operators have not the schedule requested; None where there is none."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for name, reason in zip(run.ops["op"], run.ops["declined"], strict=True):
            if isinstance(reason, str) and reason:
                reasons.setdefault((run.name, reason), []).append(str(name))
    rows = [
        (f"{run}: {names[0]}" if len(runs) > 1 else names[0], str(len(names)), reason)
        for (run, reason), names in reasons.items()
    ]
    return plain(("first operator", "operators", "keeps the library's program"), rows) if rows else None


def _saved(cycles: int) -> Cell:
    return Cell(f"{cycles:,}", "better" if cycles > 0 else "worse" if cycles < 0 else "", str(cycles))
