"""Designs of a machine search: limits, and results on a mix of workloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.cost.area import area_um2
from sim.hardware import Hardware
from sim.run.request import Request

Row = dict[str, Any]

OF_MACHINE: Mapping[str, tuple[str, Callable[[Hardware], float]]] = {
    "area": ("mm2", lambda hw: sum(area_um2(hw).values()) / 1e6),
    "sram": ("KiB", lambda hw: (hw.scratchpad.capacity_bytes + hw.accumulator.capacity_bytes) / 1024),
    "bandwidth": ("bytes a cycle", lambda hw: float(hw.memory.read_bytes_per_cycle)),
}
"""Quantities of a machine alone: unit and function; a design beyond a limit is not simulated."""

POWER = "power"
QUANTITIES = {**{name: unit for name, (unit, _) in OF_MACHINE.items()}, POWER: "W"}
"""Quantities that can be limited, and their units; power is the energy of the run over its time."""

SUMMED = ("cycles", "time_s", "energy_pj", "macs", "dram_read_bytes", "dram_write_bytes")
"""Columns of a mix that are weighted sums of those of its workloads."""


def check(limits: Mapping[str, float]) -> None:
    """Raise InputError for an unknown quantity or a limit that is not above 0."""
    problems = [
        f"constraint: unknown quantity {name!r} (known: {', '.join(QUANTITIES)}){did_you_mean(name, QUANTITIES)}"
        for name in limits
        if name not in QUANTITIES
    ]
    problems += [
        f"constraint: {name} <= {most!r} must be a number above 0 ({QUANTITIES[name]})"
        for name, most in limits.items()
        if name in QUANTITIES and not (isinstance(most, int | float) and most > 0)
    ]
    if problems:
        raise InputError(problems)


def refusal(hw: Hardware, limits: Mapping[str, float]) -> str | None:
    """Return the limits that a machine breaks, None if it keeps all that need no run."""
    found = []
    for name, (unit, of) in OF_MACHINE.items():
        if name in limits and (value := of(hw)) > limits[name]:
            found.append(f"{name} {value:.4g} {unit}, at most {limits[name]:g}")
    return f"constraint: {'; '.join(found)}" if found else None


def power_w(row: Row) -> float:
    """Return the mean power of a run."""
    return float(row["energy_pj"] * 1e-12 / row["time_s"])


def beyond(row: Row, limits: Mapping[str, float]) -> str | None:
    """Return the limits that a finished run breaks, None for none."""
    if row.get("error") or POWER not in limits or power_w(row) <= limits[POWER]:
        return None
    return f"constraint: power {power_w(row):.4g} W, at most {limits[POWER]:g}"


def weights(workload: str | Mapping[str, float]) -> dict[str, float]:
    """Return the workloads of a mix with their weights. Raises InputError for none, or a weight that is not above 0."""
    if not isinstance(workload, Mapping):
        return {str(workload): 1.0}
    problems = [] if workload else ["workload: a mix needs at least one workload, e.g. {'bert-base': 1, 'gpt2': 2}"]
    problems += [
        f"workload: weight {weight!r} of {name!r} must be a number above 0"
        for name, weight in workload.items()
        if not (isinstance(weight, int | float) and weight > 0)
    ]
    if problems:
        raise InputError(problems)
    return {str(name): float(weight) for name, weight in workload.items()}


def parts(point: Request, mix: Mapping[str, float]) -> list[Request]:
    """Return the runs of a design, one a workload."""
    return [point] if list(mix) == [point.graph] else [replace(point, graph=name) for name in mix]


def mixed(rows: Sequence[Row], mix: Mapping[str, float]) -> Row:
    """Return the row of a design: that of its only workload of weight 1, or the weighted sums of all.

    The energy-delay product of a mix is that of its sums. If one workload fails, the design fails.
    """
    if list(mix.values()) == [1.0]:
        return rows[0]
    failed = next((row for row in rows if row.get("error")), None)
    if failed is not None:
        return {"version": failed.get("version"), "error": failed["error"]}
    found: Row = {name: rows[0][name] for name in ("version", "energy_table", "area_mm2") if name in rows[0]}
    for name in SUMMED:
        found[name] = sum(weight * row[name] for row, weight in zip(rows, mix.values(), strict=True))
    return {**found, "edp_js": found["energy_pj"] * 1e-12 * found["time_s"], "error": None}


def mix_name(mix: Mapping[str, float]) -> str:
    """Return the name of a mix: the workload, or all with their weights."""
    return next(iter(mix)) if list(mix.values()) == [1.0] else "+".join(f"{w:g}*{name}" for name, w in mix.items())
