"""The one reader of sweeps: a table that `carat sweep -o` wrote, or the SQLite store of a sweep, which may still be
running or have been interrupted."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from sim.analysis.rows import MAX_NUMBER
from sim.base.errors import InputError
from sim.base.reading import read_bytes, read_json, read_text
from sim.base.text import displayed
from sim.run import columns

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".json", ".parquet")
STORES = (".sqlite", ".sqlite3", ".db")
NEEDED = ("cycles", "energy_pj")


def is_sweep(path: Path) -> bool:
    """Whether ``path`` has the suffix of a sweep table or store."""
    return path.suffix in (*TABLES, *STORES)


def read(path: str | Path) -> pd.DataFrame:
    """Return one row per point: the varied settings, the totals, ``error``.

    Raises InputError: no such file, not a sweep, cut off in the middle, or without any finished point.
    """
    import pandas as pd  # half a second of start-up

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; a sweep is written by: carat sweep ... -o {path.with_suffix('.csv')}")
    frame = _store(path) if path.suffix in STORES else _table(path)
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].map(displayed, na_action="ignore")
    frame.columns = [displayed(name) for name in frame.columns]
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: columns missing: {', '.join(missing)}; a table of `carat sweep -o` has them")
    numeric = [name for name in columns.table("sweep") if columns.COLUMNS[name].unit and name in frame.columns]
    for name in numeric:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if (wrong := frame[name][~(numbers.abs() < MAX_NUMBER) & frame[name].notna()]).size:
            raise InputError(f"{path}: {name} = {str(wrong.iloc[0])[:40]!r}: must be a number; sweep again")
        frame[name] = numbers
    for name in columns.table("sweep"):
        if name in frame.columns and not columns.COLUMNS[name].unit:  # a machine called 8 is a text, too
            frame[name] = frame[name].map(str, na_action="ignore")
    if not frame["cycles"].notna().any():
        points = f"{len(frame)} points, all failed" if len(frame) else "no point"
        raise InputError(f"{path}: {points}; nothing to show. Run the sweep again: it continues where it stopped")
    return frame


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix not in TABLES:
        raise InputError(f"{path}: sweeps are read as {', '.join((*TABLES, *STORES))}, by the ending of the file")
    try:
        if path.suffix == ".csv":
            text = read_text(path, what="CSV table")
            if text and not text.endswith("\n"):
                raise InputError(f"{path}: the last line is cut off: the table is incomplete. Run the sweep again")
            return pd.read_csv(StringIO(text))
        if path.suffix == ".parquet":
            return pd.read_parquet(BytesIO(read_bytes(path, what="Parquet table")))
        points = read_json(path)
        if not isinstance(points, list):
            raise InputError(f"{path}: a list of points is expected, as `carat sweep --json` prints it")
        return pd.DataFrame.from_records(points)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from error


def _store(path: Path) -> pd.DataFrame:
    """Return the finished points of a store; ``attrs["unfinished"]`` counts those that are not finished."""
    from sim.analysis.stored_sweeps import stored_table  # SQLite
    from sim.base.store import Store  # SQLite

    with Store(path, read_only=True) as store:
        frame = stored_table(store)
        frame.attrs["unfinished"] = sum(len(sweep.points) - sweep.finished for sweep in store.sweeps())
    return frame
