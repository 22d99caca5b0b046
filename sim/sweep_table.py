"""The one reader of finished sweeps: a table that `carat sweep -o` wrote, or the SQLite store of a sweep, even one that
is still running or was cut off."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import InputError
from sim.kept import flat

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".json", ".parquet")
STORES = (".sqlite", ".sqlite3", ".db")
NEEDED = ("cycles", "energy_pj")
CHOSEN = ("hardware", "workload", "sparsity", "prune", "seed", "dataflow")
"""Options of a stored point that a sweep can vary; machine keys that differ come on top."""


def is_sweep(path: Path) -> bool:
    """Whether the ending of ``path`` is one of a sweep table or store."""
    return path.suffix in (*TABLES, *STORES)


def read(path: str | Path) -> pd.DataFrame:
    """Return one row per point: the knobs that vary, the totals, ``error``.

    Raises InputError: no such file, not a sweep, cut off in the middle, or without any finished point.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; a sweep is written by: carat sweep ... -o {path.with_suffix('.csv')}")
    frame = _store(path) if path.suffix in STORES else _table(path)
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: columns missing: {', '.join(missing)}; a table of `carat sweep -o` has them")
    if not frame["cycles"].notna().any():
        points = f"{len(frame)} points, all failed" if len(frame) else "no point"
        raise InputError(f"{path}: {points}; nothing to show. Run the sweep again, it goes on where it stopped")
    return frame


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix not in TABLES:
        raise InputError(f"{path}: sweeps are read as {', '.join((*TABLES, *STORES))}, by the ending of the file")
    try:
        if path.suffix == ".csv":
            text = path.read_text(encoding="utf-8")
            if text and not text.endswith("\n"):
                raise InputError(f"{path}: the last line is cut off: the table was not written whole. Sweep again")
            return pd.read_csv(path)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        points = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(points, list):
            raise InputError(f"{path}: a list of points is expected, as `carat sweep --json` prints it")
        return pd.DataFrame.from_records(points)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from error


def _store(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            found = database.execute("SELECT config, row FROM points").fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read as a sweep store: {error}") from error
    configs = [json.loads(config) for config, _ in found]
    rows = [json.loads(row) for _, row in found]
    machines = [flat(config.get("machine", {})) for config in configs]
    keys = [key for key in dict.fromkeys(key for machine in machines for key in machine) if _varies(key, machines)]
    points = [
        {
            **{name: config.get(name) for name in CHOSEN},
            **{key: machine.get(key) for key in keys if key not in ("name", "description")},
            **{name: value for name, value in row.items() if name not in CHOSEN},
        }
        for config, machine, row in zip(configs, machines, rows, strict=True)
    ]
    return pd.DataFrame.from_records(points)


def _varies(key: str, machines: list[dict[str, Any]]) -> bool:
    values: list[Mapping[str, Any] | Any] = [machine.get(key) for machine in machines]
    return any(value != values[0] for value in values)
