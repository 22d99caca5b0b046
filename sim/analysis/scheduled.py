"""Savings of schedules: operators that do the same work in two runs, their cycles and causes before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.run.columns import CAUSES
from sim.run.scheduling import Rows, groups

if TYPE_CHECKING:
    from sim.run.result import Result


@dataclass(frozen=True)
class Saving:
    """Operators that a schedule changed, equal groups together.

    ``groups``: names of the operators of each group. Cycles and bytes (moved to and from memory) are those of one
    group; ``saved_by_cause``: (cause, cycles), the largest saving first, negative where a cause grew.
    """

    groups: tuple[tuple[str, ...], ...]
    schedules: str
    before_cycles: int
    after_cycles: int
    before_bytes: int
    after_bytes: int
    saved_by_cause: tuple[tuple[str, int], ...]

    @property
    def saved_cycles(self) -> int:
        """Cycles that all groups together save; negative where they lose."""
        return len(self.groups) * (self.before_cycles - self.after_cycles)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "operators": [list(group) for group in self.groups], "schedules": self.schedules,
            "cycles_before": self.before_cycles, "cycles_after": self.after_cycles,
            "bytes_before": self.before_bytes, "bytes_after": self.after_bytes,
            "saved_by_cause": dict(self.saved_by_cause),
        }  # fmt: skip


def savings(before: Result, after: Result) -> list[Saving]:
    """Return the savings of the schedules of ``after`` over ``before``, a run of the same graph, in order.

    Operators whose work one program does, in either run, form one group.
    """
    found: dict[tuple[Any, ...], list[tuple[str, ...]]] = {}
    for names, (old, new) in groups((before, after)):
        schedules = dict.fromkeys(row["schedule"] for row in new if row["schedule"])
        if not schedules:
            continue
        causes = ((cause, _sum(old, f"{cause}_cycles") - _sum(new, f"{cause}_cycles")) for cause in CAUSES)
        saved = tuple(sorted(((c, n) for c, n in causes if n), key=lambda item: (-item[1], item[0])))
        moved = [_sum(rows, "dram_read_bytes") + _sum(rows, "dram_write_bytes") for rows in (old, new)]
        kinds = tuple(row["op_kind"] for row in (*old, *new))
        key = (kinds, "; ".join(schedules), _sum(old, "cycles"), _sum(new, "cycles"), *moved, saved)
        found.setdefault(key, []).append(names)
    return [Saving(tuple(names), *key[1:]) for key, names in found.items()]


def _sum(rows: Rows, column: str) -> int:
    return sum(int(row[column]) for row in rows)
