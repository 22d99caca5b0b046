"""The result store of a sweep: one SQLite file that survives a kill at any moment and a full disk.

One row per finished point, keyed by everything that decides its result: code, machine, graph, sparsity, seed,
clock. Only the parent process writes. A point is committed before the next one is awaited, in write-ahead-log
mode, so that a killed sweep loses no finished point and a half-written one is rolled back at the next
opening.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sim.errors import CaratError, InputError

SCHEMA = """
CREATE TABLE IF NOT EXISTS points (
    key TEXT PRIMARY KEY, version TEXT NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL, row TEXT NOT
    NULL
) WITHOUT ROWID
"""


@cache
def code_version() -> str:
    """Return ``release+digest``: the digest covers every source and energy table that can change a result."""
    root = Path(__file__).parent
    sources = sorted([*root.rglob("*.py"), *(root.parent / "hwconfigs" / "energy").glob("*.toml")])
    digest = hashlib.sha256()
    for source in sources:
        if not {"cli", "validate"} & set(source.parts):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return f"{metadata.version('carat-sim')}+{digest.hexdigest()[:8]}"


def point_key(config: Mapping[str, Any]) -> str:
    """Return the content hash of a point's full configuration (JSON-able mapping)."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


class Store:
    """Finished points of a sweep in the SQLite file ``path`` (created with its folder when missing).

    Raises InputError when the file cannot be opened as a store, CaratError when a write fails; what was
    committed before stays readable.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"store {self.path}: cannot be opened as a sweep store: {error}") from error

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the kept row of a point, or None."""
        found = self._db.execute("SELECT row FROM points WHERE key = ?", (key,)).fetchone()
        return None if found is None else dict(json.loads(found[0]))

    def put(self, key: str, config: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Commit one finished point."""
        values = (key, config["version"], config["seed"], json.dumps(config, sort_keys=True), json.dumps(row))
        try:
            self._db.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)", values)
        except sqlite3.Error as error:
            raise CaratError(
                f"store {self.path}: a finished point could not be written ({error}). The {len(self)} points "
                "written before are kept; make room and run the same sweep again to go on from there"
            ) from error

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM points").fetchone()[0])

    def close(self) -> None:
        """Close the file; folds the write-ahead log into it."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
