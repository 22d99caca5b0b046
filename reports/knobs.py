"""A sweep's table: its knobs, the points that can be compared, and values as short text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import SupportsFloat

import pandas as pd
from matplotlib.ticker import EngFormatter

from sim.base.errors import InputError, did_you_mean
from sim.run.columns import COLUMNS, PRICED

GIVEN = ("hardware", "workload", "sparsity", "prune", "seed")
"""Columns of a sweep that the user chose though `sim.run.columns` defines them."""

RESULTS = frozenset(name for name, column in COLUMNS.items() if {"sweep", "explore"} & set(column.tables))
"""Columns that a sweep or a search reports."""


def varied(sweep: pd.DataFrame) -> list[str]:
    """Return the columns that a sweep set and varied: those that are no result of the simulation."""
    names = [str(name) for name in sweep.columns if name in GIVEN or name not in RESULTS]
    return [name for name in names if len(set(sweep[name].astype(str))) > 1]


def settings(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return the varied columns under short names, keys that were varied together as one ("mesh_rows+mesh_columns").

    Machine keys are tied when each value of one goes with one value of the other; equal values are written once,
    others as "8+16".
    """
    names = varied(sweep)
    texts = {name: list(sweep[name].astype(str)) for name in names}
    tied: dict[object, list[str]] = {}
    for name in names:
        order = tuple(texts[name].index(value) for value in texts[name])
        tied.setdefault(order if "." in name else name, []).append(name)
    found = {}
    for group in tied.values():
        equal = all(texts[name] == texts[group[0]] for name in group)
        values = sweep[group[0]] if equal else sweep[group].astype(str).agg("+".join, axis=1)
        found["+".join(short(name, names) for name in group)] = values
    return pd.DataFrame(found, index=sweep.index)


def questions(points: pd.DataFrame, *answers: str) -> pd.Series:
    """Return the workload and size of each point as text, and its energy table where an answer counts energy.

    ``answers``: columns to compare. Only points of equal text can be compared: each text has a Pareto front of its own.
    """
    names = ["workload", "sizes", *(["energy_table"] if set(answers) & set(PRICED) else [])]
    names = [name for name in names if name in points.columns]
    distinct = [name for name in names if len(set(points[name].astype(str))) > 1] or names[:1]
    if not distinct:
        return pd.Series("all points", index=points.index)
    return points[distinct].astype(object).map(str).agg(", ".join, axis=1)


def require(table: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise InputError for columns that a table lacks, with the nearest name."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        hint = did_you_mean(missing[0], map(str, table.columns))
        raise InputError(f"columns missing in the sweep: {', '.join(missing)}{hint}")


def finished(sweep: pd.DataFrame, results: Iterable[str]) -> pd.DataFrame:
    """Return the points of a sweep that have all ``results``. Raises InputError: a missing column, no such point."""
    require(sweep, results := list(results))
    done = sweep.loc[sweep[results].notna().all(axis=1)].reset_index(drop=True)
    if done.empty:
        raise InputError("no finished point in the sweep, nothing to draw")
    return done


def short(knob: str, knobs: Sequence[str]) -> str:
    """Return the last part of a dotted key, or the whole key where another varied key has the same last part."""
    last = knob.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in knobs) == 1 else knob


def number(value: object) -> str:
    """Return a number as short text: whole Ki and Mi, else three digits with a prefix (1.23M); text unchanged."""
    if isinstance(value, str) or not isinstance(value, SupportsFloat):
        return str(value)
    amount = float(value)
    if not math.isfinite(amount):
        return str(amount)
    for size, prefix in ((1 << 20, "Mi"), (1 << 10, "Ki")):
        if amount and amount % size == 0:
            return f"{amount / size:g}{prefix}"
    return f"{amount:.4g}" if abs(amount) < 10_000 else EngFormatter(places=2, sep="")(amount)


def quantity(column: str, value: float) -> str:
    """Return a column's value as short text with its unit; pJ are written in joules."""
    unit = COLUMNS[column].unit if column in COLUMNS else ""
    if unit == "pJ":
        return EngFormatter(unit="J", places=2)(value * 1e-12)
    return f"{value:.3g} {unit}" if unit == "mm2" else number(value)
