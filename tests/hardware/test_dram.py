"""DRAM descriptions: what ships is legal, and a broken one is refused with the key, the rule and the nearest value."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.dram_devices import load_dram

from sim.base.errors import InputError
from sim.hardware.dram import devices
from sim.hardware.dram.mapping import pieces
from sim.hardware.dram.standards import distances

BITS = {"column": 7, "rank": 0, "bank_group": 2, "bank": 2, "row": 16, "channel": 0}


def test_devices_that_ship() -> None:
    assert sorted(devices()) == ["ddr3_1600", "ddr4_2400", "ddr4_3200", "hbm2_2000", "lpddr5_6400"]
    assert [load_dram(name).line_bytes for name in sorted(devices())] == [64, 64, 64, 32, 32]
    assert load_dram("ddr4_2400").peak_bytes_per_second == 19.2e9
    assert load_dram("hbm2_2000").peak_bytes_per_second == 32e9
    assert load_dram("lpddr5_6400").peak_bytes_per_second == 12.8e9
    assert load_dram("ddr4_3200", {"channels": 2}).capacity_bytes == 16 << 30


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"timing": {"nRC": 40}}, "timing.nRC = 40: less than nRAS . nRP: .*nearest legal value 55"),
        ({"timing": {"nCCDL": 3}}, "timing.nCCDL = 3: less than nCCDS.*nearest legal value 4"),
        ({"timing": {"nCCDS": 2}}, "timing.nCCDS = 2: less than the burst.*nearest legal value 4"),
        ({"timing": {"nREFI": 20000}}, "refreshed every 7800 ns.*nearest legal value 9364"),
        ({"timing": {"nRFC": 9400}}, "timing.nREFI = 9364: less than nRFC"),
        ({"timing": {"nRPab": 3}}, "timing.nRPab: no symbol of ddr4"),
        ({"address_map": "row bank rank column channel"}, "bank_group is missing: its 2 bits"),
        ({"address_map": "row bank bank_group column:5"}, "column has 7 bits, the map places 5"),
        ({"address_map": "row bank bank_group column colum"}, "did you mean 'column'"),
        ({"address_map": "row bank bank_group column column"}, "column appears twice"),
        ({"channels": 2, "address_map": "row bank bank_group column"}, "channel is missing"),
        ({"banks": 3}, "banks = 3: .*power of two.*nearest legal value 2"),
        ({"ranks": 16}, "ranks = 16: .*nearest legal value 8"),
        ({"tCK_ps": 1250}, "nearest legal value 833"),
        ({"controller": {"drain_from": 40}}, "drain_from = 40.*nearest legal value 32"),
        ({"controller": {"drain_until": 30}}, "drain_until = 30.*nearest legal value 25"),
        ({"controller": {"merge_reads": True}}, "merge_reads"),
        ({"currents": {"IDD3N": 20.0}}, "currents.IDD3N = 20.0: below IDD2N"),
        ({"standard": "ddr9"}, "ddr4"),
        ({"timing": {"nCL": -1}}, "nCL"),
    ],
)
def test_a_broken_description_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_dram("ddr4_2400", changes)


def test_all_problems_at_once() -> None:
    with pytest.raises(InputError) as refused:
        load_dram("ddr4_2400", {"timing": {"nRC": 40, "nCCDL": 3}, "address_map": "row bank column"})
    assert len(refused.value.problems) == 3


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'ddr4_2400'"):
        load_dram("ddr4_2401")


def test_rules_of_banks_are_for_ddr() -> None:
    with pytest.raises(InputError, match="bank_queues"):
        load_dram("hbm2_2000", {"controller": {"rules": "bank_queues"}})


def test_a_field_in_pieces_keeps_its_bits() -> None:
    """Low bits of the column below the bank group: lines go round the groups four at a time."""
    found, problems = pieces("row bank column bank_group column:2", BITS)
    assert not problems
    assert [tuple(piece) for piece in found] == [
        ("column", 2, 0), ("bank_group", 2, 0), ("column", 5, 2), ("bank", 2, 0), ("row", 16, 0)
    ]  # fmt: skip


def test_distances_follow_from_the_symbols() -> None:
    """Spot values of the standards, worked by hand (docs/MEMORY.md)."""
    found = {(d.scope, d.previous, d.following): d.clocks for d in distances("ddr4", load_dram("ddr4_2400").timing)}
    assert found["rank", "RD", "WR"] == 16 + 4 + 2 - 12
    assert found["group", "WR", "RD"] == 12 + 4 + 9
    assert found["bank", "WR", "PRE"] == 12 + 4 + 18
