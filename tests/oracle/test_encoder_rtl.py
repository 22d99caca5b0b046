"""Oracle: whole encoder layers through the whole pipeline take the cycles and the bytes that Gemmini's RTL
took.

The table (tests/oracle/encoder.csv, Gemmini 25809f78) has one row per library call; heads are one operator
here.
"""

from __future__ import annotations

import csv
from itertools import groupby
from pathlib import Path

import pytest

import sim

TABLE = Path(__file__).parents[1] / "oracle" / "encoder.csv"
RECORDS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
LAYERS = {name: list(rows) for name, rows in groupby(RECORDS, lambda row: row["id"])}


def measured(rows: list[dict[str, str]], column: str, heads: int) -> list[int]:
    """Return one figure per operator, those of all heads of a matmul summed."""
    values = [int(row[column]) for row in rows]
    scores, context = values[3 : 3 + heads], values[3 + heads : 3 + 2 * heads]
    return [*values[:3], sum(scores), sum(context), *values[3 + 2 * heads :]]


@pytest.mark.parametrize("name", [name for name in LAYERS if "h128" in name or "L100" in name])
def test_layer_equals_the_rtl_operator_by_operator(name: str) -> None:
    *rows, total = LAYERS[name]
    first, heads = rows[0], int(rows[0]["heads"])
    machine = {
        "memory.latency_cycles": int(first["mem_latency"]),
        "memory.read_bytes_per_cycle": float(first["bytes_per_cycle"]),
        "memory.write_bytes_per_cycle": float(first["bytes_per_cycle"]),
        "cpu.command_cycles": int(first["min_cmd_gap"]),
        "cpu.loop_cycles": int(first["min_cmd_gap"]),
    }
    sizes = {size: int(first[size]) for size in ("seq", "hidden", "heads", "ffn")}
    result = sim.simulate("encoder-layer", "gemmini_ibert", overrides=machine, **sizes)
    pairs = (
        ("cycles", "cycles"),
        ("dram_read_bytes", "read_bytes"),
        ("dram_write_bytes", "write_bytes"),
        ("dram_read_requests", "read_reqs"),
        ("dram_write_requests", "write_reqs"),
    )
    for ours, theirs in pairs:
        assert [row[ours] for row in result.rows] == measured(rows, theirs, heads), ours
    assert result.cycles == int(total["cycles"])
