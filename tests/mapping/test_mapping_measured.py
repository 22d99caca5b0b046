"""Found mappings as the RTL ran them: what the search promises is what the hardware does."""

from __future__ import annotations

from pathlib import Path

from sim.lower import build
from sim.lower.work import Conv, Matmul, ResidualAdd
from sim.mapping import search
from sim.validate import csvfile, runner
from sim.validate.row_items import item_of_row
from sim.validate.row_machines import machine_of_row

ORACLE = Path(__file__).parents[1] / "oracle"
TABLE = ORACLE / "found_mappings.csv"
LONGEST_CYCLES = 20_000


def test_every_short_row_is_met_in_cycles_bytes_and_requests() -> None:
    """Oracle: thirty programs and more with tiles, residency, halves and orders that no library call makes."""
    found = runner.validate([TABLE], [ORACLE / "programs"], select=lambda row: row.cycles <= LONGEST_CYCLES)
    off = {r.row.id: (r.row.cycles, r.outcome.cycles) for r in found if r.row.cycles != r.outcome.cycles}
    assert len(found) >= 30
    assert off == {}


def test_rows_cover_each_dimension_of_a_mapping() -> None:
    works = [item_of_row(row) for _, row in csvfile.read(TABLE).records()]
    matmuls = [work for work in works if isinstance(work, Matmul)]
    assert {work.resident for work in matmuls} == {"library", "none", "a", "b", "ab"}
    assert {work.halves for work in matmuls} == {"slot", "together", "apart"}
    assert {work.loop_order for work in matmuls} == {"ijk", "jik"}
    assert {work.dataflow for work in matmuls} == {"WS", "OS"}
    assert sum(isinstance(work, Conv) for work in works) == 7
    assert sum(isinstance(work, ResidualAdd) for work in works) == 8
    assert {"softmax", "igelu"} < {work.activation for work in matmuls}
    assert all(work.tile for work in works)


def test_the_search_still_finds_what_was_measured() -> None:
    """128x64x128 takes 6,580 cycles with the library's tile (tilings.csv) and 4,776 with the found one, on the RTL."""
    measured = {row["id"]: row for _, row in csvfile.read(TABLE).records()}
    row = measured["found_matmul_128x64x128_t1x4x4"]
    found = search(build.matmul(128, 64, 128), machine_of_row(row))
    assert found.best.cycles <= int(row["cycles"])
    assert found.library.cycles == 6_580


def test_halves_apart_take_what_the_other_loop_slot_takes() -> None:
    """Two measurements of one effect: in the other slot (matmul.csv, cycles_after_odd_loops) A and B lie apart too."""
    rows = {row["id"]: int(row["cycles"]) for _, row in csvfile.read(TABLE).records()}
    library = next(row for _, row in csvfile.read(ORACLE / "matmul.csv").records() if _is_decode(row))
    assert rows["found_matmul_1x1024x1024_t1x8x56_a_together"] == int(library["cycles"])
    assert rows["found_matmul_1x1024x1024_t1x8x56_a_apart"] == int(library["cycles_after_odd_loops"])


def _is_decode(row: dict[str, str]) -> bool:
    sizes = tuple(row[name] for name in ("M", "N", "K", "mem_latency", "rd_bytes_per_cycle", "bias"))
    return sizes == ("1", "1024", "1024", "40", "16", "none") and row["cycles_after_odd_loops"] != ""
