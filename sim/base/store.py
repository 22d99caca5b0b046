"""The result store of a sweep: one SQLite file that stays valid after a kill at any moment and a full disk.

One row per finished point, keyed by everything that decides its result: code, machine, graph, sparsity, seed,
clock. Only the process that leads a sweep writes. A point is committed before the next one is awaited, in
write-ahead-log mode, so that a killed sweep loses no finished point and a half-written one is rolled back at the
next opening.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sim.base.errors import CaratError, InputError
from sim.base.reading import regular

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS points (
        key TEXT PRIMARY KEY, version TEXT NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL, row TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS graphs (key TEXT PRIMARY KEY, graph TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE IF NOT EXISTS members (
        sweep TEXT NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, knobs TEXT NOT NULL,
        PRIMARY KEY (sweep, position)
    ) WITHOUT ROWID
    """,
)
"""points: finished points. graphs: the graphs that configurations name by key. members: all points of each sweep in
order,
finished or not, so that a store can list missing points and return its rows in order.
"""
TABLES = ("points", "graphs", "members")

BUSY_S = 60
"""Seconds to wait while another process (a second shard on the same machine) writes to the same store."""


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open an existing store without writing to it. Raises InputError when it is none."""
    regular(path, "sweep store (SQLite)")
    tables: set[str] = set()
    reason = "it has no tables of a sweep; an older Carat wrote other ones: sweep again with --store"
    # A store in write-ahead mode needs a file beside it; where none can be made the store cannot change.
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        try:
            database = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", timeout=BUSY_S, uri=True)
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.Error as error:
            reason = str(error)
            continue
        if {"points", "members"} <= tables:
            return database
        database.close()
        break
    raise InputError(f"{path}: cannot be read as a sweep store: {reason}")


def point_key(config: Mapping[str, Any]) -> str:
    """Return the content hash of a point's full configuration (JSON-able mapping)."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


class Members(NamedTuple):
    """The points of one sweep in order: knobs, and the row of those that are finished."""

    sweep: str
    points: list[tuple[dict[str, Any], dict[str, Any] | None]]

    @property
    def finished(self) -> int:
        """Number of points that have their row."""
        return sum(row is not None for _, row in self.points)


class Store:
    """Finished points of a sweep in the SQLite file ``path`` (created with its folder when missing).

    ``read_only``: an existing store, also on a medium that cannot be written. Raises InputError when the file cannot
    be opened as a store, CaratError when a write fails; what was committed before stays readable.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False):
        self.path = Path(path)
        if read_only:
            self._db = _open_to_read(self.path)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            for statement in SCHEMA:
                self._db.execute(statement)
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError: a NUL in the name
            raise InputError(f"store {self.path}: cannot be opened as a sweep store: {error}") from error

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the kept row of a point, or None."""
        with self._reading():
            found = self._db.execute("SELECT row FROM points WHERE key = ?", (key,)).fetchone()
            return None if found is None else dict(json.loads(found[0]))

    def put(self, key: str, config: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Commit one finished point."""
        values = (key, config["version"], config["seed"], json.dumps(config, sort_keys=True), json.dumps(row))
        with self._writing("a finished point"):
            self._db.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)", values)

    def enlist(
        self, sweep: str, members: Iterable[tuple[int, str, Mapping[str, Any]]], graphs: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Note the points of a sweep, (position, key, knobs) each, and the graphs their configurations name by key."""
        listed = [(sweep, position, key, json.dumps(knobs)) for position, key, knobs in members]
        with self._writing("the list of points"), self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?)", listed)
            named = [(key, json.dumps(graph, sort_keys=True)) for key, graph in graphs.items()]
            self._db.executemany("INSERT OR IGNORE INTO graphs VALUES (?, ?)", named)

    def sweeps(self) -> list[Members]:
        """Return the sweeps of this store in order of their names."""
        with self._reading():
            names = [name for (name,) in self._db.execute("SELECT DISTINCT sweep FROM members ORDER BY sweep")]
            return [Members(str(name), self._members(name)) for name in names]

    def _members(self, sweep: str) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        query = (
            "SELECT knobs, row FROM members LEFT JOIN points ON members.key = points.key "
            "WHERE sweep = ? ORDER BY position"
        )
        found = self._db.execute(query, (sweep,)).fetchall()
        return [(dict(json.loads(knobs)), None if row is None else dict(json.loads(row))) for knobs, row in found]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of a damaged file into InputError."""
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
            raise InputError(f"store {self.path}: damaged, or not written by a sweep: {error}") from error

    def merge(self, other: str | Path) -> int:
        """Take in all that another store holds, whole or not at all; return how many points were new here.

        Raises InputError when the other is no sweep store or tells another result of a point that both hold.
        """
        if not Path(other).is_file():
            raise InputError(f"store {other}: no such file")
        with Store(other):
            pass  # refuses files that are no store, and adds the tables that an older one lacks
        before = len(self)
        self._db.execute("ATTACH DATABASE ? AS other", (str(other),))
        try:
            query = "SELECT b.config FROM points a JOIN other.points b ON a.key = b.key WHERE a.row <> b.row LIMIT 1"
            with self._reading():
                conflict = self._db.execute(query).fetchone()
            if conflict is not None:
                raise InputError(
                    f"store {other}: tells another result than {self.path} of a point that both hold, and nothing was "
                    f"merged; one of them is damaged or not ours. The point: {conflict[0]}"
                )
            with self._writing("the other store's points"), self._transaction():
                for table in TABLES:
                    self._db.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table}")
        finally:
            self._db.execute("DETACH DATABASE other")
        return len(self) - before

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CaratError(
                f"store {self.path}: {what} could not be written ({error}). The {len(self)} points "
                "written before are kept; make room and run the same sweep again to go on from there"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have rolled back by itself
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM points").fetchone()[0])

    def close(self) -> None:
        """Close the file; folds the write-ahead log into it."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
