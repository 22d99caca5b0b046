"""From a device's name or TOML file to a checked `Dram`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.hardware.dram.legality import dram_problems
from sim.hardware.dram.schema import Dram
from sim.hardware.explain import schema_problems
from sim.hardware.files import config_files

ENERGY = "energy"
"""The file of the folder that describes no device: pJ per bit by technology."""


def devices() -> dict[str, Path]:
    """Return name -> file of the DRAM devices that ship with Carat."""
    return {name: file for name, file in config_files("dram").items() if name != ENERGY}


def dram_tables(name: str) -> dict[str, Any]:
    """Return the tables of a device by its name or TOML file. Raises InputError."""
    known = devices()
    file = Path(name) if name.endswith(".toml") else known.get(name)
    if file is None:
        raise InputError(f"memory.dram: unknown DRAM {name!r}{did_you_mean(name, [*known, 'none'])}")
    return {"name": Path(name).stem} | read_toml(file, name)


def load_dram(name: str, changes: Mapping[str, Any] | None = None) -> Dram:
    """Return a device with some tables or keys changed. Raises InputError with every problem found."""
    from sim.hardware.loading import merge

    try:
        dram = Dram.model_validate(merge(dram_tables(name), changes or {}))
    except ValidationError as error:
        raise InputError(schema_problems(error, Dram, name)[0]) from error
    if problems := dram_problems(dram):
        raise InputError([f"{name}: {problem}" for problem in problems])
    return dram
