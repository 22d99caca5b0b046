"""Area of what words and zeros need: by formula where a figure is published, by name where none is; no silent zero."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sim.cli import main
from sim.cost import energy
from sim.cost.area import area_um2, arithmetic_share, constants, multiplier_um2, not_modelled, total_mm2
from sim.hardware import load
from sim.hardware.energy_table import load_energy_table
from sim.hardware.schema import SparsitySupport

BASE = load("gemmini_ibert")
SERIAL = {"array.pe": "bit_serial", "array.serial_activation_bits": 2}
SPLIT = {"array.pe": "decomposable"}
UNITS: dict[str, dict[str, Any]] = {
    "select_inputs": {"sparsity.select_inputs": 16},
    "fetch_rows": {"sparsity.fetch_rows": 4},
    "gating": {"sparsity.gating": "weights"},
    "decoder": {"sparsity.decoder": ["rle"], "sparsity.decoder_elements_per_cycle": 16},
    "decoder_elements_per_cycle": {"sparsity.decoder": ["bitmap"], "sparsity.decoder_elements_per_cycle": 16},
    "block_scheduler": {"sparsity.block_scheduler": True},
    "top_k_per_cycle": {"sparsity.top_k_per_cycle": 16},
    "fft_butterflies_per_cycle": {"sparsity.fft_butterflies_per_cycle": 16, "sparsity.fft_block": 16},
    "fft_block": {"sparsity.fft_butterflies_per_cycle": 16, "sparsity.fft_block": 64},
    "resident_weights": {"sparsity.resident_weights": 4},
    "resident_reach": {"sparsity.resident_weights": 4, "sparsity.resident_reach": "line"},
    "pack_and_split": {"sparsity.resident_weights": 4, "sparsity.pack_and_split": True},
    "predictor_macs_per_cycle": {"sparsity.predictor_macs_per_cycle": 256},
    "predictor_bits": {"sparsity.predictor_macs_per_cycle": 256, "sparsity.predictor_bits": 8},
}
"""Every option of [sparsity] switched on."""


def test_every_option_of_the_door_is_looked_at() -> None:
    assert set(UNITS) == set(SparsitySupport.model_fields)


@pytest.mark.parametrize(
    "overrides",
    [*UNITS.values(), SERIAL, SPLIT, {"array.accepts": ["int4"]}, {"array.accumulates": ["int16"]}],
    ids=str,
)
def test_no_unit_is_a_silent_zero(overrides: dict[str, Any]) -> None:
    hw = BASE.with_(overrides)
    assert not_modelled(BASE) == ()
    assert not_modelled(hw) or total_mm2(hw) > total_mm2(BASE)


@pytest.mark.parametrize("option", [name for name in UNITS if name not in ("fetch_rows", "decoder_elements_per_cycle")])
def test_what_no_energy_is_known_for_is_named(option: str) -> None:
    """A wide fetch alone is priced whole: its rows are reads of the scratchpad."""
    assert energy.not_modelled(BASE) == energy.not_modelled(BASE.with_({"sparsity.fetch_rows": 2})) == ()
    assert energy.not_modelled(BASE.with_(UNITS[option]))


def test_multipliers_lie_on_a_line_through_the_published_ones() -> None:
    table = constants()
    published = table["mac"]["multiply"]
    assert multiplier_um2(8, 8, table) == pytest.approx(published["int8"])
    assert multiplier_um2(32, 32, table) == pytest.approx(published["int32"])
    assert multiplier_um2(16, 16, table) == pytest.approx(published["int16"], rel=0.001)
    assert multiplier_um2(2, 8, table) == multiplier_um2(4, 4, table) < published["int8"] / 2


def pe(overrides: dict[str, Any]) -> float:
    hw = BASE.with_(overrides)
    return area_um2(hw)["array"] / hw.side**2


def test_a_serial_pe_is_smaller_and_smaller_still_with_serial_weights() -> None:
    own, serial = pe({}), pe(SERIAL)
    assert pe({**SERIAL, "array.serial_weight_bits": 2}) < serial < own
    # Law: all bits of both operands at once are the fixed PE.
    assert pe({**SERIAL, "array.serial_activation_bits": 8}) == pytest.approx(own)


def test_a_pe_that_splits_pays_for_the_weights_and_sums_of_its_parts() -> None:
    # Formula: by int8 weights 2 x 2 parts of int4 hold four of 8 bits, twice, and two columns' sums.
    bit = constants()["register"]["um2_per_bit"]
    assert pe(SPLIT) == pytest.approx(pe({}))
    assert pe({**SPLIT, "array.accepts": ["int4"]}) - pe({}) == pytest.approx((2 * (4 * 8 - 8) + 2 * 32) * bit)
    assert pe({**SPLIT, "array.accepts": ["int4", "int2"]}) > pe({**SPLIT, "array.accepts": ["int4"]})


def test_more_lanes_are_more_adders_and_scale_units() -> None:
    wide = area_um2(BASE.with_({"array.sums_per_cycle": 32}))
    plain, mac = area_um2(BASE), constants()["mac"]
    lane = (mac["add"]["int32"] + mac["multiply"]["fp32"]) * mac["node_factor"]
    assert wide["accumulator"] - plain["accumulator"] == pytest.approx(16 * lane)
    assert wide["special_function"] == 2 * plain["special_function"]


def test_units_grow_with_their_rates() -> None:
    def units(overrides: dict[str, Any]) -> float:
        return area_um2(BASE.with_(overrides))["sparsity_units"]

    fft = UNITS["fft_butterflies_per_cycle"]
    assert units({**fft, "sparsity.fft_butterflies_per_cycle": 32}) == pytest.approx(2 * units(fft))
    assert 0 < units({"sparsity.predictor_macs_per_cycle": 256}) < area_um2(BASE)["array"]  # of 4 bits, as many PEs
    whole = units({"sparsity.predictor_macs_per_cycle": 256, "sparsity.predictor_bits": 8})
    assert whole == pytest.approx(area_um2(BASE)["array"])


def test_what_is_left_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["encoder-layer", "--seq", "16", "--size", "hidden=32", "--size", "heads=2", "--size", "ffn=32"]
    for arguments in (["--hw", "gemmini_sparse"], ["--hw", "gemmini_sparse", "--json"], ["--hw", "gemmini_ibert"]):
        with pytest.raises(SystemExit) as ended:
            main(["run", *small, *arguments])
        printed = capsys.readouterr().out
        assert ended.value.code == 0
        if "--json" in arguments:
            totals = json.loads(printed)["totals"]
            assert totals["area_not_modelled"].startswith("operand selection in the PEs; ")
            assert "decoder (bitmap" in totals["energy_not_modelled"]
        else:
            for what in ("area", "energy"):
                assert (f"{what} not modelled: operand selection" in printed) == ("gemmini_sparse" in arguments)


def test_leakage_goes_with_the_arithmetic_of_a_serial_pe() -> None:
    # Law: all bits of both operands at once are the plain PE; two of eight leak as their multiplier's area says.
    plain, whole, serial = (BASE.with_(o) for o in ({}, {**SERIAL, "array.serial_activation_bits": 8}, SERIAL))
    leak = [energy.price({}, 0, 10**6, hw)["leakage"] for hw in (plain, whole, serial)]
    assert leak[1] == pytest.approx(leak[0])
    pe_mw = load_energy_table(BASE.energy_table).leakage.pe["int8"].nominal
    lost = (1 - arithmetic_share(serial)) * BASE.side**2 * pe_mw * 10**6
    assert leak[0] - leak[2] == pytest.approx(lost) and 0.3 < arithmetic_share(serial) < 0.4
