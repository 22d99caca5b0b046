"""Energy of a DRAM by command: worked by hand from a data sheet, and bounds that every device keeps."""

from __future__ import annotations

import pytest
from helpers.dram_devices import load_dram

from sim.cost import dram_energy
from sim.hardware.dram import devices

ZERO = dict.fromkeys(dram_energy.COUNTERS, 0)


def test_ddr4_by_hand() -> None:
    """Eight devices at 1.2 V: an activation and precharge are one period of IDD0 above what stands by meanwhile."""
    dram = load_dram("ddr4_2400")
    one = ZERO | {"DRAM_ACTIVATES": 1, "DRAM_PRECHARGES": 1, "DRAM_READ_BURSTS": 1, "DRAM_WRITE_BURSTS": 2}
    pj = dram_energy.price(one, 0, 1000.0, dram)
    ns = 0.833
    assert pj["act"] + pj["pre"] == pytest.approx(8 * 1.2 * ns * (48 * 55 - 43 * 39 - 34 * 16))
    assert pj["rd"] == pytest.approx(8 * 1.2 * (135 - 43) * 4 * ns)
    assert pj["wr"] == pytest.approx(2 * 8 * 1.2 * (123 - 43) * 4 * ns)
    assert pj["background"] == pj["ref"] == 0


def test_standby_and_refresh_of_an_idle_memory() -> None:
    """A millisecond: 1000 / 7.8 refreshes of a rank, and IDD2N of eight devices; two channels draw twice as much."""
    dram = load_dram("ddr4_2400")
    pj = dram_energy.price(ZERO, 1_000_000, 1000.0, dram)
    assert pj["background"] == pytest.approx(8 * 1.2 * 34 * 1e6)
    assert pj["ref"] == pytest.approx(8 * 1.2 * (250 - 34) * 433 * 0.833 * 1e6 / (9364 * 0.833))
    two = dram_energy.price(ZERO, 1_000_000, 1000.0, load_dram("ddr4_2400", {"channels": 2}))
    assert two == pytest.approx({name: 2 * value for name, value in pj.items()})
    assert dram_energy.price(ZERO, 1_000_000, 1000.0, load_dram("ddr4_2400", {"refresh": False}))["ref"] == 0


@pytest.mark.parametrize("device", devices())
def test_no_command_gives_energy_back(device: str) -> None:
    """A whole row read costs 1 to 20 pJ a bit: below the 3.9 (HBM2) to 70 (DDR3) of hwconfigs/dram with drivers."""
    dram = load_dram(device)
    lines = dram.columns // dram.burst
    row = ZERO | {"DRAM_ACTIVATES": 1, "DRAM_PRECHARGES": 1, "DRAM_READ_BURSTS": lines}
    pj = dram_energy.price(row, 0, 1000.0, dram)
    assert min(pj.values()) >= 0
    assert 1 < sum(pj.values()) / (8 * lines * dram.line_bytes) < 20
