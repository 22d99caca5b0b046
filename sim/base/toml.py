"""TOML files: read with errors that say where, and nested tables as dotted keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.base.errors import InputError


def read_toml(file: Path, where: str | None = None) -> dict[str, Any]:
    """Return the tables of a TOML file; InputError with file, line and column when it cannot be read.

    ``where``: what the file is called in errors, if not by its path.
    """
    where = where or str(file)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"{where}: cannot be read: {reason}") from error


def flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one mapping of dotted keys."""
    values: dict[str, Any] = {}
    for key, value in tables.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return values
