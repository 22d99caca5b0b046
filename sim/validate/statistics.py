"""Statistics of the rows' errors: by kind, by dataflow, by configuration, by all three, and overall."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sim.validate.runner import RowResult
from sim.validate.tasks import NEVER_ENDS

COUNTED = ("read_bytes", "write_bytes", "read_reqs", "write_reqs")
"""Counts whose errors are given per group, in addition to the cycles."""

MEAN_BAR = 0.001
"""Bar of a group's mean absolute error of cycles."""
EXACT_BAR = 0.8
"""Bar of a group's share of rows with exact cycles."""
WORST_BAR = 0.01
"""Bar of a row's absolute error of cycles ..."""
SHORT_CYCLES = 1000
"""... except rows of fewer cycles than this, ..."""
SHORT_BAR_CYCLES = 6
"""... whose error may be this many cycles."""


@dataclass(frozen=True)
class Bars:
    """Bars for a group of rows: see MEAN_BAR, EXACT_BAR, WORST_BAR."""

    mean: float = MEAN_BAR
    exact: float = EXACT_BAR
    worst: float = WORST_BAR


WHOLE_MACHINE = {
    "soc_matmul": Bars(0.01, 0.0, 0.05),
    "soc_resadd": Bars(0.03, 0.0, 0.05),
    "soc_conv": Bars(0.02, 0.0, 0.05),
    "soc_norm": Bars(0.02, 0.0, 0.03),
    "soc_encoder": Bars(0.02, 0.0, 0.10),
    "soc_host": Bars(0.05, 0.0, 0.15),
    "soc_baseline": Bars(0.08, 0.0, 0.31),
    "soc_trace": Bars(0.001, 0.8, 0.01),
    "fpga_matmul": Bars(0.05, 0.0, 0.30),
    "fpga_conv": Bars(0.02, 0.0, 0.20),
    "fpga_auto_matmul": Bars(0.10, 0.0, 0.40),
    "fpga_auto_conv": Bars(0.06, 0.0, 0.80),
    "soc_issue": Bars(0.05, 0.0, 0.55),
}
"""Bars of rows measured with a CPU, by kind: all compiler flags and states of the caches together.

Tests have tighter ones for warm calls (tests/cpu/test_soc_bars.py).
"""


@dataclass(frozen=True)
class Spread:
    """Absolute relative errors of some rows, ``worst`` with its sign; ``exact``: share without error."""

    rows: int
    mean: float
    median: float
    p90: float
    worst: float
    worst_id: str
    exact: float


@dataclass(frozen=True)
class Group:
    """Rows that share kind, dataflow or configuration: errors of cycles and counts, and the bars they miss."""

    rows: int
    not_simulated: int
    cycles: Spread
    counts: Mapping[str, Spread]
    misses: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        counts = {name: asdict(spread) for name, spread in self.counts.items()}
        head = {"rows": self.rows, "not_simulated": self.not_simulated, "cycles": asdict(self.cycles)}
        return {**head, **counts, "bars_met": not self.misses, "misses": list(self.misses)}


def spread(errors: Sequence[tuple[float, str]]) -> Spread:
    """Summarise (relative error, row name) pairs; the percentile interpolates linearly between rows."""
    sizes = np.abs([error for error, _ in errors])
    worst = int(np.argmax(sizes))
    return Spread(
        rows=len(errors),
        mean=float(sizes.mean()),
        median=float(np.median(sizes)),
        p90=float(np.percentile(sizes, 90)),
        worst=errors[worst][0],
        worst_id=errors[worst][1],
        exact=float((sizes == 0).mean()),
    )


def group(results: Sequence[RowResult]) -> Group:
    """Summarise some results (at least one)."""
    cycles = spread([(result.error, name(result)) for result in results])
    counts = {}
    for quantity in COUNTED:
        pairs = [(result.error_of(quantity), name(result)) for result in results]
        known = [(error, row) for error, row in pairs if error is not None]
        if known:
            counts[quantity] = spread(known)
    lost = sum(result.outcome.cycles is None for result in results)
    return Group(len(results), lost, cycles, counts, tuple(_misses(results, cycles, counts)))


def groups(results: Sequence[RowResult]) -> dict[str, Group]:
    """Return the groups: ``kind=...``, ``dataflow=...``, ``configuration=...`` and all three together."""
    members: dict[str, list[RowResult]] = defaultdict(list)
    for result in results:
        row = result.row
        keys = (f"kind={row.kind}", f"dataflow={row.dataflow}", f"configuration={row.cfg}")
        for key in (*keys, " ".join(keys)):
            members[key].append(result)
    return {key: group(members[key]) for key in sorted(members, key=lambda key: (" " in key, key))}


def name(result: RowResult) -> str:
    """Return a row's printed name: id, operator if any, machine if it is not the default one."""
    row = result.row
    operator = row.columns.get("operator", "")
    return " ".join(part for part in (row.id, operator, f"({row.cfg})" if row.cfg != "default" else "") if part)


def within_bar(result: RowResult) -> bool:
    """Return whether one row's cycles meet the bar of a single row."""
    measured, simulated = result.row.cycles, result.outcome.cycles
    if result.met_hang:
        return True
    if simulated is None or NEVER_ENDS in (measured, simulated):
        return False
    return abs(result.error) <= bars_of([result]).worst or (
        measured < SHORT_CYCLES and abs(simulated - measured) <= SHORT_BAR_CYCLES
    )


def bars_of(results: Sequence[RowResult]) -> Bars:
    """Return the bars of a group: those of its kind, or the widest of its kinds."""
    kinds = {result.row.kind for result in results}
    found = [WHOLE_MACHINE.get(kind, Bars()) for kind in kinds]
    return Bars(max(bar.mean for bar in found), min(bar.exact for bar in found), max(bar.worst for bar in found))


def _misses(results: Sequence[RowResult], cycles: Spread, counts: Mapping[str, Spread]) -> list[str]:
    misses, bars = [], bars_of(results)
    if cycles.mean > bars.mean:
        misses.append(f"mean error {cycles.mean:.3%} > {bars.mean:.1%}")
    if cycles.exact < bars.exact:
        misses.append(f"{cycles.exact:.0%} of the rows exact < {bars.exact:.0%}")
    far = sum(not within_bar(result) for result in results)
    if far:
        misses.append(f"{far} rows with an error above {bars.worst:.0%} (short ones: {SHORT_BAR_CYCLES} cycles)")
    misses += [f"{quantity} exact in {s.exact:.1%} of the rows" for quantity, s in counts.items() if s.exact < 1]
    return misses


def figures(name: str, group: Group) -> tuple[str, ...]:
    """Return one table line: name, rows, exact, mean, median, p90, worst, bytes, requests, bars."""
    shares = []
    for what in ("bytes", "reqs"):
        exact = [group.counts[key].exact for key in (f"read_{what}", f"write_{what}") if key in group.counts]
        shares.append(percent(min(exact)) if exact else "-")
    cycles = group.cycles
    spread_of = (cycles.exact, cycles.mean, cycles.median, cycles.p90, cycles.worst)
    return (name, f"{group.rows}", *map(percent, spread_of), *shares, "missed" if group.misses else "met")


def percent(value: float) -> str:
    """Format a share or error: 0, 0.012 %, 3.4 %, 100 %; a share below 100 % is never rounded to 100 %."""
    if value in (0, 1):
        return "0" if value == 0 else "100 %"
    if 0.999 <= value < 1:
        return f"{math.floor(1e6 * value) / 1e4:.6g} %"
    return f"{100 * value:.2g} %" if abs(value) < 0.1 else f"{100 * value:.1f} %"
