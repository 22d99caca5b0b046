"""The whole SoC as measured in RTL (tests/oracle/soc): library calls from call to return, first and warm.

These are the bars that the prices must meet; rows that miss them are named here with the reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.validate import runner
from sim.validate.runner import RowResult

SOC = Path(__file__).resolve().parents[1] / "oracle" / "soc"

RANDOM_VICTIMS = {"mm_dl2_48x48x48_WS_L40_RT_1", "mm_dl2_64x64x64_WS_L40_RT_1"}
"""Second calls behind an L2 that find 2 to 3 lines of their code gone: the cache's random victims, which the model of
the L2 does not choose for the CPU's own lines."""


def errors(results: list[RowResult]) -> list[float]:
    assert results and all(result.outcome.cycles is not None for result in results)
    return [abs(result.error) for result in results]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def validated(table: str, **columns: str) -> list[RowResult]:
    return runner.validate(
        [SOC / table], select=lambda row: all(row.columns.get(name) == value for name, value in columns.items())
    )


def test_warm_products_are_within_half_a_percent() -> None:
    results = validated("matmul_soc.csv", code="warm", data="warm")
    assert mean(errors(results)) <= 0.005
    far = {result.row.id for result in results if abs(result.error) > 0.02}
    assert far == RANDOM_VICTIMS


def test_first_products_are_within_five_percent() -> None:
    found = errors(validated("matmul_soc.csv", code="cold"))
    assert mean(found) <= 0.01 and max(found) <= 0.04


def test_products_on_lines_that_are_new_to_the_cache() -> None:
    found = errors(validated("matmul_soc.csv", code="warm", data="cold"))
    assert mean(found) <= 0.01 and max(found) <= 0.035


def test_other_calls_are_within_one_percent_warm() -> None:
    warm = errors(validated("calls_soc.csv", code="warm"))
    assert mean(warm) <= 0.01 and max(warm) <= 0.013  # 4 cycles of 339 on the smallest
    cold = errors(validated("calls_soc.csv", code="cold"))
    assert mean(cold) <= 0.012 and max(cold) <= 0.035  # three lines fewer of a product than in programs of its own
    assert mean([*warm, *cold]) <= 0.01


def test_encoder_layers_are_within_one_percent() -> None:
    results = validated("encoder_soc.csv", kind="soc_encoder")
    totals = [result for result in results if result.row.columns["operator"] == "TOTAL"]
    assert mean(errors(totals)) <= 0.006 and max(errors(totals)) <= 0.01
    operators = errors([result for result in results if result not in totals])
    assert mean(operators) <= 0.02
    # the first product of a layer also pays for the prologue of attention(), which no operator owns
    far = {result.row.columns["operator"] for result in results if abs(result.error) > 0.05}
    assert far <= {"matmul_Q"}


def test_normalisation_is_bound_by_the_cpu() -> None:
    """README: tiled_norm_auto is CPU-bound at every size; alone the accelerator would take half or a third."""
    for result in validated("encoder_soc.csv", kind="soc_norm"):
        assert abs(result.error) <= 0.02
        alone = int(result.row.columns["note"].rsplit(":", 1)[1])
        assert result.outcome.cycles is not None and result.outcome.cycles > 2 * alone


def test_loops_written_by_hand_are_issued_as_fast_as_measured() -> None:
    """With warm code; straight lines of constants (cfg16) took 25 cycles more behind an L2, which nothing explains."""
    results = [r for r in validated("issue.csv", issue_code="warm") if r.outcome.cycles is not None]
    results += validated("issue.csv", issue_code="cold", code_c="fence_idle")
    straight = [result for result in results if result.row.columns["code_c"].startswith("cfg16")]
    found = errors([result for result in results if result not in straight])
    assert len(found) == 34 and mean(found) <= 0.012 and max(found) <= 0.05
    assert {result.row.cycles for result in straight} == {28, 37, 52, 61}


def test_loops_written_by_hand_with_cold_code() -> None:
    """Lines of code are counted without an L2; the first line of a straight program is fetched while it issues."""
    for l2_kib, most in (("0", 0.04), ("512", 0.055)):
        results = [r for r in validated("issue.csv", issue_code="cold", l2_KiB=l2_kib) if r.outcome.cycles is not None]
        found = errors(results)
        assert len(found) == 19 and mean(found) <= most and max(found) <= 0.26


def test_lone_commands_with_and_without_pages() -> None:
    """virtual_memory.csv: one load or store, TLB empty or as the first left it; streams have no addresses there."""
    table = SOC / "virtual_memory.csv"
    lone = runner.validate([table], select=lambda row: row.columns["id"].startswith("vm2_"))
    found = errors(lone)
    assert len(found) == 240 and max(found) == 0
    streams = runner.validate([table], select=lambda row: row.columns["id"] == "vm_m1_stream.0.0")
    assert "which the table does not give" in streams[0].outcome.reason


def test_products_with_pages() -> None:
    """Calls of 64^3 and 128^3 with the TLB as left, and all data in the L2."""
    table = SOC / "virtual_memory.csv"
    ids = [f"vm_{machine}_mm.{n}x{n}x{n}.2.2" for machine in ("m0", "m1", "m1_2M") for n in (64, 128)]
    found = errors(runner.validate([table], select=lambda row: row.columns["id"].rsplit(".", 1)[0] + ".2" in ids))
    assert len(found) == len(ids) and mean(found) <= 0.005


def test_the_baseline_of_a_layer_by_operator_kind() -> None:
    """The paper's baseline, first pass: total within 10 %, each kind within 15 % but the float residual addition."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for result in validated("baseline_layer.csv"):
        variant, operator = result.row.id[:6], result.row.columns["operator"]
        assert result.outcome.cycles is not None
        if operator == "TOTAL":
            assert abs(result.error) <= 0.02
            continue
        name = operator.split(".")[1] if operator.count(".") == 2 else operator.split("_")[0].split(".")[0]
        sums = kinds.setdefault((variant, name.rstrip("12")), [0, 0])
        sums[0] += result.row.cycles
        sums[1] += result.outcome.cycles
    far = {kind for kind, (measured, simulated) in kinds.items() if abs(simulated / measured - 1) > 0.15}
    assert len(kinds) == 13 and far == {("encb_f", "add")}


@pytest.mark.long
def test_the_layer_of_bert_base() -> None:
    """4,191,698 cycles on the SoC; the accelerator alone at one command a cycle would take 3,988,174."""
    results = validated("encoder_bert.csv")
    totals = {result.row.id: abs(result.error) for result in results if result.row.columns["operator"] == "TOTAL"}
    assert totals["enc_bert_p0_total"] <= 0.002 and max(totals.values()) <= 0.011
    assert mean(errors(results)) <= 0.015 and max(errors(results)) <= 0.045
