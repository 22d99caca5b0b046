"""From a measured row to the task that simulates it: its machine, its program or work item, its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.validate.recordings import Library
from sim.validate.row_items import item_of_row
from sim.validate.row_machines import machine_of_row
from sim.validate.soc.cases import source_of
from sim.validate.tables import QUANTITIES, WORK_COLUMNS, MeasuredRow
from sim.validate.tasks import EncoderTask, RowTask

if TYPE_CHECKING:
    from sim.hardware import Hardware

TOTAL = "TOTAL"
"""``operator`` of the row of a whole encoder layer."""

WHOLE = ("soc_", "fpga_")
"""Kinds of the rows that were measured on a whole machine."""

LIBRARY_SCHEDULE = "loop_ws_library"
"""``schedule`` of the block-sparse rows that ran the library's matmul on the dense shape."""

WAYS = ("auto", "recorded", "lowered")
"""auto: rows that describe a work item are lowered, command sequences replayed; else only the named way."""


@dataclass(frozen=True)
class MeasuredCase:
    """A row and the task that simulates it, or the reason for its absence."""

    row: MeasuredRow
    task: RowTask | None
    reason: str = ""

    @property
    def part(self) -> str | None:
        """Part or operator of the task's program that the row measures; None = the whole program."""
        operator = self.row.columns.get("part", self.row.columns.get("operator"))
        return None if operator in (None, TOTAL) else operator


def case_of(row: MeasuredRow, library: Library, way: str = "auto") -> MeasuredCase | None:
    """Return the case of a row; None when ``way`` is recorded or lowered and it has no such program.

    A refused machine or work item gives a case with a reason, not an exception.
    """
    try:
        hw = machine_of(row)
        source = _source(row, hw, library, way)
    except InputError as error:
        return MeasuredCase(row, None, str(error))
    if source is None:
        if way != "auto":
            return None
        return MeasuredCase(row, None, f"no recorded program of case {row.id!r} on machine {row.cfg!r} was found")
    return MeasuredCase(
        row,
        RowTask(
            hw,
            source,
            row.phase,
            row.repeats,
            row.command_gap_cycles,
            cost=abs(row.cycles),
            written_rows=_history(row, hw),
        ),
    )


def _history(row: MeasuredRow, hw: Hardware) -> tuple[int, ...]:
    """Return the accumulator rows that hold data when the measured program starts.

    The one-row moves through the normaliser (kind normmv) were measured on a model whose accumulator was left over
    from earlier cases (norm.csv beside PROGRAMS.md, which gives 192 and 175 cycles with and without). The number of
    their divisions by a zero sum determines the rows left over: the first row of the first four blocks, a 1 x 4 block
    matrix.
    """
    return tuple(hw.dim * block for block in range(4)) if row.kind == "normmv" else ()


def machine_of(row: MeasuredRow) -> Hardware:
    """Return the whole machine that the row names."""
    return _machine(tuple(sorted((name, text) for name, text in row.columns.items() if name not in _NOT_MACHINE)))


@lru_cache(maxsize=256)
def _machine(columns: tuple[tuple[str, str], ...]) -> Hardware:
    return machine_of_row(dict(columns))


_NOT_MACHINE = frozenset(
    (
        *QUANTITIES,
        *("id", "case", "kind", "M", "N", "K", "I", "J", "relu", "rows", "cols", "flow", "bias", "act"),
        *(
            "cycles",
            "sections",
            "measured_section_cycles",
            "loop_phase",
            "cycles_after_odd_loops",
            "verified",
        ),
        *("verified", "useful_macs", "util", "n_cmds", "last_cmd_accepted", "rd_bus_util", "wr_bus_util"),
        *("first_req_cycle", "first_data_cycle", "op_index", "operator", "part"),
    )
)
"""Columns of work and of measured figures, left out so that rows of one machine share one `Hardware`."""


def _source(row: MeasuredRow, hw: Hardware, library: Library, way: str) -> Any:
    if row.kind.startswith(WHOLE):
        return None if way == "recorded" else source_of(row.columns, hw, row.path)
    if way == "recorded" or (way == "auto" and not _is_work(row)):
        recording = library.find(row.cfg, row.id)
        if recording is not None:
            return recording.program
        return _dense(row, hw) if row.columns.get("schedule") == LIBRARY_SCHEDULE else None
    return _work(row, hw) if _is_work(row) else None


def _dense(row: MeasuredRow, hw: Hardware) -> Any:
    """Return the library's dense matmul, the reference schedule of the block-sparse rows."""
    return item_of_row({**row.columns, "kind": "matmul"}, hw)


def _is_work(row: MeasuredRow) -> bool:
    """Command sequences, and tables that name no kind of their own, are replayed; the rest is lowered."""
    return row.kind in WORK_COLUMNS and bool(row.columns.get("kind"))


def _work(row: MeasuredRow, hw: Hardware) -> Any:
    if row.kind == "encoder":
        return EncoderTask(*(int(row.columns[name]) for name in ("seq", "hidden", "heads", "ffn")))

    columns: Mapping[str, str] = row.columns
    return item_of_row(columns, hw)
