"""A published cycle rule and Carat on the same measured matmul rows: errors side by side, by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sim.base.errors import InputError
from sim.validate.cases import machine_of
from sim.validate.peers import PeerRule
from sim.validate.runner import RowResult
from sim.validate.statistics import Spread, name, percent, spread
from sim.validate.tables import MeasuredRow


@dataclass(frozen=True)
class Line:
    """One group of rows: errors of the rule and of Carat."""

    group: str
    rule: Spread
    carat: Spread


@dataclass(frozen=True)
class Comparison:
    """All groups, and the rows with the cycles of both (None = the rule does not cover the dataflow)."""

    rule: PeerRule
    lines: tuple[Line, ...]
    rows: tuple[tuple[RowResult, int | None], ...]


def against(rule: PeerRule, results: Sequence[RowResult]) -> Comparison:
    """Compare on all matmul rows among ``results``; InputError if the rule covers none of them."""
    rows = [(result, _cycles_by_rule(rule, result.row)) for result in results if result.row.kind == "matmul"]
    groups: dict[str, list[tuple[RowResult, int]]] = defaultdict(list)
    for result, cycles in rows:
        if cycles is not None and result.row.cycles > 0:
            for group in _groups(result.row):
                groups[group].append((result, cycles))
    if not groups:
        raise InputError(f"{rule.name} covers none of the rows: it needs matmul rows (WS, for onnxim-rule)")
    lines = tuple(
        Line(
            group,
            spread([(cycles / result.row.cycles - 1.0, name(result)) for result, cycles in members]),
            spread([(result.error, name(result)) for result, _ in members]),
        )
        for group, members in sorted(groups.items(), key=lambda item: (item[0] != "all", item[0]))
    )
    return Comparison(rule, lines, tuple(rows))


def text(comparison: Comparison) -> str:
    """Return a printable table: mean and worst absolute error of rule and Carat, group by group."""
    width = max(len(line.group) for line in comparison.lines)
    rule = comparison.rule
    head = f"{'group':{width}}  rows  {rule.name:>14} mean    worst    Carat mean    worst"
    lines = [f"{rule.name}: {rule.formula}", f"{rule.source}", "", head]
    for line in comparison.lines:
        a, b, c, d = map(percent, (line.rule.mean, line.rule.worst, line.carat.mean, line.carat.worst))
        lines.append(f"{line.group:{width}}  {line.rule.rows:4d}  {a:>19} {b:>8} {c:>13} {d:>8}")
    return "\n".join(lines)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return plain data for JSON."""
    rule = comparison.rule
    return {
        "peer": {"name": rule.name, "formula": rule.formula, "source": rule.source},
        "groups": {
            line.group: {
                "rows": line.rule.rows,
                "peer_mean_error": line.rule.mean,
                "peer_worst_error": line.rule.worst,
                "carat_mean_error": line.carat.mean,
                "carat_worst_error": line.carat.worst,
            }
            for line in comparison.lines
        },
        "rows": [
            {
                "id": result.row.id,
                "cfg": result.row.cfg,
                "cycles_measured": result.row.cycles,
                "cycles_peer": cycles,
                "cycles_simulated": result.outcome.cycles,
            }
            for result, cycles in comparison.rows
        ],
    }


def _cycles_by_rule(rule: PeerRule, row: MeasuredRow) -> int | None:
    m, n, k = (row.whole(axis, 0) for axis in ("M", "N", "K"))
    try:
        dim = machine_of(row).dim
    except InputError:
        return None
    return rule.cycles(m, n, k, dim, dim, row.dataflow)


def _groups(row: MeasuredRow) -> list[str]:
    memory = f"memory: {row.value('mem_latency')} cycles, {row.value('rd_bytes_per_cycle')} B/cycle"
    return ["all", f"dataflow: {row.dataflow}", f"configuration: {row.cfg}", memory]
