"""The TOML files that ship with Carat, and reading one; the machine of a saved run is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import util
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sim.base.errors import InputError
from sim.base.reading import read_json, read_toml
from sim.hardware import scale_sim


@cache
def config_files(folder: str = "") -> Mapping[str, Path]:
    """Return name -> file of every TOML in ``hwconfigs`` or in one of its folders, sorted by name.

    Cached: every load of a machine needs them.
    """
    files = {file.stem: file for place in reversed(_places()) for file in (place / folder).glob("*.toml")}
    return MappingProxyType(dict(sorted(files.items())))


@cache
def _places() -> tuple[Path, ...]:
    spec = util.find_spec("hwconfigs")
    # Not importlib.resources: an editable install adds a place that is no directory to the namespace path.
    return tuple(Path(place) for place in spec.submodule_search_locations or ()) if spec else ()


@cache
def dram_table() -> Mapping[str, Any]:
    """Return the energy figures of each DRAM technology."""
    return MappingProxyType(read_toml(config_files("dram")["energy"], "dram/energy.toml"))


def read_tables(file: Path, where: str) -> dict[str, Any]:
    """Return the tables of a machine file: TOML, the JSON of a saved run, SCALE-Sim's cfg. Raises InputError."""
    if file.suffix == ".cfg":
        return scale_sim.machine(file, where)
    if file.suffix != ".json":
        return read_toml(file, where)
    tables = read_json(file, where)
    if not isinstance(tables, dict):
        raise InputError(f"{where}: a JSON object of tables is expected")
    return tables
