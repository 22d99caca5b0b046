"""Names and cells of others do nothing to a terminal, a spreadsheet or a comment."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from sim.base import text


@pytest.mark.parametrize("bad", ["\x1b[31m", "\x07", "\r", "\u202e", "\ud800", "\x9b2J", "\u200b"])
def test_what_cannot_be_printed_is_escaped(bad: str) -> None:
    shown = text.printable(f"a{bad}b\nnext")
    assert "".join(shown.split("\n")).isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b\nnext")
    assert text.name_problem(f"a{bad}b")
    assert text.one_line("a\nb") == "a\\nb"


def test_long_cells_are_not_repeated() -> None:
    assert len(text.printable("x" * 100_000)) < text.MAX_CHARACTERS + 40


@pytest.mark.parametrize("name", ["1", "NA", "null", "True", "L0.FF1 [a]", "Größe", "层"])
def test_ordinary_names_are_names(name: str) -> None:
    assert text.name_problem(name) is None
    assert text.printable(name) == name


@pytest.mark.parametrize("name", ["", "x" * 256, 7, None])
def test_what_is_no_name(name: object) -> None:
    assert text.name_problem(name)


def test_no_cell_of_text_is_a_formula_and_all_come_back() -> None:
    cells = ["=1+1", "+x", "-x", "@x", "'=x", "''+", "'quoted'", "plain", "\tx"]
    written = text.csv_of(pd.DataFrame({"op": cells, "cycles": range(-4, 5)}))
    back = pd.read_csv(io.StringIO(written))
    assert not any(str(cell).startswith(text.FORMULA) for cell in back["op"])
    assert [text.from_csv(cell) for cell in back["op"]] == cells
    assert list(back["cycles"]) == list(range(-4, 5))
