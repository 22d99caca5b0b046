"""Why two runs differ: cycles per operator and per cause, the largest difference first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sim.base.errors import InputError
from sim.run.columns import CAUSES

if TYPE_CHECKING:
    import pandas as pd

By = Literal["name", "op", "kind"]
"""How operators are put together: by name without layer, one by one, or by kind."""


@dataclass(frozen=True)
class Row:
    """One group of operators: how many each run has of it, its cycles in each, and their difference by cause."""

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
    """``rows``: largest difference first; their changes sum to that of ``cycles``, and so do those of ``causes``."""

    names: tuple[str, str]
    cycles: tuple[int, int]
    causes: Mapping[str, int]
    rows: tuple[Row, ...]

    @property
    def change(self) -> int:
        """Cycles of the second run less those of the first."""
        return self.cycles[1] - self.cycles[0]

    def sentence(self) -> str:
        """Return in one sentence how the runs differ and what explains most of it."""
        first, second = self.names
        if self.change == 0 and not any(row.change for row in self.rows):
            return f"{second} takes as many cycles as {first}, operator by operator."
        ratio = self.cycles[1] / self.cycles[0]
        row = self.rows[0]
        cause = max(self.causes, key=lambda name: abs(self.causes[name]))
        return (
            f"{second} takes {ratio:.3g}x the cycles of {first} ({self.change:+,}); largest by operator: {row.name} "
            f"({row.change:+,}), by cause: {cause} ({self.causes[cause]:+,})."
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
            {"operator": row.name, first: row.cycles[0], second: row.cycles[1], "change": row.change, **row.causes}
            for row in self.rows
        ]
        frame = pd.DataFrame.from_records(records)
        idle = [cause for cause in CAUSES if not frame[cause].any()]
        return frame.drop(columns=idle)


def diff(first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str] = ("A", "B"), by: By = "name") -> Difference:
    """Compare two operator tables (`Result.ops` or `SavedRun.ops`).

    Operators that only one run has count with all their cycles. Raises InputError for an unknown ``by``.
    """
    if by not in ("name", "op", "kind"):
        raise InputError(f"by: {by!r} is none of name, op, kind")
    groups = [_grouped(frame, by) for frame in (first, second)]
    rows = []
    for name in dict.fromkeys([*groups[0], *groups[1]]):
        a, b = (group.get(name, dict[str, int]()) for group in groups)
        causes = {cause: b.get(cause, 0) - a.get(cause, 0) for cause in CAUSES}
        count = (a.get("count", 0), b.get("count", 0))
        rows.append(Row(name, count, (a.get("cycles", 0), b.get("cycles", 0)), causes))
    rows.sort(key=lambda row: -abs(row.change))
    totals = tuple(int(frame["cycles"].sum()) for frame in (first, second))
    causes = {cause: sum(row.causes[cause] for row in rows) for cause in CAUSES}
    return Difference(names, (totals[0], totals[1]), causes, tuple(rows))


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
