"""Oracle: the command streams that Gemmini's C library issued for the measured rows (tests/oracle/programs).

Every stream must be equal command for command: funct, both operands, fences (several in a row count once).
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from sim.isa.commands import Funct
from sim.lower import encoder, lower
from sim.validate.row_items import item_of_row, repeats
from sim.validate.row_machines import machine_of_row

ORACLE = Path(__file__).parents[1] / "oracle"
KINDS = ("matmul", "resadd", "norm", "conv")


def table(name):
    with (ORACLE / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def recorded(name):
    """(case, cfg) -> commands; cfg is "" where the file has no such column."""
    programs = defaultdict(list)
    with gzip.open(ORACLE / "programs" / f"{name}.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            fence = row["funct"] == "fence"
            found = programs[row["case"], row.get("cfg", "")]
            if not fence:
                found.append((int(row["funct"]), int(row["rs1"], 16), int(row["rs2"], 16)))
            elif not found or found[-1][0] != Funct.FENCE:
                found.append((int(Funct.FENCE), 0, 0))
    return programs


@cache
def indexed():
    """(set, case) -> a row as the tables have it, from the harness' own parameters."""
    with gzip.open(ORACLE / "programs" / "index.csv.gz", "rt", newline="") as file:
        return {
            (row["set"], row["case"]): {"id": row["case"], "cfg": row["cfg"], "case": row["parameters"]}
            for row in csv.DictReader(file)
        }


@cache
def machine(cfg):
    return machine_of_row({"cfg": cfg})


def commands(program):
    unsigned = (1 << 64) - 1
    return [(funct, rs1 & unsigned, rs2 & unsigned) for funct, rs1, rs2, _ in program.tolist()]


def lowered(row):
    hw = machine(row["cfg"])
    return commands(lower(item_of_row(row, hw), hw, repeat=repeats(row), bare=True))


def differing(pairs):
    pairs = list(pairs)
    assert pairs, "nothing to compare"
    return [row["id"] for row, stream in pairs if lowered(row) != stream]


def test_all_machines_and_element_types():
    rows = [row for row in table("configs") if row["kind"] in KINDS]
    assert len({row["cfg"] for row in rows}) >= 7
    assert not differing((row, recorded("configs")[row["id"], row["cfg"]]) for row in rows)


@pytest.mark.parametrize("name", ["tables_default", "tables_norm", "timeline"])
def test_table_and_timeline_programs(name):
    rows = [(indexed()[name, case], stream) for (case, _), stream in recorded(name).items()]
    calls = [(row, stream) for row, stream in rows if row["case"].split()[0].removeprefix("kind=") in KINDS]
    assert len(calls) >= 10
    assert not differing(calls)


def test_rows_with_columns_of_their_own_mean_the_same_as_their_case():
    """matmul.csv, resadd.csv and conv.csv have no `case`: sizes and flags stand in columns."""
    rows = {row["id"]: row for name in ("matmul", "resadd", "conv") for row in table(name)}
    pairs = [(rows[case], stream) for (case, _), stream in recorded("tables_default").items() if case in rows]
    assert {row["kind"] for row, _ in pairs} == {"matmul", "resadd", "conv"}
    assert not differing(pairs)


def test_dense_reference_of_the_block_sparse_set():
    rows = [row for row in table("blocksparse") if row["schedule"] == "loop_ws_library"]
    streams = recorded("blocksparse")
    pairs = [({**row, "kind": "matmul"}, streams[row["id"], ""]) for row in rows if (row["id"], "") in streams]
    assert not differing(pairs)


@pytest.mark.parametrize("name", ["matmul", "resadd", "conv", "norm", "sweep", "configs", "tilings", "l2"])
def test_number_of_commands_of_every_measured_row(name):
    """Rows without a recorded stream still tell how many commands the library issued (n_cmds, no fences)."""
    wrong = []
    for row in table(name):
        if row["kind"] in KINDS:
            stream = lower(item_of_row(row), machine_of(row), repeat=repeats(row))
            if (stream["funct"] != Funct.FENCE).sum() != int(row["n_cmds"]):
                wrong.append(row["id"])
    assert not wrong


def machine_of(row):
    """The machine of a row, read once per machine rather than once per row."""
    return machine(row["cfg"])


def encoder_cases():
    return sorted({row["id"] for row in table("encoder")})


@pytest.mark.parametrize("case", encoder_cases())
def test_encoder_layers(case):
    rows = [row for row in table("encoder") if row["id"] == case and row["operator"] != "TOTAL"]
    sizes = (int(rows[0][name]) for name in ("seq", "hidden", "heads", "ffn"))
    hw = machine(rows[0]["cfg"])
    layer = encoder.operators(*sizes, hw)
    assert [name for name, _ in layer] == [row["operator"] for row in rows]
    stream = [command for _, work in layer for command in commands(lower(work, hw))]
    assert stream == recorded("encoder")[case, ""]
