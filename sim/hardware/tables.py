"""Merging tables of machines, and tables given by the name of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.hardware.dram.devices import dram_tables
from sim.hardware.files import config_files

SYNONYMS = {"capacity_bytes": "capacity"}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` laid over it, table by table; neither argument is touched."""
    merged = {key: merge({}, value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in changes.items():
        key = SYNONYMS.get(key, key)
        if key in NAMED and isinstance(value, str) and value != "none":
            merged[key] = NAMED[key](value)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _host(name: str) -> dict[str, Any]:
    files = config_files("host")
    if name not in files:
        raise InputError(f"host: unknown host CPU {name!r}{did_you_mean(name, [*files, 'none'])}")
    described = {"name": name} | read_toml(files[name], f"host/{name}.toml")
    library = described.pop("library", None)
    if library is None:
        return described
    prices = operator_prices(library)
    chosen = described.pop("implementations", {})
    unknown = [
        f"{kind} = {which!r}{did_you_mean(which, prices)}" for kind, which in chosen.items() if which not in prices
    ]
    if unknown:
        raise InputError([f"host/{name}.toml: unknown implementation: {problem}" for problem in unknown])
    operators = {kind: {"implementation": which} | prices[which] for kind, which in chosen.items()}
    return described | {"operators": operators}


def operator_prices(library: str) -> dict[str, dict[str, Any]]:
    """Return the price of each implementation in a file of hwconfigs/operators. Raises InputError."""
    files = config_files("operators")
    if library not in files:
        raise InputError(f"host: unknown library of operators {library!r}{did_you_mean(library, files)}")
    return read_toml(files[library], f"operators/{library}.toml")


def _cpu(name: str) -> dict[str, Any]:
    files = config_files("cpu")
    if name not in files:
        raise InputError(f"cpu.prices: unknown CPU {name!r}{did_you_mean(name, [*files, 'none'])}")
    return {"name": name} | read_toml(files[name], f"cpu/{name}.toml")


NAMED: Mapping[str, Callable[[str], dict[str, Any]]] = {"host": _host, "prices": _cpu, "dram": dram_tables}
"""Tables that can be given by the name of a file."""
