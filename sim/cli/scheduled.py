"""Print schedules: cycles saved by each, by cause, and the operators that declined the requested schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from sim.cli import common

if TYPE_CHECKING:
    from sim.analysis.scheduled import Saving
    from sim.run.result import Result

HEADINGS = ("operators", "schedule", "saved most, grew most (cycles each)", "library", "scheduled", "gain", "MB less")


def savings(before: Result, after: Result) -> list[Saving]:
    """Return the cycles that the schedules of a run saved over the library's order."""
    from sim.analysis.scheduled import savings as found  # numpy

    return found(before, after)


def plain(saved: Sequence[Saving] | None) -> list[dict[str, Any]] | None:
    """Return savings as plain data, None where there are none."""
    return [one.to_dict() for one in saved] if saved else None


def show(saved: Sequence[Saving] | None, result: Result) -> None:
    """Print a line per group of equal operators, and one per reason for which a schedule was declined.

    None: the run has no schedule; nothing is printed.
    """
    if saved is None:
        return
    rows = [
        (
            "+".join(one.groups[0]) + (f" and {len(one.groups) - 1} equal" if len(one.groups) > 1 else ""),
            one.schedules,
            _causes(one),
            f"{one.before_cycles:,}",
            f"{one.after_cycles:,}",
            f"{one.before_cycles / one.after_cycles:.3f}x",
            f"{(one.before_bytes - one.after_bytes) / 1e6:,.3f}",
        )
        for one in saved
    ]
    if rows:
        common.print_table("Cycles in the library's order and as scheduled", HEADINGS, rows, 3)
        typer.echo(f"schedules save {sum(one.saved_cycles for one in saved):,} cycles in all")
    reasons: dict[str, list[str]] = {}
    for row in result.rows:
        if row["declined"]:
            reasons.setdefault(row["declined"], []).append(row["op"])
    for reason, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        typer.echo(f"{names[0]}{more}: {reason}")
    if not rows:
        typer.echo("no operator's program differs from the library's under this schedule")


def _causes(one: Saving) -> str:
    """The cause that shrank most, and the one that grew most."""
    ends = [one.saved_by_cause[0], one.saved_by_cause[-1]] if one.saved_by_cause else []
    shown = [f"{cause} {-n:+,}" for cause, n in dict(ends).items() if (n > 0) == (cause == ends[0][0])]
    return ", ".join(shown) or "-"
