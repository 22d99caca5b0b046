"""A DRAM device by itself, as a machine would check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sim.base.errors import InputError
from sim.hardware.dram import Dram
from sim.hardware.dram.devices import dram_tables
from sim.hardware.dram.legality import dram_problems
from sim.hardware.explain import schema_problems
from sim.hardware.tables import merge


def load_dram(name: str, changes: Mapping[str, Any] | None = None) -> Dram:
    """Return a device with some tables or keys changed. Raises InputError with every problem found."""
    try:
        dram = Dram.model_validate(merge(dram_tables(name), changes or {}))
    except ValidationError as error:
        raise InputError(schema_problems(error, Dram, name)[0]) from error
    if problems := dram_problems(dram):
        raise InputError([f"{name}: {problem}" for problem in problems])
    return dram
