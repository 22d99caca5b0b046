"""A decimal number that a user writes is never read as 0 because double precision ends at 5e-324 (IEEE 754)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.base.numbers import LEAST, decimal, exact
from sim.base.reading import parse_json, read_toml
from sim.cli import REFUSED, main


@pytest.mark.parametrize("text", ["1e-400", "-1e-400", "0.0001E-400", "4.9e-325"])
def test_underflow_is_refused(text: str) -> None:
    for read in (exact, decimal, lambda number: parse_json(f"[{number}]", "a file")):
        with pytest.raises(InputError, match=f"is below {LEAST}"):
            read(text)


@pytest.mark.parametrize("text", ["0", "0.000", "0e-400", "5e-324", "1e-308", "-0.0", "1e30"])
def test_what_double_precision_holds_is_read(text: str) -> None:
    assert exact(text) == decimal(text) == float(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", "\u0663", "0x1p3", ""])
def test_only_decimal_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="is no decimal number"):
        decimal(text)


def test_a_toml_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text("density = 1e-400\n")
    with pytest.raises(InputError, match=r"spec\.toml: 1e-400 is below"):
        read_toml(tmp_path / "spec.toml")


@pytest.mark.parametrize(
    "options",
    [
        ["run", "encoder-layer", "--sparsity", "block16:1e-400"],
        ["run", "encoder-layer", "--sparsity", "attention=topk:1e-400"],
        ["run", "encoder-layer", "--set", "memory.read_bytes_per_cycle=1e-400"],
        ["run", "bert-tiny", "--exits", "1e-400,1"],
        ["sweep", "encoder-layer", "--grid", "clock_mhz=1e-400,500"],
        ["sweep", "encoder-layer", "--pattern", "block16", "--density", "1e-400"],
    ],
)
def test_options_with_numbers(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == REFUSED and f"is below {LEAST}" in capsys.readouterr().err
