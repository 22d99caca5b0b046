"""Why two runs differ: cycles per operator and per cause, the largest difference first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sim.base.errors import InputError
from sim.run.columns import CAUSES

if TYPE_CHECKING:
    import pandas as pd

    from sim.analysis.saved import SavedRun

By = Literal["name", "op", "kind"]
"""Grouping of operators: by name without layer, one by one, or by kind."""


@dataclass(frozen=True)
class DiffRow:
    """One group of operators: its operators in each run, its cycles in each run, and their difference by cause."""

    name: str
    count: tuple[int, int]
    cycles: tuple[int, int]
    causes: Mapping[str, int]

    @property
    def change(self) -> int:
        """Cycles of the second run less those of the first."""
        return self.cycles[1] - self.cycles[0]


@dataclass(frozen=True)
class Difference:
    """Two runs compared. ``rows``: largest difference first; their changes, like ``causes``, sum to ``change``."""

    names: tuple[str, str]
    cycles: tuple[int, int]
    causes: Mapping[str, int]
    rows: tuple[DiffRow, ...]

    @property
    def change(self) -> int:
        """Cycles of the second run less those of the first."""
        return self.cycles[1] - self.cycles[0]

    def sentence(self) -> str:
        """Return in one sentence how the runs differ and what explains most of it."""
        first, second = self.names
        if self.change == 0 and not any(row.change for row in self.rows):
            return f"{second} takes as many cycles as {first}, operator by operator."
        row = self.rows[0]
        cause = max(self.causes, key=lambda name: abs(self.causes[name]))
        return (
            f"{second} {_compared(*self.cycles)} {first} ({self.cycles[1]:,} against {self.cycles[0]:,}, "
            f"{self.change:+,}); largest by operator: {row.name} ({row.change:+,}), by cause: {cause} "
            f"({self.causes[cause]:+,})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        rows = [
            {"name": row.name, "count": row.count, "cycles": row.cycles, "change": row.change, "causes": row.causes}
            for row in self.rows
        ]
        return {
            "names": self.names,
            "cycles": self.cycles,
            "change": self.change,
            "causes": self.causes,
            "operators": rows,
            "sentence": self.sentence(),
        }

    def _repr_html_(self) -> str:
        """Show sentence and table in a notebook."""
        from html import escape

        return f"<p>{escape(self.sentence())}</p>{self.table().to_html(index=False)}"

    def table(self) -> pd.DataFrame:
        """Return one row per group: name, cycles of both, change, and the change by cause."""
        import pandas as pd

        first, second = self.names
        records = [
            {
                "operator": row.name,
                f"{first} cycles": row.cycles[0],
                f"{second} cycles": row.cycles[1],
                "change": row.change,
                **row.causes,
            }
            for row in self.rows
        ]
        frame = pd.DataFrame.from_records(records)
        idle = [cause for cause in CAUSES if not frame[cause].any()]
        return frame.drop(columns=idle)


def diff(first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str] = ("A", "B"), by: By = "name") -> Difference:
    """Compare two operator tables (`Result.ops` or `SavedRun.ops`).

    Operators of one run only are included with all their cycles. Raises InputError: unknown ``by``, equal names.
    """
    if by not in ("name", "op", "kind"):
        raise InputError(f"by: {by!r} is none of name, op, kind")
    if names[0] == names[1]:
        raise InputError(f"names: both runs are called {names[0]!r}; a comparison needs two names")
    groups = [_grouped(frame, by) for frame in (first, second)]
    rows = []
    for name in dict.fromkeys([*groups[0], *groups[1]]):
        a, b = (group.get(name, dict[str, int]()) for group in groups)
        causes = {cause: b.get(cause, 0) - a.get(cause, 0) for cause in CAUSES}
        count = (a.get("count", 0), b.get("count", 0))
        rows.append(DiffRow(name, count, (a.get("cycles", 0), b.get("cycles", 0)), causes))
    rows.sort(key=lambda row: -abs(row.change))
    totals = tuple(int(frame["cycles"].sum()) for frame in (first, second))
    causes = {cause: sum(row.causes[cause] for row in rows) for cause in CAUSES}
    return Difference(names, (totals[0], totals[1]), causes, tuple(rows))


def _compared(first: int, second: int) -> str:
    """Return the ratio of cycles as text, or the difference in percent if the ratio is below two."""
    if first == second:
        return "takes as many cycles as"
    ratio = max(first, second) / min(first, second)
    more = "more" if second > first else "fewer"
    if ratio >= 2:
        return f"takes {ratio:.3g} times {'the cycles of' if second > first else 'fewer cycles than'}"
    return f"takes {abs(second / first - 1):.2%} {more} cycles than"


def same_prices(first: SavedRun, second: SavedRun) -> bool:
    """Return whether two runs use one energy table, so that their energies can be compared."""
    return all(first.totals[key] == second.totals[key] for key in ("energy_table", "node_nm"))


def energy_note(runs: Sequence[SavedRun]) -> str | None:
    """Return a sentence that names the energy tables of the runs if they differ, else None."""
    if all(same_prices(runs[0], run) for run in runs[1:]):
        return None
    tables = ", ".join(f"{run.name} by {run.totals['energy_table']} ({run.totals['node_nm']} nm)" for run in runs)
    return (
        f"Energies are computed with different tables: {tables}. Differences of energy, power and EDP (*) between them "
        "are differences of the technology too, not of the machines alone."
    )


def without_layer(op: str) -> str:
    """Return an operator's name without its layer ("L3.FF1" -> "FF1")."""
    return re.sub(r"^L\d+\.", "", op)


def _grouped(ops: pd.DataFrame, by: By) -> dict[str, dict[str, int]]:
    """Return group -> cycles, count and cycles by cause, in order of first appearance."""
    keys = {"name": ops["op"].map(without_layer), "op": ops["op"], "kind": ops["op_kind"]}[by]
    groups: dict[str, dict[str, int]] = {}
    wanted = ["cycles", *(f"{cause}_cycles" for cause in CAUSES)]
    for key, values in zip(keys, ops[wanted].to_dict("records"), strict=True):
        sums = groups.setdefault(str(key), dict.fromkeys(("count", "cycles", *CAUSES), 0))
        sums["count"] += 1
        for column in wanted:
            sums[column.removesuffix("_cycles")] += int(values[column])
    return groups
