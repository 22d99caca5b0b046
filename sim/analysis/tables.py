"""Rows of a sweep as a table, and the table as a CSV or Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.base.files import write_whole
from sim.base.text import csv_of

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")


def frame(knobs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per point: its settings, then its results; ``error`` comes last."""
    import pandas as pd

    records = [{**knob, **_results(row)} for knob, row in zip(knobs, rows, strict=True)]
    names = list(dict.fromkeys(name for record in records for name in record if name != "error"))
    columns = {name: [record.get(name) for record in records] for name in (*names, "error")}
    return pd.DataFrame({name: pd.Series(values, dtype=_dtype(values)) for name, values in columns.items()})


def check_output(path: Path) -> None:
    """Raise InputError for a file that `write_table` could not write: called before a sweep starts."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a table is written as {' or '.join(SUFFIXES)}; nearest: {path.stem}.csv")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(f"{path}: Parquet needs pyarrow: pip install pyarrow")


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write the table to a .csv or .parquet file, whole or not at all. Raises InputError.

    Parquet columns have one type: a setting of mixed values (128, "1MiB") is written as text.
    """
    path = Path(path)
    check_output(path)
    if path.suffix == ".csv":
        write_whole(path, csv_of(table))
        return
    mixed = [name for name in table.columns if len({type(v) for v in table[name].dropna()}) > 1]
    texts = {name: table[name].map(str, na_action="ignore") for name in mixed}
    partial = path.with_name(f".{path.name}.partial")
    try:
        table.assign(**texts).to_parquet(partial, index=False)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _dtype(values: Sequence[Any]) -> str:
    """Return a column type in which integers stay integers beside the nulls of failed points."""
    types = {type(value) for value in values if value is not None}
    if types == {int}:
        return "Int64"
    return "float64" if types and types <= {int, float} else "object"


def _results(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("hardware", "workload")}
