"""Every number of DEVIATIONS.md still differs from the RTL; a difference that is gone must leave the list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from timing.gates import ACC, Gate

from sim import hardware, timing
from sim.errors import Hang, InputError
from sim.isa import Funct, command, program
from sim.validate import runner

ORACLE = Path(__file__).parent


def test_the_list_has_these_numbers() -> None:
    found = re.findall(r"^\| (D\d+) \|", (ORACLE / "DEVIATIONS.md").read_text(), re.MULTILINE)
    assert found == ["D1", "D2", "D3", "D4"]


def test_d1_a_long_layernorm_is_four_cycles_late() -> None:
    files = [ORACLE / "norm.csv"]
    (result,) = runner.validate(files, [ORACLE / "programs"], select=lambda row: row.id == "ln_512x128")
    assert result.outcome.cycles - result.row.cycles == 4


def test_d2_a_machine_with_an_l2_is_refused() -> None:
    with pytest.raises(InputError, match="L2"):
        timing.run(program([command(Funct.FLUSH)]), hardware.load("gemmini_l2"))


def test_d4_operands_in_the_accumulator_never_arrive() -> None:
    gate = Gate().configure()
    gate.pair(0, ACC + 16, ACC)
    with pytest.raises(Hang):
        gate.run()
