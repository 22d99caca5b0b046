"""Translate the tables of a whole machine to rows like those of the other tables.

Each format is recognised by its columns. A translated row has the columns that `row_machines` reads, ``kind`` with the
prefix "soc_", and the columns by which `soc.cases` finds the program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sim.base.errors import InputError
from sim.hardware import load
from sim.validate import csvfile, tables
from sim.validate.csvfile import CsvFile
from sim.validate.soc import pages, pairs, traces
from sim.validate.soc.fpga import AUTOMATIC, MAPPED
from sim.validate.tables import MeasuredRow

OPTIMISED, LIBRARY_FLAGS = "-O3", "-O2 -ffast-math"
CPUS = {OPTIMISED: "rocket", LIBRARY_FLAGS: "rocket_rocctests"}
"""Compiler flags of a row -> price list of the CPU."""

SOC = {"l2_KiB": "512", "mem_latency": "40", "rd_bytes_per_cycle": "16", "wr_bytes_per_cycle": "16"}
"""Machine of the tables that describe it in a sentence."""

Columns = Mapping[str, str]


class Format(NamedTuple):
    """A table format: the columns that identify it, and the translation of one of its rows."""

    needs: tuple[str, ...]
    translate: Callable[[Columns], Sequence[dict[str, str]]]


def rows_of(table: CsvFile) -> list[MeasuredRow]:
    """Return the rows of a measured table of any format. Raises InputError as `tables.rows_of`."""
    if traces.is_trace(table):
        return traces.rows_of(table)
    for known in FORMATS:
        if table.has(*known.needs):
            rows = list(_translated(table, known))
            csvfile.refuse([problem for row in rows for problem in tables.problems(row)])
            return rows
    return tables.rows_of(table)


def is_known(table: CsvFile) -> bool:
    """Return whether the columns are those of a table of a whole machine."""
    return traces.is_trace(table) or any(table.has(*known.needs) for known in FORMATS)


def _translated(table: CsvFile, known: Format) -> Iterator[MeasuredRow]:
    problems = []
    for line, columns in table.records():
        try:
            found = known.translate(columns)
        except (InputError, KeyError, ValueError) as error:
            problems.append(f"{table.path}: line {line}: {error}")
            continue
        yield from (MeasuredRow(table.path, line, measured) for measured in found)
    csvfile.refuse(problems)


def _cpu(flags: str) -> str:
    if flags not in CPUS:
        raise InputError(f"column flags: {flags!r} is none of {', '.join(CPUS)}")
    return CPUS[flags]


def _call(columns: Columns) -> list[dict[str, str]]:
    """matmul_soc.csv, calls_soc.csv, encoder_soc.csv: one library call per row, or an operator of a layer."""
    kind = columns["kind"]
    layer = kind == "encoder"
    found = {**columns, "kind": f"soc_{kind}", "cpu": _cpu(columns["flags"])}
    # a layer calls the product's function from several places, so that there is one copy for all sizes
    found["cpu_sizes"] = "shared" if layer else columns["sizes"]
    found["cpu_code"] = "cold" if layer or columns.get("code") == "cold" or columns["call"] == "0" else "warm"
    if columns.get("code") == "warm":
        found["cpu_code"] = "warm"
    if layer:
        found["operator"] = columns["op"]
    return [found]


LAYER_OPERATORS = {
    "Q": "matmul_Q",
    "K": "matmul_K",
    "V": "matmul_V",
    "Wo": "Wout_fullC",
    "LN1": "layernorm1",
    "LN2": "layernorm2",
    "FF1_gelu": "FF1_igelu",
    "FF2": "FF2_fullC",
    "encoder layer, transformer.c": "TOTAL",
}
"""Operators of encoder_bert.csv by their names in encoder_soc.csv; those of heads end in a number."""


def _described(columns: Columns) -> list[dict[str, str]]:
    """encoder_bert.csv, baseline_layer.csv, two_cores.csv, virtual_memory.csv: the machine is a sentence."""
    config, what = columns["config"], columns["what"]
    sizes = dict(re.findall(r"(seq|hidden|heads|ffn)=(\d+)", config))
    found = {**columns, **SOC, "cpu": "rocket", "cpu_sizes": "shared", "cpu_code": "cold", "flags": OPTIMISED}
    if latency := re.search(r"L=(\d+)", config):
        found["mem_latency"] = latency[1]
    if len(sizes) == 4 and "rl2norm" in config:
        head = re.fullmatch(r"(QKT_softmax|AV)(\d+)", what)
        operator = f"{head[1]}_h{head[2]}" if head else LAYER_OPERATORS.get(what, what)
        passes = "1" if columns["note"].startswith("second") else "0"
        return [{**found, **sizes, "kind": "soc_encoder", "cfg": "norm", "operator": operator, "call": passes}]
    if len(sizes) == 4 and "host:" in config:
        integer = "integer" in config
        operator = "TOTAL" if what == "total" else f"{what}.{columns['n']}"
        host = "rocket_ibert_integer" if integer else "rocket_libm_float"
        machine = {"cfg": "default", "host": host, "cpu_sizes": "constant"}
        return [{**found, **sizes, **machine, "kind": "soc_baseline", "operator": operator}]
    if several := pairs.columns_of(columns):
        return [{**found, "cfg": "default", **several}]
    if paged := pages.columns_of(columns):
        return [{**found, "cfg": "default", **paged}]
    unknown = f"{what!r} on {config!r}: the program is unknown"
    return [{**found, "cfg": "default", "kind": "soc_other", "reason": unknown}]


def _operator(columns: Columns) -> list[dict[str, str]]:
    """hostops.csv: an operator that the CPU runs; rows of 0 cycles are check values of the measurement."""
    if columns["cycles"] == "0":
        return []
    # in other tables "operator" names a part of a program
    found = {name: text for name, text in columns.items() if name != "operator"}
    return [{**found, "op": columns["operator"], "kind": "soc_host", "cfg": "default", "cpu": _cpu(columns["flags"])}]


def _fpga(columns: Columns) -> list[dict[str, str]]:
    """dosa.csv: a layer with the library's own tile and then, in the same program, with a mapping of DOSA's."""
    found = {name: text for name, text in columns.items() if not name.startswith("carat_")}
    latency = str(load("dosa_firesim").memory.latency_cycles)
    machine = {
        "cfg": "dosa_firesim",
        "mem_latency": latency,
        "cpu": "rocket_rocctests",
        "cpu_sizes": "runtime",
        "cpu_code": "cold",
    }
    mapped = {"kind": f"fpga_{columns['kind']}", "cycles": columns["fs_tiled_cycles"], "operator": MAPPED}
    name = f"{columns['id']}-{AUTOMATIC}"
    auto = {"id": name, "part": name, "kind": f"fpga_auto_{columns['kind']}", "operator": AUTOMATIC}
    return [
        {**found, **machine, **mapped, "part": columns["id"]},
        {**found, **machine, **auto, "cycles": columns["fs_auto_cycles"]},
    ]


def _issue(columns: Columns) -> list[dict[str, str]]:
    """issue.csv: command loops written by hand, compiled with -O3."""
    found = {name: text for name, text in columns.items() if name != "code"}
    return [{**found, "issue_code": columns["code"], "kind": "soc_issue", "cfg": "default", "cpu": CPUS[OPTIMISED]}]


FORMATS = (
    Format(("cfg", "call", "flags", "sizes", "cycles"), _call),
    Format(("operator", "values_below", "elements", "flags", "cycles"), _operator),
    Format(("fs_auto_cycles", "fs_tiled_cycles", "loop_order_inner_to_outer", "tile"), _fpga),
    Format(("code_c", "until", "commands", "code", "cycles"), _issue),
    Format(("what", "config", "n", "cycles", "note"), _described),
)
