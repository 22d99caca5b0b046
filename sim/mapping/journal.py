"""Measurements of a search, stored by code version, machine and shape, so that an interrupted search resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sim.base.store import Store, point_key
from sim.base.version import code_version
from sim.mapping.measure import AbandonedMapping, Answer, Forecast, Measured

KIND = "mapping search"


class Journal:
    """Stored measurements of batches of candidates; without a path nothing is stored. Use as a context.

    Raises InputError for a file that is no store, CaratError when a write fails.
    """

    def __init__(self, path: str | Path | None = None):
        self._store = None if path is None else Store(path)

    def get(self, batch: Mapping[str, Any]) -> list[Answer] | None:
        """Return the stored measurements of a batch, or None."""
        if self._store is None:
            return None
        kept = self._store.get(point_key(_config(batch)))
        if kept is None:
            return None
        return [_answer(answer) for answer in kept["answers"]]

    def put(self, batch: Mapping[str, Any], answers: Sequence[Answer]) -> None:
        """Store the measurements of a batch."""
        if self._store is not None:
            config = _config(batch)
            self._store.put(point_key(config), config, {"answers": [asdict(answer) for answer in answers]})

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _answer(stored: Mapping[str, Any]) -> Answer:
    """Return a stored measurement as an object of its class, recognised by a field that the other classes lack."""
    if "abandoned" in stored:
        return AbandonedMapping(**stored)
    return Measured(**stored) if "energy_pj" in stored else Forecast(**stored)


def _config(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": KIND, "version": code_version(), "seed": 0, **batch}
