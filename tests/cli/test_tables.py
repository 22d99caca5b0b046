"""Tables in a pipe: the text that is written at once is rich's, to the byte."""

from __future__ import annotations

import numpy as np
import pytest

from sim.cli import common

RNG = np.random.default_rng(2)


def drawn(rows, columns):
    """Cells of 1 to 12 characters, brackets among them."""
    letters = list("abc [x]1,234%-")
    return [
        ["".join(RNG.choice(letters, RNG.integers(1, 13))).strip() or "-" for _ in range(columns)] for _ in range(rows)
    ]


@pytest.mark.parametrize("rows", [0, 1, 7])
@pytest.mark.parametrize(("columns", "text"), [(1, 1), (4, 1), (6, 3)])
@pytest.mark.parametrize("title", ["", "T [b]"])
def test_a_plain_table_is_what_rich_prints(capsys, rows, columns, text, title):
    cells = [[f"head {n}" for n in range(columns)], *drawn(rows, columns)]
    common.rich_table(title, cells, text)
    assert common.plain_table(title, cells, text) == capsys.readouterr().out


@pytest.mark.parametrize("cells", [[["a"], ["w" * 200]], [["a"], ["é"]], [["a"], ["two\nlines"]]])
def test_what_rich_would_fold_or_measure_otherwise_is_left_to_it(cells):
    assert common.plain_table("", cells, 1) is None


def test_a_title_wider_than_its_table_is_left_to_rich():
    assert common.plain_table("a title", [["a"], ["b"]], 1) is None
