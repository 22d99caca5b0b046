"""Differences add up, sensitivities agree with runs made by hand, areas agree with what was published."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import sim
from sim import hardware
from sim.analysis.diff import diff
from sim.analysis.whatif import knobs, trials, whatif
from sim.base.errors import InputError
from sim.cli import main
from sim.cost.area import COMPONENTS, area_um2, total_mm2
from sim.run.columns import CAUSES


@pytest.mark.parametrize("by", ["name", "op", "kind"])
def test_differences_sum_to_the_difference(fast: sim.Result, on_host: sim.Result, by: str) -> None:
    found = diff(fast.ops, on_host.ops, by=by)  # type: ignore[arg-type]
    assert found.change == on_host.cycles - fast.cycles == sum(row.change for row in found.rows)
    assert sum(found.causes.values()) == found.change
    assert all(sum(row.causes.values()) == row.change for row in found.rows)
    sizes = [abs(row.change) for row in found.rows]
    assert sizes == sorted(sizes, reverse=True), "largest first"


def test_a_run_does_not_differ_from_itself(fast: sim.Result) -> None:
    found = diff(fast.ops, fast.ops)
    assert found.change == 0 and "as many cycles" in found.sentence()


def test_slower_memory_shows_as_waiting(fast: sim.Result, slow: sim.Result) -> None:
    """The one setting that differs is memory latency: the largest cause must be a wait for memory."""
    found = diff(fast.ops, slow.ops, ("fast", "slow"))
    largest = max(CAUSES, key=lambda cause: abs(found.causes[cause]))
    assert found.change > 0 and largest in ("load_wait", "store_wait")


def test_diff_on_the_command_line(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["diff", str(folders[0]), str(folders[1]), *words])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        if words:
            data = json.loads(out)
            assert data["change"] == sum(row["change"] for row in data["operators"])
        else:
            assert "memory.latency_cycles: 40 -> 150" in out and "slow takes" in out


def test_whatif_agrees_with_a_run_made_by_hand(fast: sim.Result) -> None:
    table = whatif(fast, ["memory.latency_cycles", "scratchpad.banks"])
    more = table.query("knob == 'memory.latency_cycles' and direction == 'more'").iloc[0]
    by_hand = sim.simulate(fast.graph, fast.hardware, overrides={"memory.latency_cycles": 80})
    assert (more["from"], more["to"], more["cycles"]) == (40, 80, by_hand.cycles)
    assert more["cycles_change"] == pytest.approx(by_hand.cycles / fast.cycles - 1)
    assert more["cycles_per_unit"] == pytest.approx((by_hand.cycles - fast.cycles) / 40)


def test_a_step_that_is_no_machine_is_a_row_with_its_reason(fast: sim.Result) -> None:
    table = whatif(fast, ["accumulator.latency_cycles"])
    reasons = dict(zip(table["direction"], table["error"], strict=True))
    assert "at least 2 cycles" in reasons["less"] and reasons["more"] is None


def test_every_number_of_a_machine_is_a_knob_or_left_out_on_purpose() -> None:
    known = {key for keys in knobs(hardware.load("gemmini_ibert")).values() for key in keys}
    wanted = {"memory.latency_cycles", "dma.bus_bytes", "queues.ex", "array.mesh_rows", "cpu.command_cycles"}
    assert wanted <= known and not any(key.startswith("host.cycles") for key in known)
    with pytest.raises(InputError, match=r"did you mean 'queues\.ex'"):
        trials(hardware.load("gemmini_ibert"), ["queue.ex"])


def test_whatif_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--seq", "16", "--size", "hidden=32", "--size", "heads=2", "--size", "ffn=32"]
    path = tmp_path / "effects.csv"
    with pytest.raises(SystemExit) as ended:
        main(["whatif", "encoder-layer", *small, "--knob", "memory port", "-o", str(path)])
    assert ended.value.code == 0 and "memory port" in capsys.readouterr().out
    assert len(pd.read_csv(path)) == 2


# Area. Genc et al., DAC 2021, Fig. 6(a), um2.
PUBLISHED = {"array": 116_000, "scratchpad": 544_000, "accumulator": 146_000, "host": 171_000}
PUBLISHED_TOTAL = 1_029_000


def test_area_of_the_published_machine() -> None:
    areas = area_um2(hardware.load("gemmini_default"))
    assert list(areas) == list(COMPONENTS)
    assert sum(areas.values()) == pytest.approx(PUBLISHED_TOTAL, rel=0.1)
    for part, published in PUBLISHED.items():
        assert areas[part] == pytest.approx(published, rel=0.1), part


def test_normaliser_units_cost_what_kim_et_al_report() -> None:
    """An independent figure: +14 % for the accelerator in the body, 5 to 15 % in the summary (2302.14017)."""
    parts = area_um2(hardware.load("kim2023_tuned"))
    accelerator = sum(parts.values()) - parts["host"] - parts["special_function"]
    assert 0.05 <= parts["special_function"] / accelerator <= 0.15


@pytest.mark.parametrize(
    "overrides",
    [
        {"array.mesh_rows": 32, "array.mesh_columns": 32},
        {"scratchpad.capacity": "512KiB"},
        {"accumulator.capacity": "128KiB"},
        {"features.normalizations": True},
    ],
)
def test_more_of_anything_is_larger(overrides: dict[str, object]) -> None:
    base = hardware.load("gemmini_default")
    assert total_mm2(base.with_(overrides)) > total_mm2(base)


def test_a_floating_point_array_is_larger() -> None:
    def pe(name: str) -> float:
        hw = hardware.load(name)
        return area_um2(hw)["array"] / hw.dim**2

    assert pe("gemmini_4x4") < pe("gemmini_fp16_4x4") < pe("gemmini_fp32_4x4")
