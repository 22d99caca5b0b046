"""The result of a simulation: one tidy row per operator, totals, energy, counters, and files of them.

Definitions of all columns are in `sim.run.columns`. pandas is imported with the first frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sim  # the front door: `explain`, `save`, `timeline` load what they need when they run
from sim.base import palette
from sim.base.errors import InputError, demand, did_you_mean
from sim.base.files import write_whole
from sim.base.text import csv_of
from sim.cost import area, dram_energy, energy
from sim.run import columns
from sim.run.activity import merge_counters
from sim.run.fallbacks import fallbacks
from sim.run.operator_row import ratio
from sim.run.remarks import remarks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from sim.graph import Graph
    from sim.hardware import Hardware
    from sim.plan.planner import Step
    from sim.run.activity import Span
    from sim.run.request import Case, Request
    from sim.run.session import Start

SUMMED = (
    "invocations",
    "distinct",
    "cycles",
    "cpu_cycles",
    "visited_cycles",
    "macs",
    "macs_skipped",
    "mac_slots",
    "vector_operations",
    "metadata_bytes",
    "energy_pj",
)
SUMMED_PREFIXES = ("dram_", "spad_", "acc_", "energy_")


def _is_summed(name: str) -> bool:
    cause = name.removesuffix("_cycles") in columns.CAUSES
    return name in SUMMED or cause or name.startswith(SUMMED_PREFIXES)


@dataclass(frozen=True)
class Result:
    """Result of `sim.simulate`. ``steps``: the plan; ``rows``: plain rows behind ``ops``; ``starts``: what operators
    found; ``core_rows``: plain rows behind ``cores``, ``spans``: what each works on and when, none of one core."""

    case: Case
    steps: tuple[Step, ...]
    rows: tuple[dict[str, Any], ...]
    starts: Mapping[str, Start]
    core_rows: tuple[dict[str, Any], ...] = ()
    spans: tuple[Span, ...] = ()

    @property
    def hardware(self) -> Hardware:
        """The machine that was simulated."""
        return self.case.hw

    @property
    def graph(self) -> Graph:
        """The graph that was run, pruned and as sparsity edits it."""
        return self.case.graph

    @property
    def request(self) -> Request:
        """The request that was run."""
        return self.case.request

    @cached_property
    def ops(self) -> pd.DataFrame:
        """One row per operator in order of execution."""
        import pandas as pd  # half a second: not for runs without a frame

        frame = pd.DataFrame.from_records(self.rows, columns=list(columns.table("ops")))
        return frame.astype({"layer": "Int64"})

    @cached_property
    def cores(self) -> pd.DataFrame:
        """One row per core of a machine of several (`columns.table("cores")`); none of one core."""
        import pandas as pd  # half a second: not for runs without a frame

        return pd.DataFrame.from_records(self.core_rows, columns=list(columns.table("cores")))

    @cached_property
    def totals(self) -> dict[str, Any]:
        """The whole run as plain numbers (`columns.table("totals")`)."""
        hw = self.hardware
        names = [name for name in columns.table("totals") if name in columns.table("ops") and _is_summed(name)]
        summed = {name: sum(row[name] for row in self.rows) for name in names}
        seconds = summed["cycles"] / (hw.clock_mhz * 1e6)
        joules = summed["energy_pj"] * 1e-12
        derived = {
            "hardware": hw.name,
            "workload": self.graph.name,
            "density": ratio(summed["macs"], summed["macs"] + summed["macs_skipped"]),
            "sizes": self.graph.size_text,
            "word_sizes": self._word_sizes(),
            "utilization": summed["macs"] / (summed["cycles"] * self._peak(self.rows)),
            "peak_macs_per_cycle": self._peak(self.rows),
            "effective_macs_per_cycle": (summed["macs"] + summed["macs_skipped"]) / summed["cycles"],
            "visited_share": ratio(summed["visited_cycles"], summed["cycles"] - summed["host_cycles"]),
            "energy_table": hw.energy_table,
            "node_nm": energy.node_nm(hw),
            "clock_mhz": hw.clock_mhz,
            "time_s": seconds,
            "power_w": joules / seconds,
            "edp_js": joules * seconds,
            "area_mm2": area.all_cores_mm2(hw),
            "area_not_modelled": "; ".join(area.not_modelled(hw)) or None,
            "energy_not_modelled": "; ".join(energy.not_modelled(hw)) or None,
            "remarks": "; ".join(remarks(self.case)) or None,
        }
        both = {**summed, **derived}
        return {name: both[name] for name in columns.table("totals")}

    def _word_sizes(self) -> str:
        """Return the machine's types of elements and sums, and the word sizes that operators have instead."""
        array = self.hardware.array
        others = dict.fromkeys(row["words"] for row in self.rows if row["words"])
        return "; ".join([f"{array.input_type}, sums {array.acc_type}", *others])

    @property
    def cycles(self) -> int:
        """Cycles of the whole run."""
        return int(self.totals["cycles"])

    @property
    def energy(self) -> dict[str, float]:
        """Energy in pJ by component."""
        return {part: self.totals[f"energy_{part}_pj"] for part in columns.ENERGY}

    @property
    def dram_energy(self) -> dict[str, float]:
        """Energy in pJ of the DRAM by command and standby (`sim.cost.dram_energy`); none without memory.dram.

        They sum to the component "dram" of `energy`.
        """
        hw = self.hardware
        if hw.memory.dram == "none":
            return {}
        summed = dict.fromkeys(dram_energy.COMMANDS, 0.0)
        for row in self.rows:
            count = {name: row["counters"].get(name, 0) for name in dram_energy.COUNTERS}
            for command, pj in dram_energy.price(count, row["cycles"], hw.clock_mhz, hw.memory.dram).items():
                summed[command] += pj
        return summed

    @property
    def causes(self) -> dict[str, int]:
        """Cycles by cause; they sum to ``cycles``."""
        return {cause: self.totals[f"{cause}_cycles"] for cause in columns.CAUSES}

    @cached_property
    def counters(self) -> dict[str, int]:
        """The core's counters, Gemmini's own names among them, over the whole run."""
        merged: dict[str, int] = {}
        for row in self.rows:
            merged = merge_counters(merged, row["counters"])
        return merged

    @cached_property
    def kinds(self) -> pd.DataFrame:
        """One row per kind of operator (`columns.table("kinds")`), the most cycles first."""
        import pandas as pd  # half a second: not for runs without a frame

        return pd.DataFrame.from_records(self.kind_rows, columns=list(columns.table("kinds")))

    @cached_property
    def kind_rows(self) -> tuple[dict[str, Any], ...]:
        """The plain rows behind ``kinds``: commands print them without loading pandas."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            groups.setdefault(row["op_kind"], []).append(row)
        kinds = [self._kind_row(kind, rows) for kind, rows in groups.items()]
        return tuple(sorted(kinds, key=lambda row: -row["cycles"]))

    @staticmethod
    def _peak(rows: Sequence[Mapping[str, Any]]) -> float:
        """Return the peak of some operators together, each by its cycles."""
        slots = sum(row["peak_macs_per_cycle"] * row["cycles"] for row in rows)
        return float(slots / sum(row["cycles"] for row in rows))

    def _kind_row(self, kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        names = columns.table("kinds")
        summed = {name: sum(row[name] for row in rows) for name in names if _is_summed(name)}
        array_cycles = summed["cycles"] if summed["invocations"] else 0
        derived = {
            "op_kind": kind,
            "ops": len(rows),
            "share": summed["cycles"] / self.cycles,
            "utilization": summed["macs"] / (summed["cycles"] * self._peak(rows)),
            "visited_share": ratio(summed["visited_cycles"], array_cycles),
        }
        return {name: (summed | derived)[name] for name in names}

    def fallbacks(self) -> tuple[dict[str, Any], ...]:
        """Return the operators of the host, by reason, the most cycles first.

        Keys: op_kinds, ops (operators, conversions not counted), cycles, share (of the run's), fallback (why, and which
        setting avoids it).
        """
        return fallbacks(self.graph, self.steps, self.rows, self.cycles)

    def step(self, op: str) -> Step:
        """Return the planned step called ``op``. Raises InputError for an unknown name."""
        by_name = {step.name: step for step in self.steps}
        if op not in by_name:
            raise InputError(f"no operator {op!r} in {self.graph.name}{did_you_mean(op, by_name)}")
        return by_name[op]

    def timeline(self, op: str, invocation: int = 0) -> npt.NDArray[np.void]:
        """Return the command timeline of one invocation of ``op``, run again with recording switched on.

        Fields: queue (0 load, 1 execute, 2 store), funct, rs1, rs2, t_alloc, t_issue, t_complete in cycles
        from the invocation's start (-1: completes as it issues). Raises InputError for an operator on the
        host or an invocation that does not exist.
        """
        demand("op", op, str, 'an operator\'s name, e.g. "L0.FF1"')
        demand("invocation", invocation, int, "a whole number from 0 on")
        return sim.timeline(self, op, invocation)

    def explain(self) -> str:
        """Return one sentence: the bottleneck of the run, and the gain of relieving it (measured, or a bound)."""
        return sim.explain(self)

    def to_dict(self) -> dict[str, Any]:
        """Return totals, operator rows and the machine as plain data; "kept": numbers that pruning by saliency kept."""
        names = columns.table("ops")
        ops = [{name: row[name] for name in names} for row in self.rows]
        kept = {name: numbers.tolist() for name, numbers in self.case.kept.items()}
        whole = {"totals": self.totals, "ops": ops, "hardware": self.hardware.model_dump(mode="json")}
        if self.core_rows:
            whole["cores"] = list(self.core_rows)
        return {**whole, "kept": kept} if kept else whole

    def to_json(self, path: str | Path | None = None) -> str:
        """Return `to_dict` as JSON text, and write it to ``path`` when given (whole or not at all)."""
        text = json.dumps(self.to_dict(), indent=1) + "\n"
        if path is not None:
            write_whole(Path(path), text)
        return text

    def to_csv(self, path: str | Path) -> None:
        """Write the operator table to ``path`` (whole or not at all)."""
        write_whole(Path(path), csv_of(self.ops))

    def save(self, folder: str | Path, **known: Any) -> None:
        """Save the run in ``folder``, with what is ``known`` of it (`sim.analysis.saved.save`). Raises InputError."""
        sim.save(self, folder, **known)

    def __repr__(self) -> str:
        total = self.totals
        return (
            f"Result({total['workload']} on {total['hardware']}: {total['cycles']:,} cycles, "
            f"utilization {total['utilization']:.1%}, {total['energy_pj'] / 1e6:,.1f} uJ)"
        )

    def _repr_html_(self) -> str:
        """Show the summary, the cycles by cause as a bar and the table by kind in a notebook."""
        table = self.kinds.to_html(index=False, float_format="{:.3g}".format)
        key = f"<p>{palette.bar(self.causes)} {palette.legend(self.causes)}</p>"
        return f"<p>{escape(repr(self))}</p>{key}{table}"
