"""Results as one JSON object: rows, groups, overall, and timelines if any were compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sim.validate import statistics
from sim.validate.runner import RowResult
from sim.validate.statistics import Group
from sim.validate.tables import QUANTITIES
from sim.validate.tasks import NEVER_ENDS
from sim.validate.timelines import TimelineComparison


@dataclass(frozen=True)
class Report:
    """All results of one validation."""

    results: Sequence[RowResult]
    timelines: Sequence[TimelineComparison] = ()

    @cached_property
    def groups(self) -> dict[str, Group]:
        """Errors by group (see `statistics.groups`)."""
        return statistics.groups(self.results)

    @cached_property
    def overall(self) -> Group | None:
        """Errors of all rows; None without rows."""
        return statistics.group(self.results) if self.results else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: ``rows``, ``groups``, ``overall``, ``timelines``."""
        return {
            "rows": [row_dict(result) for result in self.results],
            "groups": {name: group.as_dict() for name, group in self.groups.items()},
            "overall": self.overall.as_dict() if self.overall else None,
            "timelines": [comparison.as_dict() for comparison in self.timelines],
        }


def row_dict(result: RowResult) -> dict[str, Any]:
    """Return one row: its identity, and every quantity as measured and as simulated (null if absent)."""
    row, outcome = result.row, result.outcome
    reason = outcome.reason
    simulated = outcome.cycles
    if simulated == NEVER_ENDS and not result.met_hang:
        simulated, reason = None, f"never ends in the simulator: {reason}"
    entry: dict[str, Any] = {"id": row.id, "cfg": row.cfg, "kind": row.kind, "dataflow": row.dataflow}
    if "operator" in row.columns:
        entry["operator"] = row.columns["operator"]
    entry |= {"file": str(row.path), "line": row.line, "program": result.way}
    entry |= {"cycles_measured": row.cycles, "cycles_simulated": simulated, "error": result.error}
    for quantity in QUANTITIES:
        entry[f"{quantity}_measured"] = row.measured(quantity)
        entry[f"{quantity}_simulated"] = result.simulated(quantity)
    entry["sections_measured"] = list(row.sections) if row.sections else None
    entry["sections_simulated"] = list(outcome.sections)
    if simulated is None:
        entry["reason"] = reason
    return entry
