"""Measured tables: one `MeasuredRow` per line; the columns, not the file name, give a file's kind.

Columns as in tests/oracle/README.md: each row has its machine, its memory, its work and the measured figures. Unknown
columns are kept and ignored here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sim.base.errors import InputError, did_you_mean
from sim.base.numbers import decimal
from sim.validate import csvfile
from sim.validate.csvfile import CsvFile

NEVER_ENDS = -1
"""``cycles`` of a row whose program did not finish on the RTL."""

QUANTITIES: dict[str, str] = {
    "read_bytes": "DRAM_READ_BYTES",
    "write_bytes": "DRAM_WRITE_BYTES",
    "read_reqs": "DRAM_READ_REQUESTS",
    "write_reqs": "DRAM_WRITE_REQUESTS",
    "write_bytes_unmasked": "DRAM_WRITE_BYTES_UNMASKED",
    "rd_beats": "BUS_READ_BEATS",
    "wr_beats": "BUS_WRITE_BEATS",
    "mesh_in_rows": "MESH_INPUT_ROWS",
    "mesh_out_rows": "MESH_OUTPUT_ROWS",
    "cmd_stall_cycles": "COMMAND_STALL_CYCLES",
    "max_outstanding_rd": "MAX_OUTSTANDING_READS",
    "max_outstanding_wr": "MAX_OUTSTANDING_WRITES",
}
"""Measured column -> counter of `sim.core.events.Event` that must equal it."""

WORK_COLUMNS: dict[str, tuple[str, ...]] = {
    "matmul": ("M", "N", "K"),
    "resadd": ("I", "J"),
    "conv": ("in", "ic", "oc", "k"),
    "norm": (),
    "encoder": ("seq", "hidden", "heads", "ffn", "operator"),
}
"""Kinds that are lowered, with the required fields (columns, or in ``case``)."""

_WHOLE = ("M", "N", "K", "I", "J", "rows", "cols", "DIM", "loop_phase", "repeats")
_WHOLE_AT_LEAST_1 = ("seq", "hidden", "heads", "ffn", "cmd_interval", "min_cmd_gap")
_POSITIVE = ("rd_bytes_per_cycle", "wr_bytes_per_cycle", "bytes_per_cycle", "sp_KiB", "acc_KiB")
_IDLE_ARRAY = frozenset({"config", "mvin", "mvout", "resadd", "norm", "normmv"})


@dataclass(frozen=True)
class MeasuredRow:
    """One measured case: its file and line, and the text of each column."""

    path: Path
    line: int
    columns: Mapping[str, str]

    @property
    def id(self) -> str:
        """Name of the case."""
        return self.columns.get("id") or self.columns.get("case", "")

    @property
    def cfg(self) -> str:
        """Short name of the machine."""
        return self.columns["cfg"]

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Parameters of the test harness: ``kind=mvin n=4`` of column ``case`` as a mapping."""
        words = self.columns.get("case", "").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    @property
    def kind(self) -> str:
        """Kind of case: matmul, mvin, ...; ``program`` if the row has none."""
        return self.columns.get("kind") or self.parameters.get("kind", "program")

    def value(self, name: str) -> str:
        """Return the text of a column, else of the parameter of that name, else ``""``."""
        return self.columns.get(name) or self.parameters.get(name, "")

    def whole(self, name: str, default: int) -> int:
        """Return `value` as an integer (checked when the table was read)."""
        return int(self.value(name) or default)

    @property
    def cycles(self) -> int:
        """Measured cycles; NEVER_ENDS if the RTL did not finish."""
        return int(self.columns["cycles"])

    @property
    def command_gap_cycles(self) -> int:
        """Cycles from one command's acceptance to the next one's earliest offer (1 = the fastest)."""
        return max(self.whole(name, 1) for name in ("cmd_interval", "min_cmd_gap", "rate"))

    @property
    def phase(self) -> int:
        """Hardware loop slot that comes first (README of the tables: history)."""
        return self.whole("loop_phase", 0)

    @property
    def repeats(self) -> int:
        """Number of calls, with a fence in between."""
        return self.whole("repeats", self.whole("rep", 1))

    @property
    def dataflow(self) -> str:
        """``WS``, ``OS``, or ``-`` if the array is not used."""
        if self.kind in _IDLE_ARRAY:
            return "-"
        return self.parameters.get("df") or self.columns.get("flow") or "WS"

    def measured(self, quantity: str) -> int | None:
        """Return a measured count, or None if the table has none."""
        text = self.columns.get(quantity, "")
        return int(text) if text else None

    @property
    def sections(self) -> tuple[int, ...] | None:
        """Measured cycles of each fence-delimited part, if the table has the column."""
        text = self.columns.get("sections", "")
        return tuple(int(part) for part in text.split(";")) if text else None

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path}: line {self.line}"


def is_measurements(table: CsvFile) -> bool:
    """Return whether the columns are those of a measured table."""
    return table.has("cfg", "cycles") and (table.has("id") or table.has("case")) and not table.has("t_alloc")


def rows_of(table: CsvFile) -> list[MeasuredRow]:
    """Return the rows of a measured table; InputError names every bad cell: file, line, column, rule."""
    if not is_measurements(table):
        missing = [name for name in ("cfg", "id", "kind", "cycles", "mem_latency") if not table.has(name)]
        hints = "".join(f"; {name}{did_you_mean(name, table.header)}" for name in missing[:2])
        raise InputError(f"{table.path}: line 1: not a measured table: columns missing: {', '.join(missing)}{hints}")
    memory = [name for name in ("mem_latency", "rd_bytes_per_cycle") if not table.has(name)]
    if memory and not table.has("mem_latency", "bytes_per_cycle"):
        raise InputError(f"{table.path}: line 1: no memory: columns missing: {', '.join(memory)}")
    rows = [MeasuredRow(table.path, line, columns) for line, columns in table.records()]
    csvfile.refuse([problem for row in rows for problem in problems(row)])
    return rows


def problems(row: MeasuredRow) -> list[str]:
    """Return the problems of the cells of a row: file, line, column, rule."""
    checks: list[tuple[Sequence[str], float, bool]] = [
        (("cycles",), NEVER_ENDS, True),
        (("mem_latency", *_WHOLE, *QUANTITIES), 0, True),
        (_WHOLE_AT_LEAST_1, 1, True),
        (_POSITIVE, 0.001, False),
    ]
    found = []
    for names, least, whole in checks:
        for name in names:
            text = row.columns.get(name, "")
            if text or name in ("cycles", "cfg", "mem_latency"):
                found += [f"{row.place}, column {name}: {rule}" for rule in _rule(text, least, whole)]
    if row.columns["cycles"] == "0":
        found.append(f"{row.place}, column cycles: 0 is not a measurement (-1 = never ends)")
    if not row.id or not row.cfg:
        found.append(f"{row.place}: columns id and cfg must not be empty")
    parts = row.columns.get("sections", "")
    if parts and not all(part.lstrip("-").isdigit() for part in parts.split(";")):
        found.append(f"{row.place}, column sections: whole numbers separated by ';' are needed, not {parts!r}")
    for name in WORK_COLUMNS.get(row.kind, ()):
        if not row.value(name):
            found.append(f"{row.place}, column {name}: a row of kind {row.kind} needs it")
    return found


def _rule(text: str, least: float, whole: bool) -> list[str]:
    try:
        number = int(text) if whole else decimal(text)
    except ValueError:
        return [f"a {'whole ' if whole else ''}number is needed, not {text!r}"]
    return [] if number >= least else [f"must be at least {least:g}, not {text}"]
