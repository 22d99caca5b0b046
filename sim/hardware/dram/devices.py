"""The DRAM devices that ship with Carat, and the tables of a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.hardware.files import config_files

ENERGY = "energy"
"""The file of the folder that is no device: pJ per bit by technology."""


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
