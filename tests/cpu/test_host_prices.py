"""What the CPU takes for operators of its own: measured implementations, sets of them, the CPU without an array."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

import sim
from sim.base.errors import InputError
from sim.cost import host
from sim.hardware import load
from sim.hardware.files import config_files
from sim.hardware.host import OperatorPrice
from sim.hardware.tables import operator_prices
from sim.validate import runner

SOC = Path(__file__).resolve().parents[1] / "oracle" / "soc"
SETS = ("rocket_libm_float", "rocket_own_exp", "rocket_ibert_integer", "rocket_gemmini_reference")
SMALL = {"seq": 64, "hidden": 256, "heads": 4, "ffn": 1024}
"""Sizes of the baseline layer that was measured."""


def test_each_operator_is_within_five_percent_from_256_elements_on() -> None:
    errors = defaultdict(list)
    for result in runner.validate([SOC / "hostops.csv"], select=lambda row: int(row.columns["elements"]) >= 256):
        assert result.outcome.cycles is not None, result.outcome.reason
        errors[result.row.columns["op"]].append(abs(result.error))
    means = {name: sum(found) / len(found) for name, found in errors.items()}
    assert len(means) >= 30 and max(means.values()) <= 0.05, means


def test_the_baseline_of_kim_et_al_at_small_size() -> None:
    """Products on the array, all else on the CPU: the whole layer within 2 %, operators within 15 %."""
    results = runner.validate([SOC / "baseline_layer.csv"])
    totals = [result for result in results if result.row.columns["operator"] == "TOTAL"]
    assert len(totals) == 2 and all(abs(result.error) <= 0.02 for result in totals)
    far = {result.row.columns["what"] for result in results if abs(result.error) > 0.15}
    # the float residual add: three arrays of 64 KiB, 20 cycles an element in the layer, 14.5 alone at the same size
    # (hostops.csv); the first product runs with cold weights and cold code
    assert far <= {"add1", "add2", "mm_q"}


@pytest.mark.parametrize("name", SETS)
def test_a_set_runs_a_layer_without_array_operators(name: str) -> None:
    result = sim.simulate("encoder-layer", "gemmini_default", overrides={"host": name}, cache=False, **SMALL)
    ours = load("gemmini_default", {"host": name}).host
    assert ours != "none"
    assert {row["op_kind"] for row in result.rows if row["engine"] == "host"} <= set(ours.priced)
    converted = any(row["op_kind"] == "dequantize" for row in result.rows)
    assert converted == ours.converts
    assert any(row["op_kind"] == "requantize" for row in result.rows) == bool(ours.requantizes)


def test_speed_up_over_the_cpu_is_an_output() -> None:
    """gemmini.h's CPU path: 64.5 cycles a MAC and 104 an output (README of the tables), against the array."""
    alone = sim.simulate("encoder-layer", "rocket_only", cache=False, **SMALL)
    array = sim.simulate("encoder-layer", "gemmini_ibert", overrides={"cpu.prices": "rocket"}, cache=False, **SMALL)
    assert alone.causes["host"] == alone.cycles == alone.totals["cpu_cycles"]
    assert alone.totals["macs"] == array.totals["macs"]
    per_mac = sum(row["cycles"] for row in alone.rows if row["op_kind"] == "matmul") / alone.totals["macs"]
    assert 64.5 < per_mac < 66
    assert alone.cycles > 1000 * array.cycles


def test_a_cpu_alone_leaves_no_convolution_to_the_array() -> None:
    """It used to run on the array of the "CPU only" machine, without a word; it has no measured price on the CPU."""
    with pytest.raises(InputError, match=r"stem, .* cannot run on rocket_only: .* no price for operator 'conv'"):
        sim.simulate("resnet50", "rocket_only")


def test_lines_come_from_l2_or_memory() -> None:
    """README of the tables: 15 cycles a line from the L2, 59 from memory at latency 40, 131 at latency 100."""
    price = OperatorPrice(read_bytes=64)
    work = host.HostWork("copy", 100)
    spent = {
        (l2, latency): host.priced_cycles(
            price, work, load("gemmini_default", {"memory.l2_bytes": l2, "memory.latency_cycles": latency})
        )
        for l2, latency in ((0, 40), (0, 100), (512 << 10, 40))
    }
    assert spent == {(0, 40): 5900, (0, 100): 13100, (512 << 10, 40): 1600}
    resident = work._replace(resident=True)
    assert host.missed_lines(price, resident) == 0  # 6,400 bytes stay in an L1 of 32 KiB
    assert host.missed_lines(price, resident._replace(elements=1024)) == 1024  # 64 KiB do not


def test_traffic_of_the_cpu_reaches_the_memory_without_an_l2() -> None:
    behind, plain = ({"host": "rocket_libm_float", "memory.l2_bytes": size} for size in ("512KiB", 0))
    free, paid = (
        sum(
            row["dram_read_bytes"]
            for row in sim.simulate("encoder-layer", "gemmini_default", overrides=given, cache=False, **SMALL).rows
            if row["engine"] == "host"
        )
        for given in (behind, plain)
    )
    assert free == 0 < paid


def test_shipped_sets_name_known_implementations() -> None:
    for name in config_files("host"):
        ours = load("gemmini_default", {"host": name}).host
        assert ours != "none" and ours.priced
    for library in config_files("operators"):
        for price in operator_prices(library).values():
            OperatorPrice.model_validate(price)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "rocket_libm"}, "unknown host CPU 'rocket_libm' (did you mean 'rocket_libm_float'?)"),
        ({"host": "rocket_libm_float", "host.values": "normal_2"}, "no distribution of its prices"),
        ({"host": "rocket_libm_float", "host.operators.softmax.elment": 3}, "elment"),
        ({"host": "rocket_libm_float", "host.takes": ["fft"]}, "the host has no price for it"),
    ],
)
def test_faulty_hosts_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        load("gemmini_default", settings)
    assert message in str(refused.value)
