"""two_cores.csv, measured on an SoC of two cores: bars on the runs without an L2 and on one behind it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sim.validate import runner
from sim.validate.soc import pair_traces
from sim.validate.tables import MeasuredRow

TABLE = Path(__file__).parents[1] / "oracle" / "soc" / "two_cores.csv"
RUNS = ("nol2_P1c_L40_R16", "nol2_P1c_L40_R4", "l2_P1c_L40_R16")


@cache
def errors(run: str) -> np.ndarray:
    """Simulated / measured - 1 of the rows of a run."""

    def chosen(row: MeasuredRow) -> bool:
        return row.id.startswith(run + "_")

    results = runner.validate([TABLE], select=chosen)
    assert len(results) == 37 and not [result.outcome.reason for result in results if result.outcome.reason]
    return np.array([result.error for result in results])


@pytest.mark.parametrize("run", RUNS[:2])
def test_without_an_l2_rows_are_within_a_thousandth_on_average_and_none_beyond_a_hundredth(run: str) -> None:
    found = abs(errors(run))
    assert found.mean() <= 0.001 and found.max() <= 0.01
    assert (found == 0).sum() >= 17  # with the traces' own gaps


def test_behind_an_l2_rows_are_within_a_hundredth_on_average() -> None:
    assert abs(errors(RUNS[2])).mean() <= 0.01


def test_lines_of_code_are_what_differs_between_two_traces_of_the_same_calls() -> None:
    """The same program at 16 and at 4 B a cycle: few commands wait for code, most for nothing but their own loop."""
    traced = pair_traces.read(TABLE.parent / pair_traces.FILE)
    fast, slow = traced["B_nol2_P1c_L40_R16"], traced["B_nol2_P1c_L40_R4"]
    assert fast.keys() == slow.keys()
    missed = [pair_traces.missed_lines(fast[n][h], slow[n][h]) for n in fast for h in fast[n]]
    commands = sum(len(call.arrivals) for harts in fast.values() for call in harts.values())
    assert 5 <= sum(len(found) for found in missed) <= commands / 50
    assert all(0 <= lines <= 2 for found in missed for lines, _ in found.values())
