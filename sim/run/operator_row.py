"""The row of an operator in a result: the values of the operator table's columns (defined in `sim.run.columns`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sim.run import columns

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.planner import Step
    from sim.run.activity import Activity
    from sim.run.request import Case


def _fed_cycles(step: Step, done: Activity, fed: int, hw: Hardware) -> float:
    """Return the cycles in which the array takes in a row; rows that flush an output-stationary array take one each."""
    if step.dataflow != "OS":
        return fed * hw.row_cycles
    return fed + done.causes.get("compute", 0) * (1 - 1 / hw.row_cycles)


def operator_row(step: Step, done: Activity, case: Case, start: int, energy_pj: Mapping[str, float]) -> dict[str, Any]:
    """Return one row of the operator table, and under "counters" the core's counters."""
    hw, count, cores = step.machine or case.hw, done.counters, case.hw.cores.count
    peak = hw.peak_macs_per_cycle * cores
    fed, slots = count.get("MESH_INPUT_ROWS", 0), hw.dim * hw.dim
    spad, acc = hw.sp_row_bytes, hw.dim * hw.acc_bytes
    on_array = step.engine == "array"
    row = {
        "hardware": hw.name,
        "workload": case.graph.name,
        "op_kind": step.kind,
        "layer": step.layer,
        "op": step.name,
        "engine": step.engine,
        "fallback": str(step.fallback) if step.fallback else None,
        "covers": " ".join(step.covers) or None,
        "schedule": step.schedule,
        "declined": str(step.declined) if step.declined else None,
        "dataflow": step.dataflow,
        "words": words_of(step),
        "m": step.m,
        "n": step.n,
        "k": step.k,
        "batch": step.batch,
        "invocations": done.invocations,
        "distinct": done.distinct,
        "start_cycle": start,
        "end_cycle": start + done.cycles,
        "cycles": done.cycles,
        **{f"{cause}_cycles": done.causes.get(cause, 0) for cause in columns.CAUSES},
        "cpu_cycles": done.host_cycles + done.cpu_cycles,
        "visited_cycles": done.visited_cycles,
        "bound": columns.bound(done.causes.items()),
        "macs": step.macs_done,
        "macs_skipped": step.macs - step.macs_done,
        "mac_slots": fed * slots,
        "density": ratio(step.macs_done, step.macs),
        "scheme": step.scheme,
        "vector_operations": count.get("VECTOR_MULTIPLICATIONS", 0) + count.get("VECTOR_ADDITIONS", 0),
        "metadata_bytes": step.metadata_bytes,
        "util_mapping": ratio(step.macs_done, fed * slots),
        "util_compute": _fed_cycles(step, done, fed, hw) / (done.cycles * cores) if on_array else None,
        "utilization": step.macs_done / (done.cycles * peak),
        "peak_macs_per_cycle": peak,
        "effective_macs_per_cycle": step.macs / done.cycles,
        "dram_read_bytes": count.get("DRAM_READ_BYTES", 0),
        "dram_write_bytes": count.get("DRAM_WRITE_BYTES", 0),
        "dram_read_requests": count.get("DRAM_READ_REQUESTS", 0),
        "dram_write_requests": count.get("DRAM_WRITE_REQUESTS", 0),
        **{f"dram_{name}": count.get(f"DRAM_{name.upper()}", 0) for name in columns.DRAM},
        "spad_read_bytes": count.get("SPAD_READ_ROWS", 0) * spad,
        "spad_write_bytes": count.get("SPAD_WRITE_ROWS", 0) * spad,
        "acc_read_bytes": count.get("ACC_READ_ROWS", 0) * acc,
        "acc_write_bytes": count.get("ACC_WRITE_ROWS", 0) * acc,
        "energy_pj": sum(energy_pj.values()),
        **{f"energy_{part}_pj": energy_pj.get(part, 0.0) for part in columns.ENERGY},
    }
    return {**row, "counters": dict(count)}


def words_of(step: Step) -> str | None:
    """Return the word sizes of an operator in text, None where all are of the input type."""
    if step.machine is None or (words := step.machine.words) is None:
        return None
    stored = "/".join(str(bits) for bits in words[:3])
    added = f", added up in {words.sum_type}" if words.sum_type != step.machine.array.acc_type else ""
    return f"{words.a_type} x {words.b_type}, stored in {stored} bit{added}" if step.k else f"stored in {stored} bit"


def ratio(part: int, whole: int) -> float | None:
    """Return a share of a whole; None of nothing."""
    return part / whole if whole else None
