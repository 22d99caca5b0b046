"""Energy: cases computed by hand, additivity, monotonicity, and no silent zero."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.core.events import Event
from sim.cost import energy
from sim.hardware import Hardware, load
from sim.hardware.energy_table import LEVELS

HW = load("gemmini_default")  # 45 nm, DDR4, 1 GHz
NOTHING = dict.fromkeys(energy.COUNTERS, 0)


def one(counter: str, hw: Hardware = HW, count: int = 1) -> dict[str, float]:
    """Return the components of energy that are not zero for one event of a counter."""
    parts = energy.price({**NOTHING, counter: count}, 0, 0, hw)
    return {name: value for name, value in parts.items() if value}


def test_counters_are_those_of_the_core() -> None:
    assert set(energy.COUNTERS) <= set(Event.__members__)


def test_one_mac_costs_the_stated_figure() -> None:
    assert energy.price(NOTHING, 1, 0, HW)["mac"] == 0.23
    assert energy.price(NOTHING, 1, 0, HW.with_({"energy_table": "7nm"}))["mac"] == 0.077
    fp32 = load("gemmini_fp32_4x4")
    assert energy.price(NOTHING, 1, 0, fp32)["mac"] == 4.6


def test_one_scratchpad_row_by_hand() -> None:
    """16 B at 256 KiB; 20 pJ per 64 bit at 32 KiB, 100 at 1 MiB, a line in logs: 20 * 5 ** (3 / 5) twice."""
    assert one("SPAD_READ_ROWS") == pytest.approx({"scratchpad": 2 * 20 * 5 ** (3 / 5)})
    assert one("SPAD_WRITE_ROWS") == one("SPAD_READ_ROWS")


def test_one_accumulator_row_by_hand() -> None:
    """64 B at 64 KiB: eight accesses of 20 * 5 ** (1 / 5) pJ; accumulating adds a read and 16 additions."""
    access = 8 * 20 * 5 ** (1 / 5)
    assert one("ACC_READ_ROWS") == one("ACC_WRITE_ROWS") == pytest.approx({"accumulator": access})
    assert one("ACC_ACCUMULATE_ROWS") == pytest.approx({"accumulator": access + 16 * 0.1})


def test_one_row_through_the_array_by_hand() -> None:
    """256 PEs: 8 bits written and read, 8 of weight read, 20 of sum written and read, 0.009 pJ a bit."""
    assert one("MESH_INPUT_ROWS") == pytest.approx({"register": 256 * (24 + 40) * 0.009})
    assert one("WEIGHT_ROWS") == pytest.approx({"register": 16 * 8.5 * 2 * 8 * 0.009})


def test_special_functions_dram_host_and_leakage_by_hand() -> None:
    assert one("SCALE_ROWS") == pytest.approx({"special_function": 16 * 3.7})
    assert one("NORMALIZE_ROWS") == pytest.approx({"special_function": 16 * 3.2})
    assert one("DRAM_READ_BYTES", count=8) == pytest.approx({"dram": 64 * 20.3})
    assert one("DRAM_WRITE_BYTES") == one("DRAM_READ_BYTES")
    assert energy.price({}, 0, 0, HW, host_cycles=2)["host"] == pytest.approx(2 * 29.3)
    per_cycle = 256 * 0.0071 + 320 * 0.205  # mW at 1 GHz = pJ per cycle
    assert energy.price({}, 0, 7, HW)["leakage"] == pytest.approx(7 * per_cycle)
    assert energy.price({}, 0, 7, HW.with_({"clock_mhz": 500}))["leakage"] == pytest.approx(14 * per_cycle)


def test_bank_accesses_cost_only_in_an_l2() -> None:
    assert one("L2_BANK_ACCESSES") == {}
    assert one("L2_BANK_ACCESSES", load("gemmini_l2")) == pytest.approx({"l2": 2 * 20 * 5 ** (4 / 5)})


counts = st.fixed_dictionaries({name: st.integers(0, 10**6) for name in energy.COUNTERS})


@given(counts, counts, st.sampled_from(["gemmini_default", "gemmini_l2", "gemmini_bf16_8x8", "kim2023_tuned"]))
def test_energy_is_additive(first: dict[str, int], second: dict[str, int], name: str) -> None:
    """Two runs one after the other cost the sum of both, component by component."""
    hw = load(name)
    both = energy.price({key: first[key] + second[key] for key in first}, 5, 9, hw, 3)
    apart = (energy.price(first, 2, 4, hw, 1), energy.price(second, 3, 5, hw, 2))
    for component in energy.COMPONENTS:
        assert math.isclose(both[component], apart[0][component] + apart[1][component], rel_tol=1e-9)


@given(
    st.sampled_from(["45nm", "7nm", "dosa_40nm"]),
    st.sampled_from([("scratchpad", "SPAD_READ_ROWS"), ("accumulator", "ACC_WRITE_ROWS")]),
    st.integers(0, 5),
)
def test_more_capacity_is_never_cheaper(table: str, memory: tuple[str, str], doublings: int) -> None:
    small = {"energy_table": table, "scratchpad.capacity": "16MiB", "accumulator.capacity": "16KiB"}
    capacity = (1 << 18 if memory[0] == "scratchpad" else 1 << 14) << doublings
    less = load("gemmini_default", {**small, f"{memory[0]}.capacity": capacity})
    more = less.with_({f"{memory[0]}.capacity": 2 * capacity})
    assert one(memory[1], more)[memory[0]] >= one(memory[1], less)[memory[0]]


def test_levels_bracket_the_nominal_value() -> None:
    busy = dict.fromkeys(energy.COUNTERS, 1000)
    for table in ("45nm", "7nm", "dosa_40nm"):
        hw = HW.with_({"energy_table": table})
        low, nominal, high = (energy.price(busy, 1000, 1000, hw, 10, level) for level in LEVELS)
        assert all(low[part] <= nominal[part] <= high[part] for part in energy.COMPONENTS)
        assert sum(low.values()) < sum(nominal.values()) < sum(high.values())


def test_rebalancing_after_kim_moves_energy_as_dosa_says() -> None:
    """papers.md 5: 64 for 256 KiB makes scratchpad reads 3.3x cheaper, 256 for 64 accumulators 1.5x more."""
    before, after = (load(f"kim2023_{name}", {"energy_table": "dosa_40nm"}) for name in ("baseline", "tuned"))
    scratchpad = one("SPAD_READ_ROWS", before)["scratchpad"] / one("SPAD_READ_ROWS", after)["scratchpad"]
    accumulator = one("ACC_READ_ROWS", after)["accumulator"] / one("ACC_READ_ROWS", before)["accumulator"]
    assert (round(scratchpad, 1), round(accumulator, 1)) == (3.3, 1.5)


def test_nothing_missing_is_taken_for_zero() -> None:
    with pytest.raises(InputError, match="counters missing: WEIGHT_ROWS"):
        energy.price({name: 0 for name in energy.COUNTERS if name != "WEIGHT_ROWS"}, 0, 0, HW)
    with pytest.raises(InputError, match=r"energy table 45nm: no figure mac\.bf16"):
        energy.price({}, 0, 0, load("gemmini_bf16_8x8", {"energy_table": "45nm"}))
    with pytest.raises(InputError, match="which has no host CPU"):
        energy.price({}, 0, 0, HW.with_({"host": "none"}), host_cycles=1)
