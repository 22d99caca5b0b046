"""Every key of every machine has a meaning; a machine printed as TOML is read back equal; `carat` is `sim` and more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import carat
import sim
from sim import hardware
from sim.base.errors import InputError
from sim.cli import main
from sim.hardware.keys import keys, to_toml

MACHINES = [*hardware.presets(), *hardware.published()]


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_as_toml_is_read_back_equal(name: str, tmp_path: Path) -> None:
    machine = hardware.load(name)
    (tmp_path / "mine.toml").write_text(to_toml(machine), encoding="utf-8")
    assert hardware.load(str(tmp_path / "mine.toml")) == machine


@pytest.mark.parametrize("name", MACHINES)
def test_every_key_has_a_meaning_and_quantities_a_unit(name: str) -> None:
    for key in keys(hardware.load(name)):
        assert len(key.meaning) > 4, key.name
        assert key.unit or not key.name.endswith(("_cycles", "_bytes", "_per_cycle", "_mhz")), key.name


def test_the_stated_range_is_the_one_that_the_door_checks() -> None:
    """One below the least legal value of each counted key is refused, for every key with a lower bound."""
    found = keys(hardware.load("gemmini_default"))
    bounded = {key.name: key.range for key in found if key.range.startswith(">= 1,")}
    assert {"array.mesh_rows", "scratchpad.banks", "queues.ex"} <= set(bounded)
    for name in bounded:
        with pytest.raises(InputError):
            hardware.load("gemmini_default", {name: 0})


def test_show_prints_keys_or_toml(capsys: pytest.CaptureFixture[str]) -> None:
    for words, wanted in ((["--hw", "gemmini_l2"], "capacity of the L2"), (["--toml"], "[scratchpad]")):
        with pytest.raises(SystemExit) as ended:
            main(["show", *words])
        assert ended.value.code == 0 and wanted in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["show", "bert-tiny", "--toml"])
    assert ended.value.code == 2 and "takes no workload" in capsys.readouterr().err


def test_carat_is_the_one_name_to_import() -> None:
    for name in sim.__all__:
        assert getattr(carat, name) is getattr(sim, name)
    assert carat.workloads.WORKLOADS and carat.sim is sim and carat.reports.__name__ == "reports"
    assert list(Path(next(iter(carat.hwconfigs.__path__))).glob("*.toml"))
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = carat.simulat  # type: ignore[attr-defined]


@pytest.mark.long
def test_mypy_follows_the_documented_installation(tmp_path: Path) -> None:
    """From another folder, as a user has it: without compat mode mypy finds no module named sim."""
    (tmp_path / "mine.py").write_text("import carat\n\nresult: int = carat.simulate('bert-tiny', 'gemmini_ibert')\n")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert 'expression has type "Result", variable has type "int"' in ran.stdout, ran.stdout + ran.stderr
