"""The finished points of the sweeps in a store, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.analysis.tables import frame
from sim.base.errors import InputError
from sim.base.store import Store

if TYPE_CHECKING:
    import pandas as pd


def stored_table(store: Store) -> pd.DataFrame:
    """Return the finished points of all sweeps in the store, each sweep's in the order of its arguments.

    Raises InputError when there are none.
    """
    finished = [(knobs, row) for sweep in store.sweeps() for knobs, row in sweep.points if row is not None]
    if not finished:
        raise InputError(f"store {store.path}: holds no finished point of a sweep")
    return frame([knobs for knobs, _ in finished], [row for _, row in finished])
