"""Read a table of results from CSV: text columns stay text, even if a value looks like a number."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from sim.base.errors import InputError, some
from sim.base.reading import read_text
from sim.base.text import displayed, from_csv

if TYPE_CHECKING:
    import pandas as pd

    from sim.run.columns import Column


MAX_NUMBER = 1e300
"""Largest value accepted; NaN, infinity and integers beyond any float are refused by this comparison."""


def read_rows(path: Path, wanted: Sequence[Column], way_out: str) -> pd.DataFrame:
    """Return a CSV table with the columns ``wanted`` in their types, other columns as pandas reads them; an empty cell
    is null.

    An operator may be called "1", "NA" or "null". Raises InputError for a file that cannot be read, a missing column
    and a cell that is no number; ``way_out`` is appended to the message.
    """
    import pandas as pd  # half a second of start-up

    text = read_text(path, what="CSV table")
    texts = {column.name: str for column in wanted if not column.unit}
    try:
        frame = pd.read_csv(StringIO(text), dtype=texts, keep_default_na=False, na_values=[""])
    except (ValueError, OverflowError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as a CSV table: {error}; {way_out}") from error
    if missing := [column.name for column in wanted if column.name not in frame.columns]:
        raise InputError(f"{path}: columns missing: {', '.join(missing)}; {way_out}")
    problems = []
    for column in wanted:
        cells = frame[column.name]
        if column.unit:
            numbers = pd.to_numeric(cells, errors="coerce")
            wrong = cells[~(numbers.abs() < MAX_NUMBER) & cells.notna()]
            problems += [
                f"{path}: {column.name} = {str(cell)[:40]!r}: must be a number; {way_out}" for cell in wrong[:1]
            ]
            frame[column.name] = numbers
        else:
            frame[column.name] = cells.map(lambda cell: displayed(from_csv(cell)), na_action="ignore").astype(object)
    if problems:
        raise InputError(some(problems))
    return frame
