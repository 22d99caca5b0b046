"""Every number of DEVIATIONS.md still differs from the RTL; a difference that is gone must leave the list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from timing.gates import ACC, Gate

from sim.errors import Hang
from sim.validate import runner

ORACLE = Path(__file__).parent


def test_the_list_has_these_numbers() -> None:
    found = re.findall(r"^\| (D\d+) \|", (ORACLE / "DEVIATIONS.md").read_text(), re.MULTILINE)
    assert found == ["D1", "D3", "D4"]


def test_d1_a_long_layernorm_is_four_cycles_late() -> None:
    files = [ORACLE / "norm.csv"]
    (result,) = runner.validate(files, [ORACLE / "programs"], select=lambda row: row.id == "ln_512x128")
    assert result.outcome.cycles - result.row.cycles == 4


def test_d4_operands_in_the_accumulator_never_arrive() -> None:
    gate = Gate().configure()
    gate.pair(0, ACC + 16, ACC)
    with pytest.raises(Hang):
        gate.run()
